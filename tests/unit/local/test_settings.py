"""What the environment may say to `make run`."""

import pytest

from deploy.local import settings
from deploy.local.errors import LocalError


@pytest.mark.parametrize(
    "variable",
    [
        "REELMESH_WALLET_GRPC_PORT",
        "REELMESH_GATEWAY_WALLET_TARGET",
        "REELMESH_IDENTITY_KEY",
        "REELMESH_DATABASE_URL",
    ],
)
def test_what_the_runner_decides_is_refused_in_one_line(variable: str) -> None:
    with pytest.raises(LocalError, match=rf"^{variable} is set[^\n]+$"):
        settings.refuse_decided({variable: "1"})


def test_everything_else_is_the_environment_s() -> None:
    settings.refuse_decided(
        {"REELMESH_WALLET_DATABASE_URL": "postgresql+psycopg://", "REELMESH_GATEWAY_LAUNCH_URL": "https://"}
    )
    assert settings.defaults({})["REELMESH_TRACE_RATIO"] == "1.0"
    assert "REELMESH_TRACE_RATIO" not in settings.defaults({"REELMESH_TRACE_RATIO": "0.5"})
