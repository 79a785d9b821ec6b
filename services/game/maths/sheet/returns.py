"""What a report says, on the sheet: a row per figure, a column per mode. It computes nothing."""

from __future__ import annotations

from collections.abc import Callable

from services.game.engine.definition import SHIPPED_GAMES, GameDefinition
from services.game.maths.report import SIMULATED_SEED, SPREAD_SPINS, ModeReport, Report, Value
from services.game.maths.sheet.markdown import paragraph, table

HEADING = "## Returns"
_FRACTION_MAX = 70
"""Characters of a fraction that a cell holds; the JSON of `make rtp` has all of them."""
_FEATURES = {
    "base_wins": "symbols, paid screen",
    "scatter": "scatters, paid screen",
    "free_spins": "free spins",
    "hold_and_win": "hold-and-win",
    "pick": "pick",
    "cut": "taken by the cap",
}
Cell = Callable[[ModeReport], str]


def returns(game: GameDefinition, report: Report) -> list[str]:
    """The table and how it was found."""
    rows = [(label, *(cell(mode) for mode in report.modes)) for label, cell in _rows(report)]
    shown = [row for row in rows if any(row[1:])]
    heads = [f"{mode.mode}, cost {mode.cost}" for mode in report.modes]
    return [HEADING, "", *table(("x stake of the mode", *heads), shown), "", *_method(game, report)]


def _rows(report: Report) -> list[tuple[str, Cell]]:
    features = [name for name in _FEATURES if any(name in mode.features for mode in report.modes)]
    triggers = list(dict.fromkeys(name for mode in report.modes for name in mode.triggers))
    return [
        ("**RTP**", lambda mode: f"**{_share(mode.rtp)}**"),
        ("exactly", lambda mode: _fraction(mode.rtp)),
        ("RTP in the file", lambda mode: mode.rtp_target),
        *((f"of it {_FEATURES[name]}", _feature(name)) for name in features),
        ("hit frequency, paid screen", lambda mode: _share(mode.hit_frequency)),
        ("rounds that pay", lambda mode: _share(mode.win_frequency)),
        *((f"{_FEATURES.get(name, name)}, once in", _trigger(name)) for name in triggers),
        ("free spins a round", lambda mode: _number(mode.free_spins_mean)),
        ("standard deviation", lambda mode: f"{mode.volatility.deviation:.4f}" if mode.volatility else ""),
        ("volatility index 90, 95, 99 %", _volatility_index),
        ("volatility class", lambda mode: mode.volatility.volatility_class if mode.volatility else ""),
        ("highest win, probability", _highest),
        ("above the cap, probability", _above_the_cap),
        ("RTP taken by the cap, the limit of spins", _cut),
        *((f"RTP of 95 % of 10^{len(str(spins)) - 1} rounds", _spread(spins)) for spins in SPREAD_SPINS),
    ]


def _feature(name: str) -> Cell:
    return lambda mode: _share(mode.features.get(name))


def _trigger(name: str) -> Cell:
    def cell(mode: ModeReport) -> str:
        rate = mode.triggers.get(name)
        of = "free spins" if name == "retrigger" else "rounds"
        return "every round" if rate and rate.value == 1 else f"{1 / rate.value:,.3f} {of}" if rate else ""

    return cell


def _spread(spins: int) -> Cell:
    def cell(mode: ModeReport) -> str:
        if not mode.volatility:
            return ""
        low, high = mode.volatility.rtp_spread[str(spins)]
        return f"{max(low, 0):.2%} .. {high:.2%}"

    return cell


def _share(value: Value | None) -> str:
    if value is None:
        return ""
    if value.interval_99:
        low, high = value.interval_99
        return f"{value.value:.4%} ± {(high - low) / 2:.4%}"
    return f"{value.value:.8%}" if value.fraction else f"{value.value:.4%}"


def _fraction(value: Value) -> str:
    if value.fraction is None:
        return ""
    if len(value.fraction) <= _FRACTION_MAX:
        return value.fraction
    above, below = value.fraction.split("/")
    return f"{above[:12]}.../{below[:12]}..., {len(above)} and {len(below)} digits, in the JSON"


def _number(value: Value | None) -> str:
    return f"{value.value:.6f}" if value else ""


def _volatility_index(mode: ModeReport) -> str:
    return ", ".join(f"{index:.3f}" for index in mode.volatility.index.values()) if mode.volatility else ""


def _highest(mode: ModeReport) -> str:
    if mode.max_win:
        win = mode.max_win
        chance = f"at most {win.probability_bound:.2e}"
        if win.probability is not None:
            chance = f"{win.probability.value:.4e}"
        return f"{win.multiple:,.2f} x bet{' (the cap)' if win.is_cap else ''}, {chance}"
    return f"seen {mode.highest_seen:,.2f} x stake" if mode.highest_seen is not None else "not known"


def _above_the_cap(mode: ModeReport) -> str:
    if mode.cap_effect:
        return f"at most {mode.cap_effect[0]:.2e}" if mode.cap_effect[0] else "never"
    if mode.capped_seen is None:
        return "not known"
    return f"{mode.capped_seen:,} of {mode.simulated_spins:,}"


def _cut(mode: ModeReport) -> str:
    effects = [mode.cap_effect[1] if mode.cap_effect else None, mode.spins_max_effect]
    return ", ".join(
        f"at most {effect:.1e}" if effect else "nothing" for effect in effects if effect is not None
    )


def _method(game: GameDefinition, report: Report) -> list[str]:
    lines: list[str] = []
    shipped = (SHIPPED_GAMES / f"{game.game_id}.yaml").exists()
    name = game.game_id if shipped else f"{game.game_id}.yaml"
    maths = "[maths](../maths.md)" if shipped else "docs/maths.md"
    for method in dict.fromkeys(mode.method for mode in report.modes):
        modes = [mode for mode in report.modes if mode.method == method]
        text = f"**{', '.join(mode.mode for mode in modes)}**: {method}."
        if simulated := modes[0].simulated_spins:
            text += (
                f" {simulated:,} rounds of seed {SIMULATED_SEED}, after the cap and the limits, ± of the"
                f" 99 % interval: `make simulate GAME={name} MODE= SPINS={simulated}"
                f" SEED={SIMULATED_SEED}`."
            )
        else:
            text += " RTP and deviation are before the cap and the limit of free spins."
        lines += paragraph(text)
    again = f"This page again: `make par-sheet GAME={name}`."
    if not all(mode.simulated_spins for mode in report.modes):
        again = f"Every figure, fraction and symbol: `make rtp GAME={name}`. {again}"
    return [*lines, *paragraph(f"{again} What the words mean, and how it is checked: {maths}.")]
