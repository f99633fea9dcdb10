"""Where the world is touched: collector, journal, roll, archive, queries, gateway, command line."""
