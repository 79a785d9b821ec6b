"""Jurisdiction policies: data in policies.yaml, and what they make of a session's own limits."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntFlag
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
import yaml

from services.session.errors import LaunchIncomplete, PolicyForbidden

POLICIES_FILE = Path(__file__).with_name("policies.yaml")
STRICT = "default"
"""The policy of a jurisdiction that is not listed, and of none given."""
UNREGULATED = "none"
"""The policy without limits: never for real money outside development."""
CYCLE_MIN_MS_MAX = 60_000
"""Longest minimum cycle a session may ask for, ms."""
SESSION_MS_MAX = 24 * 3_600_000
"""Longest session, and longest time between two reality checks, ms."""
CHECK_MS_MIN = 60_000
"""Shortest time between two reality checks, ms."""
BASE_MODE: Final = "base"

Millis = Annotated[int, msgspec.Meta(ge=0, le=SESSION_MS_MAX)]
CheckMillis = Annotated[int, msgspec.Meta(ge=CHECK_MS_MIN, le=SESSION_MS_MAX)]
Amount = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=32)]
LaunchField = Literal["stake_max", "session_duration", "loss_limit"]
Duty = Literal[
    "net_position",
    "elapsed_time",
    "clock",
    "rtp",
    "no_celebration_up_to_stake",
    "stakes_and_wins",
    "autoplay_alert",
]
# Without counted stakes and wins these cannot be shown.
_COUNTED_DUTIES: Final = {"net_position", "stakes_and_wins"}


class Feature(IntFlag):
    """What a client declares of a spin; the numbers are those of the tables."""

    AUTOPLAY = 1
    TURBO = 2


NO_FEATURE: Final = Feature(0)


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a jurisdiction asks of every session. The fields are those of docs/policies.md."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    cycle_min_ms: Annotated[int, msgspec.Meta(ge=0, le=CYCLE_MIN_MS_MAX)]
    currency_codes: tuple[Name, ...] = ()
    stake_max_minor: dict[Name, dict[Name, Amount]] = {}
    launch_names: tuple[LaunchField, ...] = ()
    autoplay: bool
    turbo: bool
    bonus_buy: bool
    rtp_min: Annotated[str, msgspec.Meta(pattern=r"^0(\.[0-9]{1,6})?$")] = "0"
    reality_check_ms: CheckMillis | None
    lock_out_ms: Millis = 0
    idle_max_ms: CheckMillis | None
    session_max_ms: CheckMillis = SESSION_MS_MAX
    on_relaunch: Literal["replace", "join"] = "replace"
    on_close: Literal["collect", "keep"] = "collect"
    display: tuple[Duty, ...]

    def canonical_json(self, name: str) -> bytes:
        """Everything that the policy asks, in one fixed spelling; defaults included."""
        return msgspec.json.encode({"name": name} | msgspec.structs.asdict(self), order="sorted")


class NamedPolicy(NamedTuple):
    """A policy with its name, its hash (SHA-256, hexadecimal) and what was hashed."""

    name: str
    policy: Policy
    policy_hash: str
    canonical_json: bytes


class PolicyError(ValueError):
    """A policy file that cannot be used. The text is one line: file:line, policy.field, what is wrong."""


def load_policies(path: Path = POLICIES_FILE) -> dict[str, NamedPolicy]:
    """The policies by jurisdiction. Errors: PolicyError, naming line and field; OSError."""
    text = path.read_text()
    try:
        document, root = yaml.safe_load(text), yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        raise PolicyError(f"{path.name}:{line}: not YAML") from None
    if not isinstance(document, dict) or not isinstance(root, yaml.MappingNode):
        raise PolicyError(f"{path.name}:1: must be policies by name")
    policies = {}
    for key, value in root.value:
        name = key.value
        if name in policies:
            raise PolicyError(f"{path.name}:{key.start_mark.line + 1}: {name}: twice")
        try:
            if not 1 <= len(name) <= 16:
                raise msgspec.ValidationError("Expected a name of 1 to 16 characters - at `$`")
            policies[name] = named(name, msgspec.convert(document[name], Policy))
        except (msgspec.ValidationError, KeyError) as error:
            problem, _, place = str(error).partition(" - at `$")
            field = place.strip("`.").partition("[")[0].partition(".")[0]
            where = f"{path.name}:{_line(key, value, field)}"
            raise PolicyError(
                ": ".join(filter(None, [where, f"{name}.{field}".rstrip("."), problem]))
            ) from None
    if not {STRICT, UNREGULATED} <= policies.keys():
        raise PolicyError(f"{path.name}:1: must have {STRICT} and {UNREGULATED}")
    return policies


def _line(key: yaml.Node, value: yaml.Node, field: str) -> int:
    """The line of a policy's field; of its name when the field is absent."""
    if isinstance(value, yaml.MappingNode):
        for name, _ in value.value:
            if name.value == field:
                return int(name.start_mark.line) + 1
    return int(key.start_mark.line) + 1


def named(name: str, policy: Policy) -> NamedPolicy:
    """The policy with its hash."""
    canonical = policy.canonical_json(name)
    return NamedPolicy(name, policy, hashlib.sha256(canonical).hexdigest(), canonical)


def thaw(canonical_json: str, *, policy_hash: str) -> NamedPolicy | None:
    """A policy as it was recorded; None when it is not the one of this hash, or cannot be read here."""
    if hashlib.sha256(canonical_json.encode()).hexdigest() != policy_hash:
        return None
    try:
        document = msgspec.json.decode(canonical_json)
        return NamedPolicy(
            document.pop("name"), msgspec.convert(document, Policy), policy_hash, canonical_json.encode()
        )
    except (msgspec.MsgspecError, AttributeError, KeyError):
        return None


class GameMode(NamedTuple):
    """A mode of the launched game as the catalogue has it; cost in bets and return as decimals."""

    mode: str
    cost: Decimal
    rtp_target: Decimal


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session is held to: the stricter of its policy and its own. None: no such limit."""

    jurisdiction: str
    cycle_min_ms: int
    stake_max_minor: int | None
    policy_version: int = 0
    policy_hash: str = ""
    loss_max_minor: int | None = None
    check_interval_ms: int | None = None
    lock_out_ms: int = 0
    idle_max_ms: int | None = None
    session_life_ms: int = SESSION_MS_MAX
    features_forbidden: Feature = NO_FEATURE
    modes_allowed: tuple[str, ...] | None = None
    counted: bool = False
    joins: bool = False
    keeps_open_rounds: bool = False


def limits_for(
    policies: Mapping[str, NamedPolicy],
    *,
    jurisdiction: str,
    real: bool,
    env: str,
    currency_code: str,
    cycle_min_ms: int = 0,
    stake_max_minor: int | None = None,
    loss_max_minor: int | None = None,
    check_interval_ms: int | None = None,
    session_life_ms: int | None = None,
    player_tier: str = "",
    modes: Sequence[GameMode] = (),
) -> Limits:
    """The limits of a new session from its jurisdiction ("" is the strict default) and its own limits.

    Errors: POLICY_FORBIDDEN for real money under "none" outside development, for a currency that the policy
    does not take or has no stake limit in, and for a game whose base mode it does not allow;
    LAUNCH_INCOMPLETE for what the policy wants a launch to name.
    """
    name, policy, policy_hash, _ = policies.get(jurisdiction, policies[STRICT])
    if name == UNREGULATED and real and env != "development":
        raise PolicyForbidden(jurisdiction=name)
    if policy.currency_codes and currency_code not in policy.currency_codes:
        raise PolicyForbidden(jurisdiction=name)
    if policy.stake_max_minor and currency_code not in policy.stake_max_minor:
        raise PolicyForbidden(jurisdiction=name)
    given = {"stake_max": stake_max_minor, "loss_limit": loss_max_minor, "session_duration": session_life_ms}
    for field in policy.launch_names:
        if given[field] is None:
            raise LaunchIncomplete(field=field, jurisdiction=name)
    modes_allowed = _modes_allowed(policy, modes)
    if modes_allowed is not None and BASE_MODE not in modes_allowed:
        raise PolicyForbidden(jurisdiction=name)
    check_ms = stricter(policy.reality_check_ms, check_interval_ms)
    return Limits(
        jurisdiction=name,
        policy_version=policy.version,
        policy_hash=policy_hash,
        cycle_min_ms=max(policy.cycle_min_ms, cycle_min_ms),
        stake_max_minor=stricter(_stake_cap(policy, currency_code, player_tier), stake_max_minor),
        loss_max_minor=loss_max_minor,
        check_interval_ms=check_ms,
        lock_out_ms=policy.lock_out_ms,
        idle_max_ms=policy.idle_max_ms,
        session_life_ms=policy.session_max_ms,
        features_forbidden=_forbidden(policy),
        modes_allowed=modes_allowed,
        counted=bool(check_ms or loss_max_minor or _COUNTED_DUTIES & set(policy.display)),
        joins=policy.on_relaunch == "join",
        keeps_open_rounds=policy.on_close == "keep",
    )


def stricter(*limits: int | None) -> int | None:
    """The smallest that there is."""
    return min((limit for limit in limits if limit is not None), default=None)


def _stake_cap(policy: Policy, currency_code: str, player_tier: str) -> int | None:
    """The cap of the player's tier, minor units; of a tier that the policy does not name, the lowest."""
    tiers = policy.stake_max_minor.get(currency_code)
    return tiers.get(player_tier, min(tiers.values())) if tiers else None


def _forbidden(policy: Policy) -> Feature:
    autoplay = NO_FEATURE if policy.autoplay else Feature.AUTOPLAY
    return autoplay | (NO_FEATURE if policy.turbo else Feature.TURBO)


def _modes_allowed(policy: Policy, modes: Sequence[GameMode]) -> tuple[str, ...] | None:
    """The modes that may be played; None: all. A list of what is allowed, so that a mode which the game gets
    while the session is open is not."""
    rtp_min = Decimal(policy.rtp_min)
    if policy.bonus_buy and not rtp_min:
        return None
    if not modes and not rtp_min:
        return (BASE_MODE,)
    return tuple(
        mode.mode
        for mode in modes
        if (policy.bonus_buy or mode.cost <= 1) and (not rtp_min or mode.rtp_target >= rtp_min)
    )
