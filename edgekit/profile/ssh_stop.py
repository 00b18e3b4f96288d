"""A wish to stop, given from one thread to connections that others wait for."""

from __future__ import annotations

import threading
from typing import Protocol


class StoppedError(Exception):
    """Somebody has asked to stop; what is in the middle of its work tidies up."""


class Interruptible(Protocol):
    """A connection that can be told from another thread."""

    def interrupt(self, *, force: bool) -> None:
        """End the commands that run there, and with `force` the connection itself."""


class Stop:
    """The wish: first `ask`, which ends commands that can be ended and lets work tidy up, then `force`, which cuts."""

    def __init__(self) -> None:
        self.asked = self.forced = False
        self._lock = threading.Lock()
        self._connections: list[Interruptible] = []

    def join(self, connection: Interruptible) -> None:
        """Tell a connection from now on."""
        with self._lock:
            self._connections.append(connection)

    def leave(self, connection: Interruptible) -> None:
        """Tell a connection no more."""
        with self._lock:
            if connection in self._connections:
                self._connections.remove(connection)

    def ask(self) -> None:
        """End the commands that run there now; each connection refuses one more, so that its work tidies up."""
        self.asked = True
        self._tell(force=False)

    def force(self) -> None:
        """Cut the connections; whatever waits for a board fails at once."""
        self.asked = self.forced = True
        self._tell(force=True)

    def _tell(self, *, force: bool) -> None:
        with self._lock:
            connections = tuple(self._connections)
        for connection in connections:
            connection.interrupt(force=force)
