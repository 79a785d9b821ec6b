"""The accounts that the wallet's bench plays on: its auditor watches them, and finds nothing."""

import random
from collections.abc import Callable

import psycopg

from bench import ledger_rounds
from services.wallet import ledger
from services.wallet.audit import auditor
from services.wallet.records import Settlement, Status
from tests.integration.wallet.harness import Wallet


async def test_the_auditor_finds_nothing_on_the_accounts_of_the_bench(database: Callable[[str], str]) -> None:
    url = database("wallet")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        accounts = ledger_rounds.insert_accounts(connection, 20)
    async with Wallet(url) as wallet:
        for chance in (random.Random(1), random.Random(2)):
            answers = await ledger.settle_batch(wallet.engine, ledger_rounds.items(chance, accounts))
            assert all(isinstance(one, Settlement) and one.status is Status.APPLIED for one in answers)
        assert await auditor.audit_window(wallet.engine, since=auditor.FOREVER) == []
        findings, _ = await auditor.audit_everything(wallet.engine)
        assert [finding.check.name for finding in findings if finding.violations] == []
