"""What a request must look like, before anything is asked of the database."""

from typing import Any

import pytest
from reelmesh.type.v1 import account_kind_pb2, money_pb2
from reelmesh.wallet.v1 import wallet_pb2

from services.common.errors import DomainError
from services.common.fields import AMOUNT_MINOR_MAX
from services.wallet import messages
from services.wallet.records import Kind, Status, Step

ROUND_ID = "019ab3c4-5d6e-7f80-9a1b-2c3d4e5f6071"
STEPS = {step.name: wallet_pb2.SettleStep.ValueType(step) for step in Step}


def euros(amount_minor: int, currency_code: str = "EUR") -> money_pb2.Money:
    """An amount."""
    return money_pb2.Money(currency_code=currency_code, amount_minor=amount_minor)


def settle(step: Any = "FUSED", stake: Any = 100, win: Any = 0, **changes: Any) -> wallet_pb2.SettleRequest:
    """A settle that is in order, but for what the test changes; None leaves a field out."""
    fields: dict[str, Any] = {"round_id": ROUND_ID, "account_id": 2, "game_id": "lucky-lines", **changes}
    fields["step"] = STEPS.get(step, step)
    for name, amount in (("stake", stake), ("win", win)):
        fields[name] = euros(amount) if isinstance(amount, int) else amount
    return wallet_pb2.SettleRequest(**{name: value for name, value in fields.items() if value is not None})


@pytest.mark.parametrize(
    ("request_", "amounts"),
    [
        (settle("FUSED", 100, 30), (100, 30)),
        (settle("FUSED", 100, 0), (100, 0)),
        (settle("FUSED", 100, win=None), (100, 0)),
        (settle("FUSED", AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX), (AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX)),
        (settle("STAKE", 100, 0), (100, 0)),
        (settle("STAKE", 100, win=None), (100, 0)),
        (settle("PAYOUT", 0, 30), (0, 30)),
        (settle("PAYOUT", 0, 0), (0, 0)),
        (settle("PAYOUT", win=euros(30), stake=None), (0, 30)),
    ],
)
def test_a_settle_in_order_is_parsed(request_: wallet_pb2.SettleRequest, amounts: tuple[int, int]) -> None:
    item = messages.parse_settle(request_, traceparent="t")
    assert (item.stake_minor, item.win_minor) == amounts
    assert (item.round_id, item.account_id, item.currency_code) == (ROUND_ID, 2, "EUR")
    assert (item.game_id, item.traceparent) == ("lucky-lines", "t")


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (settle(round_id=None), "FIELD_MISSING", "round_id"),
        (settle(round_id="round-1"), "FIELD_INVALID", "round_id"),
        (settle(step=None), "FIELD_MISSING", "step"),
        (settle(step=9), "FIELD_INVALID", "step"),
        (settle(account_id=None), "FIELD_MISSING", "account_id"),
        (settle(account_id=-1), "FIELD_INVALID", "account_id"),
        (settle(game_id=None), "FIELD_MISSING", "game_id"),
        (settle(game_id="a|b"), "FIELD_INVALID", "game_id"),
        (settle(game_id="x" * 129), "FIELD_INVALID", "game_id"),
        (settle(stake=None), "FIELD_MISSING", "stake"),
        (settle(stake=0), "AMOUNT_NOT_POSITIVE", "stake"),
        (settle(stake=-1), "AMOUNT_NOT_POSITIVE", "stake"),
        (settle(stake=AMOUNT_MINOR_MAX + 1), "AMOUNT_TOO_LARGE", "stake"),
        (settle(win=-1), "AMOUNT_NOT_POSITIVE", "win"),
        (settle(win=AMOUNT_MINOR_MAX + 1), "AMOUNT_TOO_LARGE", "win"),
        (settle("STAKE", 100, 1), "FIELD_INVALID", "win"),
        (settle("PAYOUT", 1, 30), "FIELD_INVALID", "stake"),
        (settle("PAYOUT", stake=0, win=None), "FIELD_MISSING", "win"),
        (settle("PAYOUT", 0, -1), "AMOUNT_NOT_POSITIVE", "win"),
        (settle(stake=euros(1, "eur")), "CURRENCY_UNKNOWN", ""),
        (settle(win=euros(1, "XXX")), "CURRENCY_UNKNOWN", ""),
        (settle(win=euros(1, "USD")), "CURRENCY_MISMATCH", ""),
        (settle(win=euros(0, "USD")), "CURRENCY_MISMATCH", ""),
    ],
)
def test_a_settle_that_makes_no_sense_is_refused(
    request_: wallet_pb2.SettleRequest, reason: str, field: str
) -> None:
    with pytest.raises(DomainError) as caught:
        messages.parse_settle(request_, traceparent="")
    assert (caught.value.reason, caught.value.metadata.get("field", "")) == (reason, field)


def test_the_numbers_of_the_records_are_those_of_the_contract() -> None:
    assert int(Step.VOID) == wallet_pb2.SETTLE_STEP_UNSPECIFIED
    for step in (Step.FUSED, Step.STAKE, Step.PAYOUT):
        assert wallet_pb2.SettleStep.Value(f"SETTLE_STEP_{step.name}") == int(step)
    for status in Status:
        assert wallet_pb2.SettlementStatus.Value(f"SETTLEMENT_STATUS_{status.name}") == int(status)
    for kind in Kind:
        assert account_kind_pb2.AccountKind.Value(f"ACCOUNT_KIND_{kind.name}") == int(kind)
