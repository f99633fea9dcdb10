"""``python -m recorder``: the same as ``tapebook``."""

from recorder.cli import main

main()
