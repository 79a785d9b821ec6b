"""The whole audit of the books as a command: python -m services.wallet.audit [--json]

The database is REELMESH_WALLET_DATABASE_URL; the wallet may run or not. It reads one snapshot and holds
nobody up. Exit code 1 when the books are broken, or an earlier break is not resolved; 2 when the database
does not answer.
--resume --actor NAME --reason TEXT audits, and if nothing is violated resolves what is open, for the record,
so that stakes are taken again; with --force also where something is that cannot be put right any more.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import OperationalError

from services.common import db
from services.common.config import database_url
from services.wallet.audit import auditor
from services.wallet.audit.auditor import Break, Finding

_RESUME = (
    "Stakes and withdrawals wait. Put the books right, then: "
    "make audit-ledger OPTIONS=\"--resume --actor=NAME --reason='TEXT'\""
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def audit(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Audit, and resolve the open breaks.")] = False,
    actor: Annotated[str, typer.Option(help="Who resolves.")] = "",
    reason: Annotated[str, typer.Option(help="Why stakes may be taken again.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Resume although the books are broken.")] = False,
) -> None:
    """Check every invariant over everything that is stored."""
    if resume and not (actor and reason):
        sys.exit("audit: --resume needs --actor=NAME and --reason=TEXT")
    url = database_url("wallet")
    findings, rows, breaks = asyncio.run(_audit(url))
    violated = any(finding.violations for finding in findings)
    if resume and (force or not violated):
        breaks = asyncio.run(_resume(url, actor=actor, reason=reason))
        for one in breaks:
            print(f"resolved: {_line(one)}")
        print(f"audit: {len(breaks)} breaks resolved" if breaks else "audit: no break is open")
        return
    if as_json:
        print(json.dumps(_json(findings, rows, breaks), indent=2))
    else:
        _print(findings, rows, breaks)
    if resume:
        sys.exit("audit: not resumed, for the books are broken still; --force resumes all the same")
    sys.exit(1 if breaks or violated else 0)


async def _audit(url: str) -> tuple[list[Finding], dict[str, int], list[Break]]:
    engine = auditor.create_engine(url, statement_timeout_ms=0)
    try:
        findings, rows = await auditor.audit_everything(engine)
        async with engine.connect() as conn:
            return findings, rows, await auditor.list_open_breaks(conn)
    finally:
        await engine.dispose()


async def _resume(url: str, *, actor: str, reason: str) -> list[Break]:
    engine = auditor.create_engine(url)
    try:
        async with db.transaction(engine, "wallet.audit_resume") as conn:
            return await auditor.resume(conn, actor=actor, reason=reason)
    finally:
        await engine.dispose()


def _looked_at(finding: Finding, rows: Mapping[str, int]) -> int:
    return sum(rows[table] for table in finding.check.tables)


def _json(findings: Sequence[Finding], rows: Mapping[str, int], breaks: Sequence[Break]) -> dict[str, Any]:
    return {
        "invariants": [
            {
                "invariant": finding.check.name,
                "promise": finding.check.promise,
                "rows": _looked_at(finding, rows),
                "violations": finding.violations,
                "details": [json.loads(detail) for detail in finding.details],
                "seconds": round(finding.seconds, 3),
            }
            for finding in findings
        ],
        "tables": dict(rows),
        "open_breaks": [
            {"invariant": one.invariant, "violations": one.violations, "find_time": one.find_time.isoformat()}
            for one in breaks
        ],
    }


def _print(findings: Sequence[Finding], rows: Mapping[str, int], breaks: Sequence[Break]) -> None:
    table = Table("invariant", "promise")
    for column in ("rows", "violations", "seconds"):
        table.add_column(column, justify="right")
    for finding in findings:
        style = "red" if finding.violations else None
        figures = f"{_looked_at(finding, rows):,}", f"{finding.violations:,}", f"{finding.seconds:.2f}"
        table.add_row(finding.check.name, finding.check.promise, *figures, style=style)
    console = Console(highlight=False)
    console.print(table)
    for finding in findings:
        for detail in finding.details:
            console.print(f"{finding.check.name}: {detail}", markup=False, soft_wrap=True)
    for one in breaks:
        console.print(f"open, no stake is taken: {_line(one)}", markup=False, soft_wrap=True)
    if breaks:
        console.print(_RESUME, markup=False, soft_wrap=True)


def _line(one: Break) -> str:
    time = f"{one.find_time:%Y-%m-%d %H:%M:%S %Z}"
    return f"{one.invariant}, {one.violations} violations, found {time}: {one.detail}"


if __name__ == "__main__":
    try:
        app()
    except OperationalError as error:
        print(f"audit: {db.first_line(error)}", file=sys.stderr)
        sys.exit(2)
