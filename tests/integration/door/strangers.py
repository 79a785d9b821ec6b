"""What another operator asks about things that are not its own: every RPC's request, filled by field name."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.common.fields import uuid7
from tests.mesh.stage import SIMPLE_GAME_ID

# What is told about different things alike, once these are taken out of it.
_TIMES = r"\d{4}-\d\d-\d\dT[\d:.]+|nanos: \d+"
_NAMES = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22,}|[0-9a-f]{16,}|\d{6,}|[\w-]{40,}|https?://\S+"
_OWN = re.compile(f"{_TIMES}|{_NAMES}")
_UNSENT = re.compile(r"unsent_time {[^}]*}\s*")
_ACCOUNT = re.compile(r"(account_id\W+)\d+")


class Things(NamedTuple):
    """Names of somebody's things; `request_id` of one of its deposits or spins."""

    player_id: str
    account_id: int
    session_id: str
    round_id: str
    webhook_id: str
    request_id: str


def nothing() -> Things:
    """Names that look alike, of nothing."""
    return Things(f"p-{uuid.uuid4().hex}", 2**40, str(uuid7()), str(uuid7()), str(uuid7()), str(uuid.uuid4()))


def requests(descriptor: Descriptor, things: Things, operator_id: str) -> Iterator[Message]:
    """The message with every field set that is known by its name: one for each member of its oneof.

    Errors: KeyError for a field that has no value here: say what another operator would send.
    """
    members: list[str] = []
    for oneof in descriptor.oneofs:
        members += [field.name for field in oneof.fields]
    # A token is a secret: whoever has it is its player.
    for chosen in [name for name in members if name != "token"] or [""]:
        message = message_factory.GetMessageClass(descriptor)()
        for field in descriptor.fields:
            if field.containing_oneof is None or field.name == chosen:
                _set(message, field, things, operator_id)
        yield message


def _set(message: Any, field: FieldDescriptor, things: Things, operator_id: str) -> None:
    values: dict[str, Any] = {
        **things._asdict(),
        "operator_id": operator_id,
        "transaction_id": things.round_id,
        "actor": "mallory",
        "reason": "curious",
        "problem": "not theirs",
        "replay": True,
        "day": datetime.now(UTC).date().isoformat(),
        "game_id": SIMPLE_GAME_ID,
        "currency_code": "USD",
        "choice": "COLLECT",
        "step": 1,
        "url": "https://other-casino.example/events",
        "secret": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
    }
    if field.name in _LEFT_OUT:
        return
    if field.enum_type is not None:
        setattr(message, field.name, 1)
    elif field.name == "events":
        message.events.add(type=1, round_id=things.round_id).client_time.seconds = 1
    elif field.name in ("amount", "stake"):
        getattr(message, field.name).currency_code = "USD"
        # On no ladder: a spin's refusal is the same each time, its outcome would not be.
        getattr(message, field.name).amount_minor = 1
    else:
        setattr(message, field.name, values[field.name])


# Of no consequence for whose things they are, or given out by an answer before.
_LEFT_OUT = frozenset(
    {
        *(
            "page_size",
            "page_token",
            "cursor",
            "start_time",
            "end_time",
            "append_time_start",
            "append_time_end",
            "time",
        ),
        *("types", "event_type", "event_types", "event_ids", "mode", "language_code", "jurisdiction"),
        *("loss_limit", "reality_check_interval", "player_tier", "autoplay", "turbo", "limits", "modes"),
        *("cool_off_duration", "play_wanted", "source"),
        *("stake_max", "cycle_min_duration", "session_duration", "launch_code", "at_time", "read_time"),
    }
)


def alike(text: str, things: Things) -> str:
    """What was said, without what differs from one to the other."""
    for name, value in things._asdict().items():
        text = text.replace(str(value), f"<{name}>") if name != "account_id" else text
    # What waits to be told to events is the installation's, and there or not by the moment.
    text = _UNSENT.sub("", text)
    return _OWN.sub("<own>", _ACCOUNT.sub(r"\1<own>", text))
