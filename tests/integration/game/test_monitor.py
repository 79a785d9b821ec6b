"""The monitor of the live RTP: a round is counted once, on its day, when its stake is known to be taken."""

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from sqlalchemy import text
from typer.testing import CliRunner, Result

from services.common import db
from services.game.rtp import monitor as monitors
from services.game.rtp import report as rtp_report
from services.game.rtp import store as rtp_store
from services.game.rtp.bands import ROUNDS_MIN, Status
from services.game.rtp.monitor import Monitor, Played
from tests.integration.game.harness import BONUS, GAMBLE, GAMES, SPIN, Game, blocked_or_done
from tests.integration.wallet.harness import Wallet
from tests.integration.wallet.test_plan import nodes
from tests.waiting import until

DAY = dt.date(2026, 11, 30)
COPIED = """account_id, operator_id, player_id, session_id, kind, game_id, game_version, definition_hash,
  currency_code, stake_minor, win_minor, outcome, draws, offers_choice, birth, reason, authorize_time,
  traceparent, gateway"""


@pytest.fixture
async def game(own_game_url: str, wallet: Wallet) -> Any:
    """A replica on a database of its own: the monitor looks at all rounds there are."""
    async with Game(own_game_url, wallet) as game:
        yield game


def monitor(game: Game, holder: str = "one", *, age_ms: int = 0) -> Monitor:
    return Monitor(game.engine, holder=holder, interval_ms=100, age_ms=age_ms)


async def counted(game: Game) -> dict[tuple[str, str], tuple[int, ...]]:
    """Rounds, stakes, wins and the three sums of squares by game and mode."""
    rows = await game.rows("""
        select game_id, mode, sum(rounds) as rounds, sum(stake_minor), sum(win_minor), sum(stake_squares),
          sum(stake_wins), sum(win_squares) from return_day group by 1, 2""")
    return {(row.game_id, row.mode): tuple(map(int, row[2:])) for row in rows}


async def settled(game: Game, wallet: Wallet, **fields: Any) -> str:
    return (await game.settle(await game.play(await wallet.open(balance=9_000), **fields))).round_id


async def test_rounds_are_summed_by_day_version_mode_operator_currency_and_kind(
    game: Game, wallet: Wallet
) -> None:
    for stake in (100, 200):
        await settled(game, wallet, stake=stake)
    await settled(game, wallet, game_id=BONUS, mode="bonus", stake=1_000)
    assert await monitor(game).run_once() == 3
    assert await counted(game) == {
        (SPIN, "base"): (2, 300, 2_100, 50_000, 350_000, 2_450_000),
        (BONUS, "bonus"): (1, 1_000, 1_400, 1_000_000, 1_400_000, 1_960_000),
    }
    [row] = await game.rows(
        "select *, day = cast(now() at time zone 'UTC' as date) as today from return_day where mode = 'base'"
    )
    assert (row.game_version, row.currency_code, row.kind, row.today) == (1, "EUR", 1, True)


async def test_only_stakes_that_were_taken_count_and_late_ones_once(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1_000)
    late, lost = [await game.play(account_id) for _ in range(2)]
    review = await game.play(account_id)
    async with game.engine.begin() as conn:
        query = "insert into round_review (round_id, operator_id, problem) values (:id, 'acme', 'x')"
        await conn.execute(text(query), {"id": review.round.round_id})
    await game.play(account_id, stake=101)  # refused by game
    await game.settle(await game.play(await wallet.open(balance=10)))  # refused by the wallet
    one = monitor(game)
    assert await one.run_once() == 5
    assert await counted(game) == {}
    assert len(await game.rows("select * from return_late")) == 3
    await game.settle(late)
    await game.finish(await wallet.void(account_id, lost.round.round_id))
    for _ in range(2):
        assert await one.run_once() == 0
        assert await counted(game) == {(SPIN, "base"): (1, 100, 700, 10_000, 70_000, 490_000)}
        [left] = await game.rows("select round_id from return_late")
        assert str(left.round_id) == review.round.round_id
    # A round that is given back afterwards was played all the same.
    await game.finish(await wallet.roll_back(account_id, late.round.round_id))
    await one.run_once()
    assert (await counted(game))[SPIN, "base"][0] == 1


async def test_a_round_counts_as_it_was_drawn_whatever_the_gamble_makes_of_it(
    game: Game, wallet: Wallet
) -> None:
    round_ = await game.open(await wallet.open(balance=1_000))
    await monitor(game).run_once()
    acted = await game.act(round_, "RED")
    if acted.HasField("payout"):
        await game.finish(await wallet.send(acted.payout))
    await monitor(game).run_once()
    assert await counted(game) == {(GAMBLE, "base"): (1, 100, 700, 10_000, 70_000, 490_000)}


async def test_passes_are_bounded_and_go_on_where_the_last_one_ended(
    game: Game, wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitors, "ROWS_MAX", 2)
    for _ in range(5):
        await settled(game, wallet)
    one = monitor(game)
    assert [await one.run_once() for _ in range(4)] == [2, 2, 1, 0]
    assert (await counted(game))[SPIN, "base"][0] == 5


async def test_of_two_replicas_one_counts(game: Game, wallet: Wallet) -> None:
    await settled(game, wallet)
    assert await monitor(game, "one").run_once() == 1
    await settled(game, wallet)
    assert await monitor(game, "two").run_once() == 0
    async with game.engine.begin() as conn:
        await conn.execute(text("update monitor set lease_until = clock_timestamp()"))
    assert await monitor(game, "two").run_once() == 1
    assert (await counted(game))[SPIN, "base"][0] == 2


@pytest.mark.parametrize("late", [False, True])
async def test_two_that_both_hold_the_lease_count_a_round_once(
    game: Game, wallet: Wallet, late: bool
) -> None:
    """The lease only saves work; the statement of the pass is the fence (docs/traps.md, 8)."""
    played = await game.play(await wallet.open(balance=1_000))
    if late:
        await monitor(game, "one").run_once()
    await game.settle(played)
    async with db.transaction(game.engine, "claim") as conn:
        claim = await rtp_store.claim(conn, holder="one", lease_ms=1_000, age_ms=0)
    assert claim is not None
    if late:
        # Nothing new happened since: the time itself does not tell the two apart.
        claim = claim._replace(horizon=claim.low)

    async def roll_up() -> None:
        async with db.transaction(game.engine, "roll_up") as conn:
            await rtp_store.roll_up(conn, claim, holder="one", rows_max=10, late_max=10)

    # The barrier: the first has counted and not committed when the second comes.
    async with db.transaction(game.engine, "roll_up") as conn:
        await rtp_store.roll_up(conn, claim, holder="one", rows_max=10, late_max=10)
        second = asyncio.create_task(roll_up())
        await until(lambda: blocked_or_done(game, second))
    await second
    assert (await counted(game))[SPIN, "base"][0] == 1
    assert not await game.rows("select * from return_late")


async def test_a_transaction_that_commits_behind_the_pass_is_not_missed(game: Game, wallet: Wallet) -> None:
    """Its rows are older than those that were counted before it was there to be seen."""
    played = await game.play(await wallet.open(balance=1_000))
    settlement = await wallet.send(played.settle)
    async with game.engine.connect() as conn:
        # A slow insert of a round: its time is told now, it is seen later.
        await conn.execute(
            text(f"""insert into round (round_id, request_id, {COPIED})
            select gen_random_uuid(), gen_random_uuid(), {COPIED} from round""")
        )
        await game.finish(settlement)
        await settled(game, wallet)
        await monitor(game).run_once()
        await conn.commit()
    await monitor(game).run_once()
    assert (await counted(game))[SPIN, "base"][0] == 2
    assert len(await game.rows("select * from return_late")) == 1


async def test_a_pass_reads_no_table_of_ends_as_a_whole(game: Game, wallet: Wallet) -> None:
    await settled(game, wallet)
    async with game.engine.begin() as conn:
        await conn.execute(
            text(f"""insert into round (round_id, request_id, {COPIED})
              select gen_random_uuid(), gen_random_uuid(), {COPIED} from round, generate_series(1, 3000)""")
        )
        await conn.execute(
            text("""insert into round_end (round_id, state, paid_minor, balance_after_minor, account_version)
              select round_id, 'VOID', 0, 0, 0 from round on conflict do nothing""")
        )
        await conn.execute(text("analyze round, round_end"))
    seen: dict[str, list[str]] = {}
    for each in (True, False):
        async with game.engine.connect() as conn:
            if each:
                await conn.execute(rtp_store._LOOK_UP_EACH)
            explain = text(f"explain (format json) {rtp_store._ROLL_UP.text}")
            values = {"low": "-infinity", "horizon": "now", "holder": "", "rows_max": 10, "late_max": 10}
            [top] = (await conn.execute(explain, values)).scalar_one()
        ends = [node for node in nodes(top["Plan"]) if node.get("Relation Name") == "round_end"]
        seen[str(each)] = [node["Node Type"] for node in ends]
    assert "Seq Scan" in seen["False"]
    assert set(seen["True"]) == {"Index Scan"}


# Readings, gauges, the report


async def add_day(
    game: Game, game_id: str, *, day: dt.date = DAY, win: str = "0.959183", **changes: Any
) -> None:
    """A day of rounds at equal stakes; `win` is what each paid, x stake."""
    values: dict[str, Any] = {
        "day": day,
        "game_id": game_id,
        "version": 1,
        "mode": "base",
        "operator_id": "dev",
        "currency_code": "EUR",
        "kind": 1,
        "rounds": ROUNDS_MIN,
        "win": win,
    } | changes
    async with game.engine.begin() as conn:
        await conn.execute(
            text("""insert into return_day values (:day, :game_id, :version, :mode, :operator_id,
              :currency_code, :kind, :rounds, 100 * :rounds, 100 * :rounds * cast(:win as numeric),
              10000 * :rounds, 10000 * :rounds * cast(:win as numeric),
              10000 * :rounds * (cast(:win as numeric) ^ 2 + 4))"""),
            values,
        )


@pytest.fixture
def report(own_game_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """The command: its exit code and lines."""
    monkeypatch.setenv("REELMESH_GAME_DATABASE_URL", own_game_url)
    monkeypatch.setenv("COLUMNS", "200")

    async def run(*arguments: str) -> tuple[Result, list[dict[str, Any]]]:
        path = tmp_path / "report.json"
        options = [*arguments, "--json", str(path)]
        result = await asyncio.to_thread(lambda: CliRunner().invoke(rtp_report.app, options))
        return result, json.loads(await asyncio.to_thread(path.read_text))

    return run


async def test_the_report_of_a_day_shows_honest_games_within_and_a_doctored_one_out(
    game: Game, report: Callable[..., Any]
) -> None:
    await add_day(game, "double-dawn")
    result, lines = await report("--day", DAY.isoformat())
    assert result.exit_code == 0, result.output
    assert [(line["of"], line["days"], line["status"]) for line in lines] == [
        ("total", 1, "within"),
        ("part", 1, "within"),
        ("total", 30, "within"),
        ("part", 30, "within"),
    ]
    assert (lines[0]["rtp_theory"], lines[0]["deviation_observed"]) == (0.959183, True)
    # Another return than the strips give, on another day of the 30: the day itself is fine.
    await add_day(game, "harbour-lights", day=DAY - dt.timedelta(days=29), win="1.3")
    result, lines = await report("--day", DAY.isoformat())
    assert result.exit_code == 1
    out = [(line["game_id"], line["of"], line["days"]) for line in lines if line["status"] == "alarm"]
    assert out == [("harbour-lights", "total", 30), ("harbour-lights", "part", 30)]
    assert "alarm" in result.output
    result, _ = await report("--day", (DAY + dt.timedelta(days=1)).isoformat())
    assert result.exit_code == 0


async def test_demo_rounds_are_in_no_total(game: Game, report: Callable[..., Any]) -> None:
    await add_day(game, "double-dawn", win="3", kind=2)
    result, lines = await report("--day", DAY.isoformat())
    assert result.exit_code == 0
    assert {(line["of"], line["kind"], line["status"]) for line in lines} == {("part", "DEMO", "alarm")}


async def test_a_version_of_before_they_were_recorded_has_no_theory(
    game: Game, report: Callable[..., Any]
) -> None:
    await add_day(game, "old-lantern", win="3")
    result, lines = await report("--day", DAY.isoformat())
    assert result.exit_code == 0
    assert {line["status"] for line in lines} == {"unknown"}
    assert (await report("--day", "2000-01-01"))[1] == []


async def test_the_gauges_show_the_last_30_days_of_real_rounds(
    game: Game, caplog: pytest.LogCaptureFixture
) -> None:
    [today] = await game.rows("select cast(now() at time zone 'UTC' as date) as day")
    for days in (0, 29, 30):
        await add_day(game, "double-dawn", day=today.day - dt.timedelta(days=days), win="1.1")
    await add_day(game, "double-dawn", day=today.day, kind=2, win="9")
    await add_day(game, "harbour-lights", day=today.day, win="1.3", operator_id="other")
    reader = InMemoryMetricReader()
    one = monitor(game)
    one.observe_with(MeterProvider(metric_readers=[reader]).get_meter("test"))
    await one.read()
    await one.read()
    dawn = one.readings[Played("double-dawn", "", "base")]
    assert (dawn.rounds, dawn.actual, dawn.status) == (2 * ROUNDS_MIN, 1.1, Status.ALARM)
    shown: dict[str, dict[tuple[str, str], float]] = {}
    data = reader.get_metrics_data()
    assert data is not None
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.data.data_points:
            attributes = dict(point.attributes or {})
            key = str(attributes["reelmesh.game.id"]), str(attributes.get("reelmesh.rtp.band", ""))
            assert attributes.keys() <= {
                "reelmesh.game.id",
                "reelmesh.game.profile",
                "reelmesh.game.mode",
                "reelmesh.rtp.band",
            }
            shown.setdefault(metric.name, {})[key] = point.value  # type: ignore[union-attr]
    assert shown["reelmesh.rtp.actual"]["double-dawn", ""] == 1.1
    assert shown["reelmesh.rtp.theory"]["double-dawn", ""] == pytest.approx(0.959183)
    assert shown["reelmesh.rtp.rounds"]["harbour-lights", ""] == ROUNDS_MIN
    upper, lower = shown["reelmesh.rtp.upper"], shown["reelmesh.rtp.lower"]
    assert lower["double-dawn", "alarm"] < lower["double-dawn", "attention"] < 0.959183
    assert 0.959183 < upper["double-dawn", "attention"] < upper["double-dawn", "alarm"]
    # Said once, not at every look.
    assert [record.args[0] for record in caplog.records if "rtp of" in record.message] == [  # type: ignore[index]
        "double-dawn",
        "harbour-lights",
    ]


async def test_the_definitions_tell_the_theory_of_every_mode(game: Game) -> None:
    await add_day(game, BONUS, mode="bonus", win="0.5")
    async with game.engine.connect() as conn:
        [sums] = await rtp_store.list_sums(conn, day=DAY, days=1)
    assert (sums.rtp_target, sums.deviation) == (0.5, None)
    assert GAMES[BONUS].modes_by_name["bonus"].deviation is None
    assert sums.rounds == ROUNDS_MIN
