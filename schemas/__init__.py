"""What a datum is: names, tables, configuration, errors, SQL. Opens nothing and imports nothing of ours."""
