"""A connection that neither keeps the event loop long nor holds an answer that nobody reads. Knows no paths."""

from __future__ import annotations

import contextlib
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from nextword.serve import bounds


class Paced(H11Protocol):  # type: ignore[misc]
    """A connection of which little is read at once, and which is given up once its reader takes nothing of what is
    left of an answer. Streams see to that themselves while they last."""

    _stalls: Any = None

    def connection_made(self, transport: Any) -> None:
        """One more."""
        super().connection_made(transport)
        with contextlib.suppress(AttributeError):  # asyncio's own; others read as they like
            transport.max_size = bounds.READ

    def on_response_complete(self) -> None:
        """An answer is on its way as a whole."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Any) -> None:
        """One less."""
        if self._stalls is not None:
            self._stalls.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left and self._stalls is None:
            self._stalls = self.loop.call_later(bounds.STALLED_SECONDS, self._look, left)

    def _look(self, before: int) -> None:
        self._stalls = None
        whole = self.cycle is None or self.cycle.response_complete
        if whole and self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch()
