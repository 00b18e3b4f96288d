"""What a runtime written in C++ prints while it loads, without what is no news."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

NO_NEWS = b"INFO: "
STDERR = 2  # the descriptor: C++ knows nothing of sys.stderr


@contextmanager
def without_news() -> Iterator[None]:
    """Hold back what is written to descriptor 2 meanwhile, then write all of it but the lines that begin `INFO: `."""
    try:
        kept = os.dup(STDERR)
    except OSError:  # closed: nothing can be seen there
        yield
        return
    try:
        with tempfile.TemporaryFile() as held:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(held.fileno(), STDERR)
            try:
                yield
            finally:
                os.dup2(kept, STDERR)
                held.seek(0)
                for line in held:
                    if not line.startswith(NO_NEWS):
                        os.write(STDERR, line)
    finally:
        os.close(kept)
