"""Rows of the table: what operators read of the wallet."""

from reelmesh.wallet.v1 import wallet_pb2

from tests.contract.rows_fields import Row
from tests.mesh.asking import Request
from tests.mesh.stage import Stage, new_id


def _read(stage: Stage, transaction_id: str, *, operator_id: str = "dev") -> Request:
    request = wallet_pb2.GetTransactionsRequest(operator_id=operator_id, transaction_id=transaction_id)
    return stage.internal("wallet", "GetTransactions", request)


async def unknown_transaction(stage: Stage) -> Request:
    return _read(stage, new_id())


async def transaction_of_another_operator(stage: Stage) -> Request:
    player = await stage.player()
    round_id = (await player.spin(100)).body["round"]["round_id"]
    assert (await stage.answer(_read(stage, round_id))).transactions
    return _read(stage, round_id, operator_id="other")


async def round_that_moved_nothing(stage: Stage) -> Request:
    """Drawn, and never settled."""
    played = await stage.play(await stage.player(), new_id())
    return _read(stage, played.round.round_id)


ROWS = [
    Row("TRANSACTION_NOT_FOUND", "an unknown id", unknown_transaction),
    Row("TRANSACTION_NOT_FOUND", "another operator's round", transaction_of_another_operator),
    Row("TRANSACTION_NOT_FOUND", "a round that moved nothing", round_that_moved_nothing),
]
