"""Processes that write and read live books as fast as they can."""
