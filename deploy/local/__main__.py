"""Commands of the laptop runner: python -m deploy.local run | play | review | stuck | database-url"""

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


@app.command("review")
def review_command(round_id: str = "", verdict: str = "", actor: str = "", reason: str = "") -> None:
    """List the rounds that wait for a person, or decide one: settled, reversed or void."""
    from deploy.local.review import decision, review
    from deploy.local.run import DIRECTORY, PORTS
    from deploy.local.seed import OPERATOR_ID

    review(
        console,
        decision(round_id=round_id, verdict=verdict, actor=actor, reason=reason),
        keys_path=DIRECTORY / "keys.json",
        game_target=f"dns:///127.0.0.1:{PORTS['game'].grpc}",
        wallet_target=f"dns:///127.0.0.1:{PORTS['wallet'].grpc}",
        operator_id=OPERATOR_ID,
    )


@app.command("database-url")
def database_url_command(service: str) -> None:
    """Print where a service's database is, with its password: for commands that work on it."""
    from deploy.local.databases import role_name
    from deploy.local.postgres import Cluster
    from deploy.local.run import DIRECTORY, POSTGRES_PORT

    directory = DIRECTORY / "postgres"
    if not directory.exists():
        name = f"REELMESH_{service}_DATABASE_URL".upper()
        raise LocalError(f"no database found: start the mesh with `make run` first, or set {name}")
    print(Cluster(directory, POSTGRES_PORT).server.url(service, role_name(service)))


@app.command("reference-database-url")
def reference_database_url_command() -> None:
    """Print where the reference wallet's database is, beside those of the running mesh; made once, empty."""
    import psycopg

    from deploy.local.postgres import Cluster
    from deploy.local.run import DIRECTORY, POSTGRES_PORT

    directory = DIRECTORY / "postgres"
    try:
        if not directory.exists():
            raise LocalError("no PostgreSQL found: start the mesh with `make run` first")
        print(
            Cluster(directory, POSTGRES_PORT).create_service_databases(("reference_wallet",))[
                "reference_wallet"
            ]
        )
    except psycopg.OperationalError:
        raise LocalError("PostgreSQL does not answer: start the mesh with `make run` first") from None


@app.command("stuck")
def stuck_command(
    operator: str = "dev", call: str = "", action: str = "", actor: str = "", reason: str = ""
) -> None:
    """List the calls to an operator's own wallet that were not answered; force or stop one."""
    from deploy.local.run import DIRECTORY, PORTS
    from deploy.local.stuck import stuck

    stuck(
        console,
        target=f"dns:///127.0.0.1:{PORTS['wallet'].grpc}",
        keys_path=DIRECTORY / "keys.json",
        operator_id=operator,
        call=call,
        action=action,
        actor=actor,
        reason=reason,
    )


if __name__ == "__main__":
    try:
        app()
    except LocalError as problem:
        print(f"reelmesh: {problem}", file=sys.stderr)
        sys.exit(1)
