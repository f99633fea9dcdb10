"""The version that is written into every file."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["SOFTWARE", "VERSION"]

try:
    VERSION = version("tapebook")
except PackageNotFoundError:  # run from a checkout that was never installed
    VERSION = "0+uninstalled"

SOFTWARE = f"tapebook {VERSION}"
