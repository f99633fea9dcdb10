"""What tests of the recorder share."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that roll much and say nothing of what a power cut leaves."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
