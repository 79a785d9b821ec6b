"""Print each rule with what happens without it, then what was explored with all rules in force."""

from tests.model.explore import explore
from tests.model.rules import CLAUSES, RULES, SCENARIOS, Rules


def print_rule(rule: str) -> None:
    print(f"{rule}  {RULES[rule]}")
    for clause in (clause for clause in CLAUSES if clause.rule == rule):
        report = explore(SCENARIOS[clause.scenario], Rules(without=clause.name))
        print(f"\n  Without {clause.name} ({clause.without}) {report.broken} breaks in '{clause.scenario}':")
        for number, line in enumerate(report.trace, 1):
            print(f"  {number:>4}. {line}")
    print()


def print_explorations() -> None:
    print("With all rules in force, every interleaving of:")
    reports = []
    for scenario in SCENARIOS.values():
        reports.append(explore(scenario, Rules()))
        print(" ", reports[-1], flush=True)
    states, transitions = sum(r.states for r in reports), sum(r.transitions for r in reports)
    failed = [report.broken for report in reports if report.broken]
    print(f"{states:,} states, {transitions:,} transitions, violations: {', '.join(failed) or 'none'}")


if __name__ == "__main__":
    for name in RULES:
        print_rule(name)
    print_explorations()
