"""The rule of scales: what a minor unit is worth never changes once an account counts in it."""

import logging
import sys

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.common.currencies import CURRENCIES
from services.wallet import store

log = logging.getLogger(__name__)


class ScaleChanged(Exception):
    """The registry has another scale than the accounts. Nothing a caller could do: it hears INTERNAL."""


async def pin_scale(conn: AsyncConnection, *, currency_code: str) -> None:
    """Records the scale of a currency with its first account. Errors: ScaleChanged when it was another."""
    pinned = await store.find_scale(conn, currency_code=currency_code)
    if pinned is None:
        await store.insert_scale(conn, currency_code=currency_code, scale=CURRENCIES[currency_code])
        # Whoever was first: a replica may run with another registry.
        pinned = await store.find_scale(conn, currency_code=currency_code)
    if pinned != CURRENCIES[currency_code]:
        raise ScaleChanged(_problem(currency_code, pinned))


async def check_scales(engine: AsyncEngine) -> None:
    """Exits with one line when the registry contradicts the accounts.

    A database that does not answer at start is no reason to exit; `pin_scale` asks again at every opening.
    """
    try:
        async with engine.connect() as conn:
            scales = await store.list_scales(conn)
    except SQLAlchemyError:
        log.warning("the scales of the currencies are not checked: the database does not answer")
        return
    for currency_code, scale in scales.items():
        # A currency that is registered no more is refused at every door, and keeps its accounts.
        if CURRENCIES.get(currency_code, scale) != scale:
            sys.exit(f"wallet: {_problem(currency_code, scale)}")


def _problem(currency_code: str, pinned: int | None) -> str:
    registered = CURRENCIES[currency_code]
    return f"accounts in {currency_code} were opened with scale {pinned}, the registry says {registered}"
