"""Losses of power: flash that dies at a chosen byte or page, and journals driven through many of them."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from edgekit.learn.flash import ERASED, RamFlash
from edgekit.learn.journal_format import HEADER_BYTES, slot_bytes

ARTIFACT = bytes(range(200, 232))
# What is in a page whose erase was cut short, and in the units of a write that was.
TORN_ERASES = ("untouched", "first half", "second half", "rising bits", "noise", "zeros", "done")
TORN_WRITES = ("bytes", "bits", "scattered units")


class Cut(NamedTuple):
    """After how many steps power is lost, and what an erase or a write that is going on then leaves behind.

    With `reordered` all since the last sync is there or not, unit by unit, as on a disk that writes in any order.
    """

    after: int
    erase: str = "noise"
    write: str = "bytes"
    reordered: bool = False
    seed: int = 0


def suffix_for(crc: int, before: bytes) -> bytes:
    """Four bytes that bring a CRC-32 to a value: it is linear in them."""
    zero = zlib.crc32(before + bytes(4))
    rows = [(zlib.crc32(before + (1 << i).to_bytes(4, "little")) ^ zero, 1 << i) for i in range(32)]
    wanted, found = crc ^ zero, 0
    for bit in range(32):
        pivot = next(r for r in rows if r[0] >> bit & 1)
        rows = [(v ^ pivot[0], s ^ pivot[1]) if v >> bit & 1 else (v, s) for v, s in rows if (v, s) != pivot]
        if wanted >> bit & 1:
            wanted, found = wanted ^ pivot[0], found ^ pivot[1]
    return found.to_bytes(4, "little")


class PowerLostError(Exception):
    """Power is gone; whoever uses the flash after that is still running on nothing."""


class CuttingFlash(RamFlash):
    """Flash that loses power at a cut. A step is one byte written, or one page erased.

    `log` says what the steps were, `ended_in` what the last one was.
    """

    def __init__(self, page_bytes: int, page_count: int, unit_bytes: int = 4) -> None:
        super().__init__(page_bytes, page_count, unit_bytes)
        self.power_up()

    def power_up(self, image: bytes | None = None, cut: Cut | None = None) -> None:
        """Start again, with this image if one is given, and with this cut to come."""
        if image is not None:
            self.image[:] = image
        self.log, self.ended_in, self._cut, self._safe = list[str](), "", cut, bytes(self.image)
        self._rng = np.random.default_rng(cut.seed if cut else 0)

    def erase(self, page: int) -> None:
        if self._cuts(["erase"]):
            at = page * self.page_bytes
            self._store(at, self._half_erased(bytes(self.image[at : at + self.page_bytes])))
            self._die("erase")
        super().erase(page)

    def write(self, offset: int, data: bytes) -> None:
        before = len(self.log)
        if (cut := self._cuts(["write"] * len(data))) is not None:
            for start in range(0, len(data), self.unit_bytes):
                unit = data[start : start + self.unit_bytes]
                self._store(offset + start, self._half_written(unit, cut.after - before - start, cut.write))
            self._die("write")
        super().write(offset, data)

    def read(self, offset: int, nbytes: int) -> bytes:
        self._check_alive()
        return super().read(offset, nbytes)

    def sync(self) -> None:
        self._check_alive()
        if self._cut is not None and self._cut.reordered:
            self._safe = bytes(self.image)

    def _check_alive(self) -> None:
        if self.ended_in:
            raise PowerLostError

    def _cuts(self, steps: list[str]) -> Cut | None:
        """The cut, where it comes within these next steps."""
        self._check_alive()
        self.log += steps
        return self._cut if self._cut is not None and self._cut.after < len(self.log) else None

    def _die(self, operation: str) -> None:
        self.ended_in = operation
        if self._cut is not None and self._cut.reordered:
            units = self._rng.random(self.size // self.unit_bytes) < 0.5
            now, safe = np.frombuffer(bytes(self.image), np.uint8), np.frombuffer(self._safe, np.uint8)
            self.image[:] = np.where(np.repeat(units, self.unit_bytes), safe, now).tobytes()
        raise PowerLostError

    def _half_erased(self, page: bytes) -> bytes:
        half, ones, noise = len(page) // 2, bytes([ERASED]) * len(page), self._rng.bytes(len(page))
        return {
            "untouched": page,
            "first half": ones[:half] + page[half:],
            "second half": page[:half] + ones[half:],
            "rising bits": _with_ones(page, noise),
            "noise": noise,
            "zeros": bytes(len(page)),
            "done": ones,
        }[self._cut.erase if self._cut else "done"]

    def _half_written(self, unit: bytes, left: int, how: str) -> bytes:
        """A unit of a write of which `left` more bytes go in."""
        ones = bytes([ERASED]) * len(unit)
        if how == "scattered units":  # a write may take its units in any order
            return unit if self._rng.random() < 0.5 else ones
        if left >= len(unit):
            return unit
        if left < 0:
            return ones
        if how == "bits":  # some of the bits that are to be cleared have been
            return _with_ones(unit, self._rng.bytes(len(unit)))
        return unit[:left] + ones[left:]


def _with_ones(data: bytes, ones: bytes) -> bytes:
    return bytes(a | b for a, b in zip(data, ones, strict=True))


class State(NamedTuple):
    """What a restart has to find."""

    commit: int
    source: int
    mark: int
    learning: bool
    payload: bytes | None


NOTHING = State(0, 0, 0, True, None)


class RefusedError(Exception):
    """An engine refused; the message is one of: off, out of reach, full, foreign, changed, flash."""


class Engine(Protocol):
    """A journal in Python or in C: a new one is what a restart makes."""

    def __init__(self, flash: RamFlash, artifact: bytes, payload_bytes: int, history: int) -> None: ...
    def state(self) -> State: ...
    def history(self) -> tuple[int, ...]: ...
    def damaged(self) -> int: ...
    def commit(self, payload: bytes, mark: int) -> None: ...
    def rollback(self, to: int | None) -> None: ...
    def reset(self) -> None: ...
    def switch(self, learning: bool) -> None: ...
    def forget(self) -> None: ...


Change = Callable[[Engine], None]


@dataclass
class Model:
    """What a journal must do, without any flash: the commits by number."""

    history: int
    commits: dict[int, State] = field(default_factory=lambda: {0: NOTHING})

    @property
    def newest(self) -> State:
        return self.commits[max(self.commits)]

    def reach(self) -> tuple[int, ...]:
        newest = self.newest.commit
        return tuple(n for n in range(newest - 1, max(newest - 1 - self.history, 0), -1) if n in self.commits)

    def took(self, state: State) -> None:
        """The journal was found in this state; nothing is left where it has been forgotten."""
        if state.commit == 0:
            self.commits = {0: NOTHING}
        self.commits[state.commit] = state
        self.commits = {n: s for n, s in self.commits.items() if n == 0 or n >= state.commit - self.history}

    def after_commit(self, payload: bytes, mark: int) -> State:
        n = self.newest.commit + 1
        return State(n, n, mark, self.newest.learning, payload)

    def after_rollback(self, to: int) -> State:
        earlier = self.commits[to]
        if to == 0:
            return self.after_reset()
        return State(self.newest.commit + 1, earlier.source, earlier.mark, self.newest.learning, earlier.payload)

    def after_reset(self) -> State:
        newest = self.newest
        return newest if newest.payload is None else State(newest.commit + 1, 0, 0, newest.learning, None)

    def after_switch(self) -> State:
        return self.newest._replace(commit=self.newest.commit + 1, learning=not self.newest.learning)


OPERATIONS = ("commit", "commit", "commit", "commit", "rollback", "reset", "switch", "forget")


def drawn_change(rng: np.random.Generator, model: Model, payload_bytes: int) -> tuple[str, State, Change]:
    """An operation, the state after it, and how to do it. An operation that would be refused becomes another one."""
    name = OPERATIONS[rng.integers(len(OPERATIONS))]
    if name == "commit" and not model.newest.learning:
        name = "switch"
    if name == "rollback" and not model.reach():
        name = "reset"
    if name == "commit":
        payload, mark = rng.bytes(payload_bytes), int(rng.integers(2**32))
        return name, model.after_commit(payload, mark), lambda j: j.commit(payload, mark)
    if name == "rollback":
        to = int(rng.choice(model.reach()))
        return name, model.after_rollback(to), lambda j: j.rollback(to)
    if name == "reset":
        return name, model.after_reset(), lambda j: j.reset()
    if name == "switch":
        learning = not model.newest.learning
        return name, model.after_switch(), lambda j: j.switch(learning)
    return name, NOTHING, lambda j: j.forget()


@dataclass
class Tally:
    """How restarts found the state, by operation: `done` without a cut, else `old` or `new`; `faults` are all others.

    `ended_in` counts what the flash was doing when power was lost.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    ended_in: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def cuts(self) -> int:
        return sum(self.ended_in.values())

    def rows(self) -> Iterator[str]:
        """A table of it."""
        columns = ("done", "old", "new", "mixture")
        yield f"  {'operation':10}" + "".join(f"{c:>9}" for c in columns)
        for name in dict.fromkeys(OPERATIONS):
            yield f"  {name:10}" + "".join(f"{self.counts[name, c]:9,}" for c in columns)


def drawn_cut(rng: np.random.Generator, pages: int, steps: int, seed: int) -> Cut:
    """A cut of an operation of so many steps: of its first `pages`, which are erases, one time in four, of its last
    bytes one time in ten, or anywhere.
    """
    where = rng.random()
    after = (
        rng.integers(pages)
        if where < 0.25
        else rng.integers(steps - 4, steps + 1)
        if where < 0.35
        else rng.integers(steps)
    )
    return Cut(int(after), str(rng.choice(TORN_ERASES)), str(rng.choice(TORN_WRITES)), bool(rng.random() < 0.2), seed)


def run_cycles(
    kind: type[Engine],
    cycles: int,
    seed: int,
    *,
    history: int,
    payload_bytes: int = 70,
    page_bytes: int = 64,
    unit: int = 4,
) -> Tally:
    """Change, cut and restart so often, at random, up to the first fault. State and history are held to the model."""
    rng, tally, model = np.random.default_rng(seed), Tally(), Model(history)
    pages = slot_bytes(payload_bytes, page_bytes) // page_bytes
    flash = CuttingFlash(page_bytes, pages * (history + 2), unit)
    for cycle in range(cycles):
        journal = kind(flash, ARTIFACT, payload_bytes, history)
        name, after, change = drawn_change(rng, model, payload_bytes)
        steps = pages + HEADER_BYTES + (-(-payload_bytes // unit) * unit if after.payload is not None else 0)
        if name == "forget":
            steps = pages * (history + 2)
        flash.power_up(cut=drawn_cut(rng, pages, steps, cycle) if rng.random() < 0.8 else None)
        try:
            change(journal)
        except PowerLostError:
            tally.ended_in[flash.ended_in] += 1
        except RefusedError as error:
            tally.faults.append(f"cycle {cycle}, {name}: refused, {error}")
        cut = bool(flash.ended_in)
        flash.power_up()
        journal = kind(flash, ARTIFACT, payload_bytes, history)
        state, reach = journal.state(), journal.history()
        outcome = (
            ("new" if cut else "done") if state == after else "old" if cut and state == model.newest else "mixture"
        )
        tally.counts[name, outcome] += 1
        if outcome == "mixture":
            tally.faults.append(f"cycle {cycle}, {name}: {state}, neither {model.newest} nor {after}")
        model.took(state)
        if name == "forget":  # while it lasts the history is gone, but the newest commit is not
            model.commits = {n: s for n, s in model.commits.items() if n in (0, state.commit, *reach)}
        elif reach != model.reach():
            tally.faults.append(f"cycle {cycle}, {name}: commits {reach} in reach, not {model.reach()}")
        if tally.faults:
            break
    return tally
