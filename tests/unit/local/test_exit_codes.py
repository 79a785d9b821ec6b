"""What a command of the laptop ends with: 1 when it is refused, 2 when nobody answers; its help says so."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.local import run
from deploy.local.__main__ import app, main
from deploy.local.ports import free_ports
from deploy.local.run import PORTS

ASK = ["review", "stuck", "webhooks"]


def ended(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", ["reelmesh", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a mesh that is away; who was here before."""
    monkeypatch.setattr(run, "DIRECTORY", tmp_path)
    monkeypatch.setattr(run, "API_KEY_PATH", tmp_path / "api_key")
    monkeypatch.setattr(run, "REST_PORT", free_ports(1)[0])
    away = free_ports(1)[0]
    monkeypatch.setattr(run, "PORTS", {name: replace(ports, grpc=away) for name, ports in PORTS.items()})
    return tmp_path


@pytest.mark.parametrize(
    "command", [*ASK, "play", "operators", "psql", "database-url", "reference-database-url"]
)
def test_where_no_mesh_was_ever_started(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    service = {"psql": ["--service", "events"], "database-url": ["events"], "operators": ["list"]}.get(
        command, []
    )
    assert ended(monkeypatch, command, *service) == 2
    told = capsys.readouterr()
    assert not told.out and told.err.startswith("reelmesh: no ") and told.err.count("\n") == 1


@pytest.mark.parametrize("command", [*ASK, "play"])
def test_where_it_was_and_is_not_running(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (directory / "keys.json").write_text(json.dumps({"identity_key": "a-key-for-tests-only"}))
    (directory / "api_key").write_text("rk_")
    assert ended(monkeypatch, command) == 2
    told = capsys.readouterr().err
    assert "make run`" in told and told.count("\n") == 1


@pytest.mark.parametrize("command", ASK)
def test_half_a_question_is_refused_before_anybody_is_asked(
    directory: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    half = {"review": "--verdict=void", "stuck": "--action=stop", "webhooks": "--action=pause"}
    assert ended(monkeypatch, command, half[command]) == 1


@pytest.mark.parametrize("command", [*ASK, "play", "explain"])
def test_the_help_says_so(command: str) -> None:
    words = " ".join(CliRunner().invoke(app, [command, "--help"]).output.split())
    assert "Exit code 1" in words and "2" in words.partition("Exit code 1")[2]
