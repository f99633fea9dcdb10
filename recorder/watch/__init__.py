"""``tapebook watch``: a recorder at work, in a terminal (docs/watch.md)."""
