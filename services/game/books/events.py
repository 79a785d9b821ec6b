"""An outcome of ours told as the events of a published book.

Amounts are hundredths of the bet. Every event has its `index` and `type`; `finalWin` is the last. Boards are
`board[reel][row]`, the visible rows only, from the top, from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.game.engine.definition import GameDefinition
from services.game.engine.outcome import Cell, HoldAndWin, LineWin, Names, Outcome, Screen, SymbolWin

Event = dict[str, Any]
Wins = Sequence[LineWin | SymbolWin]


def events_of(game: GameDefinition, outcome: Outcome) -> list[Event]:
    """The events of an outcome that was played at a bet of `coins_per_bet`, so that its amounts are coins."""
    return _Telling(game).of(outcome)


def hundredths(coins: int, *, coins_per_bet: int) -> int:
    """Coins as hundredths of the bet. Errors: ValueError when that is no whole number."""
    amount, rest = divmod(100 * coins, coins_per_bet)
    if rest:
        raise ValueError(f"{coins} of {coins_per_bet} coins are no whole number of hundredths of the bet")
    return amount


class _Telling:
    """The events of one outcome while they are put together."""

    def __init__(self, game: GameDefinition) -> None:
        self._game = game
        self._symbols = {symbol.name: symbol for symbol in game.symbols}
        self._events: list[Event] = []
        self._total = 0

    def of(self, outcome: Outcome) -> list[Event]:
        if outcome.base is not None:
            self._tell_screen(outcome.base, "basegame")
        if outcome.hold_and_win is not None:
            self._tell_hold_and_win(outcome.hold_and_win)
        if outcome.pick is not None:
            amount = self._amount(outcome.pick.win_minor)
            self._add("pick", prize=outcome.pick.prize, amount=amount)
            self._tell_total(amount)
        if outcome.free_spins:
            self._tell_free_spins(outcome.base, outcome.free_spins)
        win = self._amount(outcome.win_minor)
        if outcome.capped:
            self._add("wincap", amount=win)
        self._add("finalWin", amount=win)
        return self._events

    def _add(self, kind: str, **fields: Any) -> None:
        self._events.append({"index": len(self._events), "type": kind, **fields})

    def _amount(self, coins: int) -> int:
        return hundredths(coins, coins_per_bet=self._game.coins_per_bet)

    def _tell_total(self, more: int) -> None:
        self._total += more
        self._add("setTotalWin", amount=self._total)

    def _tell_screen(self, screen: Screen, game_type: str) -> None:
        board = [[self._cell(name) for name in reel] for reel in screen.grid]
        self._add("reveal", board=board, gameType=game_type)
        wins: Wins = (*screen.line_wins, *screen.symbol_wins)
        self._tell_wins(wins)
        multiplier = 1
        for fall in screen.falls:
            if fall.multiplier != multiplier:
                multiplier = fall.multiplier
                self._add("updateGlobalMult", globalMult=multiplier)
            self._tell_fall(fall.grid, wins)
            wins = (*fall.line_wins, *fall.symbol_wins)
            self._tell_wins(wins)
        if screen.scatter_win is not None:
            win = screen.scatter_win
            amount = self._amount(win.win_minor)
            told = self._win(win.symbol, win.count, amount, self._scatters(screen), multiplier=win.multiplier)
            self._add("winInfo", totalWin=amount, wins=[told])
        self._tell_total(self._amount(screen.win_minor))

    def _cell(self, name: str) -> Event:
        symbol = self._symbols[name]
        cell: Event = {"name": name}
        if symbol.kind in ("wild", "scatter"):
            cell[symbol.kind] = True
        if symbol.multiplier > 1:
            cell["multiplier"] = symbol.multiplier
        return cell

    def _tell_wins(self, wins: Wins) -> None:
        if not wins:
            return
        told = []
        for win in wins:
            meta: Event = {"multiplier": win.multiplier}
            if isinstance(win, LineWin):
                meta["line"] = win.line
            elif win.ways > 1:
                meta["ways"] = win.ways
            amount = self._amount(win.win_minor)
            told.append(self._win(win.symbol, win.count, amount, self._cells_of(win), **meta))
        self._add("winInfo", totalWin=sum(win["win"] for win in told), wins=told)

    @staticmethod
    def _win(symbol: str, count: int, amount: int, cells: Sequence[Cell], **meta: Any) -> Event:
        return {"symbol": symbol, "kind": count, "win": amount, "positions": _positions(cells), "meta": meta}

    def _cells_of(self, win: LineWin | SymbolWin) -> Sequence[Cell]:
        if isinstance(win, SymbolWin):
            return win.cells
        line = list(enumerate(self._game.paylines[win.line]))
        return line[-win.count :] if win.from_right else line[: win.count]

    def _tell_fall(self, grid: Names, wins: Wins) -> None:
        """What vanished, and what came from above: on each reel as many, at its top."""
        vanished = sorted({cell for win in wins for cell in self._cells_of(win)})
        reels = [reel for reel, _ in vanished]
        new = [[self._cell(name) for name in grid[reel][: reels.count(reel)]] for reel in range(len(grid))]
        self._add("tumbleBoard", newSymbols=new, explodingSymbols=_positions(vanished))

    def _scatters(self, screen: Screen) -> list[Cell]:
        grid = screen.falls[-1].grid if screen.falls else screen.grid
        return [
            (reel, row)
            for reel, names in enumerate(grid)
            for row, name in enumerate(names)
            if self._symbols[name].kind == "scatter"
        ]

    def _tell_hold_and_win(self, feature: HoldAndWin) -> None:
        coins = [
            {**_position(coin.cell), "respin": coin.respin, "amount": self._amount(coin.win_minor)}
            for coin in feature.coins
        ]
        amount = self._amount(feature.win_minor)
        full = {"fullAmount": self._amount(feature.full_win_minor)} if feature.full_win_minor else {}
        self._add("holdAndWin", coins=coins, respins=feature.respins, amount=amount, **full)
        self._tell_total(amount)

    def _tell_free_spins(self, base: Screen | None, screens: Sequence[Screen]) -> None:
        retriggered = sum(screen.free_spins_awarded for screen in screens)
        total = len(screens) - retriggered
        positions = _positions(self._scatters(base)) if base is not None else []
        self._add("freeSpinTrigger", totalFs=total, positions=positions)
        for number, screen in enumerate(screens, 1):
            self._add("updateFreeSpin", amount=number, total=total)
            self._tell_screen(screen, "freegame")
            if screen.free_spins_awarded:
                total += screen.free_spins_awarded
                self._add("freeSpinRetrigger", totalFs=total, positions=_positions(self._scatters(screen)))
        won = sum(screen.win_minor for screen in screens)
        self._add("freeSpinEnd", amount=self._amount(won))


def _position(cell: Cell) -> Event:
    return {"reel": cell[0], "row": cell[1]}


def _positions(cells: Sequence[Cell]) -> list[Event]:
    return [_position(cell) for cell in cells]
