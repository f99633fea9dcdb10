"""SQL over an archive: the database of views, the functions that the engine answers, the shell."""
