"""Runs again what failed of `make test`, each test three times: again.py <cache folder of a half>...

A test that fails once and then passes three times alone is unsteady: a defect of its own, named loudly, and
no reason to throw the others' work away. What is beyond luck stays a failure: a half that did not end, more
than five failed tests, and what proves money under races and kills.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

TIMES = 3
LUCK_MAX = 5
# What proves money under races and kills: there, once in a while is how a defect looks.
NO_LUCK = re.compile(r"(^|/)(fault|model|conformance|rollout)/|races")


def main() -> None:
    """Exits 0 when every failed test passed three times, else 1."""
    halves = [Path(each) for each in sys.argv[1:]]
    failed = [node for half in halves for node in _failed(half)]
    if not 1 <= len(failed) <= LUCK_MAX:
        sys.exit(f"again: {len(failed)} tests failed; from 1 to {LUCK_MAX} are run again")
    if never := [node for node in failed if NO_LUCK.search(node)]:
        sys.exit(f"again: no matter of luck: {' '.join(never)}")
    for time in range(1, TIMES + 1):
        print(f"again: {time} of {TIMES}: {' '.join(failed)}", flush=True)
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", "not long", *failed]
        if subprocess.run(command).returncode != 0:
            sys.exit("again: failed again: no matter of luck")
    print("again: UNSTEADY, to be mended: " + " ".join(failed))


def _failed(half: Path) -> list[str]:
    """The tests of a half that failed. The list of all its tests is written only when it came to its end."""
    if not (half / "v/cache/nodeids").exists():
        sys.exit(f"again: {half} has no end: the run was broken off")
    last = half / "v/cache/lastfailed"
    return list(json.loads(last.read_text())) if last.exists() else []


if __name__ == "__main__":
    main()
