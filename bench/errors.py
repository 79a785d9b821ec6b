"""The one error of the bench."""


class BenchError(Exception):
    """The bench cannot go on; one line."""
