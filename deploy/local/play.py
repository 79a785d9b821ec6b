"""`make play`: players spin over REST against the running mesh; then one of their traces as a waterfall."""

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.local.errors import LocalError
from deploy.local.waterfall import waterfall

CURRENCY = "EUR"
DEPOSIT_MINOR = 20_000
# Attempts of one request id while the answer says that it may be repeated.
_ATTEMPTS_MAX = 5
_RETRY_CLASSES = ("RETRY_SAME_ID", "NOT_YET")
_TRACE_WAIT_S = 5.0


@dataclass(slots=True)
class Tally:
    """What the players saw. Amounts are EUR cents."""

    spins: int = 0
    choices: int = 0
    stake_minor: int = 0
    win_minor: int = 0
    balance_minor: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    trace_id: str = ""


def play(console: Console, *, spins: int, players: int, rest_url: str, traces_url: str, api_key: str) -> None:
    """Plays `spins` rounds in all, shared by `players` concurrent players. Raises LocalError."""
    if spins < 1 or players < 1:
        raise LocalError("SPINS and PLAYERS must be 1 or more")
    try:
        tally = asyncio.run(_play(console, spins, players, rest_url, api_key))
        if tally.trace_id:
            asyncio.run(_print_trace(console, f"{traces_url}/{tally.trace_id}"))
    except httpx.ConnectError:
        raise LocalError(f"nothing answers at {rest_url}: start the mesh with `make run` first") from None
    except httpx.HTTPError as error:
        raise LocalError(f"{rest_url}: {type(error).__name__} {error}") from None


async def _play(console: Console, spins: int, players: int, rest_url: str, api_key: str) -> Tally:
    tally = Tally()
    limits = httpx.Limits(max_connections=players)
    # trust_env off: a proxy of the environment is not for this machine's own ports.
    async with httpx.AsyncClient(base_url=rest_url, limits=limits, timeout=10.0, trust_env=False) as client:
        games = (await _get(client, "/v1/games"))["games"]
        seated = await asyncio.gather(
            *(
                _seat(client, api_key, f"player-{number + 1}", games[number % len(games)])
                for number in range(players)
            )
        )
        started = time.monotonic()
        with Progress(console=console) as progress:
            task = progress.add_task(f"{spins} spins by {players} players", total=spins)
            shares = [spins // players + (number < spins % players) for number in range(players)]
            await asyncio.gather(
                *(
                    _spin(client, token, game, share, tally, lambda: progress.advance(task))
                    for (token, game), share in zip(seated, shares, strict=True)
                )
            )
        elapsed_s = time.monotonic() - started
        for token, _ in seated:
            balance = await _get(client, "/v1/balance", token=token)
            tally.balance_minor += balance["balance"]["amount_minor"]
    _print_tally(console, tally, elapsed_s)
    return tally


async def _seat(
    client: httpx.AsyncClient, api_key: str, player_id: str, game: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Funds a player and opens a session: its token and game."""
    deposit = {"request_id": str(uuid.uuid4()), "amount": _amount(DEPOSIT_MINOR)}
    await _setup(client, f"/v1/players/{player_id}/deposits", api_key, deposit)
    session = {
        "request_id": str(uuid.uuid4()),
        "player_id": player_id,
        "game_id": game["game_id"],
        "currency_code": CURRENCY,
    }
    created = await _setup(client, "/v1/sessions", api_key, session)
    exchanged = await _setup(client, "/v1/sessions/exchange", "", {"launch_code": created["launch_code"]})
    return exchanged["token"], exchanged["game"]


async def _spin(
    client: httpx.AsyncClient,
    token: str,
    game: dict[str, Any],
    spins: int,
    tally: Tally,
    advance: Callable[[], None],
) -> None:
    """One player: spin after spin; a round that offers a choice is doubled up or collected by a coin toss."""
    ladder = next(ladder for ladder in game["bet_ladders"] if ladder["currency_code"] == CURRENCY)
    stakes = [stake for stake in ladder["stakes_minor"] if stake <= DEPOSIT_MINOR // 100] or ladder[
        "stakes_minor"
    ][:1]
    for _ in range(spins):
        stake_minor = random.choice(stakes)
        answer = await _repeat(
            client,
            "/v1/spins",
            token,
            {"request_id": str(uuid.uuid4()), "stake": _amount(stake_minor)},
            tally,
        )
        if answer is not None:
            tally.spins += 1
            tally.stake_minor += stake_minor
            tally.trace_id = answer["round"]["trace_id"] or tally.trace_id
        while answer is not None and answer["round"]["state"] == "OPEN":
            played = answer["round"]
            choice = random.choice(played["choices"])
            tally.choices += 1
            answer = await _repeat(
                client,
                f"/v1/rounds/{played['round_id']}/steps",
                token,
                {"step": played["step_next"], "choice": choice},
                tally,
            )
        if answer is not None and answer["round"]["win"] is not None:
            tally.win_minor += answer["round"]["win"]["amount_minor"]
        advance()


async def _repeat(
    client: httpx.AsyncClient, path: str, token: str, body: dict[str, Any], tally: Tally
) -> dict[str, Any] | None:
    """The answer, after repeats of the same request where its class allows; None when it was refused."""
    for attempt in range(_ATTEMPTS_MAX):
        response = await client.post(path, json=body, headers=_bearer(token))
        answer: dict[str, Any] = response.json()
        if response.is_success:
            return answer
        tally.refusals[answer.get("reason", str(response.status_code))] += 1
        if answer.get("class") not in _RETRY_CLASSES:
            return None
        await asyncio.sleep(0.1 * 2**attempt)
    return None


async def _setup(
    client: httpx.AsyncClient, path: str, credential: str, body: dict[str, Any]
) -> dict[str, Any]:
    """An answer without which there is nothing to play. Raises LocalError with the reason."""
    response = await client.post(path, json=body, headers=_bearer(credential))
    return _checked(response, path)


async def _get(client: httpx.AsyncClient, path: str, *, token: str = "") -> dict[str, Any]:
    return _checked(await client.get(path, headers=_bearer(token)), path)


def _checked(response: httpx.Response, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = response.json()
    if response.is_success:
        return answer
    raise LocalError(f"{path}: {response.status_code} {answer.get('reason', '')} {answer.get('detail', '')}")


def _bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"} if credential else {}


def _amount(amount_minor: int) -> dict[str, Any]:
    return {"currency_code": CURRENCY, "amount_minor": amount_minor}


def _print_tally(console: Console, tally: Tally, elapsed_s: float) -> None:
    table = Table(show_header=False, box=None)
    rows = [
        ("spins", f"{tally.spins} in {elapsed_s:.1f} s = {tally.spins / elapsed_s:.0f} spins/s"),
        ("choices", str(tally.choices)),
        ("stakes", _euros(tally.stake_minor)),
        ("wins", _euros(tally.win_minor)),
        ("balances", f"{_euros(tally.balance_minor)} in all"),
        (
            "refusals",
            ", ".join(f"{reason} {count}" for reason, count in tally.refusals.most_common()) or "none",
        ),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _euros(amount_minor: int) -> str:
    # Text only: amounts are never calculated with as a fraction.
    return f"{amount_minor // 100}.{amount_minor % 100:02d} {CURRENCY}"


async def _print_trace(console: Console, url: str) -> None:
    """The last spin's trace, once its spans stopped arriving."""
    spans: list[dict[str, Any]] = []
    deadline, seen = time.monotonic() + _TRACE_WAIT_S, -1
    async with httpx.AsyncClient(trust_env=False) as client:
        while time.monotonic() < deadline and (not spans or len(spans) > seen):
            seen = len(spans)
            await asyncio.sleep(0.7)
            try:
                response = await client.get(url)
            except httpx.HTTPError:
                console.print("no trace receiver of `make run` answers: the trace is with your collector")
                return
            spans = response.json().get("spans", [])
    console.print(f"\ntrace {url}", soft_wrap=True)
    for line in waterfall(spans):
        console.print(line, soft_wrap=True, markup=False)
