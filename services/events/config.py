"""Every setting of the events service."""

from dataclasses import dataclass

from services.common.config import ServiceConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(ServiceConfig):
    """Needs nothing beyond what every service is told."""
