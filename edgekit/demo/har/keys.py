"""Single keys of the terminal, read between frames without waiting for them."""

from __future__ import annotations

import os
import re
import select
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ESCAPE, ENTER, BACKSPACE = "\x1b", "\r", "\x7f"

SPECIAL = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.)")  # what an arrow, a function key or the like sends

Keys = Callable[[], str]


@contextmanager
def terminal_keys() -> Iterator[Keys]:
    """Give a function that returns what was typed since; '' all the time where there is no terminal to type at.

    Keys come from the terminal itself, so that standard input stays free for samples.
    """
    try:
        handle = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        yield lambda: ""
        return
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle, termios.TCSANOW)
        yield lambda: _typed(handle)
    finally:
        termios.tcsetattr(handle, termios.TCSANOW, before)
        os.close(handle)


def _typed(handle: int) -> str:
    if not select.select([handle], [], [], 0)[0]:
        return ""
    text = SPECIAL.sub("", os.read(handle, 256).decode(errors="ignore"))
    return text.replace("\n", ENTER)
