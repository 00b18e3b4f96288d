"""The journal of learned weights in C: libc-free, and over a flash that the caller describes by four functions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

JOURNAL = Path(__file__).parent
HOST_ONLY = ("ekj_file.c", "ekj_file.h")


@lru_cache(maxsize=1)
def journal_files() -> Mapping[str, str]:
    """The C files that run on every device by name: the journal, its flash, and flash in RAM.

    `ekj_file.h` and `ekj_file.c`, flash in a file, lie beside them and need POSIX.
    """
    files = [f for f in sorted(JOURNAL.glob("*.[ch]")) if f.name not in HOST_ONLY]
    return MappingProxyType({f.name: f.read_text("utf-8") for f in files})
