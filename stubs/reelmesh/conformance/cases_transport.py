"""Cases 1 to 18: what a call must look like, and money as it travels."""

from dataclasses import replace

from reelmesh.conformance.catalogue import EXTERNAL, WALLET
from reelmesh.conformance.external_wallet import ExternalWallet
from reelmesh.conformance.registry import case
from reelmesh.conformance.trial import (
    FUNDS_MINOR,
    STAKE_MINOR,
    Answer,
    Bet,
    Player,
    Skip,
    Trial,
    expect,
    expect_balance,
    expect_equal,
)
from reelmesh.conformance.wallet_service import FUSED, WalletService, service_of

_REFUSED_CALLER = ("UNAUTHENTICATED", "PERMISSION_DENIED")
# Field 1999, "x": no message has it.
_UNKNOWN_FIELD = b"\xfa\x7c\x01x"
# A number of twelve bytes; ten is the most that 64 bits take.
_LONG_NUMBER = b"\x10" + b"\xff" * 11 + b"\x01"
_BODY_BYTES = 5 * 1024 * 1024
_INT64_MAX = 2**63 - 1


async def _nothing_moves(trial: Trial, bet: Bet, before_minor: int, what: str) -> None:
    await expect_balance(trial.wallet, bet.player, before_minor, f"after {what}")


@case("1")
async def balance_is_answered(trial: Trial) -> str:
    """A call that is right is answered."""
    player = await trial.wallet.player()
    return f"balance {await trial.wallet.balance(player)}"


@case("2", WALLET)
async def wrong_seal(trial: Trial) -> str:
    """A settle whose amounts are not those that game sealed."""
    bet = await trial.bet()
    wallet = service_of(trial)
    request = wallet.settle_request(bet, FUSED, 5)
    request.win.amount_minor = 500
    answer = await wallet.send_stake(request.SerializeToString())
    expect("a settle with another win than its seal's", answer, "PERMISSION_DENIED")
    await _nothing_moves(trial, bet, FUNDS_MINOR, "it")
    return str(answer)


@case("2", EXTERNAL)
async def wrong_token(trial: Trial) -> str:
    """A stake with a token that is not the operator's."""
    return await _without_credential(trial, "conformance-wrong-token")


@case("3")
async def no_credential(trial: Trial) -> str:
    """A stake without identity or token."""
    return await _without_credential(trial, "")


async def _without_credential(trial: Trial, credential: str) -> str:
    wallet = trial.wallet
    if isinstance(wallet, ExternalWallet) and not wallet.token:
        raise Skip("needs --token: nothing says who may call")
    if isinstance(wallet, WalletService) and wallet.channels.mtls:
        raise Skip("over mutual TLS the certificate says who calls: without one there is no connection")
    bet = await trial.bet()
    before_minor = await wallet.balance(bet.player)
    answer = await wallet.send_stake(wallet.stake_body(bet), credential=credential)
    expect("the stake", answer, *_REFUSED_CALLER)
    await _nothing_moves(trial, bet, before_minor, "it")
    return str(answer)


@case("6")
async def large_body(trial: Trial) -> str:
    """A body of 5 MiB: refused by its size, whatever is in it."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    answer = await trial.wallet.send_stake(trial.wallet.stake_body(replace(bet, game_id="x" * _BODY_BYTES)))
    expect("a stake of 5 MiB", answer, "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT")
    await _nothing_moves(trial, bet, before_minor, "it")
    return str(answer)


@case("7")
async def unknown_field(trial: Trial) -> str:
    """A field of a newer contract is no reason to refuse."""
    bet = await trial.bet()
    answer = await trial.wallet.send_stake(trial.wallet.stake_body(bet) + _UNKNOWN_FIELD)
    expect("a stake with an unknown field", answer, "APPLIED")
    expect("the same without it", await trial.wallet.stake(bet), "APPLIED")
    return "accepted, and the same stake without it"


@case("8")
async def malformed(trial: Trial) -> str:
    """Each required field is missing once; then a body that is no message."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    bodies = {
        "an empty stake": b"",
        "a stake without player": trial.wallet.stake_body(replace(bet, player=Player("", bet.currency_code))),
        "a stake without game": trial.wallet.stake_body(replace(bet, game_id="")),
        "a stake without currency": trial.wallet.stake_body(replace(bet, currency_code="")),
    }
    # Nobody, and no currency, may be looked for and not be found.
    words = ("INVALID_ARGUMENT", "NOT_FOUND") if trial.wallet.dialect == EXTERNAL else ("INVALID_ARGUMENT",)
    for what, body in bodies.items():
        expect(what, await trial.wallet.send_stake(body), *words)
    garbage = await trial.wallet.send_stake(b"\xff\xff\xff")
    # gRPC itself may refuse it, with a code of its own.
    expect("bytes that are no message", garbage, "INVALID_ARGUMENT", "INTERNAL", "UNKNOWN")
    await _nothing_moves(trial, bet, before_minor, "all of them")
    return f"4 of 4 refused; bytes that are no message: {garbage}"


@case("9")
async def empty_id(trial: Trial) -> str:
    """A stake under no id."""
    return await _refused(trial, round_id="")


@case("11", WALLET)
async def stale_identity(trial: Trial) -> str:
    """An identity that expired an hour ago."""
    wallet = service_of(trial)
    return await _without_credential(trial, wallet.keys.identity("gateway", ttl_s=-3600))


@case("12")
async def captured(trial: Trial) -> str:
    """The same bytes again and again, as somebody who captured them would send them."""
    bet = await trial.bet()
    body = trial.wallet.stake_body(bet)
    before_minor = await trial.wallet.balance(bet.player)
    answers = {str(await trial.wallet.send_stake(body, lane=lane)) for lane in range(5)}
    expect_equal("answers", answers, {f"APPLIED with balance {before_minor - STAKE_MINOR}"})
    await _nothing_moves(trial, bet, before_minor - STAKE_MINOR, "5 sends")
    return "5 sends, one stake taken"


@case("13")
async def zero(trial: Trial) -> str:
    """A stake of nothing, and one below it."""
    await _refused(trial, amount_minor=-STAKE_MINOR)
    return await _refused(trial, amount_minor=0)


@case("14")
async def too_large(trial: Trial) -> str:
    """The largest number that travels."""
    words = ("INVALID_ARGUMENT", "REFUSED") if trial.wallet.dialect == EXTERNAL else ("INVALID_ARGUMENT",)
    return await _refused(trial, *words, amount_minor=_INT64_MAX)


@case("15")
async def long_number(trial: Trial) -> str:
    """An amount that does not fit into 64 bits, as nobody but an attacker would write it."""
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    tag = b"\x1a" if trial.wallet.dialect == EXTERNAL else b"\x22"
    body = trial.wallet.stake_body(bet) + tag + bytes([len(_LONG_NUMBER)]) + _LONG_NUMBER
    answer = await trial.wallet.send_stake(body)
    expect("the stake", answer, "INVALID_ARGUMENT", "INTERNAL", "UNKNOWN")
    await _nothing_moves(trial, bet, before_minor, "it")
    return str(answer)


@case("16")
async def lower_case(trial: Trial) -> str:
    """ "eur" is no currency."""
    bet = await trial.bet()
    return await _refused(
        trial, "INVALID_ARGUMENT", "NOT_FOUND", currency_code=bet.player.currency_code.lower()
    )


@case("17")
async def other_currency(trial: Trial) -> str:
    """A registered currency that is not the account's, and one that is none."""
    bet = await trial.bet()
    other = "USD" if bet.currency_code != "USD" else "EUR"
    words = ("INVALID_ARGUMENT", "NOT_FOUND")
    told = await _refused(trial, *words, currency_code=other)
    return f"{other}: {told}; ZZZ: {await _refused(trial, *words, currency_code='ZZZ')}"


async def _refused(trial: Trial, *words: str, **changes: object) -> str:
    bet = await trial.bet()
    before_minor = await trial.wallet.balance(bet.player)
    answer = await trial.wallet.stake(replace(bet, **changes))  # type: ignore[arg-type]
    expect(f"a stake with {changes}", answer, *(words or ("INVALID_ARGUMENT",)))
    await _nothing_moves(trial, bet, before_minor, "it")
    return _short(answer)


def _short(answer: Answer) -> str:
    return f"{answer.word}/{answer.reason}" if answer.reason else answer.word


@case("18", WALLET)
async def scales(trial: Trial) -> str:
    """No, three and eight decimals: minor units come back as they went in."""
    wallet = service_of(trial)
    amounts_minor = {"JPY": 1_001, "KWD": 1_234_567, "BTC": 123_456_789_012}
    for currency_code, funds_minor in amounts_minor.items():
        player = await wallet.player(funds_minor, currency_code)
        bet = await trial.bet(player=player, amount_minor=funds_minor - 1)
        answer = await wallet.settle(bet, FUSED, 7)
        expect(f"a round in {currency_code}", answer, "APPLIED", balance_minor=8)
        await expect_balance(wallet, player, 8, f"in {currency_code}")
    return "exact in 0, 3 and 8 decimals"
