"""Settings: where they come from, and the one line a wrong one gets."""

import inspect
from dataclasses import dataclass, fields

import pytest

from services.common.config import ServiceConfig, load
from services.common.server import Server

REQUIRED = {
    "REELMESH_WALLET_GRPC_PORT": "7102",
    "REELMESH_WALLET_ADMIN_PORT": "7202",
    "REELMESH_WALLET_DATABASE_URL": "postgresql+psycopg://wallet:secret@db/wallet",
    "REELMESH_IDENTITY_KEY": "a-key-for-tests-only",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServiceConfig):
    # Whether batches are gathered.
    batching: bool = True


def test_the_services_own_variable_goes_before_the_shared_one() -> None:
    environ = REQUIRED | {"REELMESH_TRACE_RATIO": "0.5", "REELMESH_WALLET_TRACE_RATIO": "1", "OTHER": "x"}
    config = load(Config, service="wallet", environ=environ | {"REELMESH_BATCHING": "0"})
    assert (config.grpc_port, config.trace_ratio, config.batching, config.env) == (
        7102,
        1.0,
        False,
        "development",
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("REELMESH_WALLET_GRPC_PORT", "seven"),
        ("REELMESH_WALLET_GRPC_PORT", "-1"),
        ("REELMESH_TRACE_RATIO", "nan"),
        ("REELMESH_LOG_FORMAT", "xml"),
        ("REELMESH_BATCHING", "yes"),
        ("REELMESH_IDENTITY_KEY", None),
    ],
)
def test_a_wrong_value_exits_with_one_line_that_names_the_variable(name: str, text: str | None) -> None:
    environ = {key: value for key, value in (REQUIRED | {name: text}).items() if value is not None}
    with pytest.raises(SystemExit) as caught:
        load(Config, service="wallet", environ=environ)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert str(text) not in str(caught.value).replace("negative", "") or text == "-1"


def test_secrets_do_not_show_in_the_representation() -> None:
    config = load(Config, service="wallet", environ=REQUIRED)
    assert "secret" not in repr(config) and "a-key" not in repr(config)


def test_a_setting_has_its_default_in_one_place() -> None:
    told = inspect.signature(Server).parameters
    shared = told.keys() & {item.name for item in fields(ServiceConfig)}
    assert shared == {"connection_age_ms"}
    assert all(told[name].default is inspect.Parameter.empty for name in shared)
