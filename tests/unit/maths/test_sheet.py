"""The PAR sheets in docs/par are those of the shipped files, on one page each."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from typer.testing import CliRunner

from services.game.engine.definition import SHIPPED_GAMES, GameDefinition
from services.game.maths import rtp
from services.game.maths.report import report_of
from services.game.maths.sheet import __main__ as command
from services.game.maths.sheet.markdown import LINE_MAX, LINES_MAX
from services.game.maths.sheet.page import SIMULATED_SPINS, heading, page
from services.game.maths.sheet.returns import HEADING
from tests.unit.maths import shipped

pytestmark = pytest.mark.timeout(900)  # see test_kernel
DOCS = Path(__file__).parents[3] / "docs"
SIMULATED_IDS = sorted({game.game_id for game, _ in shipped.SIMULATED.values()})
EXACT_IDS = sorted({game.game_id for game, _ in shipped.EXACT.values()})


def sheet(game_id: str) -> str:
    return (DOCS / "par" / f"{game_id}.md").read_text(encoding="utf-8")


def row(text: str, label: str) -> list[str]:
    """The cells beside a label of the returns."""
    [found] = [line for line in text.partition(HEADING)[2].splitlines() if line.startswith(f"| {label} |")]
    return [cell.strip().strip("*") for cell in found.strip("|").split("|")[1:]]


def test_each_shipped_game_has_a_sheet() -> None:
    assert {path.stem for path in (DOCS / "par").iterdir()} == set(shipped.GAMES)


@pytest.mark.parametrize(("command_", "arguments"), [(rtp, []), (command, ["--game"])])
def test_what_is_too_large_to_simulate_is_told_in_one_line(
    tmp_path: Path, command_: ModuleType, arguments: list[str]
) -> None:
    """A cap that the engine can pay, and the kernel cannot count."""
    text = (SHIPPED_GAMES / "sky-orchard.yaml").read_text()
    path = tmp_path / "sky-orchard.yaml"
    path.write_text(re.sub(r"(?m)^max_win_multiple: .*$", "max_win_multiple: 1000000000", text))
    told = CliRunner().invoke(command_.app, [*arguments, str(path)])
    assert told.exit_code == 1 and "too large to simulate" in told.output and told.output.count("\n") == 1


@pytest.mark.parametrize("game_id", EXACT_IDS)
def test_a_sheet_of_an_exact_game_is_made_from_its_file(game_id: str) -> None:
    assert sheet(game_id) == page(shipped.GAMES[game_id])


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("game_id", SIMULATED_IDS)
def test_a_sheet_of_a_simulated_game_is_made_from_its_file(game_id: str) -> None:
    assert sheet(game_id) == page(shipped.GAMES[game_id])


@pytest.mark.parametrize("game_id", SIMULATED_IDS)
def test_a_simulated_sheet_is_of_its_file_and_holds_its_targets(game_id: str) -> None:
    game, text = shipped.GAMES[game_id], sheet(game_id)
    assert text.partition(HEADING)[0] == "\n".join([*heading(game), ""])
    modes = list(game.modes_by_name.values())
    assert row(text, "RTP in the file") == [str(mode.rtp_target) for mode in modes]
    for mode, shown in zip(modes, row(text, "**RTP**"), strict=True):
        rtp, half_width = (float(number) / 100 for number in re.findall(r"([\d.]+)%", shown))
        assert abs(rtp - float(mode.rtp_target)) < half_width
    assert f"{SIMULATED_SPINS:,} rounds of seed 1" in text.replace("\n", " ")


@pytest.mark.parametrize("game_id", sorted(shipped.GAMES))
def test_a_sheet_is_one_page(game_id: str) -> None:
    lines = sheet(game_id).splitlines()
    assert len(lines) <= LINES_MAX
    assert max(map(len, lines)) <= LINE_MAX


@pytest.mark.parametrize("game_id", sorted(shipped.GAMES))
def test_a_sheet_names_all_that_decides_what_is_paid(game_id: str) -> None:
    game, text = shipped.GAMES[game_id], sheet(game_id)
    assert game.canonical_hash in text
    for symbol in game.symbols:
        assert f"| {symbol.name} | {symbol.kind}" in text
    for values in (*game.pays.values(), game.scatter_pays):
        assert ", ".join(f"{count}: {value:,}" for count, value in sorted(values.items())) in text
    for part in (game.cascade, game.free_spins, game.hold_and_win, game.pick, game.gamble):
        if part is not None:
            assert re.sub(r"(?<!^)(?=[A-Z])", "_", type(part).__name__).lower().replace("_", " ") in (
                text.replace("-", " ")
            )
    assert all(f" {mode.name}, cost {mode.cost} |" in text for mode in game.modes_by_name.values())


def changed(game: GameDefinition) -> dict[str, GameDefinition]:
    """The same game, in one point another."""
    replace = msgspec.structs.replace
    symbol = game.symbols[0]
    return {
        "version": replace(game, version=2),
        "cap": replace(game, max_win_multiple=17),
        "bets": replace(game, stakes_minor={"EUR": (5,)}),
        "kind": replace(game, symbols=(replace(symbol, multiplier=3), *game.symbols[1:])),
        "line": replace(game, paylines=game.paylines[:-1]),
        "strip": replace(game, strips={"base": (*game.strips["base"][:-1], ("OWL", "LARK", "OWL"))}),
    }


def test_a_changed_game_has_another_sheet() -> None:
    game = shipped.GAMES["double-dawn"]
    pages = {"\n".join(heading(one)).replace(one.canonical_hash, "") for one in changed(game).values()}
    assert len(pages) == len(changed(game))
    assert "\n".join(heading(game)).replace(game.canonical_hash, "") not in pages


def test_a_figure_that_is_not_known_is_left_out_and_a_cap_in_reach_is_told() -> None:
    game = msgspec.structs.replace(shipped.GAMES["double-dawn"], max_win_multiple=60)
    found = report_of(game)
    assert row(page(game, found), "highest win, probability")[0].startswith("60.00 x bet (the cap), ")
    bare = msgspec.structs.replace(
        found.modes[0], volatility=None, max_win=None, cap_effect=None, hit_frequency=None
    )
    text = page(game, msgspec.structs.replace(found, modes=(bare,)))
    assert "standard deviation" not in text and "hit frequency" not in text
    assert row(text, "above the cap, probability") == ["not known"]


def test_the_command_writes_a_page(tmp_path: Path) -> None:
    answer = CliRunner().invoke(command.app, ["--game", "double-dawn", "--output", str(tmp_path / "deep")])
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "deep" / "double-dawn.md").read_text(encoding="utf-8") == sheet("double-dawn")
    answer = CliRunner().invoke(command.app, ["--game", str(SHIPPED_GAMES / "absent.yaml")])
    assert answer.exit_code != 0


def test_the_page_of_the_format_lists_the_shipped_games() -> None:
    text = (DOCS / "games.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[([a-z0-9-]+)\]\(par/([a-z0-9-]+)\.md\) \|.*\| ([\d.]+) % \|$", text, re.M)
    assert listed == [
        (game_id, game_id, f"{game.rtp_target * 100:.2f}") for game_id, game in shipped.GAMES.items()
    ]


def test_a_sheet_of_a_game_of_ones_own_names_its_file() -> None:
    own = page(msgspec.structs.replace(shipped.GAMES["double-dawn"], game_id="mine"))
    assert "`make rtp GAME=mine.yaml`" in own and "../maths.md" not in own
