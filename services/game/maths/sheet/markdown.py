"""Lines of Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

LINE_MAX = 125
"""Characters of a line: with LINES_MAX it is what an A4 page holds at 7 points, even unrendered."""
LINES_MAX = 85


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table, numbers and all as text."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def paragraph(text: str) -> list[str]:
    """Wrapped text and the empty line after it."""
    lines = textwrap.wrap(text, LINE_MAX, break_long_words=False, break_on_hyphens=False)
    return [*lines, ""]
