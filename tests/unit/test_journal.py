"""The journal: what its bytes are, what it keeps and gives back, and what it says when it refuses."""

from __future__ import annotations

import struct
import zlib

import pytest
from journal_cuts import ARTIFACT, suffix_for

from edgekit.errors import StateError, UsageError
from edgekit.learn.flash import FlashError, RamFlash
from edgekit.learn.journal import Journal
from edgekit.learn.journal_format import (
    HEADER_BYTES,
    MAX_COMMIT,
    MAX_HISTORY,
    MAX_PAYLOAD_BYTES,
    Geometry,
    Header,
    header_bytes,
    slot_bytes,
)

PAYLOAD, PAGE = 100, 64  # a slot of three pages


def flash_for(history: int = 1, unit: int = 4) -> RamFlash:
    return RamFlash(PAGE, 3 * (history + 2), unit)


def opened(flash: RamFlash, history: int = 1) -> Journal:
    return Journal(flash, ARTIFACT, PAYLOAD, history)


def payload(n: int) -> bytes:
    return bytes((n + i) % 256 for i in range(PAYLOAD))


def with_commits(count: int, history: int = 1) -> tuple[RamFlash, Journal]:
    flash = flash_for(history)
    journal = opened(flash, history)
    for n in range(1, count + 1):
        assert journal.commit(payload(n), mark=10 * n) == n
    return flash, journal


def put(flash: RamFlash, slot: int, head: bytes, body: bytes) -> None:
    """A slot as somebody else may have written it, with the right checksum."""
    crc = struct.pack("<I", zlib.crc32(body, zlib.crc32(head)))
    at = slot * 3 * PAGE
    flash.image[at : at + 3 * PAGE] = (head + crc + body).ljust(3 * PAGE, b"\xff")


def head(**changed: object) -> bytes:
    """The 60 bytes before the checksum of a first commit, written out here once more."""
    fields = {
        "magic": b"EKLJ", "version": 1, "header": 64, "flags": 0, "length": PAYLOAD, "commit": 1, "source": 1,
        "mark": 0, "page": 6, "salt": 0, "slots": 3, "sha256": ARTIFACT,
    }  # fmt: skip
    assert set(changed) <= set(fields)
    return struct.pack("<4sBBHIIIIBBH32s", *(fields | changed).values())


# --- the bytes -------------------------------------------------------------------------------------------------------


def test_the_bytes_of_a_commit_are_those_of_the_description():
    flash, _ = with_commits(1)
    body = payload(1)
    expected = head(mark=10)
    expected += struct.pack("<I", zlib.crc32(expected + body)) + body
    assert bytes(flash.image) == expected.ljust(9 * PAGE, b"\xff")


def test_a_slot_is_payload_and_64_bytes_in_whole_pages():
    for page in (64, 4096, 1 << 17):
        for nbytes in (1, page - 64, page - 63, 9000, 123_457):
            if nbytes < 1:
                continue
            slot = slot_bytes(nbytes, page)
            assert slot % page == 0
            assert nbytes + HEADER_BYTES <= slot < nbytes + HEADER_BYTES + page
    assert (slot_bytes(4032, 4096), slot_bytes(4033, 4096)) == (4096, 8192)


def test_a_checksum_that_looks_erased_is_never_written():
    """A header without its last word must not be whole by chance."""
    first = head()
    body = payload(5)[:-4]
    body += suffix_for(0xFFFF_FFFF, first + body)
    assert zlib.crc32(first + body) == 0xFFFF_FFFF
    flash = flash_for()
    opened(flash).commit(body)
    assert flash.image[25] == 1
    assert bytes(flash.image[60:64]) != b"\xff" * 4
    assert opened(flash).load() == body
    put(flash, 0, first, body)
    assert opened(flash).status().damaged == ("slot 0 its checksum is wrong",)


# --- what it keeps ---------------------------------------------------------------------------------------------------


def test_without_commits_the_weights_are_the_artifacts_own():
    status = opened(flash_for()).status()
    assert (status.commit, status.source, status.mark, status.learning, status.factory) == (0, 0, 0, True, True)
    assert (status.history, status.damaged, status.erases) == ((), (), (0, 0, 0))
    assert opened(flash_for()).load() is None


def test_units_leave_no_trace_in_the_image():
    images = set()
    for unit in (1, 2, 4, 8, 16, 32):
        flash = flash_for(1, unit)
        for n in range(5):
            opened(flash).commit(payload(n), n)
        images.add(bytes(flash.image))
    assert len(images) == 1


@pytest.mark.parametrize("history", [0, 1, 4])
@pytest.mark.parametrize("unit", [1, 4, 8, 16, 32])
def test_a_commit_is_there_after_a_restart_and_history_keeps_the_earlier_ones(history, unit):
    flash = flash_for(history, unit)
    for n in range(1, 12):
        assert opened(flash, history).commit(payload(n), mark=n) == n
        journal = opened(flash, history)
        assert journal.load() == payload(n)
        status = journal.status()
        assert (status.commit, status.source, status.mark) == (n, n, n)
        assert status.history == tuple(range(n - 1, max(n - 1 - history, 0), -1))
        assert (status.slots, status.slot_bytes, status.page_bytes) == (history + 2, 192, PAGE)
    erases = dict.fromkeys(range(history + 2), 0)
    for n in range(1, 12):
        erases[(n - 1) % (history + 2)] += 1
    assert opened(flash, history).status().erases == tuple(erases.values())


def test_the_ring_wears_every_page_alike():
    class Counting(RamFlash):
        erases = dict.fromkeys(range(9), 0)

        def erase(self, page: int) -> None:
            self.erases[page] += 1
            super().erase(page)

    flash = Counting(PAGE, 9)
    journal = opened(flash)
    for n in range(100):
        journal.commit(payload(n))
    status = journal.status()
    assert [status.erases[page // 3] for page in range(9)] == list(flash.erases.values())
    assert max(status.erases) - min(status.erases) <= 1


def test_a_rollback_is_a_new_commit_with_the_earlier_payload():
    flash, journal = with_commits(5, history=3)
    assert journal.rollback() == 6
    for found in (journal, opened(flash, 3)):
        assert found.load() == payload(4)
        assert (found.status().commit, found.status().source, found.status().mark) == (6, 4, 40)
        assert found.status().history == (5, 4, 3)
    assert journal.rollback() == 7  # further back, not to what was taken back
    assert (journal.load(), journal.status().source) == (payload(3), 3)
    assert journal.rollback(to=5) == 8
    assert (journal.load(), journal.status().source) == (payload(5), 5)


def test_going_back_goes_on_from_where_learning_went_on():
    _, journal = with_commits(3, history=3)
    journal.rollback()  # 4, of 2
    journal.commit(payload(9))  # 5
    assert journal.rollback() == 6
    assert (journal.load(), journal.status().source) == (payload(2), 2)


def test_before_the_first_commit_were_the_factory_weights():
    flash, journal = with_commits(1)
    assert journal.rollback() == 2
    assert (journal.load(), journal.status().factory, opened(flash).load()) == (None, True, None)
    assert journal.rollback(to=1) == 3
    assert journal.load() == payload(1)


def test_a_reset_can_be_taken_back():
    flash, journal = with_commits(2)
    assert journal.reset() == 3
    assert (opened(flash).load(), opened(flash).status().history) == (None, (2,))
    image = bytes(flash.image)
    assert journal.reset() == 3  # nothing to do
    assert journal.rollback(to=0) == 3
    assert flash.image == image
    with pytest.raises(UsageError, match="factory weights are in use, nothing was before them; in reach are commits 2"):
        journal.rollback()
    assert journal.rollback(to=2) == 4
    assert journal.load() == payload(2)


def test_learning_can_be_switched_off_and_on():
    flash, journal = with_commits(2)
    assert journal.switch(False) == 3
    assert journal.switch(False) == 3
    for found in (journal, opened(flash)):
        assert (found.status().learning, found.load(), found.status().mark) == (False, payload(2), 20)
        with pytest.raises(StateError, match="learning is switched off; switch it on first"):
            found.commit(payload(3))
    assert journal.rollback(to=2) == 4  # taking back is always possible, and leaves it off
    assert journal.reset() == 5
    assert (journal.status().learning, journal.status().factory) == (False, True)
    assert opened(flash).switch(True) == 6
    assert opened(flash).status().learning
    assert opened(flash).commit(payload(3)) == 7


def test_forgetting_leaves_nothing():
    flash, journal = with_commits(7)
    journal.switch(False)
    journal.forget()
    assert flash.image == b"\xff" * flash.size
    assert journal.status() == opened(flash).status() == opened(flash_for()).status()
    assert journal.commit(payload(1)) == 1


# --- what it refuses -------------------------------------------------------------------------------------------------


def test_a_rollback_says_what_is_in_reach():
    _, journal = with_commits(5, history=2)
    for to, cause in (
        (2, "commit 2 is not in reach"),
        (5, "commit 5 is the newest already"),
        (9, "commit 9 is not"),
        (-3, "commit -3 is not"),
    ):
        with pytest.raises(UsageError, match=cause) as caught:
            journal.rollback(to=to)
        assert caught.value.remedy == "in reach are commits 4, 3, and 0 for factory weights"
    _, journal = with_commits(1, history=0)
    journal.commit(payload(2))
    with pytest.raises(UsageError, match="commit 1 is not in reach; in reach are commits none, and 0"):
        journal.rollback()


@pytest.mark.parametrize("nbytes", [0, 99, 101])
def test_a_payload_of_another_size_is_refused(nbytes):
    flash, journal = with_commits(1)
    image = bytes(flash.image)
    with pytest.raises(UsageError, match=rf"payload: has {nbytes} bytes, it must be 100"):
        journal.commit(bytes(nbytes))
    for mark in (-1, 2**32):
        with pytest.raises(UsageError, match="mark"):
            journal.commit(payload(1), mark)
    assert flash.image == image


def test_arguments_that_do_not_fit_are_refused():
    for arguments, message in (
        ((ARTIFACT[:31], 10, 1), "a SHA-256 has 32 bytes, not 31"),
        ((ARTIFACT, 10, MAX_HISTORY + 1), "a history of 255"),
        ((ARTIFACT, 10, -1), "a history of -1"),
        ((ARTIFACT, 0, 1), "a payload of 0 bytes"),
        ((ARTIFACT, MAX_PAYLOAD_BYTES + 1, 1), "a payload of 67,108,865 bytes"),
        ((ARTIFACT, 200, 1), "needs 960 bytes of flash, there are 576; keep less history"),
    ):
        with pytest.raises(UsageError, match=message):
            Journal(flash_for(), *arguments)
    for geometry, message in (
        ((63, 9), "pages of 63 bytes"), ((96, 9), "pages of 96"), ((1 << 21, 9), "pages of"), ((64, 0), "0 pages"),
        ((64, 9, 3), "units of 3"), ((1 << 20, 2049), "more than 2 GiB"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            RamFlash(*geometry)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"sha256": bytes(32)}, "belongs to the artifact with SHA-256 0000"),
        ({"version": 2}, "is of format 2, this edgekit knows 1"),
        ({"slots": 5}, "belongs to a journal with a history of 3"),
        ({"page": 12}, r"is for pages of 2\^12 bytes"),
        ({"sha256": bytes(32), "length": 150}, "belongs to the artifact"),
    ],
)
def test_the_journal_of_something_else_is_refused_and_stays_as_it_is(changed, why):
    flash = flash_for()
    put(flash, 0, head(**changed), payload(3) + bytes(changed.get("length", 100) - 100))
    image = bytes(flash.image)
    with pytest.raises(StateError, match=f"journal: is not one of this model; use the artifact.*\n  - slot 0 {why}"):
        opened(flash)
    assert flash.image == image


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"magic": b"EKLK"}, "does not begin with a header"),
        ({"header": 60}, "does not begin with a header"),
        ({"length": 99}, "says that it holds 99 bytes, it must be 100"),
        ({"length": 0xFFFF_FFFF}, "says that it holds 4,294,967,295 bytes, it must be 100"),
        ({"length": 0xFFFF_FFFF, "sha256": bytes(32)}, "says that it holds 4,294,967,295 bytes, more than there are"),
        ({"flags": 2, "source": 0}, "says that it holds 100 bytes, it must be 0"),
        ({"flags": 4}, "has the unknown flags 0x4"),
        ({"commit": 0, "source": 0}, "holds commit 0, which does not belong there"),
        ({"commit": 2}, "holds commit 2, which does not belong there"),
        ({"commit": 0xFFFF_FFFF}, "holds commit 4294967295, which does not belong there"),
        ({"source": 2}, "holds commit 1 with weights of commit 2"),
        ({"source": 0}, "holds commit 1 with weights of commit 0"),
        ({"flags": 2, "length": 0}, "holds commit 1 with weights of commit 1"),
    ],
)
def test_a_header_that_cannot_be_is_damage_whatever_its_checksum_says(changed, why):
    flash = flash_for()
    put(flash, 0, head(**changed), payload(3) if changed.get("length") else b"" if "length" in changed else payload(3))
    journal = opened(flash)
    assert journal.status().damaged == (f"slot 0 {why}",)
    assert journal.load() is None
    assert journal.commit(payload(1)) == 1
    assert opened(flash).load() == payload(1)


def test_the_last_commit_number_is_the_last():
    flash = flash_for()
    slot = (MAX_COMMIT - 1) % 3
    put(flash, slot, head(commit=MAX_COMMIT, source=7), payload(3))
    journal = opened(flash)
    assert journal.load() == payload(3)
    for change in (lambda: journal.commit(payload(4)), journal.reset, lambda: journal.switch(False)):
        with pytest.raises(StateError, match="commit 4,294,967,294 was the last possible; forget it"):
            change()
    journal.forget()
    assert journal.commit(payload(4)) == 1


def test_when_the_newest_commit_is_damaged_the_one_before_is_the_state_and_goes_on():
    flash, _ = with_commits(5)
    flash.image[192 + 70] ^= 1  # commit 5 lies in slot 1
    journal = opened(flash)
    assert (journal.load(), journal.status().commit) == (payload(4), 4)
    assert journal.status().damaged == ("slot 1 its checksum is wrong",)
    assert journal.commit(payload(9)) == 5
    assert journal.status().damaged == ()
    assert opened(flash).load() == payload(9)


def test_a_damaged_commit_is_not_rolled_back_to():
    flash, _ = with_commits(5)
    flash.image[80] ^= 1  # commit 4
    journal = opened(flash)
    assert journal.status().history == ()
    for to in (None, 4):
        with pytest.raises(UsageError, match="commit 4 is not in reach; in reach are commits none"):
            journal.rollback(to)


def test_what_changed_since_it_was_opened_is_noticed():
    for at in (12, 40, 61, 64, 163):
        flash, journal = with_commits(1)
        flash.image[at] ^= 0x10
        with pytest.raises(StateError, match="commit 1 changed since it was opened; open it again"):
            journal.load()


def test_flash_that_does_not_hold_what_is_written_is_found_and_the_state_stays():
    class Worn(RamFlash):
        stuck = -1

        def _store(self, offset: int, data: bytes) -> None:
            super()._store(offset, data)
            if self.stuck >= 0:
                self.image[self.stuck] &= 0x7F

    ones, good = b"\xff" * PAYLOAD, flash_for()
    for mark in (0, 0xFFFF_FFFF):
        opened(good).commit(ones, mark)
    needs_a_one = [at for at in range(192, 192 + 164) if good.image[at] & 0x80]
    assert len(needs_a_one) > PAYLOAD
    for stuck in needs_a_one:
        flash = Worn(PAGE, 9)
        journal = opened(flash)
        journal.commit(ones)
        flash.stuck = stuck
        with pytest.raises(FlashError, match="it may be worn out"):
            journal.commit(ones, mark=0xFFFF_FFFF)
        assert journal.status().commit == opened(flash).status().commit == 1
        assert journal.load() == ones


def test_slots_that_cannot_be_read_are_damaged():
    class Unreadable(RamFlash):
        broken = range(0)

        def _fetch(self, offset: int, nbytes: int) -> bytes:
            if offset in self.broken:
                raise FlashError("flash", "cannot be read")
            return super()._fetch(offset, nbytes)

    flash = Unreadable(PAGE, 9)
    journal = opened(flash)
    for n in range(5):
        journal.commit(payload(n))
    flash.broken = range(192, 384)
    journal = opened(flash)
    assert (journal.status().commit, journal.status().damaged) == (4, ("slot 1 cannot be read",))


def test_flash_for_reading_is_not_written():
    flash, _ = with_commits(1)
    fixed = RamFlash(PAGE, 9, writable=False)
    fixed.image[:] = flash.image
    journal = opened(fixed)
    assert journal.load() == payload(1)
    for change in (lambda: journal.commit(payload(2)), journal.reset, journal.forget):
        with pytest.raises(UsageError, match="flash: was opened to be read only"):
            change()
    assert fixed.image == flash.image


def test_flash_takes_whole_erased_units_inside_it_only():
    flash = RamFlash(64, 2, 8)
    flash.write(8, bytes(8))
    for offset, data, message in (
        (4, bytes(8), "not whole units"), (8, bytes(4), "not whole units"),
        (128, bytes(8), "do not lie in"), (-8, bytes(8), "do not lie in"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message):
            flash.write(offset, data)
    with pytest.raises(FlashError, match="is not erased everywhere"):
        flash.write(0, bytes(16))
    for page in (-1, 2):
        with pytest.raises(UsageError, match="has no page"):
            flash.erase(page)
    with pytest.raises(UsageError, match="do not lie in"):
        flash.read(120, 16)
    flash.erase(0)
    assert flash.image == b"\xff" * 128


def test_header_bytes_are_64_for_every_geometry():
    for page in (64, 4096, 1 << 20):
        geometry = Geometry(ARTIFACT, 1, MAX_HISTORY, page)
        made = header_bytes(geometry, Header(1, 1, 0, 0, 1), b"x")
        assert len(made) == HEADER_BYTES
