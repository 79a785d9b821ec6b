"""Which games are withdrawn."""

from services.game.catalogue import ids_of


def test_blanks_beside_a_comma_are_no_part_of_an_id() -> None:
    assert ids_of(" double-dawn, tide-pool ,,") == {"double-dawn", "tide-pool"}
    assert ids_of("") == frozenset()
