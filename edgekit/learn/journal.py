"""The journal: learned weights beside an artifact that never changes, whole after every loss of power."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.errors import StateError, UsageError
from edgekit.learn.flash import ERASED, Flash, FlashError
from edgekit.learn.journal_format import (
    FACTORY,
    HEADER_BYTES,
    LEARNING_OFF,
    MAX_COMMIT,
    Geometry,
    Header,
    Slot,
    header_bytes,
    read_slot,
)

_NOTHING = Header(commit=0, source=0, mark=0, flags=FACTORY, payload_bytes=0)
MAX_MARK = 0xFFFF_FFFF


@dataclass(frozen=True)
class Status:
    """What a journal holds.

    `commit` is the number of the newest commit, 0 when there is none; `source` the commit that first held its weights,
    0 for factory weights; `mark` the caller's number beside them. `history` are the commits that a rollback reaches,
    newest first. `damaged` says what is wrong with slots that hold no commit: unfinished writes, or bytes that changed.
    `erases` is how often each page of each slot was erased by commits up to this one; what the journal cannot know are
    erases of changes that were cut short, and of times before it was last forgotten.
    """

    commit: int
    source: int
    mark: int
    learning: bool
    history: tuple[int, ...]
    damaged: tuple[str, ...]
    slots: int
    slot_bytes: int
    page_bytes: int
    erases: tuple[int, ...]

    @property
    def factory(self) -> bool:
        """Whether the weights are the artifact's own."""
        return self.source == 0


class Journal:
    """The commits of one model's learned weights in flash.

    A payload has `payload_bytes` bytes and belongs to the artifact with this SHA-256 (32 bytes). `history` earlier
    commits are kept. A change erases the oldest slot and writes it, payload first, the word with the checksum last, so
    that a loss of power leaves the state before or the one after. The newest slot that is whole is the state; without
    one it is the factory weights. UsageError when flash and ring do not fit, StateError when another artifact, or a
    ring of another form, has commits in it.

        journal = Journal(RamFlash(4096, 9), bytes.fromhex(sha256), payload_bytes=9000, history=1)
        journal.commit(payload, mark=12)
        journal.rollback()
    """

    def __init__(self, flash: Flash, artifact_sha256: bytes, payload_bytes: int, history: int = 1) -> None:
        self.geometry = Geometry(artifact_sha256, payload_bytes, history, flash.page_bytes)
        if self.geometry.nbytes > flash.size:
            raise UsageError(
                "journal",
                f"needs {self.geometry.nbytes:,} bytes of flash, there are {flash.size:,}",
                "keep less history",
            )
        self._flash = flash
        self._slots = [read_slot(flash, self.geometry, i)[0] for i in range(self.geometry.slots)]
        if foreign := [f"slot {s.index} {s.why}" for s in self._slots if s.kind == "foreign"]:
            raise StateError(
                "journal", "is not one of this model", "use the artifact it belongs to, or remove it", foreign
            )
        found = [s.header for s in self._slots if s.header is not None]
        self._newest = max(found, key=lambda header: header.commit, default=_NOTHING)

    def status(self) -> Status:
        """Return what the journal holds now."""
        ring, newest = self.geometry, self._newest
        return Status(
            commit=newest.commit,
            source=newest.source,
            mark=newest.mark,
            learning=newest.learning,
            history=tuple(n for n in self._reach() if self._header(n) is not None),
            damaged=tuple(f"slot {s.index} {s.why}" for s in self._slots if s.kind == "damaged"),
            slots=ring.slots,
            slot_bytes=ring.slot_bytes,
            page_bytes=ring.page_bytes,
            erases=tuple((newest.commit - i + ring.slots - 1) // ring.slots for i in range(ring.slots)),
        )

    def load(self) -> bytes | None:
        """Return the payload of the newest commit; None stands for factory weights.

        StateError when it changed since the journal was opened.
        """
        return self._payload(self._newest)

    def commit(self, payload: bytes, mark: int = 0) -> int:
        """Make `payload` the state and return the number of the commit.

        StateError when learning is switched off, FlashError when the flash does not take it: the state is then still
        the one before.
        """
        if len(payload) != self.geometry.payload_bytes:
            raise UsageError("payload", f"has {len(payload):,} bytes, it must be {self.geometry.payload_bytes:,}")
        if not 0 <= mark <= MAX_MARK:
            raise UsageError("mark", f"{mark} is not a number from 0 to {MAX_MARK:,}")
        if not self._newest.learning:
            raise StateError("journal", "learning is switched off", "switch it on first")
        return self._append(payload, source=self._newest.commit + 1, mark=mark)

    def rollback(self, to: int | None = None) -> int:
        """Make the weights of an earlier commit the state again, in a new commit, and return its number.

        Without `to` it is the commit before `source`, so that going back twice goes further back. 0 stands for factory
        weights. UsageError when the history does not hold the commit.
        """
        number = self._newest.source - 1 if to is None else to
        if number == 0:
            return self.reset()
        header = self._header(number) if number in self._reach() else None
        if header is None:
            raise self._out_of_reach(number)
        return self._append(self._payload(header), source=header.source, mark=header.mark)

    def reset(self) -> int:
        """Make the factory weights the state, in a new commit that can be rolled back; return the newest commit.

        Where they already are the state nothing is written.
        """
        return self._newest.commit if self._newest.factory else self._append(None, source=0, mark=0)

    def switch(self, learning: bool) -> int:
        """Switch learning on or off, in a new commit with the same weights; return the newest commit.

        Where it already is so nothing is written. While it is off, `commit` is refused.
        """
        newest = self._newest
        if newest.learning == learning:
            return newest.commit
        return self._append(self.load(), source=newest.source, mark=newest.mark, flip=LEARNING_OFF)

    def forget(self) -> None:
        """Erase everything: all weights, the history, and whether learning is on.

        The newest commit goes last, so that no earlier one comes back when power is lost on the way.
        """
        last = self.geometry.slot_of(self._newest.commit)
        for index in sorted(range(self.geometry.slots), key=lambda i: i == last):
            self._erase(index)
            self._slots[index] = Slot(index, "erased")
        self._newest = _NOTHING

    def _reach(self) -> range:
        """The numbers of the commits that a rollback may reach, newest first."""
        newest = self._newest.commit
        return range(newest - 1, max(newest - 1 - self.geometry.history, 0), -1)

    def _header(self, commit: int) -> Header | None:
        header = self._slots[self.geometry.slot_of(commit)].header
        return header if header is not None and header.commit == commit else None

    def _out_of_reach(self, number: int) -> UsageError:
        cause = f"commit {number} is not in reach"
        if number == -1 and self._newest.factory:
            cause = "factory weights are in use, nothing was before them"
        elif number == self._newest.commit:
            cause = f"commit {number} is the newest already"
        history = ", ".join(map(str, self.status().history)) or "none"
        return UsageError("rollback", cause, f"in reach are commits {history}, and 0 for factory weights")

    def _payload(self, header: Header) -> bytes | None:
        if header.factory:
            return None
        slot, payload = read_slot(self._flash, self.geometry, self.geometry.slot_of(header.commit))
        if slot.header != header:
            raise StateError("journal", f"commit {header.commit} changed since it was opened", "open it again")
        return payload

    def _append(self, payload: bytes | None, *, source: int, mark: int, flip: int = 0) -> int:
        """Write a commit into the slot of the oldest; only when all of it is there is it the newest."""
        ring, number = self.geometry, self._newest.commit + 1
        if number > MAX_COMMIT:
            raise StateError("journal", f"commit {self._newest.commit:,} was the last possible", "forget it")
        flags = (self._newest.flags & LEARNING_OFF) ^ flip | (FACTORY if payload is None else 0)
        body = payload or b""
        header = Header(number, source, mark, flags, len(body))
        head, index = header_bytes(ring, header, body), ring.slot_of(number)
        at = index * ring.slot_bytes
        self._erase(index)
        self._slots[index] = Slot(index, "damaged", why="is being written")
        padding = bytes([ERASED]) * (-len(body) % self._flash.unit_bytes)
        last = HEADER_BYTES - max(self._flash.unit_bytes, 4)
        self._write(at + HEADER_BYTES, body + padding)
        self._write(at, head[:last])
        self._flash.sync()
        self._write(at + last, head[last:])
        self._flash.sync()
        self._slots[index], self._newest = Slot(index, "valid", header), header
        return number

    def _erase(self, index: int) -> None:
        pages = self.geometry.slot_bytes // self.geometry.page_bytes
        for page in range(index * pages, (index + 1) * pages):
            self._flash.erase(page)
        self._flash.sync()

    def _write(self, offset: int, data: bytes) -> None:
        self._flash.write(offset, data)
        if self._flash.read(offset, len(data)) != data:
            raise FlashError("flash", f"does not hold what was written at {offset:#x}", "it may be worn out")
