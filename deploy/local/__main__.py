"""Commands of the laptop runner: python -m deploy.local run | play | explain | review | stuck | ...

Exit code 1: something is wrong, or was refused. 2: nobody answers.
"""

import sys

import typer
from rich.console import Console

from deploy.local.errors import LocalError, NobodyAnswers

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
console = Console(highlight=False)


@app.command("run")
def run_command(tls: bool = False) -> None:
    """Start the mesh on this machine, with certificates for all of it where asked to; until Ctrl-C."""
    from deploy.local.run import run

    run(console, tls=tls)


@app.command("play")
def play_command(spins: str = "200", players: str = "8", game: str = "") -> None:
    """Play against the running mesh, then show one trace. Exit code 1: it was refused, 2: nobody answers."""
    from deploy.local import reach
    from deploy.local.play import play
    from deploy.local.run import API_KEY_PATH, DIRECTORY, REST_PORT, TRACES_URL

    # Told apart here: typer would draw a box of six lines.
    if not (spins.isdecimal() and players.isdecimal() and int(spins) and int(players)):
        raise LocalError("SPINS and PLAYERS must be numbers, 1 or more")
    if not API_KEY_PATH.exists():
        raise NobodyAnswers("no API key found: start the mesh with `make run` first")
    api_key = API_KEY_PATH.read_text().strip()
    play(
        console,
        spins=int(spins),
        players=int(players),
        rest_url=reach.rest_url(DIRECTORY, REST_PORT),
        traces_url=TRACES_URL,
        api_key=api_key,
        game_id=game,
        verify=reach.trusted(DIRECTORY),
    )


@app.command("explain")
def explain_command(round_id: str = "", replay: str = "", json_path: str = "", as_json: bool = False) -> None:
    """Show all that is known of a round. Exit code 1 when it does not add up, 2 when that cannot be told."""
    import os
    from pathlib import Path

    from deploy.local import reach
    from deploy.local.explain import explain
    from deploy.local.run import API_KEY_PATH, DIRECTORY, REST_PORT, TRACES_URL
    from services.common.errors import described

    try:
        if not round_id:
            raise LocalError("which round? make explain ROUND=...")
        if not API_KEY_PATH.exists():
            raise NobodyAnswers("no API key found: start the mesh with `make run` first")
        adds_up = explain(
            console,
            round_id=round_id,
            rest_url=reach.rest_url(DIRECTORY, REST_PORT),
            api_key=API_KEY_PATH.read_text().strip(),
            traces_url=os.environ.get("REELMESH_TRACES_URL") or TRACES_URL,
            replay=replay not in ("", "0"),
            json_path=Path(json_path) if json_path else None,
            as_json=as_json,
            verify=reach.trusted(DIRECTORY),
        )
    except LocalError as problem:
        print(f"explain: {problem}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:  # exit code 1 says that a round does not add up, and nothing else
        print(f"explain: nothing was found out: {described(error)}; a bug: report this line", file=sys.stderr)
        sys.exit(2)
    sys.exit(0 if adds_up else 1)


@app.command("reconcile", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def reconcile_command(context: typer.Context) -> None:
    """Hold wallet, rounds and events against each other: of the environment, else of the mesh here."""
    import json
    import os

    from deploy.local import reach
    from deploy.local.databases import role_name
    from deploy.local.postgres import Cluster
    from deploy.local.run import DIRECTORY, PORTS, POSTGRES_PORT
    from services.reconciliation.__main__ import app as reconciliation

    directory, keys_path = DIRECTORY / "postgres", DIRECTORY / "keys.json"
    if directory.exists() and keys_path.exists():
        cluster = Cluster(directory, POSTGRES_PORT)
        for service in ("game", "wallet", "events"):
            name = f"REELMESH_{service}_DATABASE_URL".upper()
            os.environ.setdefault(name, cluster.server.url(service, role_name(service)))
        os.environ.setdefault("REELMESH_GAME_TARGET", f"dns:///127.0.0.1:{PORTS['game'].grpc}")
        os.environ.setdefault("REELMESH_IDENTITY_KEY", json.loads(keys_path.read_text())["identity_key"])
        if found := reach.certificates(DIRECTORY):
            os.environ.setdefault("REELMESH_TLS_PATH", str(found.of("gateway")))
    reconciliation(context.args)


@app.command("review")
def review_command(round_id: str = "", verdict: str = "", actor: str = "", reason: str = "") -> None:
    """List the rounds that wait for a person, or decide one: settled, reversed or void.

    Exit code 1 when that is refused, 2 when nobody answers.
    """
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
        raise NobodyAnswers(f"no database found: start the mesh with `make run` first, or set {name}")
    print(Cluster(directory, POSTGRES_PORT).server.url(service, role_name(service)))


@app.command("psql")
def psql_command(service: str = "") -> None:
    """A service's database in psql, read only: of the environment, else of the mesh here."""
    import os

    from deploy.local.databases import SERVICES, role_name
    from deploy.local.postgres import Cluster
    from deploy.local.psql import psql
    from deploy.local.run import DIRECTORY, POSTGRES_PORT

    if service not in SERVICES:
        raise LocalError(f"which database? make psql SERVICE={'|'.join(SERVICES)}")
    directory = DIRECTORY / "postgres"
    url = os.environ.get(f"REELMESH_{service}_DATABASE_URL".upper())
    if not url and not directory.exists():
        raise NobodyAnswers("no database found: start the mesh with `make run` first")
    psql(url or Cluster(directory, POSTGRES_PORT).server.url(service, role_name(service)))


# Its own help is that of the command behind it.
@app.command(
    "operators",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def operators_command(context: typer.Context) -> None:
    """Operators, their API keys and origins: of the environment, else of the mesh here."""
    import json
    import os

    from deploy.local import reach
    from deploy.local.databases import role_name
    from deploy.local.postgres import Cluster
    from deploy.local.run import DIRECTORY, PORTS, POSTGRES_PORT
    from services.gateway.operators.administer import app as administer

    url, directory, keys_path = (
        "REELMESH_GATEWAY_DATABASE_URL",
        DIRECTORY / "postgres",
        DIRECTORY / "keys.json",
    )
    if keys_path.exists():
        keys = json.loads(keys_path.read_text())
        os.environ.setdefault("REELMESH_GATEWAY_SIGNING_KEY", keys.get("signing_key", ""))
        os.environ.setdefault("REELMESH_SESSION_TARGET", f"dns:///127.0.0.1:{PORTS['session'].grpc}")
        os.environ.setdefault("REELMESH_IDENTITY_KEY", keys["identity_key"])
        if found := reach.certificates(DIRECTORY):
            os.environ.setdefault("REELMESH_TLS_PATH", str(found.of("gateway")))
    if not os.environ.get(url):
        if not directory.exists():
            raise NobodyAnswers(f"no database found: start the mesh with `make run` first, or set {url}")
        os.environ[url] = Cluster(directory, POSTGRES_PORT).server.url("gateway", role_name("gateway"))
    administer(context.args, prog_name="operators")


@app.command("reference-database-url")
def reference_database_url_command() -> None:
    """Print where the reference wallet's database is, beside those of the running mesh; made once, empty."""
    import psycopg

    from deploy.local.postgres import Cluster
    from deploy.local.run import DIRECTORY, POSTGRES_PORT

    directory = DIRECTORY / "postgres"
    try:
        if not directory.exists():
            raise NobodyAnswers("no PostgreSQL found: start the mesh with `make run` first")
        print(
            Cluster(directory, POSTGRES_PORT).create_service_databases(("reference_wallet",))[
                "reference_wallet"
            ]
        )
    except psycopg.OperationalError:
        raise NobodyAnswers("PostgreSQL does not answer: start the mesh with `make run` first") from None


@app.command("stuck")
def stuck_command(
    operator: str = "dev", call: str = "", action: str = "", actor: str = "", reason: str = ""
) -> None:
    """List the calls to an operator's own wallet that were not answered; force, stop or settle one.

    Exit code 1 when that is refused, 2 when nobody answers.
    """
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


@app.command("webhooks")
def webhooks_command(
    operator: str = "dev", webhook: str = "", action: str = "", url: str = "", types: str = ""
) -> None:
    """List an operator's webhooks; register, pause, resume or forget one; send its dead letters once more.

    Exit code 1 when that is refused, 2 when nobody answers.
    """
    import os

    from deploy.local.run import DIRECTORY, PORTS
    from deploy.local.webhooks import webhooks

    webhooks(
        console,
        target=f"dns:///127.0.0.1:{PORTS['events'].grpc}",
        keys_path=DIRECTORY / "keys.json",
        operator_id=operator,
        webhook_id=webhook,
        action=action,
        url=url,
        event_types=types,
        environ=os.environ,
    )


def main() -> None:
    """Ends with 0, 1 when it found something wrong or was refused, 2 when nobody answers."""
    try:
        app()
    except LocalError as problem:
        print(f"reelmesh: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)


if __name__ == "__main__":
    main()
