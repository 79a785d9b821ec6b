"""Commands of the laptop runner: python -m deploy.local run | play"""

import sys

import typer
from rich.console import Console

from deploy.local.errors import LocalError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
console = Console(highlight=False)


@app.command("run")
def run_command() -> None:
    """Start the mesh on this machine and keep it until Ctrl-C."""
    from deploy.local.run import run

    run(console)


@app.command("play")
def play_command(spins: str = "200", players: str = "8") -> None:
    """Play against the running mesh, then show one trace."""
    from deploy.local.play import play
    from deploy.local.run import API_KEY_PATH, REST_URL, TRACES_URL

    # Told apart here: typer would draw a box of six lines.
    if not (spins.isdecimal() and players.isdecimal() and int(spins) and int(players)):
        raise LocalError("SPINS and PLAYERS must be numbers, 1 or more")
    if not API_KEY_PATH.exists():
        raise LocalError("no API key found: start the mesh with `make run` first")
    api_key = API_KEY_PATH.read_text().strip()
    play(
        console,
        spins=int(spins),
        players=int(players),
        rest_url=REST_URL,
        traces_url=TRACES_URL,
        api_key=api_key,
    )


if __name__ == "__main__":
    try:
        app()
    except LocalError as problem:
        print(f"reelmesh: {problem}", file=sys.stderr)
        sys.exit(1)
