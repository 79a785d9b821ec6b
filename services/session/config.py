"""Settings of the session service."""

from dataclasses import dataclass, field

from services.common.config import ServiceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServiceConfig):
    """What the session service is told beyond the common settings."""

    # Secret that launch codes are derived from; at least 16 characters, the same in every replica.
    code_key: str = field(repr=False)
    # Jurisdiction policies, a file like services/session/policies.yaml; empty: that one.
    policies_path: str = ""
    # Between two looks for rounds whose return nobody told.
    recount_interval_ms: int = 1_000
