"""The services that the gateway calls."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reelmesh.events.v1.events_pb2_grpc import EventServiceAsyncStub
    from reelmesh.game.v1.game_pb2_grpc import GameServiceAsyncStub
    from reelmesh.session.v1.session_pb2_grpc import SessionServiceAsyncStub
    from reelmesh.wallet.v1.wallet_pb2_grpc import WalletServiceAsyncStub


@dataclass(frozen=True, slots=True)
class Stubs:
    """One typed, guarded stub per peer."""

    session: "SessionServiceAsyncStub"
    wallet: "WalletServiceAsyncStub"
    game: "GameServiceAsyncStub"
    events: "EventServiceAsyncStub"
