"""Connections that ask for nothing: they are closed, and one address does not get all there are."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

SILENT = 10.0  # seconds for a whole request to come
MOST_OF_ONE = 32  # connections of one address


class Patient(H11Protocol):
    """A connection that lasts while requests are answered, and SILENT beyond."""

    _answered: Any = None
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take it, unless its address has enough."""
        super().connection_made(transport)
        others = [other for other in self.connections if isinstance(other, Patient)]
        if sum(other.address == self.address for other in others) > MOST_OF_ONE:
            transport.abort()
            return
        self._look = self.loop.call_later(SILENT, self._close_if_silent)

    @property
    def address(self) -> str | None:
        """Whose it is."""
        return self.client[0] if self.client else None

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _close_if_silent(self) -> None:
        request = self.cycle
        if request is None or (request.response_complete and request is self._answered):
            self.transport.close()
            return
        self._answered = request
        self._look = self.loop.call_later(SILENT, self._close_if_silent)
