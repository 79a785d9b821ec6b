"""An operator's events as notifications of one socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from services.gateway.edge import mapping
from services.gateway.edge.exchange import problem_json
from services.gateway.edge.websocket import WebSocket
from services.gateway.tracing import told


class Subscription:
    """Runs until it is cancelled or the stream ends, which its client is told."""

    def __init__(
        self, socket: WebSocket, answers: AsyncIterator[Any], notify: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._socket, self._answers, self._notify = socket, answers, notify
        self._task = asyncio.create_task(self._run())

    def cancel(self) -> None:
        """No more of it."""
        self._task.cancel()

    async def _run(self) -> None:
        try:
            async for answer in self._answers:
                self._notify("events", mapping.answer_json(answer))
                # The stream behind waits as well: nothing is kept for who does not read.
                await self._socket.taken()
        except Exception as error:
            self._notify("events_ended", problem_json(told(error)))
        else:
            self._notify("events_ended", {})
