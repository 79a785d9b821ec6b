"""The events service's own errors; the docstring is the message."""

from services.common.errors import DomainError


class BatchOutOfOrder(DomainError):
    """The batch number leaves a gap; send the batches of this source in order."""

    reason = "BATCH_OUT_OF_ORDER"
