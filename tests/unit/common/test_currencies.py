"""The registry of currencies: ISO 4217's scales as shipped, and what an installation may add."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.common.currencies import CURRENCIES, SHIPPED_PATH, register

# ISO 4217's codes whose minor unit is not a hundredth.
SCALES = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
    **dict.fromkeys(("BTC", "ETH"), 8),
}


@pytest.fixture
def own_file(tmp_path: Path) -> Iterator[Path]:
    """An installation's file; what it registers is forgotten after the test."""
    shipped = dict(CURRENCIES)
    yield tmp_path / "currencies.yaml"
    CURRENCIES.clear()
    CURRENCIES.update(shipped)


def test_shipped_currencies_have_the_scales_of_iso_4217() -> None:
    assert {code: scale for code, scale in CURRENCIES.items() if scale != 2} == SCALES
    assert {"USD", "EUR", "GBP", "SEK", "CAD", "CHF", "INR", "ZWG", "XCD"} <= set(CURRENCIES)
    assert len(CURRENCIES) == 166 + 2


def test_no_currency_is_listed_twice() -> None:
    codes = re.findall(r"^(\w+): \d$", SHIPPED_PATH.read_text(), re.MULTILINE)
    assert len(codes) == len(set(codes)) == len(CURRENCIES)


def test_codes_without_a_minor_unit_are_no_money() -> None:
    # Gold, drawing rights, test code, no currency.
    assert not {"XAU", "XDR", "XTS", "XXX"} & set(CURRENCIES)


def test_an_installation_adds_its_own(own_file: Path) -> None:
    own_file.write_text("GLD: 0\nWEI: 18\nUSDT: 6\n# again, the same\nUSD: 2\n")
    register(str(own_file))
    assert {code: CURRENCIES[code] for code in ("GLD", "WEI", "USDT", "USD")} == {
        "GLD": 0,
        "WEI": 18,
        "USDT": 6,
        "USD": 2,
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("gld: 2", "'gld' is not 3 to 12 capitals and digits"),
        ("GL: 2", "'GL' is not 3 to 12 capitals and digits"),
        ("1GLD: 2", "'1GLD' is not 3 to 12 capitals and digits"),
        ("ABCDEFGHIJKLM: 2", "'ABCDEFGHIJKLM' is not 3 to 12 capitals and digits"),
        ('"GLD\\n": 2', "'GLD\\n' is not 3 to 12 capitals and digits"),
        ('"NULL": 2', "'NULL' is not 3 to 12 capitals and digits"),
        ("GLD: -1", "the scale of GLD is not from 0 to 18"),
        ("GLD: 19", "the scale of GLD is not from 0 to 18"),
        ("GLD: 2.5", "not lines of CODE: SCALE"),
        ("GLD: two", "not lines of CODE: SCALE"),
        ("GLD: true", "not lines of CODE: SCALE"),
        ("GLD:", "not lines of CODE: SCALE"),
        ("- GLD", "not lines of CODE: SCALE"),
        ("", "not lines of CODE: SCALE"),
        ("GLD: [", "not lines of CODE: SCALE"),
        ("USD: 3", "the scale of USD is 2, not 3"),
        ("BTC: 10", "the scale of BTC is 8, not 10"),
    ],
)
def test_a_bad_file_is_refused_with_one_line(own_file: Path, text: str, problem: str) -> None:
    own_file.write_text(text)
    with pytest.raises(SystemExit) as caught:
        register(str(own_file))
    assert caught.value.code == f"currencies: {own_file}: {problem}"


def test_a_file_that_is_not_there_is_refused_with_one_line(own_file: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        register(str(own_file))
    assert caught.value.code == f"currencies: {own_file}: No such file or directory"
