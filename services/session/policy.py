"""Jurisdiction policies: data in policies.yaml, and what they make of a session's own limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from services.session.errors import PolicyForbidden

POLICIES_FILE = Path(__file__).with_name("policies.yaml")
STRICT = "default"
"""The policy of a jurisdiction that is not listed, and of none given."""
UNREGULATED = "none"
"""The policy without limits: never for real money outside development."""
CYCLE_MIN_MS_MAX = 60_000
"""Longest minimum cycle a session may ask for, ms."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a jurisdiction asks of every session."""

    name: str
    cycle_min_ms: int
    stake_max_minor: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session is held to: the stricter of its policy and its own."""

    jurisdiction: str
    cycle_min_ms: int
    stake_max_minor: int | None


def load_policies(path: Path = POLICIES_FILE) -> dict[str, Policy]:
    """The policies by jurisdiction. Errors: ValueError when the file lacks a policy or has a wrong value."""
    document: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())
    policies = {name: _policy(name, facts) for name, facts in document.items()}
    if not {STRICT, UNREGULATED} <= policies.keys():
        raise ValueError(f"{path.name} must have {STRICT} and {UNREGULATED}")
    return policies


def _policy(name: str, facts: dict[str, Any]) -> Policy:
    policy = Policy(name=name, **facts)
    if not 0 <= policy.cycle_min_ms <= CYCLE_MIN_MS_MAX:
        raise ValueError(f"{name}: cycle_min_ms must be 0..{CYCLE_MIN_MS_MAX}")
    if any(stake_minor <= 0 for stake_minor in policy.stake_max_minor.values()):
        raise ValueError(f"{name}: stake_max_minor must be above 0")
    return policy


def limits_for(
    policies: Mapping[str, Policy],
    *,
    jurisdiction: str,
    real: bool,
    env: str,
    currency_code: str,
    cycle_min_ms: int,
    stake_max_minor: int | None,
) -> Limits:
    """The limits of a new session from its jurisdiction ("" is the strict default) and its own limits.

    Errors: POLICY_FORBIDDEN for real money under "none" outside development, and for a currency in which
    the policy's stake limit is not stated.
    """
    policy = policies.get(jurisdiction, policies[STRICT])
    if policy.name == UNREGULATED and real and env != "development":
        raise PolicyForbidden(jurisdiction=policy.name)
    if policy.stake_max_minor and currency_code not in policy.stake_max_minor:
        raise PolicyForbidden(jurisdiction=policy.name)
    stakes_max_minor = (policy.stake_max_minor.get(currency_code), stake_max_minor)
    return Limits(
        jurisdiction=policy.name,
        cycle_min_ms=max(policy.cycle_min_ms, cycle_min_ms),
        stake_max_minor=min((limit for limit in stakes_max_minor if limit is not None), default=None),
    )
