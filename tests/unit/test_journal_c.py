"""The journal in C: the same bytes, the same state and the same refusals as in Python, whatever is done to both."""

from __future__ import annotations

import ctypes
import struct
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_cuts import (
    ARTIFACT,
    TORN_ERASES,
    Cut,
    CuttingFlash,
    PowerLostError,
    RefusedError,
    State,
    suffix_for,
)
from journal_engines import STRICT, CJournal, PythonJournal, library

from edgekit.backends.c.journal import HOST_ONLY, JOURNAL, journal_files
from edgekit.errors import ToolchainError, UsageError
from edgekit.learn.flash import RamFlash
from edgekit.learn.journal import Journal
from edgekit.learn.journal_format import slot_bytes
from edgekit.target import list_targets, load_target
from edgekit.toolchain import COMPILERS, build_object, build_shared, find_compiler

PARANOID = (*STRICT, "-Wconversion", "-Wshadow", "-Wcast-qual", "-Wpedantic")


def compilers():
    for name in COMPILERS:
        try:
            find_compiler(load_target("host"), name)
        except ToolchainError:
            continue
        yield name


@pytest.mark.parametrize("compiler", list(compilers()))
@pytest.mark.parametrize("source", ["ekj_journal.c", "ekj_ram.c"])
def test_the_c_needs_no_libc_and_gives_no_warning(compiler, source):
    build_shared(journal_files(), source, load_target("host"), compiler=compiler, extra_flags=PARANOID)


@pytest.mark.parametrize("name", [n for n in list_targets() if load_target(n).is_bare])
def test_it_builds_for_every_watch(name):
    for source in ("ekj_journal.c", "ekj_ram.c"):
        assert build_object(journal_files(), source, load_target(name), extra_flags=PARANOID)


def test_every_c_file_is_handed_out_or_for_hosts_only():
    assert {f.name for f in JOURNAL.glob("*.[ch]")} == {*journal_files(), *HOST_ONLY}
    assert not set(journal_files()) & set(HOST_ONLY)


# --- the same things done to both


class Pair:
    """A journal in Python and one in C, on flash of their own."""

    def __init__(self, payload_bytes: int, page: int, unit: int, history: int) -> None:
        pages = slot_bytes(payload_bytes, page) // page * (history + 2)
        self.flashes = [CuttingFlash(page, pages, unit) for _ in range(2)]
        self.arguments = (ARTIFACT, payload_bytes, history)
        self.restart()

    def restart(self) -> None:
        self.both = []
        for kind, flash in zip((PythonJournal, CJournal), self.flashes, strict=True):
            flash.power_up()
            self.both.append(kind(flash, *self.arguments))

    def do(self, change, cut: Cut | None = None) -> None:
        """Do it to both, which must fare alike."""
        fared = []
        for journal, flash in zip(self.both, self.flashes, strict=True):
            flash.power_up(cut=cut)
            try:
                change(journal)
                fared.append("done")
            except PowerLostError:
                fared.append("lost")
            except RefusedError as error:
                fared.append(str(error))
        assert fared[0] == fared[1]
        if cut is not None:
            self.restart()
        python, c = self.both
        assert self.flashes[0].image == self.flashes[1].image
        assert python.state() == c.state()
        assert python.history() == c.history()
        assert python.damaged() == c.damaged()


numbers = st.integers(0, 2**32 - 1)
changes = st.one_of(
    st.tuples(st.just("commit"), st.integers(0, 255), numbers),
    st.tuples(st.just("commit"), st.integers(0, 255), numbers),
    st.tuples(st.just("rollback"), st.none() | st.integers(0, 12)),
    st.tuples(st.just("reset")),
    st.tuples(st.just("switch"), st.booleans()),
    st.tuples(st.just("forget")),
    st.tuples(st.just("restart")),
    st.tuples(st.just("flip"), numbers, st.integers(0, 7)),
)
cuts = st.none() | st.builds(
    Cut, st.integers(0, 300), st.sampled_from(TORN_ERASES), st.sampled_from(("bytes", "bits")), st.booleans(), numbers
)


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 200),
    st.sampled_from((64, 128)),
    st.sampled_from((1, 2, 4, 8, 16, 32)),
    st.integers(0, 3),
    st.lists(st.tuples(changes, cuts), max_size=14),
)
def test_python_and_c_write_the_same_bytes_and_find_the_same_state(payload_bytes, page, unit, history, steps):
    pair = Pair(payload_bytes, page, unit, history)
    for (name, *arguments), cut in steps:
        if name == "restart":
            pair.restart()
        elif name == "flip":
            at, bit = arguments
            for flash in pair.flashes:
                flash.image[at % flash.size] ^= 1 << bit
            pair.restart()
            pair.do(lambda journal: None)
        elif name == "commit":
            first, mark = arguments
            payload = bytes((first + 7 * i) % 256 for i in range(payload_bytes))
            pair.do(lambda journal, p=payload, m=mark: journal.commit(p, m), cut)
        else:
            pair.do(lambda journal, n=name, a=tuple(arguments): getattr(journal, n)(*a), cut)


FIELDS = struct.Struct("<4sBBHIIIIBBH32s")
# by place in FIELDS: what somebody else may have written there
ODD = {
    0: (b"EKLJ", b"EKLK"),
    1: (0, 1, 2, 255),
    2: (0, 60, 64, 255),
    3: (0, 1, 2, 3, 4, 0x8000),
    4: (0, 1, 49, 51, 200, 320, 321, 2**31, 2**32 - 1),
    5: (0, 1, 2, 3, 4, 7, 2**32 - 2, 2**32 - 1),
    6: (0, 1, 2, 5, 2**32 - 1),
    7: (0, 2**32 - 1),
    8: (0, 5, 6, 12, 255),
    9: (0, 1, 255),
    10: (0, 2, 3, 4, 0xFFFF),
    11: (bytes(32),),
}
odd = st.fixed_dictionaries({}, optional={at: st.sampled_from(values) for at, values in ODD.items()})


@settings(max_examples=400, deadline=None)
@given(odd, st.integers(0, 2), st.booleans())
def test_both_judge_a_header_alike_that_somebody_else_wrote_with_a_right_checksum(changed, slot, with_others):
    fields = [b"EKLJ", 1, 64, 0, 50, slot + 1, 1, 0, 6, 0, 3, ARTIFACT]
    for at, value in changed.items():
        fields[at] = value
    found = []
    for kind in (PythonJournal, CJournal):
        flash = RamFlash(64, 6)
        if with_others:
            for n in range(2):
                kind(flash, ARTIFACT, 50, 1).commit(bytes([n]) * 50, n)
        head, room = FIELDS.pack(*fields), flash.size - slot * 128 - 64
        body = bytes(i % 256 for i in range(min(fields[4], room)))
        at = slot * 128
        image = head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body
        flash.image[at : at + len(image)] = image
        assert len(flash.image) == flash.size
        try:
            journal = kind(flash, ARTIFACT, 50, 1)
            found.append((journal.state(), journal.damaged(), journal.history()))
        except RefusedError as error:
            found.append((str(error), 0, ()))
    assert found[0] == found[1]


def test_c_never_writes_a_checksum_that_looks_erased_either():
    head = FIELDS.pack(b"EKLJ", 1, 64, 0, 50, 1, 1, 9, 6, 0, 3, ARTIFACT)
    payload = bytes(46) + suffix_for(0xFFFF_FFFF, head + bytes(46))
    pair = Pair(50, 64, 4, 1)
    pair.do(lambda journal: journal.commit(payload, 9))
    assert pair.flashes[1].image[25] == 1
    for flash in pair.flashes:
        flash.image[25] = 0
        flash.image[60:64] = b"\xff" * 4
    pair.restart()
    pair.do(lambda journal: None)
    assert pair.both[1].damaged() == 1


def test_the_last_commit_number_is_the_last_in_c_too():
    last = 2**32 - 2
    slot = (last - 1) % 3
    pair = Pair(50, 64, 4, 1)
    head = FIELDS.pack(b"EKLJ", 1, 64, 0, 50, last, 5, 9, 6, 0, 3, ARTIFACT)
    for flash in pair.flashes:
        image = head + struct.pack("<I", zlib.crc32(bytes(50), zlib.crc32(head))) + bytes(50)
        flash.image[slot * 128 : slot * 128 + len(image)] = image
    pair.restart()
    for change in (lambda j: j.commit(bytes(50), 1), lambda j: j.reset(), lambda j: j.switch(False)):
        pair.do(change)
        assert pair.both[1].state() == State(last, 5, 9, True, bytes(50))
        with pytest.raises(RefusedError, match="full"):
            change(pair.both[1])
    pair.do(lambda j: j.forget())
    pair.do(lambda j: j.commit(bytes(50), 1))


def test_a_foreign_journal_can_only_be_forgotten():
    flash = RamFlash(64, 6)
    CJournal(flash, bytes(32), 50, 1).commit(bytes(50), 1)
    image = bytes(flash.image)
    with pytest.raises(RefusedError, match="foreign"):
        PythonJournal(flash, ARTIFACT, 50, 1)
    journal = CJournal.__new__(CJournal)
    with pytest.raises(RefusedError, match="foreign"):
        journal.__init__(flash, ARTIFACT, 50, 1)
    for change in (
        journal.state, journal.reset, lambda: journal.commit(bytes(50), 1), lambda: journal.rollback(0),
        lambda: journal.rollback(None), lambda: journal.switch(False),
    ):  # fmt: skip
        with pytest.raises(RefusedError, match="foreign"):
            change()
    assert flash.image == image
    journal.forget()
    journal.commit(bytes(50), 1)
    assert PythonJournal(flash, ARTIFACT, 50, 1).state() == State(1, 1, 1, True, bytes(50))


@pytest.mark.parametrize("changed", [
    {"page_bytes": 32}, {"page_bytes": 96}, {"page_bytes": 1 << 21}, {"page_bytes": 0}, {"page_count": 0},
    {"page_count": 5}, {"page_bytes": 1 << 20, "page_count": 2049}, {"unit_bytes": 3}, {"unit_bytes": 64},
    {"unit_bytes": 0}, {"payload": 0}, {"payload": (64 << 20) + 1}, {"payload": 2**32 - 1}, {"history": 255},
    {"history": 2**32 - 2},
])  # fmt: skip
def test_a_ring_that_does_not_fit_its_flash_is_refused_by_both(changed):
    from journal_engines import _Flash, _Journal

    shape = {"page_bytes": 64, "page_count": 6, "unit_bytes": 4, "payload": 50, "history": 1} | changed
    flash = _Flash(None, shape["page_bytes"], shape["page_count"], shape["unit_bytes"])
    arguments = (ctypes.c_uint32(shape["payload"]), ctypes.c_uint32(shape["history"]))
    code = library().ekj_open(ctypes.byref(_Journal()), ctypes.byref(flash), ARTIFACT, *arguments)
    assert code == 1
    with pytest.raises(UsageError):
        Journal(
            RamFlash(shape["page_bytes"], shape["page_count"], shape["unit_bytes"]),
            ARTIFACT,
            shape["payload"],
            shape["history"],
        )


def test_flash_that_fails_leaves_the_state_in_c_too():
    class Failing(RamFlash):
        left = 10**9

        def _store(self, offset: int, data: bytes) -> None:
            self.left -= 1
            if self.left < 0:
                return  # nothing happens: what is written does not come back
            super()._store(offset, data)

    for works in range(8):
        found = []
        for kind in (PythonJournal, CJournal):
            flash = Failing(64, 6)
            kind(flash, ARTIFACT, 50, 1).commit(bytes(50), 1)
            flash.left = works
            journal = kind(flash, ARTIFACT, 50, 1)
            try:
                journal.commit(bytes([9]) * 50, 2)
                found.append("done")
            except RefusedError as error:
                found.append(str(error))
                assert journal.state() == kind(flash, ARTIFACT, 50, 1).state() == State(1, 1, 1, True, bytes(50))
        assert found[0] == found[1] == ("done" if works >= 5 else "flash"), works
