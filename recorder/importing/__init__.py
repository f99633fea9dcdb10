"""Import: files that others recorded become sealed segments of a collector of their own (``docs/import-export.md``)."""
