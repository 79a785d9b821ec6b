"""What `make play` stakes."""

from deploy.local.play import cheap_stakes


def test_only_what_a_deposit_is_good_for_a_hundred_times_is_staked() -> None:
    game = {
        "bet_ladders": [
            {"currency_code": "USD", "stakes_minor": [1]},
            {"currency_code": "EUR", "stakes_minor": [5, 100, 200, 500]},
        ],
        "modes": [
            {"mode": "base", "cost": "1"},
            {"mode": "ante", "cost": "1.5"},
            {"mode": "bonus", "cost": "50"},
        ],
    }
    # A bet of 5 with the ante costs no whole cent, 200 with it and every bonus are too dear.
    assert cheap_stakes(game) == [("base", 5), ("base", 100), ("base", 200), ("ante", 150)]
    dear = {"bet_ladders": [{"currency_code": "EUR", "stakes_minor": [500]}], "modes": game["modes"]}
    assert cheap_stakes(dear) == [("base", 500)]
