"""A body that is not what an operation takes is told what would be."""

import pytest
from reelmesh.gateway.v1 import gateway_pb2

from services.common.errors import BodyMalformed
from services.gateway.edge.mapping import Shape


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            b'{"loss_day_max": 5}',
            "Object contains unknown field `loss_day_max`; "
            "it takes request_id, currency_code, kind, limits, cool_off_duration",
        ),
        # Inside another object msgspec says where, and that is enough.
        (b'{"limits": {"day": 5}}', "Object contains unknown field `day` - at `$.limits`"),
        (b'{"request_id": 5}', "Expected `str`, got `int` - at `$.request_id`"),
    ],
)
def test_an_unknown_field_is_told_with_those_that_are_known(body: bytes, problem: str) -> None:
    request = gateway_pb2.SetPlayerLimitsRequest()
    with pytest.raises(BodyMalformed) as refused:
        Shape(request.DESCRIPTOR, elsewhere=["player_id"]).decode(body, request)
    assert refused.value.metadata["problem"] == problem
