"""The journal, sent on to a message broker by a process of its own (``docs/nats.md``)."""
