"""python -m deploy.reference_wallet: an operator's wallet for development (docs/external_wallet.md)."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from deploy.reference_wallet.faults import Faults
from deploy.reference_wallet.wallet import Wallet, serve

_OPEN = text("""
insert into player (player_id, currency_code, balance_minor)
values (:player_id, :currency_code, :balance_minor)
on conflict do nothing
""")


def main(
    database_url: Annotated[str, typer.Option(envvar="REFERENCE_WALLET_DATABASE_URL", show_envvar=True)],
    cert: Annotated[Path, typer.Option(help="PEM: its certificate, and who signed it")],
    key: Annotated[Path, typer.Option(help="PEM: its private key")],
    token_file: Annotated[Path, typer.Option(help="the bearer token that callers must show")],
    listen: Annotated[str, typer.Option(help="host:port")] = "127.0.0.1:9443",
    player: Annotated[list[str] | None, typer.Option(help="opens ann:USD:100000, in minor units")] = None,
    faults: Annotated[int | None, typer.Option(help="seed: three calls in ten go wrong")] = None,
) -> None:
    """Serves ExternalWalletService over TLS from the tables of its own database, until SIGTERM."""
    tls = (key.read_bytes(), cert.read_bytes())
    token = token_file.read_text().strip()
    asyncio.run(_main(database_url, tls, token, listen, player or [], faults))


async def _main(
    database_url: str, tls: tuple[bytes, bytes], token: str, listen: str, players: list[str], seed: int | None
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    engine = create_async_engine(database_url, pool_size=10)
    wallet = Wallet(engine)
    await wallet.create_tables()
    async with engine.begin() as conn:
        for one in players:
            player_id, currency_code, balance_minor = one.rsplit(":", 2)
            values = {"player_id": player_id, "currency_code": currency_code}
            await conn.execute(_OPEN, {**values, "balance_minor": int(balance_minor)})
    servicer: Any = wallet if seed is None else Faults(wallet, seed=seed)
    print(f"reference wallet: {listen}" + ("" if seed is None else f", faults by seed {seed}"), flush=True)
    await serve(servicer, listen=listen, tls=tls, token=token, stop=stop)
    if isinstance(servicer, Faults):
        print(
            "faults:",
            *(f"{kind or 'none'} {count}" for kind, count in sorted(servicer.done.items())),
            flush=True,
        )
    await engine.dispose()


if __name__ == "__main__":
    try:
        typer.run(main)
    except OSError as error:
        sys.exit(f"reference wallet: {error}")
    except OperationalError as error:
        sys.exit(f"reference wallet: {str(error.orig).splitlines()[0]}")
