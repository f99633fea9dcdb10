"""The gateway's private side: an exchange that trades, behind ``/v5/private``, ``/v5/trade`` and signed REST."""

from __future__ import annotations
