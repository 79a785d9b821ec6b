"""Players over REST that behave as a good client must: one request id per spin, sent until it is answered.

Everything they were told is kept, so that a test can hold the databases against every acknowledged answer.
"""

import asyncio
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx

CURRENCY = "USD"
# A process that was killed is back well before.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer. `status` 0: the connection broke, nothing was learnt."""

    status: int
    body: dict[str, Any]

    @property
    def unknown(self) -> bool:
        """Whether the same id must be sent again."""
        return self.status == 0 or self.body.get("class") == "RETRY_SAME_ID"


@dataclass(slots=True)
class Heard:
    """All answers given to one id."""

    request_id: str
    answers: list[Answer] = field(default_factory=list)


class Client:
    """A thin REST client over one or more gateways; each call goes to any of them."""

    def __init__(self, base_urls: list[str], *, timeout_s: float = 10.0) -> None:
        # A reply that never comes must not hang a test that kills the server.
        # verify: there is no TLS here, and its context costs 90 ms.
        self._clients = [
            httpx.AsyncClient(base_url=url, timeout=timeout_s, verify=False) for url in base_urls
        ]

    async def call(
        self, method: str, path: str, *, credential: str = "", body: Any = None, gateway: int | None = None
    ) -> Answer:
        """One attempt."""
        if gateway is None:
            # Not in turn: players in step would each meet the same, perhaps dead, gateway for ever.
            gateway = random.randrange(len(self._clients))
        client = self._clients[gateway]
        headers = {"authorization": f"Bearer {credential}"} if credential else {}
        try:
            response = await client.request(method, path, headers=headers, json=body)
            return Answer(response.status_code, response.json() if response.content else {})
        except (httpx.TransportError, ValueError):
            return Answer(0, {})

    async def until_known(
        self,
        method: str,
        path: str,
        *,
        credential: str,
        body: Any,
        heard: Heard,
        patience_s: float = PATIENCE_SECONDS,
    ) -> Answer:
        """Repeats the same id until it is answered for good."""
        loop = asyncio.get_running_loop()
        end = loop.time() + patience_s
        while True:
            answer = await self.call(method, path, credential=credential, body=body)
            heard.answers.append(answer)
            if not answer.unknown or loop.time() > end:
                return answer
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._clients:
            await client.aclose()


@dataclass(slots=True)
class Player:
    """One player with a session; `spins` and `funds` hold what was heard."""

    client: Client
    api_key: str
    player_id: str
    game_id: str
    token: str = ""
    session_id: str = ""
    funded_minor: int = 0
    spins: list[Heard] = field(default_factory=list)
    funds: list[Heard] = field(default_factory=list)
    acts: list[Answer] = field(default_factory=list)

    async def fund(self, amount_minor: int) -> Answer:
        """A deposit, repeated until known."""
        heard = Heard(str(uuid.uuid4()))
        self.funds.append(heard)
        answer = await self.client.until_known(
            "POST",
            f"/v1/players/{self.player_id}/deposits",
            credential=self.api_key,
            body={"request_id": heard.request_id, "amount": amount(amount_minor)},
            heard=heard,
        )
        if answer.status == 200:
            self.funded_minor += amount_minor
        return answer

    async def withdraw(self, amount_minor: int) -> Answer:
        """A withdrawal, repeated until known."""
        heard = Heard(str(uuid.uuid4()))
        self.funds.append(heard)
        answer = await self.client.until_known(
            "POST",
            f"/v1/players/{self.player_id}/withdrawals",
            credential=self.api_key,
            body={"request_id": heard.request_id, "amount": amount(amount_minor)},
            heard=heard,
        )
        if answer.status == 200:
            self.funded_minor -= amount_minor
        return answer

    async def launch(self, **options: Any) -> Answer:
        """A session and its token. A code whose exchange was lost is spent: a new session is opened then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + PATIENCE_SECONDS
        while True:
            created = await self.client.until_known(
                "POST",
                "/v1/sessions",
                credential=self.api_key,
                body={
                    "request_id": str(uuid.uuid4()),
                    "player_id": self.player_id,
                    "game_id": self.game_id,
                    "currency_code": CURRENCY,
                    **options,
                },
                heard=Heard(""),
            )
            if created.status != 200:
                return created
            exchanged = await self.client.call(
                "POST", "/v1/sessions/exchange", body={"launch_code": created.body["launch_code"]}
            )
            if exchanged.status == 200:
                self.token, self.session_id = exchanged.body["token"], exchanged.body["session_id"]
                return exchanged
            if loop.time() > end:
                return exchanged
            await asyncio.sleep(0.2)

    async def spin(self, stake_minor: int, request_id: str | None = None) -> Answer:
        """One spin, repeated until known; an offered gamble is collected."""
        heard = Heard(request_id or str(uuid.uuid4()))
        self.spins.append(heard)
        answer = await self.client.until_known(
            "POST",
            "/v1/spins",
            credential=self.token,
            body={"request_id": heard.request_id, "stake": amount(stake_minor)},
            heard=heard,
        )
        return answer

    async def act(self, round_id: str, step: int, choice: str) -> Answer:
        """One choice, repeated until known."""
        answer = await self.client.until_known(
            "POST",
            f"/v1/rounds/{round_id}/steps",
            credential=self.token,
            body={"step": step, "choice": choice},
            heard=Heard(""),
        )
        self.acts.append(answer)
        return answer

    async def balance_minor(self) -> int:
        """The balance as the player reads it."""
        answer = await self.client.call("GET", "/v1/balance", credential=self.token)
        return int(answer.body["balance"]["amount_minor"])


def amount(amount_minor: int, currency_code: str = CURRENCY) -> dict[str, Any]:
    """An amount as JSON."""
    return {"currency_code": currency_code, "amount_minor": amount_minor}
