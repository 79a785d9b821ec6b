"""What rounds returned, by the wallet's verdict: of voided and refused ones it must equal theory too (R7).

If it does not, somebody picks which rounds to lose. Counted here and read by the exporter when it wants to:
an SDK instrument costs 17 us per record.
"""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from services.common import telemetry_names as names
from services.game.records import Round, State

VERDICTS = {
    State.OPEN: "applied",
    State.SETTLED: "applied",
    State.REFUSED: "refused",
    State.VOID: "void",
    State.REVERSED: "reversed",
}

# Gateway, operator, game, mode, currency, kind, verdict.
Key = tuple[str, str, str, str, str, str, str]
# Of a game and mode and its sums, what a counter shows.
Value = Callable[[tuple[str, str], list[float]], float]
# Return, and standard deviation of a round if its definition states it, both x stake.
Theory = tuple[float, float | None]


class Returns:
    """Rounds, stakes, drawn wins since this process started, by the parts of a Key.

    By gateway too: one could drop rounds, and among many honest ones nobody would notice.
    """

    def __init__(self, theories: Mapping[tuple[str, str], Theory]) -> None:
        """`theories`: of a round by game id and mode, before gambles."""
        self._theories = theories
        self._sums: dict[Key, list[float]] = {}

    def record(self, round_: Round, state: State) -> None:
        """Counts a drawn round when it leaves PENDING for `state`; what comes later tells nothing new."""
        if round_.state is not State.PENDING or state not in VERDICTS:
            return
        key = (
            round_.gateway,
            round_.operator_id,
            round_.game_id,
            round_.mode,
            round_.currency_code,
            round_.kind.name,
            VERDICTS[state],
        )
        rtp, deviation = self._theories.get((round_.game_id, round_.mode), (0.0, None))
        # Where the definition does not state it, the rounds themselves show it (rtp/bands.py).
        off = (
            round_.win_minor - rtp * round_.stake_minor
            if deviation is None
            else deviation * round_.stake_minor
        )
        sums = self._sums.setdefault(key, [0, 0, 0, 0.0])
        sums[0] += 1
        sums[1] += round_.stake_minor
        sums[2] += round_.win_minor
        sums[3] += off**2

    def observe_with(self, meter: Meter) -> None:
        """Registers the five counters; amounts in minor units."""
        counters: dict[str, tuple[str, Value]] = {
            names.ROUND_COUNT: ("{round}", lambda played, sums: sums[0]),
            names.ROUND_STAKE: ("{minor_unit}", lambda played, sums: sums[1]),
            names.ROUND_WIN: ("{minor_unit}", lambda played, sums: sums[2]),
            names.ROUND_WIN_THEORY: (
                "{minor_unit}",
                lambda played, sums: sums[1] * self._theories.get(played, (0.0, None))[0],
            ),
            names.ROUND_WIN_VARIANCE: ("{square_minor_unit}", lambda played, sums: sums[3]),
        }
        for name, (unit, value) in counters.items():
            meter.create_observable_counter(name, [self._callback(value)], unit=unit)

    def _callback(self, value: Value) -> Callable[[CallbackOptions], Iterable[Observation]]:
        # What is shown for the first time is shown as 0: increase() and rate() do not see a first value, and
        # the void rounds of an outage may all be in it.
        shown: set[Key] = set()

        def observe(options: CallbackOptions) -> Iterable[Observation]:
            for key, sums in list(self._sums.items()):
                gateway, operator_id, game_id, mode, currency_code, kind, verdict = key
                attributes = {
                    names.GATEWAY_INSTANCE: gateway,
                    names.OPERATOR_ID: operator_id,
                    names.GAME_ID: game_id,
                    names.GAME_MODE: mode,
                    names.CURRENCY: currency_code,
                    names.ACCOUNT_KIND: kind,
                    names.ROUND_VERDICT: verdict,
                }
                yield Observation(value((game_id, mode), sums) if key in shown else 0, attributes)
                shown.add(key)

        return observe
