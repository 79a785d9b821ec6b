"""What docs/events.md shows is run as it stands; and `make webhooks` against a service that listens."""

import asyncio
import io
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from reelmesh.events.v1 import events_pb2
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy.local.errors import LocalError
from deploy.local.webhooks import webhooks
from services.common import identity
from services.events.log import Log
from tests.integration.events.receivers import SECRET
from tests.integration.events.served import IDENTITY_KEY, Served, served
from tests.integration.events.test_archive import NEXT, OLD, archived, old_log
from tests.integration.events.written import batch, event

__all__ = ["old_log"]
ROOT = Path(__file__).parents[3]
SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "docs/events.md").read_text(), re.DOTALL)
# The second is the gateway's: tests/integration/docs runs it.
APPLY, _, SUBSCRIBE, VERIFY, CHAIN = SNIPPETS


def run(program: str, *arguments: str) -> tuple[int, str]:
    """Exit code, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "gen")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_reader_takes_every_version_once_and_in_order() -> None:
    namespace: dict[str, Any] = {}
    exec(APPLY, namespace)
    moved: list[int] = []
    versions: dict[int, int] = {}
    came = [1, 2, 2, 1, 3, 0, 3]
    new = [
        namespace["apply"](
            event(1, account_version=version) if version else events_pb2.Event(), versions, _note(moved)
        )
        for version in came
    ]
    assert moved == [1, 2, 3] and new == [True, True, False, False, True, True, False]


def _note(moved: list[int]) -> Any:
    return lambda one: moved.append(one.account_version)


async def test_the_subscriber_goes_on_from_its_cursor(engine: AsyncEngine) -> None:
    token = identity.sign("gateway", IDENTITY_KEY, 60)
    await Log(engine).append("wallet", [batch(number) for number in range(1, 4)])
    async with served(engine) as service:
        target = service.target.removeprefix("dns:///")
        code, said = await asyncio.to_thread(run, SUBSCRIBE, target, token, "")
        assert code == 0, said
        lines = said.splitlines()
        assert [line.split()[1:] for line in lines[:3]] == [
            ["wallet.settled", "7", str(n)] for n in (1, 2, 3)
        ]
        cursor = lines[3].split()[1]
        await Log(engine).append("wallet", [batch(number) for number in range(4, 7)])
        code, said = await asyncio.to_thread(run, SUBSCRIBE, target, token, cursor)
        assert [line.split()[3] for line in said.splitlines()[:3]] == ["4", "5", "6"]


def test_the_receiver_tells_a_delivery_from_a_forged_and_an_old_one() -> None:
    namespace: dict[str, Any] = {}
    exec(VERIFY, namespace)
    verify = namespace["verify"]
    [vector] = json.loads((ROOT / "tests/vectors/webhook.json").read_text())
    body, sent = vector["body"].encode(), int(vector["webhook-timestamp"])
    verify(vector, body, vector["secret"], now=lambda: sent + 10)
    verify(
        {**vector, "webhook-signature": f"v1,AAAA {vector['webhook-signature']}"},
        body,
        vector["secret"],
        lambda: sent,
    )
    for headers, text, now in (
        (vector, body + b" ", sent),
        ({**vector, "webhook-timestamp": str(sent + 1)}, body, sent),
        (vector, body, sent + 301),
    ):
        with pytest.raises(ValueError, match=r"signed|old"):
            verify(headers, text, vector["secret"], now=lambda at=now: at)


async def test_an_auditor_follows_an_archived_day_by_its_files(old_log: AsyncEngine, tmp_path: Path) -> None:
    await archived(old_log, tmp_path, before=NEXT)
    first = str(tmp_path / f"{OLD}")
    code, said = run(CHAIN, first)
    assert code == 0 and [line.split()[:2] for line in said.splitlines()] == [["game", "1"], ["wallet", "2"]]
    await archived(old_log, tmp_path, before=NEXT + timedelta(days=1))
    code, said = run(CHAIN, str(tmp_path / f"{NEXT}"), first)
    assert code == 0 and "wallet 4 " in said, said
    assert run(CHAIN, str(tmp_path / f"{NEXT}"))[0] == 1


class Command:
    """make webhooks."""

    def __init__(self, service: Served, directory: Path) -> None:
        self._target, self._keys = service.target, directory / "keys.json"
        self._keys.write_text(json.dumps({"identity_key": IDENTITY_KEY}))

    async def run(self, environ: dict[str, str] | None = None, **options: str) -> str:
        shown = io.StringIO()
        given = {
            "operator_id": "acme",
            "webhook_id": "",
            "action": "",
            "url": "",
            "event_types": "",
            **options,
        }
        await asyncio.to_thread(
            webhooks,
            Console(file=shown, width=80),
            target=self._target,
            keys_path=self._keys,
            environ=environ or {},
            **given,
        )
        return shown.getvalue()


async def test_make_webhooks_registers_shows_and_acts(engine: AsyncEngine, tmp_path: Path) -> None:
    async with served(engine) as service:
        command = Command(service, tmp_path)
        url = "https://casino.example/hooks"
        said = await command.run({"SECRET": SECRET}, action="create", url=url, event_types="round.settled")
        assert url in said and "whsec_" not in said
        webhook_id = said.split()[0]
        assert "whsec_" in await command.run(action="create", url=url)
        assert "2 webhooks of acme" in await command.run()
        assert "paused" in await command.run(webhook_id=webhook_id, action="pause")
        assert "active, round.settled" in await command.run(webhook_id=webhook_id, action="resume")
        assert "0 dead letters" in await command.run(webhook_id=webhook_id, action="dead")
        assert "0 dead letters" in await command.run(webhook_id=webhook_id, action="redeliver")
        assert "forgotten" in await command.run(webhook_id=webhook_id, action="delete")
        refused: list[Any] = [
            {"webhook_id": webhook_id},
            {"action": "pause"},
            {"action": "explode", "webhook_id": webhook_id},
            {"action": "create"},
            {"action": "delete", "webhook_id": webhook_id},
            {"action": "create", "url": "ftp://casino.example"},
        ]
        for options in refused:
            with pytest.raises(LocalError):
                await command.run(**options)
