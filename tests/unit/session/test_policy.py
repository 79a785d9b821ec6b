"""What a jurisdiction makes of a session's own limits; the policies that are shipped, row by row."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.session.errors import LaunchIncomplete, PolicyForbidden
from services.session.policy import (
    POLICIES_FILE,
    STRICT,
    UNREGULATED,
    Feature,
    GameMode,
    Limits,
    PolicyError,
    limits_for,
    load_policies,
    thaw,
)
from tools import policies_doc

POLICIES = load_policies()
BASE = GameMode("base", Decimal(1), Decimal("0.95"))
BOUGHT = GameMode("buy", Decimal(26), Decimal("0.96"))
MEAN = GameMode("mean", Decimal(1), Decimal("0.86"))
HOUR_MS = 3_600_000


def limits(**changes: Any) -> Limits:
    facts: dict[str, Any] = {
        "jurisdiction": "GB",
        "real": True,
        "env": "production",
        "currency_code": "GBP",
        "modes": [BASE, BOUGHT],
    }
    return limits_for(POLICIES, **(facts | changes))


# Market, what its launch names; then cycle ms, cap, features off, modes, check, rest, silence ms, duties.
ALL_OFF, ALL_ON = Feature.AUTOPLAY | Feature.TURBO, Feature(0)
EURO, NO_BUY = {"currency_code": "EUR"}, ("base",)
ES_LAUNCH = {"currency_code": "EUR", "session_life_ms": HOUR_MS, "loss_max_minor": 5000}
TABLE: list[tuple[Any, ...]] = [
    ("GB", {}, 2500, 200, ALL_OFF, NO_BUY, HOUR_MS, 0, 1_800_000, "net elapsed celebration"),
    ("DE", EURO, 5000, 100, ALL_OFF, NO_BUY, HOUR_MS, 300_000, 1_800_000, "elapsed"),
    ("SE", EURO, 3000, None, Feature.TURBO, NO_BUY, HOUR_MS, 0, 1_800_000, "net elapsed"),
    ("ES", ES_LAUNCH, 3000, None, ALL_OFF, NO_BUY, HOUR_MS, 0, 1_800_000, "elapsed stakes"),
    ("NL", EURO, 0, None, ALL_OFF, NO_BUY, HOUR_MS, 0, 1_800_000, ""),
    ("CA-ON", {"currency_code": "CAD"}, 2500, None, ALL_OFF, NO_BUY, HOUR_MS, 0, 1_800_000, "net"),
    ("IT", EURO, 0, None, Feature.AUTOPLAY, NO_BUY, HOUR_MS, 0, 1_200_000, "rtp"),
    ("MT", EURO, 0, None, ALL_ON, ("base", "buy"), HOUR_MS, 0, 1_800_000, "rtp stakes elapsed alert"),
    (
        "XX",
        {"stake_max_minor": 70},
        5000,
        70,
        ALL_OFF,
        NO_BUY,
        HOUR_MS,
        300_000,
        1_200_000,
        "net elapsed clock rtp celebration stakes",
    ),
    ("none", {"env": "development"}, 0, None, ALL_ON, None, None, 0, None, ""),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_a_market_asks_what_its_regulator_asks(row: tuple[Any, ...]) -> None:
    name, launch, cycle_ms, cap, features, modes, check_ms, rest_ms, idle_ms, duties = row
    held = limits(jurisdiction=name, **launch)
    assert (held.cycle_min_ms, held.stake_max_minor) == (cycle_ms, cap)
    assert (held.features_forbidden, held.modes_allowed) == (features, modes)
    assert (held.check_interval_ms, held.lock_out_ms, held.idle_max_ms) == (check_ms, rest_ms, idle_ms)
    assert held.counted == (name != "none")
    shown = POLICIES[held.jurisdiction].policy.display
    assert sorted(duty.split("_")[1 if duty[:2] in ("no", "au") else 0] for duty in shown) == sorted(
        duties.split()
    )


def test_every_policy_that_is_shipped_is_in_the_table() -> None:
    assert {row[0] for row in TABLE} == (POLICIES.keys() | {"XX"}) - {STRICT}


@pytest.mark.parametrize("jurisdiction", ["", "XX", "gb", "default"])
def test_no_or_an_unknown_jurisdiction_is_held_to_the_strict_policy(jurisdiction: str) -> None:
    held = limits(jurisdiction=jurisdiction, stake_max_minor=500)
    assert (held.jurisdiction, held.cycle_min_ms, held.stake_max_minor) == (STRICT, 5000, 500)


def test_no_policy_is_stricter_than_the_strict_one_in_pace_features_checks_or_silence() -> None:
    strict = POLICIES[STRICT].policy
    for name, (_, policy, _, _) in POLICIES.items():
        if name == UNREGULATED:
            continue
        assert policy.cycle_min_ms <= strict.cycle_min_ms
        assert (strict.reality_check_ms or 0) <= (policy.reality_check_ms or HOUR_MS)
        assert (strict.idle_max_ms or 0) <= (policy.idle_max_ms or HOUR_MS)
        assert policy.lock_out_ms <= strict.lock_out_ms
        assert set(policy.display) - {"autoplay_alert"} <= set(strict.display)
    assert not (strict.autoplay or strict.turbo or strict.bonus_buy)


@pytest.mark.parametrize(
    ("tier", "cap"), [("", 200), ("18-24", 200), ("25+", 500), ("qualified", 200), ("25", 200)]
)
def test_a_tier_that_the_policy_does_not_name_has_the_lowest_cap(tier: str, cap: int) -> None:
    assert limits(player_tier=tier).stake_max_minor == cap


@pytest.mark.parametrize(("tier", "cap"), [("18-20", 100), ("21+", 300), ("qualified", 500), ("?", 100)])
def test_the_tiers_of_germany(tier: str, cap: int) -> None:
    assert limits(jurisdiction="DE", currency_code="EUR", player_tier=tier).stake_max_minor == cap


def test_a_session_may_be_stricter_than_its_policy() -> None:
    held = limits(cycle_min_ms=4000, stake_max_minor=150, check_interval_ms=60_000, loss_max_minor=1)
    assert (held.cycle_min_ms, held.stake_max_minor, held.check_interval_ms) == (4000, 150, 60_000)
    assert held.loss_max_minor == 1


def test_a_session_may_not_be_laxer_than_its_policy() -> None:
    held = limits(cycle_min_ms=1000, stake_max_minor=900, check_interval_ms=2 * HOUR_MS)
    assert (held.cycle_min_ms, held.stake_max_minor, held.check_interval_ms) == (2500, 200, HOUR_MS)


def test_a_loss_limit_of_the_launch_counts_where_no_policy_does() -> None:
    held = limits(jurisdiction=UNREGULATED, env="development", loss_max_minor=500)
    assert (held.loss_max_minor, held.counted) == (500, True)


@pytest.mark.parametrize(
    ("jurisdiction", "currency_code"), [("DE", "USD"), ("GB", "EUR"), ("CA-ON", "USD"), ("CA-ON", "EUR")]
)
def test_a_policy_with_a_currency_of_its_own_refuses_others(jurisdiction: str, currency_code: str) -> None:
    with pytest.raises(PolicyForbidden) as refusal:
        limits(jurisdiction=jurisdiction, currency_code=currency_code, stake_max_minor=1)
    assert refusal.value.metadata == {"jurisdiction": jurisdiction}


@pytest.mark.parametrize(
    ("jurisdiction", "given", "field"),
    [
        ("XX", {}, "stake_max"),
        ("ES", {"loss_max_minor": 1}, "session_duration"),
        ("ES", {"session_life_ms": 60_000}, "loss_limit"),
    ],
)
def test_what_a_policy_wants_named_the_launch_must_name(
    jurisdiction: str, given: dict[str, int], field: str
) -> None:
    with pytest.raises(LaunchIncomplete) as refusal:
        limits(jurisdiction=jurisdiction, currency_code="EUR", **given)
    assert refusal.value.metadata["field"] == field


def test_modes_are_allowed_by_name_where_any_is_forbidden() -> None:
    assert limits(modes=[BASE, BOUGHT, MEAN]).modes_allowed == ("base", "mean")
    assert limits(modes=[]).modes_allowed == ("base",)
    italian = {"jurisdiction": "IT", "currency_code": "EUR"}
    assert limits(modes=[BASE, BOUGHT, MEAN], **italian).modes_allowed == ("base",)
    for modes in ([], [BASE._replace(rtp_target=Decimal("0.899999"))]):
        with pytest.raises(PolicyForbidden):
            limits(modes=modes, **italian)


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
        assert limits(jurisdiction=UNREGULATED, real=real, env=env).jurisdiction == UNREGULATED
    else:
        with pytest.raises(PolicyForbidden):
            limits(jurisdiction=UNREGULATED, real=real, env=env)


SHIPPED = POLICIES_FILE.read_text()


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("cycle_min_ms: 2500", "cycle_min_ms: 70000", "GB.cycle_min_ms: Expected `int` <= 60000"),
        ("GBP: {", "GBP: {x: 0, ", "GB.stake_max_minor: Expected `int` >= 1"),
        ("  turbo: true\n", "", "none: Object missing required field `turbo`"),
        ("  turbo: true\n", "  turbo: true\n  jackpot: off\n", "none.*unknown field `jackpot`"),
        ("\nMT:", "\nGB:", "GB: twice"),
        ("\ndefault:", "\nelse:", "must have default and none"),
        ("display: [rtp]", "display: [fireworks]", "IT.display: Invalid enum value 'fireworks'"),
        ("display: [rtp]", "display: [", "not YAML"),
    ],
)
def test_a_wrong_policy_file_is_refused_with_line_and_field(
    tmp_path: Path, before: str, after: str, problem: str
) -> None:
    assert before in SHIPPED
    path = tmp_path / "policies.yaml"
    path.write_text(SHIPPED.replace(before, after, 1))
    with pytest.raises(PolicyError, match=rf"^policies.yaml:\d+: {problem}"):
        load_policies(path)


def test_the_line_is_the_fields_own(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(SHIPPED.replace("cycle_min_ms: 2500", "cycle_min_ms: soon", 1))
    line = SHIPPED[: SHIPPED.index("cycle_min_ms: 2500")].count("\n") + 1
    with pytest.raises(PolicyError, match=f"^policies.yaml:{line}: GB.cycle_min_ms"):
        load_policies(path)


def test_the_hash_is_of_everything_that_is_asked_and_of_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    path.write_text(
        "# another comment\n"
        + SHIPPED.replace("  turbo: true\n  bonus_buy: true", "  bonus_buy: true\n  turbo: true")
    )
    assert load_policies(path) == POLICIES
    path.write_text(SHIPPED.replace("cycle_min_ms: 2500", "cycle_min_ms: 2501", 1))
    changed = load_policies(path)
    assert {name for name in POLICIES if changed[name].policy_hash != POLICIES[name].policy_hash} == {"GB"}


def test_a_recorded_policy_is_read_again_and_a_changed_one_is_not() -> None:
    one = POLICIES["GB"]
    text = one.canonical_json.decode()
    assert thaw(text, policy_hash=one.policy_hash) == one
    assert thaw(text.replace("2500", "0"), policy_hash=one.policy_hash) is None
    assert msgspec.json.decode(text)["name"] == "GB"


def test_the_page_shows_the_policies_as_they_are() -> None:
    assert policies_doc.PAGE.read_text() == policies_doc.page()
