"""The journal in Python and in C behind one interface; C reaches the same flash through functions it calls back."""

from __future__ import annotations

import ctypes
import re
import tempfile
from functools import lru_cache
from pathlib import Path

from journal_cuts import RefusedError, State

from edgekit.backends.c.journal import journal_files
from edgekit.errors import EdgekitError
from edgekit.learn.flash import FlashError, RamFlash
from edgekit.learn.journal import Journal
from edgekit.target import load_target
from edgekit.toolchain import build_shared

STRICT = ("-Wall", "-Wextra", "-Werror")
CODES = {2: "flash", 3: "foreign", 4: "off", 5: "out of reach", 6: "full", 8: "changed"}
_SAYS = {
    "is not one of this model": "foreign",
    "learning is switched off": "off",
    "in reach|nothing was before|newest already": "out of reach",
    "last possible": "full",
    "changed since": "changed",
}
PREVIOUS = 0xFFFF_FFFF
PART = 3  # the payload is handed to C in parts, none of which ends with a unit


class PythonJournal:
    """The journal of edgekit.learn."""

    name = "Python"

    def __init__(self, flash: RamFlash, artifact: bytes, payload_bytes: int, history: int) -> None:
        self._journal = self._do(lambda: Journal(flash, artifact, payload_bytes, history))

    def state(self) -> State:
        status = self._journal.status()
        payload = self._do(self._journal.load)
        return State(status.commit, status.source, status.mark, status.learning, payload)

    def history(self) -> tuple[int, ...]:
        return self._journal.status().history

    def damaged(self) -> int:
        return len(self._journal.status().damaged)

    def commit(self, payload: bytes, mark: int) -> None:
        self._do(lambda: self._journal.commit(payload, mark))

    def rollback(self, to: int | None) -> None:
        self._do(lambda: self._journal.rollback(to))

    def reset(self) -> None:
        self._do(self._journal.reset)

    def switch(self, learning: bool) -> None:
        self._do(lambda: self._journal.switch(learning))

    def forget(self) -> None:
        self._do(self._journal.forget)

    @staticmethod
    def _do(action):
        try:
            return action()
        except FlashError as error:
            raise RefusedError("flash") from error
        except EdgekitError as error:
            raise RefusedError(next(code for says, code in _SAYS.items() if re.search(says, str(error)))) from error


class _Flash(ctypes.Structure):
    ERASE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32)
    WRITE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p, ctypes.c_uint32)
    SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    _fields_ = (
        ("context", ctypes.c_void_p),
        ("page_bytes", ctypes.c_uint32),
        ("page_count", ctypes.c_uint32),
        ("unit_bytes", ctypes.c_uint32),
        ("erase", ERASE),
        ("write", WRITE),
        ("read", WRITE),
        ("sync", SYNC),
    )


class _Part(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("nbytes", ctypes.c_uint32))


class _Journal(ctypes.Structure):
    _fields_ = (
        ("flash", ctypes.c_void_p),
        ("artifact", ctypes.c_void_p),
        *(
            (name, ctypes.c_uint32)
            for name in ["payload_bytes", "slot_bytes", "slots", "commit", "source", "mark", "flags", "foreign"]
        ),
    )


@lru_cache
def library(compiler: str | None = None) -> ctypes.CDLL:
    """The C journal built for this computer, libc-free and without a warning."""
    built = build_shared(journal_files(), "ekj_journal.c", load_target("host"), compiler=compiler, extra_flags=STRICT)
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        Path(file.name).write_bytes(built)
        return ctypes.CDLL(file.name)


class CJournal:
    """The journal of the C backend."""

    name = "C"
    compiler: str | None = None

    def __init__(self, flash: RamFlash, artifact: bytes, payload_bytes: int, history: int) -> None:
        self._lib, self._j, self._lost = library(self.compiler), _Journal(), None
        self._artifact = ctypes.create_string_buffer(artifact, 32)

        def guarded(action) -> int:
            try:
                action()
            except Exception as error:
                self._lost = error
                return 1
            return 0

        self._flash = _Flash(
            None,
            *(flash.page_bytes, flash.page_count, flash.unit_bytes),
            _Flash.ERASE(lambda _, page: guarded(lambda: flash.erase(page))),
            _Flash.WRITE(lambda _, at, data, n: guarded(lambda: flash.write(at, ctypes.string_at(data, n)))),
            _Flash.WRITE(lambda _, at, data, n: guarded(lambda: ctypes.memmove(data, flash.read(at, n), n))),
            _Flash.SYNC(lambda _: guarded(flash.sync)),
        )
        self._payload_bytes, self._history = payload_bytes, history
        self._call("open", ctypes.byref(self._flash), self._artifact, payload_bytes, history)

    def state(self) -> State:
        j, buffer = self._j, (ctypes.c_uint8 * self._payload_bytes)()
        code = self._call("load", self._parts(buffer), self._part_count)
        return State(j.commit, j.source, j.mark, not j.flags & 1, None if code == 7 else bytes(buffer))

    def history(self) -> tuple[int, ...]:
        newest = self._j.commit
        return (
            tuple(n for n in range(newest + 1, -1, -1) if self._lib.ekj_reaches(ctypes.byref(self._j), n))
            if (newest < 1 << 16)
            else ()
        )

    def damaged(self) -> int:
        return int(self._lib.ekj_damaged(ctypes.byref(self._j)))

    def commit(self, payload: bytes, mark: int) -> None:
        buffer = (ctypes.c_uint8 * len(payload)).from_buffer_copy(payload)
        self._call("commit", self._parts(buffer), self._part_count, ctypes.c_uint32(mark))

    def rollback(self, to: int | None) -> None:
        self._call("rollback", ctypes.c_uint32(PREVIOUS if to is None else to))

    def reset(self) -> None:
        self._call("reset")

    def switch(self, learning: bool) -> None:
        self._call("switch", int(learning))

    def forget(self) -> None:
        self._call("forget")

    @property
    def _part_count(self) -> int:
        return min(PART, self._payload_bytes)

    def _parts(self, buffer: ctypes.Array[ctypes.c_uint8]) -> ctypes.Array[_Part]:
        """Three parts: a first of one byte, a second of a third of it, the rest."""
        count, size = self._part_count, self._payload_bytes
        sizes = [1, max((size - 1) // 3, 1), size][:count]
        sizes[-1] = size - sum(sizes[:-1])
        at, parts = ctypes.addressof(buffer), []
        for n in sizes:
            parts.append(_Part(at, n))
            at += n
        self._kept = buffer
        return (_Part * count)(*parts)

    def _call(self, name: str, *arguments: object) -> int:
        self._lost = None
        code = int(getattr(self._lib, f"ekj_{name}")(ctypes.byref(self._j), *arguments))
        if self._lost is not None and not isinstance(self._lost, EdgekitError):
            raise self._lost
        if code in CODES:
            raise RefusedError(CODES[code])
        assert code in (0, 7), code
        return code


ENGINES = (PythonJournal, CJournal)
