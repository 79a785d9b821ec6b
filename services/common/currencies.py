"""Registered currencies and their scale: a unit is 10 ** scale minor units (services/currencies.yaml)."""

import re
import sys
from pathlib import Path

import msgspec

SHIPPED_PATH = Path(__file__).parents[1] / "currencies.yaml"
# Ten to the 18th is what 64 bits can hold, and what the finest coin has.
SCALE_MAX = 18
# Short, and nothing that has to be quoted; in an array literal NULL, unquoted, is no text.
_CODE = re.compile(r"(?!NULL$)[A-Z][A-Z0-9]{2,11}")

# Code -> scale. An installation's own are added before its services start, and nothing later.
CURRENCIES = msgspec.yaml.decode(SHIPPED_PATH.read_bytes(), type=dict[str, int])


def register(path: str) -> None:
    """Adds the currencies of an installation's file. Exits with one line that says what is wrong with it."""
    try:
        added = msgspec.yaml.decode(Path(path).read_bytes(), type=dict[str, int])
    except OSError as error:
        sys.exit(f"currencies: {path}: {error.strerror}")
    except msgspec.DecodeError:
        sys.exit(f"currencies: {path}: not lines of CODE: SCALE")
    for code, scale in added.items():
        if not _CODE.fullmatch(code):
            sys.exit(f"currencies: {path}: {code!r} is not 3 to 12 capitals and digits")
        if not 0 <= scale <= SCALE_MAX:
            sys.exit(f"currencies: {path}: the scale of {code} is not from 0 to {SCALE_MAX}")
        if CURRENCIES.setdefault(code, scale) != scale:
            sys.exit(f"currencies: {path}: the scale of {code} is {CURRENCIES[code]}, not {scale}")
