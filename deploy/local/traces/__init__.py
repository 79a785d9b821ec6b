"""Traces on a laptop: an OTLP receiver that keeps the last ones in memory, and a page to look at them.

For development only: it forgets, it is searched by looking at everything, and it asks nobody who they are.
"""

from deploy.local.traces.receiver import TraceReceiver
from deploy.local.traces.spans import Span, parse
from services.common.telemetry_names import ROUND_ID

__all__ = ["ROUND_ID", "Span", "TraceReceiver", "parse"]
