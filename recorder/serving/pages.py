"""The page's files, read once, and what a browser is told to do and not to do with them."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import Final, NamedTuple

__all__ = ["CONTENT_SECURITY_POLICY", "HEADERS", "Asset", "load_assets"]

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser calls the login form's origin null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Server": "tapebook",
}
"""On every answer, errors too."""

_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """A file of the page: its bytes, their type, and a tag that changes with them."""

    content: bytes
    kind: str
    tag: str


def load_assets() -> dict[str, Asset]:
    """Return every file of the page by its name. Nothing else can be asked for, so no path leads anywhere."""
    found = {}
    for entry in resources.files("recorder.serving").joinpath("static").iterdir():
        suffix = entry.name[entry.name.rfind(".") :]
        if suffix in _TYPES:
            content = entry.read_bytes()
            found[entry.name] = Asset(
                content, _TYPES[suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            )
    return found
