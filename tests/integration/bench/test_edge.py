"""The bench's empty edge answers what a mesh would."""

import asyncio
import os
import sys

import httpx

from deploy.local.mesh import REPOSITORY
from deploy.local.ports import free_ports

SPIN = {"request_id": "0192f0c1-2d3e-7abc-8def-0123456789ab"}
SPIN_STAKE = {"currency_code": "EUR", "amount_minor": 100}


async def test_the_empty_edge_settles_every_spin() -> None:
    [port] = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.edge",
        str(port),
        "0.1",
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'gen'}"},
        stdout=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}/v1/spins"
    try:
        async with httpx.AsyncClient(verify=False) as client, asyncio.timeout(20):
            while True:
                try:
                    answer = await client.post(
                        url, headers={"authorization": "Bearer none"}, json={**SPIN, "stake": SPIN_STAKE}
                    )
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.05)
        assert answer.status_code == 200 and answer.json()["round"]["state"] == "SETTLED"
    finally:
        process.kill()
        await process.wait()
