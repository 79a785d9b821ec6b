"""Compiling a function, and keeping what was compiled for the next start."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import config

Compiled = TypeVar("Compiled", bound=Callable[..., Any])

_njit = cast("Callable[..., Callable[[Any], Any]]", numba.njit)  # its types do not know every option
_settings = cast(Any, config)


@functools.cache
def _folder(package: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(package.glob("*.py")):
        digest.update(path.read_bytes())
    return str(package / "__pycache__" / digest.hexdigest()[:16])


def compiled(function: Compiled) -> Compiled:
    """The function in machine code, made at its first call with given types and then kept on disk.

    Numba looks only at a function's own file to see whether what it kept is stale, but ours call one another
    across files: so the folder is named by the content of their whole package. Nothing is allocated in a
    kernel (`_nrt=False`): counting references to its arrays took four fifths of the time.
    """
    kept = _settings.CACHE_DIR
    _settings.CACHE_DIR = _folder(Path(inspect.getfile(function)).parent)
    try:
        return cast(Compiled, _njit(cache=True, _nrt=False)(function))
    finally:
        _settings.CACHE_DIR = kept


def inlined(function: Compiled) -> Compiled:
    """The function as part of each compiled one that calls it: for what runs for every draw."""
    return cast(Compiled, _njit(forceinline=True, _nrt=False)(function))
