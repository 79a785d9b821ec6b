"""Wallet, rounds and events held together: nothing differs after play; what was changed ends in a review."""

import asyncio
import io
import json
import os
import random
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.local.mesh import REPOSITORY
from services.reconciliation import command, walk
from tests.integration.mesh.test_explain import change
from tests.integration.mesh.test_review import make_review
from tests.mesh.players import amount
from tests.mesh.reconciling import reconcile, settings
from tests.mesh.stage import CHOICE_GAME_ID, STAKE_MINOR, Stage, new_id
from tests.waiting import until

PLAYERS, SPINS = 24, 14
STRAY_ID = "{0}-7000-8000-00000000abcd"


async def play(stage: Stage, seed: int) -> None:
    """One player's spins: some demo, some too poor, some of a game with a choice."""
    choose = random.Random(seed)
    options: dict[str, Any] = {"game_id": CHOICE_GAME_ID} if seed % 3 == 0 else {}
    if seed % 4 == 1:
        player = await stage.player(funds_minor=3 * STAKE_MINOR, **options)
    elif seed % 4 == 2:
        player = await stage.player(funds_minor=0, kind="DEMO", **options)
        body = {"request_id": new_id(), "amount": amount(50 * STAKE_MINOR), "kind": "DEMO"}
        path = f"/v1/players/{player.player_id}/deposits"
        assert (await player.client.call("POST", path, credential=player.api_key, body=body)).status == 200
    else:
        player = await stage.player(**options)
    for _ in range(SPINS):
        answer = await player.spin(STAKE_MINOR)
        while answer.status == 200 and answer.body["round"]["state"] == "OPEN":
            round_ = answer.body["round"]
            choice = choose.choice(["RED", "BLACK", "COLLECT"])
            answer = await player.act(round_["round_id"], round_["step_next"], choice)


async def test_played_rounds_do_not_differ(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    # Some pages, so that their seams are walked over.
    monkeypatch.setattr(walk, "PAGE_ROWS", 50)
    await asyncio.gather(*(play(stage, seed) for seed in range(PLAYERS)))
    for _ in range(3):
        await stage.play(await stage.player(), new_id())  # nobody settles it: it becomes VOID
    await stage.books.wait_quiet(seconds_max=30)
    report = await reconcile(stage.mesh)
    assert report.findings == [] and report.agree and not report.waiting
    assert report.told_time == report.end_time
    [rounds] = await stage.books.rows("game", "select count(*) as n from round")
    assert sum(total.game.rounds for total in report.compared.values()) == rounds.n >= PLAYERS * SPINS
    assert {key[2] for key in report.compared} == {"REAL", "DEMO"}
    for total in report.compared.values():
        assert total.game == total.wallet == total.events
    [states] = await stage.books.rows("game", "select array_agg(distinct state) as seen from round_view")
    assert {"SETTLED", "REFUSED", "VOID"} <= set(states.seen)


async def test_what_cannot_be_told_is_no_agreement(stage: Stage) -> None:
    nothing_there = {"REELMESH_GAME_DATABASE_URL": stage.mesh.database_urls["session"]}
    for options, changed, said in (
        (["--start", "2099-01-01"], {}, "reconcile: no round to compare can be drawn from 2099-01-01"),
        (["--start", "2026-01-02", "--end", "2026-01-01"], {}, "reconcile: no round to compare can be drawn"),
        (["--start", "yesterday"], {}, "reconcile: 'yesterday' is no time: write 2026-11-30"),
        (["--grace-s", "-5"], {}, "Usage: "),
        ([], nothing_there, 'reconcile: relation "round" does not exist'),
    ):
        done = run(stage, *options, **changed)
        assert done.returncode == 2 and done.stderr.startswith(said) and not done.stdout, done.stderr
    done = run(stage, "--start", "0001-01-01", "--json", "/nowhere/report.json")
    assert done.returncode == 2 and "/nowhere/report.json" in done.stderr, done.stderr


async def test_what_is_on_its_way_is_no_difference(stage: Stage) -> None:
    player = await stage.player()
    await stage.books.wait_quiet()
    await stage.kill("events")
    told = [(await player.spin(STAKE_MINOR)).body["round"]["round_id"] for _ in range(5)]
    ended = "select count(*) as n from round_end where round_id = any(cast(:ids as uuid[]))"

    async def recorded() -> bool:
        [row] = await stage.books.rows("game", ended, ids=told)
        return bool(row.n == len(told))

    await until(recorded, seconds_max=30)
    # Nothing of them is at events, which is away; and one more is not over.
    drawn = (await stage.play(player, new_id())).round.round_id
    report = await reconcile(stage.mesh)
    assert not report.findings and report.waiting == 1, (drawn, report.findings)
    # No difference, for nothing of them could be compared: that is said, and from when on.
    assert report.told_time < report.end_time
    command.show(report, Console(file=(page := io.StringIO())))
    assert f"events from {report.told_time:%Y-%m-%d %H:%M:%S} UTC on wait in an outbox" in page.getvalue()


# After it no stake is taken: the wallet's auditor sees what was changed, too.
# By which statement a round is changed, and what is then found: every kind, but for strays.
TAMPERED = [
    ("wallet", "update settlement set stake_minor = stake_minor + 1 where round_id = '{}'", "stake"),
    ("wallet", "update settlement set win_minor = win_minor + 1 where round_id = '{}'", "win"),
    ("wallet", "delete from settlement where round_id = '{}'", "wallet_lacks"),
    (
        "wallet",
        "update settlement set account_id = (select max(account_id) from account where type = 1)"
        " where round_id = '{}'",
        "owner",
    ),
    (
        "wallet",
        "update settlement set balance_after_minor = balance_after_minor + 1 where round_id = '{}'",
        "balance",
    ),
    ("game", "delete from round where round_id = '{}'", "game_lacks"),
    ("game", "update round set stake_minor = stake_minor + 1 where round_id = '{}'", "stake"),
    ("game", "update round_end set state = 'VOID', paid_minor = 0 where round_id = '{}'", "state"),
    ("game", "update round_end set paid_minor = paid_minor + 1 where round_id = '{}'", "paid"),
    (
        "game",
        "update round_end set account_version = account_version + 1000 where round_id = '{}'",
        "version",
    ),
    (
        "events",
        "delete from event where round_id = '{}' and event_type = 'wallet.settled'",
        "wallet_event_lacks",
    ),
    (
        "events",
        "delete from event where round_id = '{}' and event_type = 'round.settled'",
        "game_event_lacks",
    ),
    (
        "events",
        "update event set payload = cast(jsonb_set(cast(payload as jsonb), '{{stake_minor}}', '7') as json)"
        " where round_id = '{}' and event_type = 'wallet.settled'",
        "wallet_event_other",
    ),
    (
        "events",
        "update event set account_id = account_id + 2 where round_id = '{}' and event_type = 'round.settled'",
        "event_owner",
    ),
    (
        "events",
        "insert into event select position + 500000, gen_random_uuid(), source, batch_no, batch_index,"
        " batch_size, event_type, operator_id, account_id, account_version, player_id, session_id, round_id,"
        " event_time, payload, traceparent, hash"
        " from event where round_id = '{}' and event_type = 'round.settled'",
        "game_event_twice",
    ),
    (
        "events",
        "update event set event_type = 'round.void' where round_id = '{}' and event_type = 'round.settled'",
        "game_event_other",
    ),
    ("events", "stray", "events_alone"),
]


async def test_each_difference_ends_in_one_review(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player, _ = await stage.player(), await stage.player()
    round_ids = [(await player.spin(STAKE_MINOR)).body["round"]["round_id"] for _ in TAMPERED]
    await stage.books.wait_quiet()
    expected: dict[str, str] = {}
    for (service, statement, kind), round_id in zip(TAMPERED, round_ids, strict=True):
        if statement == "stray":
            # Of the time of a real one, so that it is in the range.
            stray = STRAY_ID.format(round_id[:13])
            statement, expected[stray] = stray_of(stray), kind
        else:
            expected[round_id] = kind
        await change(stage, service, statement.format(round_id))
    # More than so many at once are not for people.
    # The rounds are seconds old, and a review just opened has its event still to be sent.
    monkeypatch.setattr(walk, "WRITE_MAX", timedelta(0))
    with monkeypatch.context() as limited:
        limited.setattr(command, "OPENED_MAX", 2)
        first = await reconcile(stage.mesh)
    assert first.stopped and len(first.findings) == 2 and not first.agree
    report = await reconcile(stage.mesh)
    found = {finding.sides.round_id: finding for finding in report.findings}
    assert found.keys() == expected.keys() and not report.agree
    for round_id, kind in expected.items():
        kinds = {one.kind for one in found[round_id].differences}
        assert kind in kinds, (kind, kinds)
    assert Counter(finding.review for finding in report.findings) == {
        "WAITING": 2,
        "OPENED": len(expected) - 2,
    }
    await check_reviews(stage, set(expected))
    # The same differences, each in the review that it has; events of the reviews must not be on their way.
    await stage.books.wait_quiet()
    again = await reconcile(stage.mesh)
    assert {finding.review for finding in again.findings} == {"WAITING"}
    assert {finding.sides.round_id for finding in again.findings} == expected.keys()
    await check_reviews(stage, set(expected))
    await stage.books.wait_quiet()
    done = run(stage, "--grace-s", "0", "--json", str(tmp_path / "report.json"))
    assert done.returncode == 1 and not done.stderr, done.stderr
    report_json = json.loads((tmp_path / "report.json").read_text())
    assert len(report_json["differences"]) == len(expected) and not report_json["agree"]
    await decide(stage, expected)


def stray_of(round_id: str) -> str:
    """An event of a round that nobody has, like that of another."""
    return (
        "insert into event select position + 600000, gen_random_uuid(), source, batch_no, batch_index,"
        " batch_size, event_type, operator_id, account_id, account_version, player_id, session_id,"
        f" '{round_id}', event_time, payload, traceparent, hash"
        " from event where round_id = '{}' and event_type = 'round.settled'"
    )


async def check_reviews(stage: Stage, round_ids: set[str]) -> None:
    """Each is listed by `make review`, and stored once with what differs."""
    listed = await make_review(stage)
    assert {round_id for round_id in round_ids if round_id in listed} == round_ids
    rows = await stage.books.rows("game", "select cast(round_id as text) as id, problem from round_review")
    reviews = {row.id: row.problem for row in rows}
    assert len(rows) == len(reviews) and all(reviews[one].startswith("reconcile: ") for one in round_ids)


async def decide(stage: Stage, expected: dict[str, str]) -> None:
    """What a person has decided as it stands is no difference any more; a stray's review ends, too."""
    by_kind = {kind: round_id for round_id, kind in expected.items()}
    decided = {
        by_kind["wallet_event_lacks"]: "settled",
        by_kind["game_lacks"]: "reversed",
        by_kind["events_alone"]: "void",
        by_kind["win"]: "settled",  # by which game records the wallet's win: less of it differs then
    }
    for round_id, verdict in decided.items():
        await make_review(stage, round_id=round_id, verdict=verdict)
    await stage.books.wait_quiet()
    report = await reconcile(stage.mesh)
    reviews = {finding.sides.round_id: finding.review for finding in report.findings}
    for kind in ("wallet_event_lacks", "events_alone", "win"):
        assert reviews[by_kind[kind]] == "DECIDED", kind
    [row] = await stage.books.rows(
        "wallet",
        "select count(*) as n from reversal where round_id = cast(:id as uuid)",
        id=by_kind["game_lacks"],
    )
    assert row.n == 1
    await decide_again(stage, by_kind["wallet_event_lacks"], by_kind["game_lacks"])


async def decide_again(stage: Stage, *round_ids: str) -> None:
    """What differs in another way after that is decided, too: of a round, and of one that game lacks."""
    known, stray = round_ids
    await change(stage, "game", f"update round set stake_minor = stake_minor + 1 where round_id = '{known}'")
    untold = "event_type = 'wallet.settled' and cast(payload as jsonb) ->> 'status' = 'REVERSED'"
    await change(stage, "events", f"delete from event where round_id = '{stray}' and {untold}")
    for review in ("OPENED", "WAITING"):
        report = await reconcile(stage.mesh)
        reviews = {finding.sides.round_id: finding.review for finding in report.findings}
        assert (reviews[known], reviews[stray]) == (review, review)
    listed = await make_review(stage)
    assert known in listed and stray in listed
    for round_id, verdict in ((known, "settled"), (stray, "reversed")):
        for _ in range(2):  # the same verdict again changes nothing
            await make_review(stage, round_id=round_id, verdict=verdict)
    report = await reconcile(stage.mesh)
    reviews = {finding.sides.round_id: finding.review for finding in report.findings}
    assert reviews[known] == reviews[stray] == "DECIDED"
    listed = await make_review(stage)
    assert known not in listed and stray not in listed
    await leave_out(stage, found=sorted(reviews))


async def leave_out(stage: Stage, *, found: list[str]) -> None:
    """What is archived is not compared, and that is said: a part of a day of events, then all months."""
    middle = found[len(found) // 2]
    await change(
        stage,
        "events",
        "insert into archived_head (day, source, position, batch_no, batch_index, batch_size, hash)"
        f" select min(day), 'game', {int(middle.replace('-', '')[:12], 16)} * 1000, 1, 0, 1, ''"
        " from event_day",
    )
    report = await reconcile(stage.mesh)
    left = {finding.sides.round_id for finding in report.findings}
    assert report.archived and left == {one for one in found if one > middle[:13]}
    await change(
        stage,
        "wallet",
        "update ledger_month set close_time = now(), archive_time = now(), manifest = '{}'"
        " where month = (select max(month) from ledger_month)",
    )
    report = await reconcile(stage.mesh)
    assert report.archived and not report.compared and report.agree


def run(stage: Stage, *options: str, **changed: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own."""
    arguments = [sys.executable, "-m", "services.reconciliation", *options]
    environment = {**os.environ, **settings(stage.mesh), **changed, "PYTHONPATH": ".:gen"}
    return subprocess.run(
        arguments, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
