"""Every setting of the gateway."""

from dataclasses import dataclass

from services.common.config import ServiceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServiceConfig):
    """Read from REELMESH_GATEWAY_<FIELD>, else REELMESH_<FIELD>."""

    # Port of the REST API.
    rest_port: int
    # Where a launch URL points; the code is appended as ?code=.
    launch_url: str = "http://localhost:8080/play"
    # Largest REST body.
    body_size_bytes_max: int = 65_536
    # How long a found API key is believed before its row is read again; a revoked key works at most so long.
    api_key_cache_ms: int = 5_000
    # How long game's catalogue is believed.
    catalogue_cache_ms: int = 5_000
    # Spins under way at once; one more is refused at once: waiting longer than its deadline helps nobody.
    # Three batches of 200: no spin waits for more than two before its own.
    spins_in_flight_max: int = 600
    # Wait before a batch of Finish calls, off the hot path, so that it fills.
    finish_linger_ms: int = 50
