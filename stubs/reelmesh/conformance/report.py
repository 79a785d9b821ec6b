"""Results as a table, JSON and JUnit; the catalogue as a page."""

import json
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree

from reelmesh.conformance.catalogue import EXTERNAL, SECTIONS, WALLET
from reelmesh.conformance.running import Result

_WIDTHS = (4, 54, 12, 5)


def line(result: Result) -> str:
    """One row of the table."""
    row = result.row
    cells = (row.number, row.title, f"[{row.source}]", result.status)
    padded = "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True))
    return f"{padded}  {result.seen}"


def heading() -> str:
    """The head of the table."""
    cells = ("case", "what", "source", "is")
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)) + "  seen"


def summary(results: Sequence[Result]) -> str:
    """How many of each."""
    counts = Counter(result.status for result in results)
    return f"{counts['ok']} ok, {counts['fail']} failed, {counts['skip']} skipped"


def as_json(results: Sequence[Result], *, target: str, dialect: str) -> str:
    """The results as a document."""
    cases = [
        {
            "case": result.row.number,
            "title": result.row.title,
            "source": result.row.source,
            "status": result.status,
            "seen": result.seen,
            "duration_ms": round(1000 * result.duration_s),
        }
        for result in results
    ]
    return json.dumps({"target": target, "dialect": dialect, "cases": cases}, indent=1) + "\n"


def as_junit(results: Sequence[Result], *, target: str) -> str:
    """The results as CI systems read them."""
    counts = Counter(result.status for result in results)
    suite = ElementTree.Element(
        "testsuite",
        name=f"reelmesh-conformance {target}",
        tests=str(len(results)),
        failures=str(counts["fail"]),
        skipped=str(counts["skip"]),
        errors="0",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            classname="conformance",
            name=f"{result.row.number} {result.row.title}",
            time=f"{result.duration_s:.3f}",
        )
        if result.status == "fail":
            ElementTree.SubElement(case, "failure", message=result.seen)
        elif result.status == "skip":
            ElementTree.SubElement(case, "skipped", message=result.seen)
        else:
            ElementTree.SubElement(case, "system-out").text = result.seen
    ElementTree.indent(suite, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, "unicode") + "\n"


def catalogue() -> str:
    """Every case in Markdown, with what is run against which contract."""
    lines = ["| case | what | source | WalletService | ExternalWalletService |", "|---|---|---|---|---|"]
    for section, rows in SECTIONS.items():
        lines.append(f"| | **{section}** | | | |")
        for row in rows:
            cells = (row.skipped.get(dialect, "run") for dialect in (WALLET, EXTERNAL))
            lines.append(f"| {row.number} | {row.title} | {row.source} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
