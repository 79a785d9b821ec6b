"""Every setting of the events service."""

from dataclasses import dataclass, field

from services.common.config import ServiceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServiceConfig):
    """Read from REELMESH_EVENTS_<FIELD>, else REELMESH_<FIELD>."""

    # Key that the secrets of webhooks are encrypted with; the same in every replica, and not in the database.
    webhook_key: str = field(repr=False)
