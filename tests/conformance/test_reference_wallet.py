"""The reference wallet that operators may copy passes the kit, over TLS."""

import asyncio
from pathlib import Path

import pytest
from reelmesh.conformance import Trial, run
from reelmesh.conformance.catalogue import EXTERNAL, ROWS
from reelmesh.conformance.channels import Channels
from reelmesh.conformance.external_wallet import ExternalWallet
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.local.databases import Server
from deploy.local.ports import free_ports
from deploy.reference_wallet.wallet import Wallet, serve
from tests.integration.wheel.authority import Authority

# The reference wallet knows neither sessions nor blocked players, and restarts with its process.
UNSEEN = {"24", "28", "34", "41"}


@pytest.mark.tool("openssl")
async def test_the_reference_wallet_passes_the_kit(server: Server, tmp_path: Path) -> None:
    authority, [port] = Authority(tmp_path), free_ports(1)
    certificate, key = authority.issue("operator")
    server.create_role("reference")
    url = server.create_database("reference", "reference_wallet_conformance")
    engine, stop = create_async_engine(url, pool_size=10), asyncio.Event()
    wallet = Wallet(engine)
    await wallet.create_tables()
    async with engine.begin() as conn:
        await conn.execute(text("insert into player values ('pat', 'EUR', 1000)"))
    tls = (key.read_bytes(), certificate.read_bytes())
    serving = asyncio.ensure_future(
        serve(wallet, listen=f"127.0.0.1:{port}", tls=tls, token="token", stop=stop)
    )
    channels = Channels(f"127.0.0.1:{port}", tls_ca=authority.ca_file)
    try:
        await channels.reconnect()
        external = ExternalWallet(channels, player_id="pat", currency_code="EUR", token="token")
        results = await run(Trial(external))
        assert await external.put_back()
    finally:
        await channels.close()
        stop.set()
        await serving
        await engine.dispose()
        server.drop_database("reference_wallet_conformance")
    assert [result for result in results if result.status == "fail"] == []
    skipped = {result.row.number for result in results if result.status == "skip"}
    assert skipped == {row.number for row in ROWS if EXTERNAL in row.skipped} | UNSEEN
