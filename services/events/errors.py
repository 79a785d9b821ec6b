"""The events service's own errors; the docstring is the message."""

from services.common.errors import DomainError


class BatchOutOfOrder(DomainError):
    """The batch number leaves a gap; send the batches of this source in order."""

    reason = "BATCH_OUT_OF_ORDER"


class CursorExpired(DomainError):
    """Events behind this cursor are archived: read them there, then start again from a time."""


class WebhookNotFound(DomainError):
    """There is no such webhook."""


class WebhookLimitReached(DomainError):
    """There are as many webhooks as there may be; delete one first."""
