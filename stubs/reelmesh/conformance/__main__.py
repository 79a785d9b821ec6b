"""The command: reads its options, runs the cases, prints the table, and ends with 0, 1 or 2."""

import argparse
import asyncio
import json
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from reelmesh.client import CallError
from reelmesh.conformance import external_wallet, report, wallet_service
from reelmesh.conformance.catalogue import EXTERNAL, ROWS, WALLET
from reelmesh.conformance.channels import Channels, Unreachable, text_of
from reelmesh.conformance.external_wallet import ExternalWallet
from reelmesh.conformance.running import run
from reelmesh.conformance.trial import Hook, Hooks, Mismatch, Trial
from reelmesh.conformance.wallet_service import Keys, WalletService

OK, FAILED, NOT_RUN = 0, 1, 2


class NotRun(Exception):
    """What is missing to run at all."""


def main() -> None:
    """Entry point of `reelmesh-conformance`."""
    sys.exit(command(sys.argv[1:]))


def command(arguments: Sequence[str]) -> int:
    """The exit code: 0 all applicable cases are ok, 1 one is not, 2 nothing could be run."""
    options = _parser().parse_args(arguments)
    if options.list:
        print(report.catalogue(), end="")
        return OK
    try:
        return asyncio.run(_run(options))
    except CallError as error:
        problem = f"{options.target} answers {text_of(error)}"
    except (NotRun, Unreachable, OSError, ValueError) as error:
        problem = str(error)
    print(f"conformance: could not run: {problem}", file=sys.stderr)
    return NOT_RUN


async def _run(options: argparse.Namespace) -> int:
    if options.target is None:
        raise NotRun("no target: give HOST:PORT")
    numbers = frozenset(options.case)
    if unknown := numbers - {row.number for row in ROWS}:
        raise NotRun(f"there is no case {', '.join(sorted(unknown))}")
    async with AsyncExitStack() as stack:
        channels = await _open(stack, options.target, options)
        dialect = options.dialect or await _detect(channels)
        wallet = _wallet(channels, dialect, options)
        other = None
        if options.other_target:
            other = _wallet(await _open(stack, options.other_target, options), dialect, options)
        hooks = Hooks(restart=_hook(options.restart_command), player=_hook(options.player_command))
        trial = Trial(wallet, hooks=hooks, other=other, races=options.races)
        print(f"{dialect} at {options.target}: {await _what_is_used(wallet)}")
        print(report.heading(), flush=True)
        results = await run(
            trial, progress=lambda result: print(report.line(result), flush=True), numbers=numbers
        )
        if isinstance(wallet, ExternalWallet) and not await wallet.put_back():
            print(f"the balance of player {options.player} is not what it was", file=sys.stderr)
    print(report.summary(results))
    if options.json:
        options.json.write_text(report.as_json(results, target=options.target, dialect=dialect))
    if options.junit:
        options.junit.write_text(report.as_junit(results, target=options.target))
    return FAILED if any(result.status == "fail" for result in results) else OK


async def _open(stack: AsyncExitStack, target: str, options: argparse.Namespace) -> Channels:
    channels = Channels(
        target,
        tls_ca=options.tls_ca,
        mtls=options.mtls,
        callers=wallet_service.CALLERS,
        server=wallet_service.SERVER,
    )
    stack.push_async_callback(channels.close)
    await channels.connect()
    return channels


async def _detect(channels: Channels) -> str:
    services = await channels.services()
    for dialect, name in ((WALLET, wallet_service.SERVICE), (EXTERNAL, external_wallet.SERVICE)):
        if name in services:
            return dialect
    raise NotRun(f"{channels.target} does not tell what it serves: give --dialect wallet or external")


def _wallet(channels: Channels, dialect: str, options: argparse.Namespace) -> WalletService | ExternalWallet:
    if dialect == EXTERNAL:
        if not options.player:
            raise NotRun("an external wallet needs --player, one who owns at least 1000 minor units")
        return ExternalWallet(
            channels, player_id=options.player, currency_code=options.currency, token=options.token
        )
    kept = json.loads(options.keys_file.read_text()) if options.keys_file else {}
    identity_key = options.identity_key or kept.get("identity_key")
    seal_key = options.seal_key or kept.get("seal_key")
    if not (identity_key or options.mtls) or not seal_key:
        raise NotRun("a WalletService needs --keys-file, or --identity-key or --mtls, and --seal-key")
    return WalletService(
        channels,
        Keys(identity_key=identity_key or "", seal_key=seal_key),
        operator_id=options.operator,
        kind=options.kind,
        currency_code=options.currency,
    )


async def _what_is_used(wallet: WalletService | ExternalWallet) -> str:
    if isinstance(wallet, ExternalWallet):
        player = await wallet.player(0)
        return f"rounds of player {player.player_id} in {player.currency_code}, whose balance is put back"
    kind = "demo" if wallet.kind == 2 else "real"
    return (
        f"new {kind} players conformance-... of operator {wallet.operator_id}; nobody else's money is touched"
    )


def _hook(command: str) -> Hook | None:
    """The command, waited for; what it is called with is appended."""
    if not command:
        return None

    async def call(*arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(*shlex.split(command), *arguments)
        if code := await process.wait():
            raise Mismatch(f"`{command}` ended with {code}")

    return call


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reelmesh-conformance",
        description="Drives a wallet through every applicable conformance case. Environment variables"
        " stand in for the options that name them. Exit code: 0 ok, 1 a case failed, 2 could not run.",
    )
    add = parser.add_argument
    add("target", nargs="?", metavar="HOST:PORT", help="where the wallet listens")
    add("--dialect", choices=(WALLET, EXTERNAL), help="its contract; default: asked by server reflection")
    add("--tls-ca", type=Path, metavar="PEM", help="authority of its certificate; without: no TLS")
    add("--mtls", type=Path, metavar="DIR", help="WalletService over mutual TLS: gateway/ and game/ in it")
    add("--currency", default="EUR", help="of the players (EUR)")
    add("--operator", default="conformance", help="WalletService: whose players they are (conformance)")
    add("--kind", choices=("demo", "real"), default="demo", help="WalletService: of the accounts (demo)")
    add("--keys-file", type=Path, metavar="JSON", help="WalletService: identity_key and seal_key")
    add("--identity-key", default=_set("REELMESH_IDENTITY_KEY"), help="... [REELMESH_IDENTITY_KEY]")
    add("--seal-key", default=_set("REELMESH_SEAL_KEY"), help="... [REELMESH_SEAL_KEY]")
    add("--player", default="", help="external: a player with 1000 minor units or more, whom nobody uses")
    add("--token", default=_set("REELMESH_TOKEN"), help="external: bearer token [REELMESH_TOKEN]")
    add("--other-target", metavar="HOST:PORT", help="another replica of the wallet, for case 34")
    add("--restart-command", default="", help="kills and restarts the wallet, for case 34")
    add("--player-command", default="", help="called with block|unblock and the player, for 24, 25, 28, 41")
    add("--races", type=int, default=20, help="turns of case 45 (20)")
    add("--case", action="append", default=[], metavar="N", help="only this case; may be repeated")
    add("--json", type=Path, metavar="FILE", help="writes the results as JSON")
    add("--junit", type=Path, metavar="FILE", help="writes the results as JUnit XML")
    add("--list", action="store_true", help="prints all cases in Markdown, and runs none")
    return parser


def _set(variable: str) -> str:
    return os.environ.get(variable, "")


if __name__ == "__main__":
    main()
