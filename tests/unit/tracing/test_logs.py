"""What a process says: text to a terminal, JSON to anything else, its last words too."""

import json
import os
import pty
import subprocess
import sys

import pytest

SAYS = """
import logging, sys
from services.tracing.logs import log_to
log_to(sys.stdout, "wallet", sys.argv[1])
logging.getLogger("services.wallet").warning("it drains")
raise RuntimeError("unforeseen")
"""


def said(log_format: str, *, terminal: bool) -> list[str]:
    """What a process writes to its stdout before it ends by an error."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    with os.fdopen(ours, "rb", closefd=True) as reader:
        done = subprocess.run(
            [sys.executable, "-c", SAYS, log_format],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=theirs,
            stderr=subprocess.PIPE,
            timeout=60,
        )
        text = os.read(reader.fileno(), 65_536).decode()
        os.close(theirs)
    assert done.returncode == 1 and not done.stderr
    return text.splitlines()


@pytest.mark.parametrize(
    ("log_format", "terminal", "as_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("text", False, False)],
)
def test_a_terminal_gets_text_and_a_program_json(log_format: str, terminal: bool, as_json: bool) -> None:
    lines = said(log_format, terminal=terminal)
    if as_json:
        warning, last = map(json.loads, lines)
        assert (warning["level"], warning["message"]) == ("WARNING", "it drains")
        assert (last["level"], last["message"]) == ("CRITICAL", "the process ends")
        assert last["exception"].endswith("RuntimeError: unforeseen")
    else:
        assert lines[0].endswith("WARNING wallet it drains (services.wallet)")
        assert "CRITICAL wallet the process ends" in lines[1] and "RuntimeError: unforeseen" in lines[-1]
