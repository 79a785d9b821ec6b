"""`make play`: players spin over REST against the running mesh; then one of their traces as a waterfall."""

import asyncio
import random
import ssl
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deploy.local.errors import LocalError, NobodyAnswers
from deploy.local.waterfall import linked, relayed, waterfall

CURRENCY = "EUR"
DEPOSIT_MINOR = 20_000
# A request is repeated, with its id, while its answer allows that; as long without any answer.
_REPEAT_S = 10.0
_REPEAT_WAIT_S_MAX = 1.0
_RETRY_CLASSES = ("RETRY_SAME_ID", "NOT_YET")
_TRACE_WAIT_S = 5.0


@dataclass(slots=True)
class Tally:
    """What the players saw. Amounts are EUR cents."""

    spins: int = 0
    choices: int = 0
    # Rounds that an earlier play left open.
    collected: int = 0
    stake_minor: int = 0
    win_minor: int = 0
    balance_minor: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    trace_id: str = ""


def play(
    console: Console,
    *,
    spins: int,
    players: int,
    rest_url: str,
    traces_url: str,
    api_key: str,
    game_id: str = "",
    verify: ssl.SSLContext | bool = True,
) -> None:
    """Plays `spins` rounds in all, shared by `players` concurrent players, 1 or more; at one game, or each
    at the next of those on offer. `traces_url` is the trace receiver's; `verify` says whom to believe over
    https. Raises LocalError.
    """
    try:
        tally = asyncio.run(_play(console, spins, players, rest_url, api_key, game_id, verify))
        if tally.trace_id:
            asyncio.run(_print_trace(console, traces_url, tally.trace_id))
    except httpx.ConnectError:
        raise NobodyAnswers(f"nothing answers at {rest_url}: start the mesh with `make run` first") from None
    except httpx.HTTPError as error:
        raise _silent(rest_url, error) from None


async def _play(
    console: Console,
    spins: int,
    players: int,
    rest_url: str,
    api_key: str,
    game_id: str,
    verify: ssl.SSLContext | bool,
) -> Tally:
    tally = Tally()
    limits = httpx.Limits(max_connections=players)
    # trust_env off: a proxy of the environment is not for this machine's own ports.
    async with httpx.AsyncClient(
        base_url=rest_url, limits=limits, timeout=10.0, trust_env=False, verify=verify
    ) as client:
        offered = [game["game_id"] for game in (await _get(client, "/v1/games"))["games"]]
        if game_id and game_id not in offered:
            raise LocalError(f"no game {game_id} is on offer, but {', '.join(offered)}")
        games = [game_id] if game_id else offered
        seated = await asyncio.gather(
            *(
                seat(client, api_key, f"player-{number + 1}", games[number % len(games)], tally)
                for number in range(players)
            )
        )
        started = time.monotonic()
        with Progress(console=console) as progress:
            task = progress.add_task(f"{spins} spins by {players} players", total=spins)
            shares = [spins // players + (number < spins % players) for number in range(players)]
            await asyncio.gather(
                *(
                    player.play(share, lambda: progress.advance(task))
                    for player, share in zip(seated, shares, strict=True)
                )
            )
        elapsed_s = time.monotonic() - started
        for player in seated:
            balance = await _get(client, "/v1/balance", token=player.token)
            tally.balance_minor += balance["balance"]["amount_minor"]
    _print_tally(console, tally, elapsed_s)
    return tally


async def seat(
    client: httpx.AsyncClient, api_key: str, player_id: str, game_id: str, tally: Tally
) -> "Player":
    """Funds a player and opens a session; the round that it hands over is collected if it is open."""
    deposit = {"request_id": str(uuid.uuid4()), "amount": _amount(DEPOSIT_MINOR)}
    await _setup(client, f"/v1/players/{player_id}/deposits", api_key, deposit)
    session = {
        "request_id": str(uuid.uuid4()),
        "player_id": player_id,
        "game_id": game_id,
        "currency_code": CURRENCY,
    }
    created = await _setup(client, "/v1/sessions", api_key, session)
    exchanged = await _setup(client, "/v1/sessions/exchange", "", {"launch_code": created["launch_code"]})
    player = Player(client, exchanged["token"], exchanged["game"], tally)
    if exchanged["round"] is not None:
        await player.collect(exchanged["round"])
    return player


@dataclass(slots=True)
class Player:
    """One session."""

    client: httpx.AsyncClient
    token: str
    game: dict[str, Any]
    tally: Tally

    async def play(self, spins: int, advance: Callable[[], None]) -> None:
        """Spin after spin; a round that offers a choice is doubled up or collected by a coin toss."""
        low = cheap_stakes(self.game)
        for _ in range(spins):
            mode, stake_minor = random.choice(low)
            round_ = await self.spin(stake_minor, mode)
            while round_ is not None and round_["state"] == "OPEN":
                self.tally.choices += 1
                round_ = await self._decide(round_, random.choice(round_["choices"]))
            if round_ is not None and round_["win"] is not None:
                self.tally.win_minor += round_["win"]["amount_minor"]
            advance()

    async def spin(self, stake_minor: int, mode: str = "base") -> dict[str, Any] | None:
        """The round; None when it was refused. Beside an open round, that one is collected first."""
        deadline = time.monotonic() + _REPEAT_S
        while True:
            body = {"request_id": str(uuid.uuid4()), "stake": _amount(stake_minor), "mode": mode}
            answer = await self._post("/v1/spins", body)
            if "round" in answer:
                round_: dict[str, Any] = answer["round"]
                self.tally.spins += 1
                self.tally.stake_minor += stake_minor
                self.tally.trace_id = round_["trace_id"] or self.tally.trace_id
                return round_
            if answer.get("reason") != "ROUND_OPEN" or time.monotonic() > deadline:
                return None
            path = f"/v1/rounds/{answer['metadata']['round_id']}"
            if not await self.collect(await _get(self.client, path, token=self.token)):
                await asyncio.sleep(0.1)  # its payout is under way

    async def collect(self, round_: dict[str, Any]) -> bool:
        """Ends a round that waits for a choice; False when it waits for none."""
        if round_["state"] != "OPEN":
            return False
        self.tally.collected += 1
        return await self._decide(round_, "COLLECT") is not None

    async def _decide(self, round_: dict[str, Any], choice: str) -> dict[str, Any] | None:
        """The round after that choice; None when it was refused."""
        body = {"step": round_["step_next"], "choice": choice}
        return (await self._post(f"/v1/rounds/{round_['round_id']}/steps", body)).get("round")

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer or the problem, after repeats of the same request where its class or silence allows.

        Raises LocalError when nothing answers for longer than that.
        """
        deadline, wait_s = time.monotonic() + _REPEAT_S, 0.1
        while True:
            try:
                response = await self.client.post(path, json=body, headers=_bearer(self.token))
            except httpx.TransportError as error:
                self.tally.refusals["no answer"] += 1
                if time.monotonic() > deadline:
                    raise _silent(str(self.client.base_url), error) from None
            else:
                answer: dict[str, Any] = response.json()
                if response.is_success:
                    return answer
                self.tally.refusals[answer.get("reason", str(response.status_code))] += 1
                if answer.get("class") not in _RETRY_CLASSES or time.monotonic() > deadline:
                    return answer
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, _REPEAT_WAIT_S_MAX)


def cheap_stakes(game: dict[str, Any]) -> list[tuple[str, int]]:
    """Mode and stake of what a deposit is good for a hundred times; else the lowest bet of mode base."""
    ladder = next(ladder for ladder in game["bet_ladders"] if ladder["currency_code"] == CURRENCY)
    offers = [
        (mode["mode"], Decimal(mode["cost"]) * bet_minor)
        for mode in game["modes"]
        for bet_minor in ladder["stakes_minor"]
    ]
    cheap = [
        (mode, int(stake_minor))
        for mode, stake_minor in offers
        if stake_minor <= DEPOSIT_MINOR // 100 and stake_minor == int(stake_minor)
    ]
    return cheap or [("base", ladder["stakes_minor"][0])]


def _silent(rest_url: str, error: httpx.HTTPError) -> LocalError:
    why = f"{type(error).__name__} {error}".strip()
    return NobodyAnswers(
        f"{rest_url} stopped answering ({why}): see the terminal of `make run`, then play again"
    )


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
    if tally.collected:
        rows.insert(2, ("collected", f"{tally.collected} of an earlier play's open rounds"))
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _euros(amount_minor: int) -> str:
    # Text only: amounts are never calculated with as a fraction.
    return f"{amount_minor // 100}.{amount_minor % 100:02d} {CURRENCY}"


async def _print_trace(console: Console, traces_url: str, trace_id: str) -> None:
    """The last spin's trace, once its spans stopped arriving and its events' relays are among its links."""
    spans: list[dict[str, Any]] = []
    linked_from: list[dict[str, Any]] = []
    deadline, seen = time.monotonic() + _TRACE_WAIT_S, -1
    async with httpx.AsyncClient(trust_env=False) as client:
        while time.monotonic() < deadline and (len(spans) > seen or not relayed(linked_from)):
            seen = len(spans)
            await asyncio.sleep(0.7)
            try:
                response = await client.get(f"{traces_url}/traces/{trace_id}")
            except httpx.HTTPError:
                console.print("no trace receiver of `make run` answers: the trace is with your collector")
                return
            answer = response.json()
            spans, linked_from = answer.get("spans", []), answer.get("linked_from", [])
    console.print(f"\ntrace {trace_id}, in a browser: {traces_url}/?trace_id={trace_id}", soft_wrap=True)
    for line in (*waterfall(spans), *linked(linked_from)):
        console.print(line, soft_wrap=True, markup=False)
