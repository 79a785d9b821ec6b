"""Composition root of the gateway: no logic."""

import sys

from reelmesh.events.v1 import events_pb2_grpc
from reelmesh.game.v1 import game_pb2_grpc
from reelmesh.gateway.v1 import gateway_pb2_grpc
from reelmesh.session.v1 import session_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2_grpc

from services.common.outbox import Relay
from services.common.service import Runtime, run
from services.gateway.back_office import BackOffice
from services.gateway.client.events import ClientEvents
from services.gateway.config import Config
from services.gateway.door import Door, is_api_key
from services.gateway.edge import jsonrpc
from services.gateway.edge.demo import Demo
from services.gateway.edge.guard import Guard
from services.gateway.edge.page import Page
from services.gateway.edge.reading import Limits
from services.gateway.edge.refusals import Refusals
from services.gateway.edge.rest import Rest
from services.gateway.edge.server import HttpServer
from services.gateway.edge.websocket import WebSockets
from services.gateway.explain.explanations import Explanations
from services.gateway.guarded import GrpcGuard
from services.gateway.handlers import Handlers, to_events
from services.gateway.hops import Hops
from services.gateway.limits import PlayLimits
from services.gateway.notices import Notices
from services.gateway.operators.operators import Operators
from services.gateway.operators.signing import Signatures
from services.gateway.players import Catalogue, Players
from services.gateway.protection.origins import Origins
from services.gateway.protection.rates import Addresses, Limit, Rates
from services.gateway.protection.tls import Certificate
from services.gateway.rounds import Rounds
from services.gateway.stubs import Stubs
from services.watching import database


async def compose(runtime: Runtime[Config]) -> None:
    config = runtime.config
    stubs = _stubs(runtime, retry=True)
    # A round repeats its calls itself until its time is over (R6).
    once = _stubs(runtime, retry=False)
    hops = Hops(once, later=stubs, finish_linger_ms=config.finish_linger_ms)
    rounds = Rounds(hops, once, deadline_ms=config.spin_deadline_ms, in_flight_max=config.spins_in_flight_max)
    runtime.observe(rounds)
    operators = Operators(runtime.engine, cache_ms=config.api_key_cache_ms)
    players = Players(
        stubs,
        operators=operators,
        rounds=rounds,
        catalogue=Catalogue(stubs, cache_ms=config.catalogue_cache_ms),
        launch_url=config.launch_url,
    )
    back_office = BackOffice(stubs, operators=operators)
    explanations = Explanations(stubs, trace_url=config.trace_url)
    client_events = ClientEvents(runtime.engine, stubs, players=players)
    runtime.observe(client_events)
    door = Door(
        operators=operators,
        players=players,
        rounds=rounds,
        back_office=back_office,
        limits=PlayLimits(stubs, operators=operators, players=players),
        explanations=explanations,
        client_events=client_events,
    )
    rest, notices = Rest(door), Notices(stubs)
    demo = Demo(
        operators=operators,
        players=players,
        explanations=explanations,
        env=config.env,
        api_key=config.demo_api_key,
    )
    page = Page(
        rest.answer,
        demo.find,
        shown=config.page == "on" or (config.page == "auto" and config.env == "development"),
        settings={"trace_url": config.trace_url, **demo.settings},
    )
    signatures = Signatures(runtime.engine, signing_key=config.signing_key)
    rates, addresses = _rates(config), _addresses(config)
    origins = Origins(runtime.engine, cache_ms=config.origins_cache_ms, operator_of=players.operator_of)
    shared = jsonrpc.Shared(door, notices, rates=rates, addresses=addresses, origins=origins)
    guard = Guard(
        page.answer,
        operators=operators,
        signatures=signatures,
        rates=rates,
        addresses=addresses,
        origins=origins,
        tls=bool(config.tls_cert_path),
    )
    grpc_guard = GrpcGuard(operators=operators, signatures=signatures, rates=rates, addresses=addresses)
    certificate = _certificate(runtime)
    relay = Relay(
        source="gateway",
        engine=runtime.direct_engine,
        events=runtime.stub("events", events_pb2_grpc.EventServiceStub),
        to_events=to_events,
    )
    handlers = Handlers(
        door,
        draining=runtime.draining,
        drain_wait_ms=config.drain_wait_ms,
        stream_age_ms=config.connection_age_ms,
    )
    runtime.serve(gateway_pb2_grpc.add_GatewayServiceServicer_to_server, grpc_guard.around(handlers))
    http = HttpServer(
        guard.answer,
        host=config.host,
        port=config.rest_port,
        drain_grace_ms=config.drain_grace_ms,
        linger_ms=config.drain_wait_ms,
        limits=Limits(
            body_size_bytes_max=config.body_size_bytes_max,
            connections_max=config.connections_per_address_max,
        ),
        refuse=Refusals(rounds).refuse,
        upgrade=WebSockets(shared.converse, origins=origins).upgrade,
        tls=certificate.context if certificate else None,
        leaving=runtime.draining,
    )
    # Here and not in the background, so that a taken port ends the start.
    await http.listen()
    runtime.background("rest", http.run_until)
    runtime.background("origins", origins.watch)
    runtime.background("relay", relay.run)
    database.start(runtime, source="gateway")
    runtime.background("key uses", operators.record_uses)
    runtime.on_drain(notices.close)
    runtime.on_drain(hops.close)
    runtime.on_drain(rounds.drain)


def _rates(config: Config) -> Rates:
    return Rates(
        key=Limit("key", per_s=config.rate_key_per_s, burst=config.rate_key_burst),
        session=Limit("session", per_s=config.rate_session_per_s, burst=config.rate_session_burst),
        address=Limit("address", per_s=config.rate_address_per_s, burst=config.rate_address_burst),
        is_key=is_api_key,
    )


def _addresses(config: Config) -> Addresses:
    try:
        return Addresses(config.trusted_proxies)
    except ValueError:
        sys.exit("configuration: REELMESH_GATEWAY_TRUSTED_PROXIES must be networks, like 10.0.0.0/8")


def _certificate(runtime: Runtime[Config]) -> Certificate | None:
    """Errors: OSError when the files are no pair, which ends the start."""
    config = runtime.config
    if not config.tls_cert_path:
        return None
    certificate = Certificate(config.tls_cert_path, config.tls_key_path)
    runtime.serve_tls(certificate.grpc_credentials())
    runtime.background("tls", certificate.watch)
    return certificate


def _stubs(runtime: Runtime[Config], *, retry: bool) -> Stubs:
    return Stubs(
        session=runtime.stub("session", session_pb2_grpc.SessionServiceStub, retry=retry),
        wallet=runtime.stub("wallet", wallet_pb2_grpc.WalletServiceStub, retry=retry),
        game=runtime.stub("game", game_pb2_grpc.GameServiceStub, retry=retry),
        events=runtime.stub("events", events_pb2_grpc.EventServiceStub, retry=retry),
    )


if __name__ == "__main__":
    run("gateway", Config, compose)
