"""Composition root of the gateway: no logic."""

from reelmesh.events.v1 import events_pb2_grpc
from reelmesh.game.v1 import game_pb2_grpc
from reelmesh.gateway.v1 import gateway_pb2_grpc
from reelmesh.session.v1 import session_pb2_grpc
from reelmesh.wallet.v1 import wallet_pb2_grpc

from services.common.outbox import Relay
from services.common.service import Runtime, run
from services.gateway.config import Config
from services.gateway.edge.reading import Limits
from services.gateway.edge.refusals import Refusals
from services.gateway.edge.rest import Rest
from services.gateway.edge.server import HttpServer
from services.gateway.handlers import Handlers, to_events
from services.gateway.hops import Hops
from services.gateway.operators import Operators
from services.gateway.players import Catalogue, Players
from services.gateway.rounds import Rounds
from services.gateway.stubs import Stubs


async def compose(runtime: Runtime[Config]) -> None:
    config = runtime.config
    stubs = _stubs(runtime, retry=True)
    # A round repeats its calls itself until its time is over (R6).
    once = _stubs(runtime, retry=False)
    hops = Hops(once, finish_linger_ms=config.finish_linger_ms)
    rounds = Rounds(hops, once, deadline_ms=config.spin_deadline_ms, in_flight_max=config.spins_in_flight_max)
    if runtime.telemetry.meter_provider is not None:
        rounds.observe_with(runtime.telemetry.meter_provider.get_meter("reelmesh"))
    operators = Operators(runtime.engine, cache_ms=config.api_key_cache_ms)
    players = Players(
        stubs,
        operators=operators,
        rounds=rounds,
        catalogue=Catalogue(stubs, cache_ms=config.catalogue_cache_ms),
        launch_url=config.launch_url,
    )
    rest = Rest(operators=operators, players=players, rounds=rounds)
    relay = Relay(
        source="gateway",
        engine=runtime.engine,
        events=runtime.stub("events", events_pb2_grpc.EventServiceStub),
        to_events=to_events,
    )
    runtime.serve(
        gateway_pb2_grpc.add_GatewayServiceServicer_to_server,
        Handlers(operators=operators, players=players, rounds=rounds),
    )
    http = HttpServer(
        rest.answer,
        host=config.host,
        port=config.rest_port,
        drain_grace_ms=config.drain_grace_ms,
        limits=Limits(body_size_bytes_max=config.body_size_bytes_max),
        refuse=Refusals(rounds).refuse,
    )
    # Here and not in the background, so that a taken port ends the start.
    await http.listen()
    runtime.background("rest", http.run_until)
    runtime.background("relay", relay.run)
    runtime.on_drain(hops.close)
    runtime.on_drain(rounds.drain)


def _stubs(runtime: Runtime[Config], *, retry: bool) -> Stubs:
    return Stubs(
        session=runtime.stub("session", session_pb2_grpc.SessionServiceStub, retry=retry),
        wallet=runtime.stub("wallet", wallet_pb2_grpc.WalletServiceStub, retry=retry),
        game=runtime.stub("game", game_pb2_grpc.GameServiceStub, retry=retry),
    )


if __name__ == "__main__":
    run("gateway", Config, compose)
