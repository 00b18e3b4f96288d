"""Ctrl-C that waits while what may not be left half done is done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until this is left; it only ever reaches the main thread, and a handler of Python."""
    stop, held = signal.getsignal(signal.SIGINT), list[int]()
    if not callable(stop) or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, stop)
    if held:
        signal.raise_signal(signal.SIGINT)
