"""Where the cases are: a function per number, for both contracts or for one of them."""

from collections.abc import Awaitable, Callable

from reelmesh.conformance.catalogue import EXTERNAL, ROWS, WALLET

# Takes the trial, returns what was seen. Typed by the case itself: some are for one contract only.
Case = Callable[..., Awaitable[str]]
CASES: dict[tuple[str, str], Case] = {}
_NUMBERS = frozenset(row.number for row in ROWS)


def case(number: str, *dialects: str) -> Callable[[Case], Case]:
    """Registers the function as the case of this number, in both dialects unless some are named."""
    assert number in _NUMBERS, f"the catalogue has no case {number}"

    def register(function: Case) -> Case:
        for dialect in dialects or (WALLET, EXTERNAL):
            assert (number, dialect) not in CASES, f"case {number} is there twice"
            CASES[number, dialect] = function
        return function

    return register


def find(number: str, dialect: str) -> Case | None:
    """The function of a case, if it has one for this contract."""
    return CASES.get((number, dialect))
