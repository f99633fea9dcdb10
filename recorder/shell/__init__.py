"""``tapebook sql``: questions to an archive, one after the other, from a terminal or a pipe."""
