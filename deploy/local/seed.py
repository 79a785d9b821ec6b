"""The development operator: the one place that writes to a service's database from outside."""

import asyncio
from pathlib import Path

from services.common.db import create_engine
from services.gateway.operators.operators import new_api_key, seed_operator

OPERATOR_ID = "dev"
# Accepted for real money only in REELMESH_ENV=development.
JURISDICTION = "none"


def development_api_key(path: Path) -> str:
    """The key kept in the file; a new one at the first use."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(new_api_key() + "\n")
    return path.read_text().strip()


def seed(gateway_database_url: str, api_key: str, *, operator_id: str = OPERATOR_ID) -> None:
    """Makes sure that the operator and its key are in the gateway's database."""
    asyncio.run(_seed(gateway_database_url, api_key, operator_id))


async def _seed(url: str, api_key: str, operator_id: str) -> None:
    engine = create_engine(url, pool_size=1, application_name="reelmesh-seed")
    try:
        await seed_operator(
            engine,
            operator_id=operator_id,
            display_name=f"Operator {operator_id}",
            jurisdiction=JURISDICTION,
            api_key=api_key,
        )
    finally:
        await engine.dispose()
