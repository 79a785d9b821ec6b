"""What rounds returned, by the wallet's verdict: of voided and refused ones it must equal theory too (R7).

If it does not, somebody picks which rounds to lose. Counted here and read by the exporter when it wants to:
an SDK instrument costs 17 us per record.
"""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from services.game.records import Round, State

VERDICTS = {
    State.OPEN: "applied",
    State.SETTLED: "applied",
    State.REFUSED: "refused",
    State.VOID: "void",
    State.REVERSED: "reversed",
}

# Gateway, operator, game, currency, kind, verdict.
Key = tuple[str, str, str, str, str, str]


class Returns:
    """Rounds, stakes, drawn wins since this process started, by the six of a Key.

    By gateway too: one could drop rounds, and among many honest ones nobody would notice.
    """

    def __init__(self, rtp_targets: Mapping[str, float]) -> None:
        """`rtp_targets`: theoretical return by game id, 0..1, before gambles."""
        self._rtp_targets = rtp_targets
        self._sums: dict[Key, list[int]] = {}

    def record(self, round_: Round, state: State) -> None:
        """Counts a drawn round when it leaves PENDING for `state`; what comes later tells nothing new."""
        if round_.state is not State.PENDING or state not in VERDICTS:
            return
        key = (
            round_.gateway,
            round_.operator_id,
            round_.game_id,
            round_.currency_code,
            round_.kind.name,
            VERDICTS[state],
        )
        sums = self._sums.setdefault(key, [0, 0, 0])
        sums[0] += 1
        sums[1] += round_.stake_minor
        sums[2] += round_.win_minor

    def observe_with(self, meter: Meter) -> None:
        """Registers the four counters; amounts in minor units."""
        counters: dict[str, tuple[str, Callable[[str, list[int]], float]]] = {
            "reelmesh.round.count": ("{round}", lambda game_id, sums: sums[0]),
            "reelmesh.round.stake": ("{minor_unit}", lambda game_id, sums: sums[1]),
            "reelmesh.round.win": ("{minor_unit}", lambda game_id, sums: sums[2]),
            "reelmesh.round.win.theory": (
                "{minor_unit}",
                lambda game_id, sums: sums[1] * self._rtp_targets.get(game_id, 0.0),
            ),
        }
        for name, (unit, value) in counters.items():
            meter.create_observable_counter(name, [self._callback(value)], unit=unit)

    def _callback(
        self, value: Callable[[str, list[int]], float]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            for (gateway, operator_id, game_id, currency_code, kind, verdict), sums in list(
                self._sums.items()
            ):
                attributes = {
                    "reelmesh.gateway.instance": gateway,
                    "reelmesh.operator.id": operator_id,
                    "reelmesh.game.id": game_id,
                    "reelmesh.currency": currency_code,
                    "reelmesh.account.kind": kind,
                    "reelmesh.round.verdict": verdict,
                }
                yield Observation(value(game_id, sums), attributes)

        return observe
