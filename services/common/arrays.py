"""Arrays as PostgreSQL reads them, written by joining text: the driver's list dumper costs ten times more."""

from collections.abc import Iterable


def plain(values: Iterable[object]) -> str:
    """Of numbers, ids and times: values whose text needs no quotes."""
    return "{" + ",".join(map(str, values)) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Of texts, which may hold anything."""
    return "{" + ",".join(map(_quoted, values)) + "}"


def _quoted(value: str | None) -> str:
    if value is None:
        return "null"
    if "\\" in value or '"' in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'
