"""JSON <-> any message of the contract, by its descriptor; spins and choices go by hand (messages.py).

Field names are the contract's, in snake_case. An amount is {"currency_code", "amount_minor"}, a time is of
RFC 3339, a duration seconds with an "s" ("2.5s"), an enum its name without prefix; bytes called *_json are
the JSON they hold, under the name before it. In an answer every field is there: null is a message that is
absent, an empty text and an enum without value. In a request an absent field has its zero value, as over
gRPC, and is refused by the same check.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

import msgspec
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.common.errors import BodyMalformed, FieldInvalid
from services.gateway.edge import messages

_MONEY = "reelmesh.type.v1.Money"
_TIMESTAMP, _DURATION = "google.protobuf.Timestamp", "google.protobuf.Duration"
_ROUND = "reelmesh.gateway.v1.PlayedRound"
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `[^`]*`")
_WHOLE = re.compile(r"-?[0-9]{1,19}")
# RFC 3339.
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
# Of an enum.
_Name = Annotated[str, msgspec.Meta(min_length=1)]
# A number that is absent while it is zero.
ABSENT_AT_ZERO = frozenset({"step_next"})

Json = dict[str, Any]


def enum_prefix(enum: EnumDescriptor) -> str:
    """What the values' names begin with: "ROUND_STATE_"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper() + "_"


def enum_names(enum: EnumDescriptor) -> dict[str, int]:
    """The values by their names in JSON; the unspecified one has none."""
    prefix = enum_prefix(enum)
    return {value.name.removeprefix(prefix): value.number for value in enum.values if value.number}


def json_name(field: FieldDescriptor) -> str:
    """The field's name in JSON."""
    return field.name.removesuffix("_json") if field.type == FieldDescriptor.TYPE_BYTES else field.name


class Shape:
    """A request as JSON: `decode` for a body, `read` for a query."""

    def __init__(self, descriptor: Descriptor, *, elsewhere: Sequence[str] = ()) -> None:
        """`elsewhere`: fields that come by another way, and are unknown here."""
        self._fields = [field for field in descriptor.fields if field.name not in elsewhere]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_body(descriptor.name, self._fields))
        self._setters = _setters(self._fields)
        self._names = {name for name, _ in self._setters}

    def decode(self, body: bytes, message: Message) -> None:
        """A body into the message. Errors: INVALID_ARGUMENT/BODY_MALFORMED, FIELD_INVALID"""
        if not self._fields:
            return
        try:
            decoded = self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BodyMalformed(problem=f"{error}{self._hint(str(error))}"[:200]) from None
        _fill(message, decoded, self._setters)

    def _hint(self, problem: str) -> str:
        """Of a field that is not known, those that are."""
        unknown = _UNKNOWN_FIELD.fullmatch(problem) is not None
        return f"; it takes {', '.join(name for name, _ in self._setters)}" if unknown else ""

    def read(self, query: Mapping[str, Sequence[str]], message: Message) -> None:
        """A query into the message. Errors: FIELD_INVALID, also for what is no field and for one twice.

        A misspelt filter that is passed over answers everything, and looks like what was asked for.
        """
        for name in query:
            if name not in self._names:
                raise FieldInvalid(field=name[:64], problem="no such parameter")
        for field, (name, setter) in zip(self._fields, self._setters, strict=True):
            texts = query.get(name)
            if texts:
                if len(texts) > 1 and not field.is_repeated:
                    raise FieldInvalid(field=name, problem="given twice")
                value = [*texts] if field.is_repeated else _scalar(field, texts[-1])
                if value == "" and _is_chosen(field):
                    raise FieldInvalid(field=name, problem="is empty")
                # An empty time is none, and not an absent one.
                if value or field.message_type is not None:
                    setter(message, value)


@cache
def shape(descriptor: Descriptor, elsewhere: tuple[str, ...] = ()) -> Shape:
    """The message's shape, made once."""
    return Shape(descriptor, elsewhere=elsewhere)


def new_request(descriptor: Descriptor) -> Message:
    """An empty message."""
    return message_factory.GetMessageClass(descriptor)()


def enum_name(message: Any, field: str) -> str | None:
    """An enum field's value in JSON."""
    name: str | None = _value(message.DESCRIPTOR.fields_by_name[field])(getattr(message, field))
    return name


def set_text(message: Message, name: str, text: str) -> None:
    """A parameter of a path. Errors: INVALID_ARGUMENT/FIELD_INVALID"""
    # Bytes that are no UTF-8 all decode to one character, which would join two players.
    if "\N{REPLACEMENT CHARACTER}" in text:
        raise FieldInvalid(field=name, problem="not UTF-8")
    setattr(message, name, text)


def answer_json(message: Any) -> Json:
    """A message as JSON, for msgspec to encode."""
    if message.DESCRIPTOR.full_name == _ROUND:
        return messages.round_json(message)
    return {name: get(message) for name, get in _getters(message.DESCRIPTOR)}


@cache
def _getters(descriptor: Descriptor) -> list[tuple[str, Callable[[Any], Any]]]:
    return [(json_name(field), _getter(field)) for field in descriptor.fields]


def _getter(field: FieldDescriptor) -> Callable[[Any], Any]:
    name = field.name
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return lambda message: dict(getattr(message, name))
    one = _value(field)
    if field.is_repeated:
        return lambda message: [one(value) for value in getattr(message, name)]
    if field.message_type is not None:
        return lambda message: one(getattr(message, name)) if message.HasField(name) else None
    return lambda message: one(getattr(message, name))


def _value(field: FieldDescriptor) -> Callable[[Any], Any]:
    """What one value of the field is in JSON."""
    if field.message_type is not None:
        known: dict[str, Callable[[Any], Any]] = {
            _MONEY: messages.amount_json,
            _TIMESTAMP: messages.time_json,
            _DURATION: lambda value: value.ToJsonString(),
            _ROUND: messages.round_json,
        }
        return known.get(field.message_type.full_name, answer_json)
    if field.enum_type is not None:
        by_number = {number: name for name, number in enum_names(field.enum_type).items()}
        return by_number.get
    if field.type == FieldDescriptor.TYPE_BYTES:
        return lambda value: msgspec.Raw(value) if value else None
    if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
        return lambda value: value or None
    if field.name in ABSENT_AT_ZERO:
        return lambda value: value or None
    return lambda value: value


def _body(name: str, fields: Sequence[FieldDescriptor]) -> type[msgspec.Struct]:
    """What JSON holds for these fields."""
    typed = [(json_name(field), *_python_type(field)) for field in fields]
    return msgspec.defstruct(name, typed, forbid_unknown_fields=True)


def _setters(fields: Sequence[FieldDescriptor]) -> list[tuple[str, Callable[[Any, Any], None]]]:
    return [(json_name(field), _setter(field)) for field in fields]


def _fill(message: Message, decoded: Any, setters: list[tuple[str, Callable[[Any, Any], None]]]) -> None:
    for name, setter in setters:
        value = getattr(decoded, name)
        if value:
            setter(message, value)


def _is_chosen(field: FieldDescriptor) -> bool:
    """Whether it is one name of a list, of which none is empty."""
    return field.enum_type is not None or field.name == "currency_code"


def _python_type(field: FieldDescriptor) -> tuple[Any, Any]:
    """What a body may hold for it, and its default."""
    one: Any
    default: Any
    if field.message_type is not None:
        name = field.message_type.full_name
        if name in (_TIMESTAMP, _DURATION):
            one = str
        else:
            one = messages.Amount if name == _MONEY else _body(name, field.message_type.fields)
        return (list[one], []) if field.is_repeated else (one | None, None)
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64):
        one, default = int, 0
    elif field.type == FieldDescriptor.TYPE_BOOL:
        one, default = bool, False
    elif field.type == FieldDescriptor.TYPE_BYTES:
        one, default = msgspec.Raw, msgspec.Raw()
    else:
        one, default = (_Name if field.enum_type is not None else str), ""
    return (list[one], []) if field.is_repeated else (one, default)


def _setter(field: FieldDescriptor) -> Callable[[Any, Any], None]:
    """Puts a value that is not its default into the message."""
    name = field.name
    if field.message_type is not None:
        parsers: dict[str, Callable[[Any, str], Message]] = {
            _MONEY: messages.money,
            _TIMESTAMP: parse_time,
            _DURATION: messages.duration,
        }
        if field.message_type.full_name not in parsers:
            inner = _setters(field.message_type.fields)
            if field.is_repeated:
                return lambda message, values: _fill_each(name, getattr(message, name), values, inner)
            return lambda message, value: _fill_present(getattr(message, name), value, inner)
        parse = parsers[field.message_type.full_name]
        return lambda message, value: getattr(message, name).CopyFrom(parse(value, name))
    one = _enum_parser(name, field.enum_type) if field.enum_type is not None else _same
    if field.type == FieldDescriptor.TYPE_BYTES:
        one = _json_bytes
    if field.is_repeated:
        return lambda message, values: getattr(message, name).extend(one(value) for value in values)

    def put(message: Any, value: Any) -> None:
        try:
            setattr(message, name, one(value))
        except ValueError:
            raise FieldInvalid(field=name, problem="out of range") from None

    return put


def _fill_present(message: Any, decoded: Any, setters: list[tuple[str, Callable[[Any, Any], None]]]) -> None:
    """An object that is there and empty is there, too."""
    message.SetInParent()
    _fill(message, decoded, setters)


def _fill_each(
    name: str, messages_: Any, decoded: Any, setters: list[tuple[str, Callable[[Any, Any], None]]]
) -> None:
    """Errors: FIELD_INVALID with its place, "events[3].type"."""
    for index, one in enumerate(decoded):
        try:
            _fill(messages_.add(), one, setters)
        except FieldInvalid as error:
            place = f"{name}[{index}].{error.metadata['field']}"
            raise FieldInvalid(field=place, problem=error.metadata["problem"]) from None


def _same(value: Any) -> Any:
    return value


def _json_bytes(value: Any) -> bytes:
    """The JSON as it came; null is absent."""
    raw = bytes(value)
    return b"" if raw == b"null" else raw


def _enum_parser(field: str, enum: EnumDescriptor) -> Callable[[Any], Any]:
    known = enum_names(enum)
    listed = " or ".join(known)

    def parse(name: str) -> int:
        if name not in known:
            raise FieldInvalid(field=field, problem=f"must be {listed}")
        return known[name]

    return parse


def _scalar(field: FieldDescriptor, text: str) -> Any:
    """A value of a query as a body would hold it."""
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64):
        if not _WHOLE.fullmatch(text):
            raise FieldInvalid(field=field.name, problem="must be a whole number")
        return int(text)
    if field.type == FieldDescriptor.TYPE_BOOL:
        if text not in _TRUTHS:
            raise FieldInvalid(field=field.name, problem="must be true or false")
        return _TRUTHS[text]
    return text


def parse_time(text: str, field: str) -> Timestamp:
    """A Timestamp of its RFC 3339 form. Errors: INVALID_ARGUMENT/FIELD_INVALID"""
    problem = 'must be RFC 3339, such as "2026-11-30T12:00:00Z"'
    return messages.parse(Timestamp(), _TIME, text, field=field, problem=problem)
