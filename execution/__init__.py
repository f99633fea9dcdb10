"""Trading on the books that tapebook keeps: optional, private, and off unless it is asked for.

Nothing else imports this package. What is decided without a socket, a file or a clock is in `execution.desk`.
"""
