"""``python -m recorder.gateway``: the gateway command by itself."""

from __future__ import annotations

import sys

import typer

from recorder.gateway.command import gateway
from schemas.errors import TapebookError

if __name__ == "__main__":
    application = typer.Typer(add_completion=False)
    application.command()(gateway)
    try:
        application()
    except TapebookError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
