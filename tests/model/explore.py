"""Breadth first through every interleaving, so that the first violation found has a shortest trace."""

import gc
import time
from itertools import pairwise
from typing import NamedTuple

from tests.model.invariants import broken
from tests.model.rules import Rules
from tests.model.state import Scenario, State
from tests.model.world import World


class Report(NamedTuple):
    """What an exploration saw. `complete`: no state within the scenario's budget was left unvisited."""

    scenario: str
    states: int
    transitions: int
    depth: int
    complete: bool
    seconds: float  # of CPU
    broken: str = ""
    trace: tuple[str, ...] = ()

    def __str__(self) -> str:
        size = f"{self.states:>7,} states {self.transitions:>9,} transitions  depth {self.depth:>2}"
        end = (
            f"broken: {self.broken}" if self.broken else "complete" if self.complete else "cut at this depth"
        )
        return f"{self.scenario:<20}{size}  {self.seconds:4.1f} s  {end}"


def explore(scenario: Scenario, rules: Rules, *, depth: int = 99) -> Report:
    """Visit every state within `depth` steps; stop at the first one that breaks an invariant."""
    world, began, transitions, level = World(scenario, rules.off), time.process_time(), 0, 0
    frontier = [world.start()]
    parents: dict[State, State | None] = {frontier[0]: None}
    failed = ""
    gc.disable()  # millions of acyclic tuples: the collector would only walk them
    while frontier and level < depth and not failed:
        level, last, frontier = level + 1, frontier, []
        for before, after in ((s, after) for s in last for _, after in world.moves(s)):
            transitions += 1
            if after not in parents:
                parents[after] = before
                frontier.append(after)
                if failed := broken(world, after):
                    break
    gc.enable()
    trace = explain(world, parents, after) if failed else ()
    seconds = time.process_time() - began
    return Report(scenario.name, len(parents), transitions, level, not frontier, seconds, failed, trace)


def explain(world: World, parents: dict[State, State | None], last: State) -> tuple[str, ...]:
    """The trace from the start to `last`, one sentence per step, found again from the states alone."""
    path = [last]
    while before := parents[path[-1]]:
        path.append(before)
    steps = pairwise(reversed(path))
    return tuple(next(line for line, after in world.moves(s) if after == to) for s, to in steps)
