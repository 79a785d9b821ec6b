"""The arithmetic of the bench, without a process or a clock: percentiles, medians, ratio, and what voids."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

import msgspec

REELMESH, TEXTBOOK, FLOOR = "reelmesh", "textbook", "floor"
RATIO_PLAYERS = 128


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of one pass. CPU is what every process spent from the first request until all was quiet
    again (outboxes empty, every round finished), divided by all rounds acknowledged in that time.
    """

    subject: str
    mode: str
    players: int
    pass_no: int
    spins: int
    """Rounds acknowledged in the cell."""
    seconds: float
    """From the first request until all was quiet."""
    quiet_s: float
    """Of it, what came after the last answer."""
    spins_per_s: float
    """Of the window."""
    p50_ms: float
    p99_ms: float
    batch: dict[str, float]
    """Mean rows per transaction of a hop's table; empty for what does not batch."""
    cpu_us: dict[str, float]
    """Per spin, by process; postgres is the whole server."""
    cpu_us_per_spin: float
    """All of it."""
    idle_us_per_spin: float
    """Of it, what the mesh spends in that time when nobody plays: the slower the cell, the more per spin."""
    load_cpu_us: float
    """Per spin, of the load client; in no other figure."""
    load_busy_percent: float
    """Share of one core that the load client used; near 100 it measured itself."""
    repeated: int
    unknown: int
    refused: dict[str, int]
    refused_p99_ms: float
    """In a flood, how long it takes to be refused."""
    steal_percent: float
    idle_percent: float
    foreign_percent: float
    """Of the machine's time, what processes spent that are neither measured nor the load client."""
    load_average: float
    flush_us: float
    """Median of 8 KiB written and made durable with fdatasync, right before the cell."""


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a spin alone, with nothing around it."""

    name: str
    pass_no: int
    client_us: float
    """CPU of the Python process, per item."""
    postgres_us: float
    """CPU of PostgreSQL, per item."""
    items_per_s: float


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What a subject's databases hold after the run, against what its players were told."""

    subject: str
    acknowledged: int
    unknown: int
    applied: int
    unbalanced: int
    """Transactions whose postings do not sum to 0."""
    posting_sum_minor: int
    accounts_off: int
    """Accounts whose balance is not the sum of their postings."""
    pending: int
    """Rounds without an end, or still to be told to events."""
    durability: dict[str, str]
    """Settings of the server, as it shows them."""


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the ordered values do not exceed (nearest rank); 0 of none."""
    if not ordered:
        return 0.0
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1]


def medians(rows: Iterable[Row]) -> list[Row]:
    """One row per cell, every figure the median over its passes; counts are their sums. pass_no is 0."""
    cells: dict[tuple[str, str, int], list[Row]] = {}
    for row in rows:
        cells.setdefault((row.subject, row.mode, row.players), []).append(row)
    return [_median(cell) for cell in cells.values()]


def _median(cell: Sequence[Row]) -> Row:
    def of(name: str) -> float:
        return float(median(getattr(row, name) for row in cell))

    def of_each(name: str) -> dict[str, float]:
        keys = getattr(cell[0], name)
        return {key: float(median(getattr(row, name).get(key, 0.0) for row in cell)) for key in keys}

    refused: dict[str, int] = {}
    for row in cell:
        for reason, count in row.refused.items():
            refused[reason] = refused.get(reason, 0) + count
    return Row(
        subject=cell[0].subject,
        mode=cell[0].mode,
        players=cell[0].players,
        pass_no=0,
        spins=sum(row.spins for row in cell),
        seconds=of("seconds"),
        quiet_s=of("quiet_s"),
        spins_per_s=of("spins_per_s"),
        p50_ms=of("p50_ms"),
        p99_ms=of("p99_ms"),
        batch=of_each("batch"),
        cpu_us=of_each("cpu_us"),
        cpu_us_per_spin=of("cpu_us_per_spin"),
        idle_us_per_spin=of("idle_us_per_spin"),
        load_cpu_us=of("load_cpu_us"),
        load_busy_percent=of("load_busy_percent"),
        repeated=sum(row.repeated for row in cell),
        unknown=sum(row.unknown for row in cell),
        refused=refused,
        refused_p99_ms=of("refused_p99_ms"),
        steal_percent=of("steal_percent"),
        idle_percent=of("idle_percent"),
        foreign_percent=of("foreign_percent"),
        load_average=of("load_average"),
        flush_us=of("flush_us"),
    )


def median_floors(floors: Iterable[Floor]) -> list[Floor]:
    """One floor per name, every figure the median over the passes."""
    parts: dict[str, list[Floor]] = {}
    for floor in floors:
        parts.setdefault(floor.name, []).append(floor)
    return [
        Floor(
            name=name,
            pass_no=0,
            client_us=float(median(one.client_us for one in part)),
            postgres_us=float(median(one.postgres_us for one in part)),
            items_per_s=float(median(one.items_per_s for one in part)),
        )
        for name, part in parts.items()
    ]


def cost_us(rows: Iterable[Row], subject: str, players: int = RATIO_PLAYERS) -> float | None:
    """Median CPU per spin of the subject's closed loop with that many players; None if it was not run."""
    costs = [
        row.cpu_us_per_spin
        for row in rows
        if (row.subject, row.mode, row.players) == (subject, "closed", players)
    ]
    return float(median(costs)) if costs else None


def ratio_to_textbook(rows: Sequence[Row], players: int = RATIO_PLAYERS) -> float | None:
    """How many times less CPU a spin costs here: the median of each pass's own ratio.

    A pass runs both within seconds, so that what slows the machine slows both.
    """
    ratios = []
    for pass_no in sorted({row.pass_no for row in rows}):
        of_pass = [row for row in rows if row.pass_no == pass_no]
        ours, theirs = cost_us(of_pass, REELMESH, players), cost_us(of_pass, TEXTBOOK, players)
        if ours and theirs:
            ratios.append(theirs / ours)
    return float(median(ratios)) if ratios else None


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """What a flood left of the peak, and how it was afterwards; medians of the passes."""

    offered_per_s: float
    """What was sent: the load client may not manage what was meant."""
    peak_per_s: float
    kept: float
    """Spins answered per second during the flood, as a share of the peak."""
    refused_share: float
    """Of the spins that were offered."""
    refused_p99_ms: float
    quiet_s: float
    """From the flood's last answer until every round had its end and every event was stored."""
    recovered: float
    """Spins per second of a closed loop right after that, as a share of the same loop before the flood."""


def overload(rows: Sequence[Row]) -> Overload | None:
    """The flood's figures: each pass against its own peak; None without a flood."""
    found = []
    for pass_no in sorted({row.pass_no for row in rows}):
        ours = [row for row in rows if row.pass_no == pass_no and row.subject == REELMESH]
        by_mode = {row.mode: row for row in ours if row.mode in ("flood", "after")}
        if by_mode.keys() != {"flood", "after"}:
            continue
        flood, after = by_mode["flood"], by_mode["after"]
        closed = {row.players: row.spins_per_s for row in ours if row.mode == "closed"}
        refused = sum(flood.refused.values())
        found.append(
            Overload(
                offered_per_s=(refused + flood.spins) / (flood.seconds - flood.quiet_s),
                peak_per_s=max(closed.values()),
                kept=flood.spins_per_s / max(closed.values()),
                refused_share=refused / max(1, refused + flood.spins),
                refused_p99_ms=flood.refused_p99_ms,
                quiet_s=flood.quiet_s,
                recovered=after.spins_per_s / closed[after.players],
            )
        )
    if not found:
        return None
    names = Overload.__struct_fields__
    return Overload(**{name: float(median(getattr(one, name) for one in found)) for name in names})


def void_reasons(books: Books) -> list[str]:
    """Why the table says nothing; empty when it stands."""
    reasons = []
    if books.acknowledged == 0:
        reasons.append("no round was acknowledged")
    if books.applied != books.acknowledged:
        reasons.append(f"{books.applied} rounds applied, {books.acknowledged} acknowledged")
    if books.unknown:
        reasons.append(f"{books.unknown} spins were never answered")
    if books.unbalanced or books.posting_sum_minor:
        reasons.append(
            f"{books.unbalanced} transactions unbalanced, postings sum to {books.posting_sum_minor}"
        )
    if books.accounts_off:
        reasons.append(f"{books.accounts_off} balances are not the sum of their postings")
    if books.pending:
        reasons.append(f"{books.pending} rounds unfinished or untold")
    reasons += [f"{name} is {value}" for name, value in books.durability.items() if value != "on"]
    return [f"{books.subject}: {reason}" for reason in reasons]


def share_percent(part: float, whole: float) -> float:
    """Percent; 0 of nothing."""
    return 100 * part / whole if whole > 0 else 0.0


def per_spin_us(seconds: Mapping[str, float], spins: int) -> dict[str, float]:
    """CPU seconds by process as microseconds per spin."""
    return {name: value * 1e6 / max(1, spins) for name, value in seconds.items()}
