"""Where samples come from: standard input, a file or a pipe, a UDP port, a serial port; all of it as lines."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgekit.errors import DataError, UsageError
from edgekit.streaming.lines import split_lines
from edgekit.streaming.serial import open_port, parse_port

CHUNK = 64 << 10
DATAGRAM = 64 << 10
STDIN = "-"


@dataclass(frozen=True)
class Source:
    """An open source: what it is called, whether its lines come as they happen, and the lines, without their ends;
    None each time nothing came for as long as it was opened to wait, or no line ended in what came.
    """

    name: str
    live: bool
    lines: Iterator[bytes | None]


@contextmanager
def open_source(text: str, *, patience: float | None = None) -> Iterator[Source]:
    """Open `-`, a FILE, `udp://HOST:PORT` (no host: this computer alone) or `serial:/dev/ttyX@BAUD`.

    With `patience`, in s, whoever reads gets None after so much silence, also of a named pipe that nobody has written
    to yet; without, they wait as long as it takes.
    A serial port's first line, which may lack its beginning, is skipped. UsageError for an address that means nothing,
    DataError for what is not there or stops answering.
    """
    if text == STDIN:
        yield Source("standard input", _is_live(0), split_lines(_reader(0, "standard input", patience)))
    elif text.startswith("udp:"):
        with _udp(text, patience) as source:
            yield source
    elif text.startswith("serial:"):
        device, baud = parse_port(text.removeprefix("serial:"))
        with open_port(device, baud) as port:
            lines = split_lines(_reader(port, device, patience, unplugged=errno.EIO))
            yield Source(f"{device} at {baud} baud", live=True, lines=_port_lines(device, lines))
    elif "://" in text:
        raise UsageError(f"--input {text}", "is no source that is known", "-, FILE, udp://HOST:PORT, serial:/dev/ttyX")
    else:
        with _file(text, patience) as source:
            yield source


def comes_live(text: str) -> bool:
    """Whether the lines of a source, as `open_source` takes it, come as they happen; nothing is opened."""
    if text == STDIN:
        return _is_live(0)
    if text.startswith(("udp:", "serial:")):
        return True
    try:
        mode = Path(text).stat().st_mode
    except (OSError, ValueError):  # who opens it will say
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def _file(text: str, patience: float | None) -> Iterator[Source]:
    try:
        # of a named pipe without patience: waits until somebody writes
        descriptor = os.open(text, os.O_RDONLY | (0 if patience is None else os.O_NONBLOCK))
    except OSError as error:
        raise DataError(text, f"cannot be read: {error.strerror}", "give a file of samples, or -") from error
    except ValueError as error:  # a NUL in the name
        raise DataError(repr(text), f"is no name of a file: {error}") from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise DataError(text, "is a folder", "name a file in it")
        os.set_blocking(descriptor, True)
        read = _reader(descriptor, text, patience)
        if stat.S_ISFIFO(mode) and patience is not None:
            read = _from_first(read, patience)
        yield Source(text, _is_live(descriptor), split_lines(read))
    finally:
        os.close(descriptor)


def _is_live(descriptor: int) -> bool:
    return not stat.S_ISREG(os.fstat(descriptor).st_mode)


def _reader(
    descriptor: int, name: str, patience: float | None, unplugged: int | None = None
) -> Callable[[], bytes | None]:
    """Reads what there is, at least one byte unless it is the end; so is an error of the number `unplugged`."""

    def read() -> bytes | None:
        try:
            if not _has_come(descriptor, patience):
                return None
            return os.read(descriptor, CHUNK)
        except OSError as error:
            if error.errno == unplugged:
                return b""
            raise DataError(name, f"cannot be read: {error.strerror}") from error

    return read


def _from_first(read: Callable[[], bytes | None], patience: float) -> Callable[[], bytes | None]:
    """Reads a named pipe, whose end before anything came is silence: nobody has written to it yet."""
    has_begun = False

    def read_on() -> bytes | None:
        nonlocal has_begun
        chunk = read()
        has_begun = has_begun or bool(chunk)
        if chunk == b"" and not has_begun:
            time.sleep(patience)
            return None
        return chunk

    return read_on


def _has_come(source: int | socket.socket, patience: float | None) -> bool:
    """Whether there is something to read; waits for it, without `patience` as long as it takes."""
    return patience is None or bool(select.select([source], [], [], patience)[0])


def _port_lines(device: str, lines: Iterator[bytes | None]) -> Iterator[bytes | None]:
    """All lines but the first, and DataError at the end: a port has none while it is there."""
    for line in lines:
        if line is not None:
            break
        yield None
    yield from lines
    raise DataError(device, "is gone", "plug it in again, and start anew")


@contextmanager
def _udp(text: str, patience: float | None) -> Iterator[Source]:
    example = "write it like udp://127.0.0.1:5005"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "127.0.0.1", parts.port
    except ValueError as error:
        raise UsageError(f"--input {text}", f"is no address: {error}", example) from error
    if (
        not text.startswith("udp://")
        or port is None
        or parts.path.strip("/")
        or parts.query
        or parts.username
        or "#" in text
    ):
        raise UsageError(f"--input {text}", "is no address of a UDP port", example)
    try:
        (family, kind, _, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        bound = socket.socket(family, kind)
    except OSError as error:
        raise DataError(text, f"is not known here: {error.strerror}", example) from error
    with bound:
        try:
            bound.bind(address)
        except OSError as error:
            raise DataError(text, f"cannot be listened on: {error.strerror}", "is the port in use?") from error
        host, port = bound.getsockname()[:2]
        yield Source(f"UDP port {port} of {host}", live=True, lines=_datagram_lines(bound, patience))


def _datagram_lines(bound: socket.socket, patience: float | None) -> Iterator[bytes | None]:
    """The lines of all datagrams; each ends with its datagram. None for silence and for a datagram of nothing."""
    while True:
        if _has_come(bound, patience):
            yield from bound.recv(DATAGRAM).splitlines() or (None,)
        else:
            yield None
