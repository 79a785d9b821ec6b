"""Currencies at the wallet: an installation's own, and scales that never change under people's money."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.common.currencies import CURRENCIES, register
from services.common.errors import DomainError
from services.wallet import currencies
from services.wallet.currencies import ScaleChanged
from tests.databases import Databases
from tests.integration.wallet.barrier import until_waiting
from tests.integration.wallet.harness import APPLIED, DEMO, REFUSED, Wallet, money


@pytest.fixture
def gold(tmp_path: Path) -> Iterator[str]:
    """The path of a file that adds GLD, without a minor unit, and WEI with 18 digits; both are registered."""
    path = tmp_path / "currencies.yaml"
    path.write_text("GLD: 0\nWEI: 18\n")
    register(str(path))
    yield str(path)
    del CURRENCIES["GLD"], CURRENCIES["WEI"]


@pytest.mark.parametrize("code", ["GLD", "WEI"])
async def test_a_currency_of_the_installation_s_own_is_opened_paid_in_played_and_paid_out(
    wallet: Wallet, gold: str, code: str
) -> None:
    account_id = await wallet.open(currency_code=code)
    await wallet.deposit(account_id, 500, currency_code=code)
    settled = await wallet.settle(account_id, stake=100, win=2**53, currency_code=code)
    assert (settled.status, settled.balance_after) == (APPLIED, money(400 + 2**53, code))
    assert (await wallet.settle(account_id, stake=2**53, currency_code=code)).status == APPLIED
    assert (await wallet.settle(account_id, stake=401, currency_code=code)).status == REFUSED
    await wallet.withdraw(account_id, 400, currency_code=code)
    assert (await wallet.account(account_id)).balance == money(0, code)
    assert (
        await wallet.scalar("select scale from currency where currency_code = :code", code=code)
        == (CURRENCIES[code])
    )


async def test_a_currency_that_nobody_registered_is_unknown_again(wallet: Wallet) -> None:
    with pytest.raises(DomainError, match="CURRENCY_UNKNOWN"):
        await wallet.open(currency_code="GLD")


# domain.md case 18: no minor unit, a thousandth, eight digits. Amounts are whole minor units from end to end.
@pytest.mark.parametrize(("code", "scale"), [("JPY", 0), ("USD", 2), ("KWD", 3), ("CLF", 4), ("BTC", 8)])
async def test_amounts_of_every_scale_come_back_as_they_went_in(
    wallet: Wallet, code: str, scale: int
) -> None:
    amount = 1_234_567_890_123
    account_id = await wallet.open(currency_code=code)
    deposit = await wallet.deposit(account_id, amount, currency_code=code)
    assert deposit.transfer.amount == money(amount, code) == deposit.transfer.balance_after
    settled = await wallet.settle(account_id, stake=1, win=2, currency_code=code)
    assert (settled.stake, settled.win) == (money(1, code), money(2, code))
    assert (await wallet.account(account_id)).balance == money(amount + 1, code)
    assert await wallet.scalar("select scale from currency where currency_code = :code", code=code) == scale


@pytest.fixture
def dearer() -> Iterator[None]:
    """A registry that says that a euro has a thousand minor units."""
    CURRENCIES["EUR"] = 3
    yield
    CURRENCIES["EUR"] = 2


async def test_nobody_opens_or_finds_an_account_whose_currency_has_another_scale_now(
    wallet: Wallet, dearer: None
) -> None:
    CURRENCIES["EUR"] = 2
    await wallet.open(player_id="known")
    CURRENCIES["EUR"] = 3
    for player_id, kind in (("known", 1), ("known", DEMO), ("new", 1)):
        with pytest.raises(ScaleChanged, match="EUR were opened with scale 2, the registry says 3"):
            await wallet.open(player_id=player_id, kind=kind)  # type: ignore[arg-type]
    # Other currencies go on.
    await wallet.open(player_id="new", currency_code="USD")


async def test_the_wallet_does_not_start_on_another_scale(
    database: Callable[[str], str], dearer: None
) -> None:
    async with Wallet(database("wallet")) as wallet:
        await currencies.check_scales(wallet.engine)
        CURRENCIES["EUR"] = 2
        await wallet.open()
        await currencies.check_scales(wallet.engine)
        CURRENCIES["EUR"] = 3
        with pytest.raises(SystemExit) as caught:
            await currencies.check_scales(wallet.engine)
    assert caught.value.code == "wallet: accounts in EUR were opened with scale 2, the registry says 3"


async def test_a_currency_that_is_registered_no_more_keeps_its_accounts(
    database: Callable[[str], str], gold: str
) -> None:
    async with Wallet(database("wallet")) as wallet:
        account_id = await wallet.open(currency_code="GLD")
        del CURRENCIES["GLD"]
        await currencies.check_scales(wallet.engine)
        assert (await wallet.account(account_id)).balance == money(0, "GLD")
        CURRENCIES["GLD"] = 0


async def test_two_replicas_of_other_registries_pin_one_scale(database: Callable[[str], str]) -> None:
    """The second waits for the first one's row and then reads it, instead of its own."""
    async with Wallet(database("wallet")) as wallet:
        engine = wallet.engine
        async with engine.connect() as first, engine.connect() as second, engine.connect() as watcher:
            await currencies.pin_scale(first, currency_code="EUR")
            CURRENCIES["EUR"] = 3
            try:
                other = asyncio.create_task(currencies.pin_scale(second, currency_code="EUR"))
                await until_waiting(watcher, 1)
                await first.commit()
                with pytest.raises(ScaleChanged):
                    await other
            finally:
                CURRENCIES["EUR"] = 2


def start(url: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """A wallet process that ends by itself."""
    environment = {
        **os.environ,
        "REELMESH_GRPC_PORT": "0",
        "REELMESH_ADMIN_PORT": "0",
        "REELMESH_DATABASE_URL": url,
        "REELMESH_IDENTITY_KEY": "identity-key-of-the-tests",
        "REELMESH_SEAL_KEY": "seal-key",
        "REELMESH_EVENTS_TARGET": "dns:///127.0.0.1:1",
        "REELMESH_LOG_FORMAT": "text",
        "PYTHONPATH": os.pathsep.join(sys.path),
        **settings,
    }
    command = [sys.executable, "-m", "services.wallet"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


async def test_a_wallet_process_ends_with_one_line_about_its_currencies(
    databases: Databases, tmp_path: Path
) -> None:
    url, path = databases.create("wallet"), tmp_path / "own.yaml"
    try:
        path.write_text("USD: 4\n")
        bad = await asyncio.to_thread(start, url, REELMESH_CURRENCIES_PATH=str(path))
        assert (bad.returncode, bad.stderr) == (1, f"currencies: {path}: the scale of USD is 2, not 4\n")
        register_gold(path)
        async with Wallet(url) as wallet:
            await wallet.open(currency_code="GLD")
        del CURRENCIES["GLD"]
        path.write_text("GLD: 2\n")
        changed = await asyncio.to_thread(start, url, REELMESH_CURRENCIES_PATH=str(path))
        assert changed.returncode == 1
        assert changed.stderr == "wallet: accounts in GLD were opened with scale 0, the registry says 2\n"
    finally:
        CURRENCIES.pop("GLD", None)
        databases.drop(url)


def register_gold(path: Path) -> None:
    path.write_text("GLD: 0\n")
    register(str(path))
