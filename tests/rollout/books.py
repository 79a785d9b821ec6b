"""What must be true after a proof, whatever was ended and started meanwhile."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping

from deploy.local.mesh import REPOSITORY
from deploy.local.traces import Span, TraceReceiver
from tests.mesh.books import Books
from tests.mesh.players import Answer, Player
from tests.rollout.fleet import Fleet

# Every service's part of a spin, in the spin's own trace.
HOPS = {
    ("session", "session.authorize_item"),
    ("game", "game.play"),
    ("wallet", "wallet.settle_item"),
    ("game", "game.finish"),
}
QUIET_SECONDS_MAX = 60.0
# A look goes through all spans.
_LOOK_PAUSE_S = 0.5
# Players only stake and win: a leg that takes from them is a stake.
_LEGS = """
select cast(transaction_id as text) as round_id, leg, amount_minor from posting
where leg > 1 or amount_minor < 0"""


async def check_books(fleet: Fleet, players: list[Player]) -> None:
    """Every answer is true in five databases; each spin was staked once and paid once; nothing is missing."""
    books = Books(fleet.database_urls)
    await books.wait_quiet(seconds_max=QUIET_SECONDS_MAX)
    await books.check(players)
    stakes: Counter[str] = Counter()
    paid_minor: Counter[str] = Counter()
    for leg in await books.rows("wallet", _LEGS):
        assert leg.leg in (1, 2), f"{leg.round_id} was given back"
        stakes[leg.round_id] += leg.leg == 1
        paid_minor[leg.round_id] += leg.amount_minor if leg.leg == 2 else 0
    rounds = [answer.body["round"] for answer in answers(players)]
    assert stakes == Counter(round_["round_id"] for round_ in rounds), "one stake per spin that was answered"
    for round_ in rounds:
        if round_["state"] == "SETTLED":
            assert paid_minor[round_["round_id"]] == round_["win"]["amount_minor"], round_
    settings = {
        **{f"REELMESH_{name}_DATABASE_URL".upper(): url for name, url in fleet.database_urls.items()},
        "REELMESH_GAME_TARGET": fleet.target("game"),
        "REELMESH_IDENTITY_KEY": fleet.keys["identity_key"],
    }
    await _clean("services.wallet.audit", settings)
    await _clean("services.reconciliation", settings)


async def check_traces(receiver: TraceReceiver, players: list[Player]) -> None:
    """The trace of every spin has all hops, one root, no missing parent, and the batches that it links to."""
    trace_ids = [answer.body["round"]["trace_id"] for answer in answers(players)]
    assert len(set(trace_ids)) == len(trace_ids), "each spin is a trace of its own"
    # What waits in an exporter of a process that lives is on its way.
    end_s = asyncio.get_running_loop().time() + QUIET_SECONDS_MAX
    while missing := _missing(receiver, trace_ids):
        late = asyncio.get_running_loop().time() > end_s
        lines = [f"{len(missing)} things missing in {len(trace_ids)} traces", *missing[:20]]
        assert not late, "\n".join(lines)
        await asyncio.sleep(_LOOK_PAUSE_S)


def answers(players: list[Player]) -> list[Answer]:
    """The last answer to each spin. Errors: AssertionError when one was not played"""
    last = [heard.answers[-1] for player in players for heard in player.spins]
    assert last and all(answer.status == 200 for answer in last)
    return last


def _missing(receiver: TraceReceiver, trace_ids: list[str]) -> list[str]:
    """What is missing, a line each."""
    by_trace: dict[str, list[Span]] = {}
    known = set()
    for span in receiver.spans():
        by_trace.setdefault(span.trace_id, []).append(span)
        known.add((span.trace_id, span.span_id))
    missing = []
    for trace_id in trace_ids:
        spans = by_trace.get(trace_id, [])
        hops = HOPS - {(span.service, span.name) for span in spans}
        missing += [f"{trace_id}: no {service} {name}" for service, name in sorted(hops)]
        roots = [span for span in spans if not span.parent_span_id]
        if len(roots) != 1:
            missing.append(f"{trace_id}: {len(roots)} roots")
        for span in spans:
            if span.parent_span_id and (trace_id, span.parent_span_id) not in known:
                missing.append(f"{trace_id}: no parent of {span.service} {span.name}")
            for link in span.links:
                if (link.trace_id, link.span_id) not in known:
                    missing.append(f"{trace_id}: no batch of {span.service} {span.name}")
    return missing


async def _clean(module: str, settings: Mapping[str, str]) -> None:
    """A command of the repository that says with its exit code whether it found anything."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'gen'}", **settings},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, f"{module}: {output.decode()}"
