"""The words of a round, as they read in a log or an exception."""

import pytest
from msgspec.structs import replace

from services.game import seal
from services.game.records import SettleStep, State, Status
from tests.unit.game.test_settlements import CHOICE, DECIDED, ROUND, settlement

WIN_MINOR = 424_242
HIDDEN = replace(ROUND, win_minor=WIN_MINOR, outcome=b'{"stops":[39,41,43]}')
SETTLING = replace(
    CHOICE, state=State.SETTLING, steps=(DECIDED[0]._replace(card="RED", at_risk_minor=WIN_MINOR),)
)


@pytest.mark.parametrize(
    "word",
    [
        HIDDEN,
        replace(HIDDEN, paid_minor=WIN_MINOR, balance_after_minor=WIN_MINOR),
        SETTLING,
        seal.settle_of(HIDDEN, key=b"k"),
        seal.payout_of(SETTLING, key=b"k"),
        settlement(SettleStep.FUSED, Status.APPLIED, win_minor=WIN_MINOR, balance_after_minor=WIN_MINOR),
    ],
    ids=lambda word: type(word).__name__,
)
def test_their_text_names_the_round_and_hides_what_was_drawn(word: object) -> None:
    for text in (repr(word), str(word), f"{word}", f"{[word]}"):
        assert ROUND.round_id in text
        # The amount of the stake is the player's own, but no amount at all is simpler to keep.
        for hidden in (str(WIN_MINOR), "stops", "39", "RED", str(ROUND.stake_minor)):
            assert hidden not in text.replace(ROUND.round_id, "")
