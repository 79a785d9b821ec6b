"""The compiled form: made once, found again, never half, and without a book in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.game.books import compiling, table
from services.game.engine.loading import DefinitionError
from tests.unit.game.books import folders

ROOT = Path(__file__).parents[4]


def test_the_same_sources_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folders.write_many(tmp_path / "many", 100)
    first = compiling.compile_folder(folder, cache=tmp_path / "cache")
    with monkeypatch.context() as patched:
        patched.setattr(compiling, "_compile", lambda *args, **kwargs: pytest.fail("was compiled again"))
        again = compiling.compile_folder(folder, cache=tmp_path / "cache")
    assert again == first
    with (folder / "lookUpTable_base_0.csv").open("a") as file:
        file.write("100,1,0\n")
    with pytest.raises(DefinitionError, match="id 100 has no book"):
        compiling.compile_folder(folder, cache=tmp_path / "cache")


@pytest.mark.parametrize("name", ["0.rows", "0.books", "0.order", "contents.json"])
def test_a_damaged_compiled_file_is_made_anew(tmp_path: Path, name: str) -> None:
    folder = folders.write_many(tmp_path / "many", 100, shuffled=True)
    compiled = compiling.compile_folder(folder, cache=tmp_path / "cache")
    whole = {path.name: path.read_bytes() for path in compiled.folder.iterdir()}
    damaged = bytearray(whole[name])
    damaged[len(damaged) // 2] ^= 1
    (compiled.folder / name).write_bytes(damaged)
    assert compiling.compile_folder(folder, cache=tmp_path / "cache") == compiled
    assert {path.name: path.read_bytes() for path in compiled.folder.iterdir()} == whole


def test_sources_that_change_while_they_are_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders.write_many(tmp_path / "many", 100)
    compile_ = compiling._compile

    def compile_and_change(source: Path, *, into: Path) -> object:
        totals = compile_(source, into=into)
        (source / "index.json").write_text((source / "index.json").read_text() + "\n")
        return totals

    monkeypatch.setattr(compiling, "_compile", compile_and_change)
    with pytest.raises(DefinitionError, match="many: changed while it was read"):
        compiling.compile_folder(folder, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_a_cache_that_others_may_write_is_refused(tmp_path: Path) -> None:
    folder = folders.write_many(tmp_path / "many", 10)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(DefinitionError, match="must be this user's, and writable to no other"):
        compiling.compile_folder(folder, cache=tmp_path / "cache")


def test_who_compiles_later_than_another_takes_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders.write_many(tmp_path / "many", 100)
    compile_ = compiling._compile
    others: list[compiling.Compiled] = []

    def compile_late(source: Path, *, into: Path) -> object:
        totals = compile_(source, into=into)
        monkeypatch.setattr(compiling, "_compile", compile_)
        others.append(compiling.compile_folder(folder, cache=tmp_path / "cache"))
        return totals

    monkeypatch.setattr(compiling, "_compile", compile_late)
    assert [compiling.compile_folder(folder, cache=tmp_path / "cache")] == others
    assert list((tmp_path / "cache").iterdir()) == [others[0].folder]


@pytest.mark.parametrize("shuffled", [False, True])
def test_every_book_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shuffled: bool) -> None:
    monkeypatch.setattr("services.game.books.ordering._IDS_PER_RUN", 64)  # so that several runs are merged
    folder = folders.write_many(tmp_path / "many", 2_000, shuffled=shuffled)
    compiled = compiling.compile_folder(folder, cache=tmp_path / "cache")
    assert (compiled.folder / "0.order").exists() is shuffled
    mapped = table.Table(compiled.folder, 0, compiled.totals["base"])
    for book_id in range(2_000):
        found = mapped.find(book_id)
        assert found is not None and found.events is not None
        events = json.loads(found.events)
        assert events[0]["board"][1][1] == str(book_id)
        assert events[1]["amount"] == found.payout_x100
    assert mapped.find(2_000) is None


PROGRAM = """
import random, re, resource, sys
from pathlib import Path
from services.game.books import compiling, table
from services.game.engine.rng import Draws

def private_kib():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

folder, cache = Path(sys.argv[1]), Path(sys.argv[2])
before = private_kib()
# From here the process may not have more private memory than this, mapped or touched.
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[3]) << 20, -1))
compiled = compiling.compile_folder(folder, cache=cache)
mapped = table.Table(compiled.folder, 0, compiled.totals["base"])
draws = Draws(random.Random(1).randbytes)
for _ in range(2_000):
    mapped.pick(draws)
    draws.log.clear()
print(private_kib() - before)
"""


def private_growth_kib(folder: Path, cache: Path) -> int:
    """Private memory that compiling, if it is not yet done, loading and 2,000 picks leave behind."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder, cache, "96"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("count", [40_000, pytest.param(1_000_000, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_memory_does_not_follow_the_number_of_books(tmp_path: Path, count: int) -> None:
    """Private memory (RssAnon): pages of mapped files are the system's cache, shared, and given back when it
    needs room; they count in RSS as a whole, and say nothing about how many books fit."""
    growth = {}
    for books in (1_000, count):
        folder = folders.write_many(tmp_path / str(books), books, shuffled=True)
        compiling_kib = private_growth_kib(folder, tmp_path / "cache")
        serving_kib = private_growth_kib(folder, tmp_path / "cache")
        growth[books] = serving_kib
        assert compiling_kib < 8 * 1024
    assert abs(growth[count] - growth[1_000]) < 1024
