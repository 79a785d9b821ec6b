"""What a jurisdiction makes of a session's own limits."""

from pathlib import Path
from typing import Any

import pytest

from services.session.errors import PolicyForbidden
from services.session.policy import STRICT, UNREGULATED, Limits, limits_for, load_policies

POLICIES = load_policies()


def limits(**changes: Any) -> Limits:
    facts: dict[str, Any] = {
        "jurisdiction": "",
        "real": True,
        "env": "production",
        "currency_code": "GBP",
        "cycle_min_ms": 0,
        "stake_max_minor": None,
    }
    return limits_for(POLICIES, **(facts | changes))


@pytest.mark.parametrize("jurisdiction", ["", "XX", "gb", "default"])
def test_no_or_an_unknown_jurisdiction_is_held_to_the_strict_policy(jurisdiction: str) -> None:
    assert limits(jurisdiction=jurisdiction) == Limits(STRICT, 5000, None)


def test_no_policy_has_a_longer_cycle_than_the_strict_one() -> None:
    assert max(policy.cycle_min_ms for policy in POLICIES.values()) == POLICIES[STRICT].cycle_min_ms


def test_a_session_may_be_stricter_than_its_policy() -> None:
    assert limits(jurisdiction="GB", cycle_min_ms=4000, stake_max_minor=200) == Limits("GB", 4000, 200)


def test_a_session_may_not_be_laxer_than_its_policy() -> None:
    assert limits(jurisdiction="GB", cycle_min_ms=1000, stake_max_minor=900) == Limits("GB", 2500, 500)


def test_a_policy_with_a_stake_limit_refuses_a_currency_without_one() -> None:
    with pytest.raises(PolicyForbidden) as refusal:
        limits(jurisdiction="DE", currency_code="USD", stake_max_minor=1)
    assert refusal.value.metadata == {"jurisdiction": "DE"}


@pytest.mark.parametrize(
    ("real", "env", "allowed"),
    [
        (True, "development", True),
        (False, "production", True),
        (True, "production", False),
        (True, "Development", False),
        (True, "", False),
    ],
)
def test_real_money_without_a_policy_is_for_development_only(real: bool, env: str, allowed: bool) -> None:
    if allowed:
        assert limits(jurisdiction=UNREGULATED, real=real, env=env) == Limits(UNREGULATED, 0, None)
    else:
        with pytest.raises(PolicyForbidden):
            limits(jurisdiction=UNREGULATED, real=real, env=env)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("default: {cycle_min_ms: 5000}", "must have default and none"),
        ("{default: {cycle_min_ms: 70000}, none: {cycle_min_ms: 0}}", "default: cycle_min_ms"),
        (
            "{default: {cycle_min_ms: 1, stake_max_minor: {EUR: 0}}, none: {cycle_min_ms: 0}}",
            "stake_max_minor",
        ),
    ],
)
def test_a_wrong_policy_file_is_refused(tmp_path: Path, document: str, problem: str) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(document)
    with pytest.raises(ValueError, match=problem):
        load_policies(path)
