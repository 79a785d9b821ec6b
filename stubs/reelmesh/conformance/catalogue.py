"""The numbered cases: title, where it comes from, and why a case is not one for a wallet."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

WALLET, EXTERNAL = "wallet", "external"


class Row(NamedTuple):
    """One case as it is listed. Sources are public contracts; [I] is our own addition."""

    number: str
    title: str
    source: str
    # By dialect, why it is not run there.
    skipped: Mapping[str, str] = MappingProxyType({})


_GRPC = "transport signature: gRPC has none"
_ROUNDS = "the round belongs to the game service, not to the wallet"
_SESSION = "limits, sessions and open rounds belong to the session service, not to the wallet"
_ENGINE = "belongs to the game engine, not to the wallet"
_FREE = "the contract has no free rounds: each is a round of its own"
_ONE_PLAYER = "an external wallet is given one player in one currency"


def _never(reason: str) -> dict[str, str]:
    return {WALLET: reason, EXTERNAL: reason}


SECTIONS = {
    "Transport": (
        Row("1", "valid balance call is answered", "BX 0001"),
        Row("2", "wrong signature is refused, ledger unchanged", "BX 0002"),
        Row("3", "credential absent", "BX 0003"),
        Row("4", "hostile key order", "BX 0004", _never(f"{_GRPC}; seals are over values, not over bytes")),
        Row("5", "\\u escapes in the body", "BX 0005", _never("protobuf has no escapes")),
        Row("6", "body above the limit is refused by its bytes", "BX 0006"),
        Row("7", "unknown extra field is accepted", "BX 0023"),
        Row("8", "missing field and wrong type are refused", "H-S"),
        Row("9", "empty transaction id is refused", "apidog"),
        Row(
            "10",
            "handler crash leaves the ledger unchanged",
            "BX 0022",
            _never("cannot be caused from outside"),
        ),
        Row("11", "stale timestamp is refused", "CWS", {EXTERNAL: "a bearer token carries no time"}),
        Row("12", "replay of a captured request changes nothing", "I"),
    ),
    "Money format": (
        Row("13", "stake of 0 or less is refused", "BX 0007"),
        Row("14", "amount beyond the range moves nothing", "BX 0008"),
        Row("15", "over-long number is refused before any arithmetic", "BX 0009"),
        Row("16", "lower-case currency is refused, not upcased", "BX 0010"),
        Row("17", "another and an unknown currency are refused", "H-S"),
        Row("18", "JPY, KWD and BTC round trip", "I", {EXTERNAL: _ONE_PLAYER}),
    ),
    "Bet and win": (
        Row("19", "bet and win in one call", "BX 0011", {EXTERNAL: "Stake and Payout are two calls"}),
        Row("20", "insufficient funds: refused with the actual balance", "BX 0012, H-S"),
        Row("21", "limit reached carries the balance", "BX 0024", _never(_SESSION)),
        Row("22", "all or nothing: a refused stake pays no win", "BX 0014", {EXTERNAL: "has no batches"}),
        Row("23", "win without a known bet pays nothing", "H-S"),
        Row("24", "win with an expired token succeeds", "H-S"),
        Row("25", "bet of an unknown or expired player is refused", "H-S"),
        Row("26", "zero win closes the round", "SG"),
        Row("27", "several wins: a round is paid once", "CWS"),
        Row("28", "win after the player was disabled is credited", "H-S"),
        Row("29", "win above the cap is refused by the engine", "OR 7", _never(_ENGINE)),
        Row("30", "NaN or negative multiplier fails closed", "OR 5", _never(_ENGINE)),
    ),
    "Idempotency": (
        Row("31", "same id, same body: the stored answer", "BX 0013"),
        Row("32", "same id, any changed field: refused", "H-S"),
        Row("33", "same id twice at once settles once", "OR"),
        Row("34", "repeat after a restart, and from another replica", "I"),
        Row("35", "repeat of a refused bet after a top-up is refused", "I"),
        Row("36", "id seen months later", "SG, H-W", _never("needs a round that is months old")),
    ),
    "Rollback": (
        Row("37", "rollback gives the stake back", "BX 0018"),
        Row("38", "replay of a rollback gives nothing more", "BX 0017"),
        Row("39", "rollback of an unknown bet succeeds: tombstone", "BX 0015"),
        Row("40", "bet after its tombstone takes no money", "BX 0016"),
        Row("41", "rollback with an expired token succeeds", "H-S"),
        Row(
            "42",
            "rollback of a win that was spent: never below zero",
            "BX 0019",
            {EXTERNAL: "its Void never takes a win back (43)"},
        ),
        Row("43", "rollback of a settled bet changes nothing", "EV"),
        Row("44", "two rollbacks of one bet: one effect", "I"),
        Row("45", "rollback and its bet at once, both orders: net zero", "I"),
        Row("46", "concurrent reversals refund no more than was taken", "OR"),
        Row(
            "47",
            "out-of-order reversal",
            "OR",
            _never("rounds of one account roll back in any order, by contract"),
        ),
        Row("48", "rollback of a bet for another player is refused", "RTG"),
    ),
    "Rounds and time-outs": (
        Row("49", "wallet silent on a bet", "I", _never(_ROUNDS)),
        Row("50", "reply lost: retry with the same id, single debit", "I"),
        Row("51", "undeliverable win is retried", "I", _never(_ROUNDS)),
        Row("52", "refusal is final, time-out is refunded", "SG", _never(_ROUNDS)),
        Row("53", "finish, and finish again", "BX 0020, 0021", _never(_ROUNDS)),
        Row("54", "reconnect returns the same outcome", "SE", _never(_ROUNDS)),
        Row("55", "bet while a round is open", "GLI 4.16", _never(_SESSION)),
        Row("56", "autoclose fires", "OR ADR-003", _never(_ROUNDS)),
        Row("57", "session closed with an open round", "OR 05", _never(_SESSION)),
        Row("58", "free bet does not touch cash", "SG", _never(_FREE)),
        Row("59", "campaign cancelled while started", "SG", _never(_FREE)),
        Row("60", "campaign locked to its first game", "SG", _never(_FREE)),
        Row("61", "maths change between open and resume", "OR ADR-004", _never(_ENGINE)),
        Row("62", "parallel settles conserve the sum of balances", "OR"),
        Row("63", "ledger sum is the sum of its statement", "I", {EXTERNAL: "the contract has no statement"}),
    ),
    "Faults": (Row("F6", "64 stakes at once, funds for 8: exactly 8", "I"),),
}
ROWS = tuple(row for rows in SECTIONS.values() for row in rows)
