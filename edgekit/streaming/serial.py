"""A serial port in raw mode, 8 bits, no parity, one stop bit, by the system's own calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from edgekit.errors import DataError, UsageError

DEFAULT_BAUD = 115200


def parse_port(text: str) -> tuple[str, int]:
    """The device and the speed of `/dev/ttyX[@BAUD]`; UsageError for anything else."""
    device, at, speed = text.partition("@")
    if not device.startswith("/"):
        raise UsageError(f"serial:{text}", "names no device", "write it like serial:/dev/ttyACM0@115200")
    if not at:
        return device, DEFAULT_BAUD
    if not (speed.isascii() and speed.isdigit()):
        raise UsageError(f"serial:{text}", f"{speed!r} is no speed", "write it like serial:/dev/ttyACM0@115200")
    return device, int(speed)


@contextmanager
def open_port(device: str, baud: int) -> Iterator[int]:
    """A file descriptor of the port, set up for reading, and set back at the end.

    UsageError for a speed that the system does not know, DataError for what is no serial port or cannot be opened.
    """
    if sys.platform == "win32":
        raise UsageError("serial:", "is for Linux and macOS", "read the port with another program, and use --input -")
    import fcntl
    import termios

    speed = getattr(termios, f"B{baud}", None)
    if speed is None or baud == 0:
        known = sorted(int(name[1:]) for name in dir(termios) if name[0] == "B" and name[1:].isdigit())
        raise UsageError(f"serial speed {baud}", "is none that this system has", f"known are {known[1:]}")
    try:
        # without waiting for a carrier that a sensor's cable does not have
        port = os.open(device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise DataError(
            device, f"cannot be opened: {error.strerror}", "is it plugged in, and yours to read?"
        ) from error
    try:
        if not os.isatty(port):
            raise DataError(device, "is no serial port", "leave serial: out for a file or a pipe")
        before = termios.tcgetattr(port)
        control = termios.CS8 | termios.CREAD | termios.CLOCAL
        characters = list(before[6])
        characters[termios.VMIN], characters[termios.VTIME] = 1, 0
        try:
            termios.tcsetattr(port, termios.TCSANOW, [0, 0, control, 0, speed, speed, characters])
            termios.tcflush(port, termios.TCIFLUSH)
            fcntl.fcntl(port, fcntl.F_SETFL, fcntl.fcntl(port, fcntl.F_GETFL) & ~os.O_NONBLOCK)
            yield port
        finally:
            with suppress(termios.error):  # it was unplugged
                termios.tcsetattr(port, termios.TCSANOW, before)
    finally:
        os.close(port)
