"""Wallet, rounds and events compared: what `make reconcile` runs, and what it prints."""

import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from reelmesh.game.v1 import game_pb2_grpc
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from services.common import db
from services.common.client import GuardedChannel
from services.common.config import database_url
from services.mtls.certificates import Certificates
from services.mtls.channel import Mtls
from services.reconciliation import totals
from services.reconciliation.desk import Desk, Finding
from services.reconciliation.totals import Key, Totals
from services.reconciliation.walk import SERVICES, Walk, id_at

SHOWN_MAX = 50
# So many rounds do not differ by themselves: then something is wrong with a database, and no person should be
# given them one by one.
OPENED_MAX = 1_000
LINE_LENGTH = 150


@dataclass(slots=True)
class Report:
    """What a comparison came to."""

    start_time: datetime
    end_time: datetime
    compared: dict[Key, Totals]
    findings: list[Finding]
    waiting: int
    archived: bool
    told_time: datetime
    """Up to when events had to be there; earlier than the end when some wait in an outbox."""
    stopped: bool = False
    """Whether it ended early, with too many differences that were in no review before."""

    @property
    def agree(self) -> bool:
        """Whether no difference is open."""
        return not any(finding.counts for finding in self.findings)


async def reconcile(
    *, start_time: datetime | None, end_time: datetime | None, grace: timedelta, progress: Console
) -> Report:
    """Compares the rounds drawn in [start_time, end_time), the last 24 hours by default.

    Databases, game's address and the key or certificate are the services' own settings, in the environment.
    Errors: ValueError when the time is empty, and as the databases raise.
    """
    engines = {
        name: db.create_engine(
            database_url(name), pool_size=1, application_name="reconcile", statement_timeout_ms=60_000
        )
        for name in SERVICES
    }
    tls_path = os.environ.get("REELMESH_TLS_PATH")
    channel = GuardedChannel(
        os.environ["REELMESH_GAME_TARGET"],
        caller="gateway",
        identity_key=os.environ.get("REELMESH_IDENTITY_KEY", ""),
        instance="reconcile",
        mtls=Mtls(Certificates(tls_path, service="gateway"), "game") if tls_path else None,
    )
    try:
        walk = Walk(engines, grace=grace)
        desk = Desk(channel.stub(game_pb2_grpc.GameServiceStub), walk)
        now = await walk.now()
        end = min(end_time or now, now - grace)
        start = start_time or end - timedelta(days=1)
        if start >= end:
            raise ValueError(f"no round to compare can be drawn from {start:%F %T} to {end:%F %T} UTC")
        return await _compare(walk, desk, start, end, progress)
    finally:
        await channel.close()
        for engine in engines.values():
            await engine.dispose()


async def _compare(walk: Walk, desk: Desk, start: datetime, end: datetime, progress: Console) -> Report:
    compared: defaultdict[Key, Totals] = defaultdict(Totals)
    kept = await walk.kept()
    settled = await walk.settled()
    told_time = min(end, settled.game_told, settled.wallet_told)
    report = Report(start, end, compared, [], 0, archived=kept > id_at(start), told_time=told_time)
    after, last = max(id_at(start), kept), id_at(end)
    columns = TextColumn("comparing"), BarColumn(), TextColumn("{task.fields[rounds]:,} rounds")
    with Progress(*columns, console=progress, transient=True, disable=not progress.is_terminal) as bar:
        task = bar.add_task("", total=max((end - start).total_seconds(), 1), rounds=0)
        rounds = opened = 0
        async for page in walk.pages(after=after, last=last):
            totals.add(compared, page.sides)
            report.waiting += page.waiting
            rounds += len(page.sides)
            for sides, found in page.found:
                if opened == OPENED_MAX:
                    report.stopped = True
                    return report
                finding = await desk.take(sides, list(found))
                report.findings.append(finding)
                opened += finding.review in ("OPENED", "NONE")
                compared[totals.key_of(sides)].differing += finding.counts
            passed_s = int(page.last.replace("-", "")[:12], 16) / 1000 - start.timestamp()
            bar.update(task, completed=passed_s, rounds=rounds)
    return report


def report_json(report: Report) -> dict[str, Any]:
    """All of it."""
    return {
        "start_time": report.start_time.isoformat(),
        "end_time": report.end_time.isoformat(),
        "agree": report.agree,
        "part_is_archived": report.archived,
        "stopped": report.stopped,
        "events_compared_until": report.told_time.isoformat(),
        "waiting": report.waiting,
        "totals": [
            {"operator_id": key[0], "currency_code": key[1], "kind": key[2], **asdict(total)}
            for key, total in sorted(report.compared.items())
        ],
        "differences": [
            {
                "round_id": finding.sides.round_id,
                "operator_id": finding.sides.owner.operator_id,
                "kinds": [one.kind for one in finding.differences],
                "problems": [one.problem for one in finding.differences],
                "review": finding.review,
                "detail": finding.detail,
            }
            for finding in report.findings
        ],
    }


def show(report: Report, console: Console) -> None:
    """Tables for people."""
    page = Console(file=console.file, highlight=False, width=max(LINE_LENGTH, console.width))
    page.print(
        f"rounds drawn from {report.start_time:%Y-%m-%d %H:%M:%S} to {report.end_time:%Y-%m-%d %H:%M:%S} UTC"
    )
    if report.archived:
        page.print("a part of that time is archived, and not compared")
    if report.told_time < report.end_time:
        since = f"{report.told_time:%Y-%m-%d %H:%M:%S} UTC"
        page.print(f"events from {since} on wait in an outbox: missing ones are no difference yet")
    sums = Table("operator", "currency", "kind", "side", box=None)
    for name in ("rounds", "staked", "won", "differ"):
        sums.add_column(name, justify="right")
    for (operator_id, code, kind), total in sorted(report.compared.items()):
        for side in ("game", "wallet", "events"):
            one = getattr(total, side)
            amounts = f"{one.rounds:,}", f"{one.stake_minor:,}", f"{one.win_minor:,}"
            sums.add_row(operator_id, code, kind, side, *amounts, f"{total.differing:,}")
    page.print(sums)
    if report.waiting:
        page.print(f"{report.waiting:,} rounds are not over; game's reconciler ends them")
    _show_findings(report.findings, page)
    if report.stopped:
        page.print(f"stopped: {OPENED_MAX:,} rounds differ anew. Is a database lost, a replica behind?")
    page.print(f"reconcile: {_conclusion(report)}")


def _conclusion(report: Report) -> str:
    if report.agree:
        return "no difference" if not report.findings else "no difference is open"
    open_ones = [finding for finding in report.findings if finding.counts]
    in_review = any(finding.review in ("OPENED", "WAITING") for finding in open_ones)
    count = f"{len(open_ones):,} round{'s differ' if len(open_ones) > 1 else ' differs'}"
    return f"{count}: {'make review' if in_review else 'make explain ROUND=...'}"


def _show_findings(findings: Sequence[Finding], page: Console) -> None:
    if not findings:
        return
    table = Table("round", "operator", "difference", "review", "", box=None)
    for finding in findings[:SHOWN_MAX]:
        problems = "; ".join(one.problem for one in finding.differences)
        operator_id = finding.sides.owner.operator_id
        table.add_row(finding.sides.round_id, operator_id, problems, finding.review, finding.detail)
    page.print(table)
    if len(findings) > SHOWN_MAX:
        page.print(f"and {len(findings) - SHOWN_MAX:,} more: --json lists all")


def write(report: Report, *, json_path: str) -> None:
    """The report as a file."""
    with open(json_path, "w", encoding="utf-8") as file:
        file.write(json.dumps(report_json(report), indent=2) + "\n")
