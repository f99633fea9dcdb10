"""The exchange's rules as code without I/O."""
