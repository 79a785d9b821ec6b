"""Rules: each fires on its fault, is silent below it, selects what is emitted, and has a runbook section."""

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.observability.promql import FOLDER, RULES, Check, alerts, known, name_of, parse, problems, rules
from tests.tools import require_tool
from tools.telemetry_contract import ROOT, contract

TESTS = sorted((FOLDER / "rules/tests").glob("*.yaml"))
RUNBOOK = ROOT / "docs/runbook.md"
# What a section ends in: a round's whole story, a person's verdict, or the books against each other.
COMMAND = re.compile(r"make (explain ROUND=\S+|review( ROUND=\S+.*)?|reconcile)")


def promtool(*arguments: str) -> str:
    """What it says; it must be content."""
    done = subprocess.run([require_tool("promtool"), *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.tool("promtool")
def test_promtool_takes_every_rule() -> None:
    said = promtool("check", "rules", *map(str, RULES))
    assert sum(map(int, re.findall(r"SUCCESS: (\d+) rules", said))) == len(rules())


@pytest.mark.tool("promtool")
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_alerts_fire_on_their_faults_only(path: Any) -> None:
    promtool("test", "rules", str(path))


@pytest.mark.tool("promtool")
def test_promtool_sees_an_alert_that_is_broken(tmp_path: Any) -> None:
    text = (FOLDER / "rules/money.yaml").read_text()
    (tmp_path / "tests").mkdir()
    (tmp_path / "money.yaml").write_text(
        text.replace("reelmesh_ledger_imbalance) > 0", "reelmesh_ledger) > 0")
    )
    test = tmp_path / "tests/money.yaml"
    test.write_text((FOLDER / "rules/tests/money.yaml").read_text())
    with pytest.raises(AssertionError, match="LedgerImbalance fires"):
        promtool("test", "rules", str(test))


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    tested: dict[bool, set[str]] = {True: set(), False: set()}
    for path in TESTS:
        for case in yaml.safe_load(path.read_text())["tests"]:
            for one in case["alert_rule_test"]:
                fires = bool(one.get("exp_alerts"))
                tested[fires].add(one["alertname"])
                assert case["name"].startswith(f"{one['alertname']} {'fires' if fires else 'silent'}")
    assert tested[True] == tested[False] == alerts().keys()


def test_every_alert_says_how_bad_it_is_and_where_to_read_on() -> None:
    for rule in alerts().values():
        assert rule.fields["labels"].keys() == {"severity"}
        assert rule.fields["labels"]["severity"] in ("page", "ticket")
        assert rule.fields["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule.fields["annotations"]["runbook_url"] == f"docs/runbook.md#{rule.name.lower()}"
        # What a page names must be in its labels, or it names nothing.
        by_name = known_labels(rule.expr)
        assert set(re.findall(r"\$labels\.(\w+)", str(rule.fields["annotations"]))) <= by_name, rule.name


def known_labels(expr: str) -> frozenset[str]:
    """Labels of what an expression returns; `absent` and its like return what they were asked for."""
    return Check(known()).labels(parse(expr))


def test_every_alert_has_a_section_of_the_runbook_that_ends_in_a_command() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK.read_text(), re.M | re.S))
    assert sections.keys() == alerts().keys(), "one section for each alert, and none for none"
    for name, text in sections.items():
        severity = alerts()[name].fields["labels"]["severity"]
        assert text.strip().startswith(f"**{severity}**"), f"{name}: the section tells another severity"
        for part in ("**Means.**", "**How bad.**", "**Look.**", "**Do.**"):
            assert part in text, f"{name}: {part}"
        ending = re.search(r"```\n(.*)\n```\Z", text.strip())
        assert ending and COMMAND.match(ending[1]), f"{name} ends in no command"


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.name)
def test_rules_select_what_is_declared(rule: Any) -> None:
    assert not problems(rule.expr)


def test_what_nobody_emits_is_found() -> None:
    for expr, found in (
        ("reelmesh_ledger", ["reelmesh_ledger is no series"]),
        ('reelmesh_outbox_rows{player="ada"}', ["reelmesh_outbox_rows has no label player"]),
        ("sum by (le) (rate(reelmesh_spin_refused_total[5m]))", ["there is no label le to go by"]),
        ('reelmesh_round_open{reelmesh_round_state="SETLING"}', ["reelmesh_round_state is never SETLING"]),
        ("sum(reelmesh:slow:rate5m) by (rpc_method)", ["there is no label rpc_method to go by"]),
        ("reelmesh_review_count / on (le) reelmesh_review_count", ["there is no label le to go by"] * 2),
    ):
        assert problems(expr) == found


def test_names_are_those_that_prometheus_makes() -> None:
    # By its own translator. A metric that is newer than the file is held to the same rules.
    vectors = json.loads((ROOT / "tests/vectors/prometheus_names.json").read_text())["names"]
    assert len(vectors) >= 34
    for metric in vectors.keys() & contract().metrics.keys():
        assert name_of(metric) == vectors[metric]
