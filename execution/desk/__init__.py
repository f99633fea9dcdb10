"""What a trader's side knows and decides, without I/O: bytes and times in, bytes and outcomes out."""
