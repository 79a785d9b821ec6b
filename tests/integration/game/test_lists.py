"""The catalogue, a round by its ids, history, open rounds."""

import pytest
from reelmesh.game.v1 import game_pb2

from services.common.errors import DomainError
from tests.integration.game.harness import CONTEXT, GAMBLE, GAMES, SPIN, Game, new_id
from tests.integration.wallet.harness import OPERATOR, Wallet


async def test_the_catalogue_lists_served_games_with_their_ladders(game_url: str, wallet: Wallet) -> None:
    async with Game(game_url, wallet, withdrawn=(SPIN,)) as game:
        answer = await game.handlers.ListGames(game_pb2.ListGamesRequest(), CONTEXT)
    found = {listed.game_id: listed for listed in answer.games}
    assert set(found) == set(GAMES) - {SPIN}
    dawn = found["double-dawn"]
    assert (dawn.reels, dawn.rows, dawn.lines, dawn.rtp_target, dawn.offers_choice) == (
        3,
        3,
        5,
        "0.959183",
        True,
    )
    ladders = {ladder.currency_code: list(ladder.stakes_minor) for ladder in dawn.bet_ladders}
    assert ladders["GBP"] == [5, 10, 25, 50, 100, 200, 500]
    assert len(dawn.definition_hash) == 64


async def test_a_round_is_found_by_either_id_and_only_by_its_owner(game: Game, wallet: Wallet) -> None:
    account_id, request_id = await wallet.open(balance=1000), new_id()
    round_ = await game.settle(await game.play(account_id, request_id=request_id))
    for request in (
        game_pb2.GetRoundRequest(account_id=account_id, request_id=request_id),
        game_pb2.GetRoundRequest(account_id=account_id, round_id=round_.round_id),
        game_pb2.GetRoundRequest(operator_id=OPERATOR, round_id=round_.round_id),
    ):
        assert (await game.handlers.GetRound(request, CONTEXT)).round == round_
    for request, reason in (
        (game_pb2.GetRoundRequest(account_id=account_id + 2, round_id=round_.round_id), "ROUND_NOT_FOUND"),
        (game_pb2.GetRoundRequest(account_id=account_id + 2, request_id=request_id), "ROUND_NOT_FOUND"),
        (game_pb2.GetRoundRequest(operator_id="other", round_id=round_.round_id), "ROUND_NOT_FOUND"),
        (game_pb2.GetRoundRequest(account_id=account_id, round_id=new_id()), "ROUND_NOT_FOUND"),
        (game_pb2.GetRoundRequest(round_id=round_.round_id), "FIELD_MISSING"),
        (game_pb2.GetRoundRequest(operator_id=OPERATOR, request_id=request_id), "FIELD_MISSING"),
        (game_pb2.GetRoundRequest(account_id=account_id), "FIELD_MISSING"),
    ):
        with pytest.raises(DomainError) as caught:
            await game.handlers.GetRound(request, CONTEXT)
        assert caught.value.reason == reason, request


async def test_history_is_paged_newest_first(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    played = [await game.play(account_id) for _ in range(5)]
    gamble = await game.play(account_id, game_id=GAMBLE)
    expected = [p.round.round_id for p in (*played, gamble)][::-1]
    seen: list[str] = []
    request = game_pb2.ListRoundsRequest(account_id=account_id, page_size=4)
    while True:
        page = await game.handlers.ListRounds(request, CONTEXT)
        seen += [listed.round_id for listed in page.rounds]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == expected
    of_game = await game.handlers.ListRounds(
        game_pb2.ListRoundsRequest(account_id=account_id, game_id=GAMBLE), CONTEXT
    )
    assert [listed.round_id for listed in of_game.rounds] == [gamble.round.round_id]
    for token, account in ((request.page_token, account_id + 2), ("nonsense", account_id)):
        with pytest.raises(DomainError) as caught:
            await game.handlers.ListRounds(
                game_pb2.ListRoundsRequest(account_id=account, page_token=token), CONTEXT
            )
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


async def test_open_rounds_are_the_unfinished_ones_of_choice_games(game: Game, wallet: Wallet) -> None:
    account_id = await wallet.open(balance=1000)
    await game.play(account_id)
    gamble = await game.open(account_id)
    request = game_pb2.ListOpenRoundsRequest(account_id=account_id)
    listed = (await game.handlers.ListOpenRounds(request, CONTEXT)).rounds
    assert list(listed) == [gamble]
    request.game_id = SPIN
    assert not (await game.handlers.ListOpenRounds(request, CONTEXT)).rounds
