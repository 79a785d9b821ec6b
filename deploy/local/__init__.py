"""The laptop runner: embedded PostgreSQL, five services and a trace receiver, started by `make run`."""
