"""Lines of bytes that come in pieces, none of them longer than a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator

MAX_LINE = 64 << 10  # bytes


def split_lines(read: Callable[[], bytes | None]) -> Iterator[bytes | None]:
    """The lines of what `read` gives, until it gives nothing, without their ends; None where it gives None or a piece
    in which no line ends.

    Of a longer line the first MAX_LINE + 1 bytes are given, so that whoever parses it can tell; the rest is skipped.
    """
    open_line, skipping = bytearray(), False
    while (chunk := read()) != b"":
        if chunk is None:
            yield None
            continue
        *whole, rest = chunk.split(b"\n")
        for piece in whole:
            if not skipping:
                yield bytes(open_line + piece)[: MAX_LINE + 1].rstrip(b"\r")
            open_line.clear()
            skipping = False
        if not whole:  # nobody waits for the end of a line, perhaps for ever
            yield None
        if skipping:
            continue
        open_line += rest
        if len(open_line) > MAX_LINE:
            yield bytes(open_line[: MAX_LINE + 1])
            open_line.clear()
            skipping = True
    if open_line:
        yield bytes(open_line).rstrip(b"\r")
