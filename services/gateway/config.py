"""Every setting of the gateway."""

from dataclasses import dataclass, field
from typing import Literal

from services.common.config import ServiceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServiceConfig):
    """Read from REELMESH_GATEWAY_<FIELD>, else REELMESH_<FIELD>."""

    # Port of the REST API.
    rest_port: int
    # Where a launch URL points; the code is appended as ?code=, or &code= to a query of its own.
    launch_url: str = "http://localhost:8080/play"
    # Where a trace is shown, with {trace_id} in it (Jaeger: https://.../trace/{trace_id}); empty: nowhere.
    trace_url: str = ""
    # Whether the page that people play on is served at / and /play; auto is in development only.
    page: Literal["auto", "on", "off"] = "auto"
    # Key of the operator whose demo players the page's visitors become, in development only; empty: nobody's.
    demo_api_key: str = field(default="", repr=False)
    # Largest REST body.
    body_size_bytes_max: int = 65_536
    # How long a found API key is believed before its row is read again; a revoked key works at most so long.
    api_key_cache_ms: int = 5_000
    # What the secrets of signed requests are derived from, the same in every gateway; empty: no key can sign.
    signing_key: str = field(default="", repr=False)
    # How long the operators' lists of origins are believed.
    origins_cache_ms: int = 5_000
    # Requests a second of one API key, one session and one address, and as many at once: per gateway. 0: no
    # limit. Generous, as a laptop needs it; deploy/k8s has a deployment's.
    rate_key_per_s: int = 5_000
    rate_key_burst: int = 10_000
    rate_session_per_s: int = 1_000
    rate_session_burst: int = 2_000
    rate_address_per_s: int = 20_000
    rate_address_burst: int = 40_000
    # Networks of our own proxies, whose X-Forwarded-For is believed: "10.0.0.0/8, 127.0.0.1". Empty: none.
    trusted_proxies: str = ""
    # Connections of one address; a proxy in front is one.
    connections_per_address_max: int = 10_000
    # Certificate chain and private key, PEM, for REST and gRPC; read again when they change. Empty: no TLS.
    tls_cert_path: str = ""
    tls_key_path: str = ""
    # How long game's catalogue is believed.
    catalogue_cache_ms: int = 5_000
    # Spins under way at once; one more is refused at once: waiting longer than its deadline helps nobody.
    # Three batches of 200: no spin waits for more than two before its own.
    spins_in_flight_max: int = 600
    # Wait before a batch of Finish calls, off the hot path, so that it fills.
    finish_linger_ms: int = 50
