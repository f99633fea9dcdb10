"""Export: what is recorded, in the forms that others read (``docs/import-export.md``)."""
