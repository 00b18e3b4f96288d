"""The journal in C on emulated Cortex-M: the image that Python writes, what it takes, and power lost on the board."""

from __future__ import annotations

import numpy as np
import pytest
from images import build_image, second_emulator
from journal_cuts import ARTIFACT

from edgekit.backends.c.journal import journal_files
from edgekit.learn.flash import RamFlash
from edgekit.learn.journal import Journal
from edgekit.learn.journal_format import slot_bytes
from edgekit.target import load_target
from edgekit.toolchain import Emulator, Machine, QemuSystem, build_object, emulator_for, object_sizes

WATCHES = ("smartwatch-m4", "smartwatch-m33", "smartwatch-m55")
WRAP = """
#include "ekj_journal.c"
#include "ekj_ram.c"
/* A journal, its flash, and where what was learned lies: three arrays, as in the struct of a model. */
typedef struct board {
    ekj_journal journal;
    ekj_flash flash;
    ekj_ram ram;
    ekj_part parts[3];
    uint32_t left; /* bytes that are written, and pages that are erased, before power is lost */
} board;
static uint32_t spend(board *b, uint32_t steps) {
    uint32_t done = steps < b->left ? steps : b->left;
    b->left -= done;
    return done;
}
static int cut_erase(void *context, uint32_t page) {
    board *b = (board *)context;
    return !spend(b, 1u) || ram_erase(&b->ram, page);
}
static int cut_write(void *context, uint32_t offset, const uint8_t *data, uint32_t nbytes) {
    board *b = (board *)context;
    uint32_t i, done = spend(b, nbytes);
    for (i = 0; i < done; ++i) b->ram.image[offset + i] = data[i];
    return done != nbytes;
}
static int cut_read(void *context, uint32_t offset, uint8_t *data, uint32_t nbytes) {
    board *b = (board *)context;
    return ram_read(&b->ram, offset, data, nbytes);
}
void board_cut(board *b, uint32_t left) {
    b->left = left;
    b->flash.context = b;
    b->flash.erase = cut_erase;
    b->flash.write = cut_write;
    b->flash.read = cut_read;
}
uint32_t board_sizeof(void) { return (uint32_t)sizeof(board); }
uint32_t board_journal_bytes(void) { return (uint32_t)(sizeof(ekj_journal) + sizeof(ekj_flash)); }
int board_open(board *b, uint8_t *image, const uint8_t *artifact, uint8_t *payload, uint32_t page, uint32_t pages,
               uint32_t unit, uint32_t nbytes, uint32_t history) {
    uint32_t first = nbytes / 3u, second = nbytes / 2u - first;
    b->parts[0].data = payload;
    b->parts[0].nbytes = first;
    b->parts[1].data = payload + first;
    b->parts[1].nbytes = second;
    b->parts[2].data = payload + first + second;
    b->parts[2].nbytes = nbytes - first - second;
    ekj_ram_flash(&b->flash, &b->ram, image, page, pages, unit);
    return ekj_open(&b->journal, &b->flash, artifact, nbytes, history);
}
int board_load(board *b) { return ekj_load(&b->journal, b->parts, 3u); }
int board_commit(board *b, uint32_t mark) { return ekj_commit(&b->journal, b->parts, 3u, mark); }
int board_rollback(board *b, uint32_t to) { return ekj_rollback(&b->journal, to); }
int board_reset(board *b) { return ekj_reset(&b->journal); }
int board_switch(board *b, int on) { return ekj_switch(&b->journal, on); }
int board_forget(board *b) { return ekj_forget(&b->journal); }
uint32_t board_number(board *b) { return b->journal.commit; }
"""
FILES = {**journal_files(), "board.c": WRAP}
PREVIOUS = 0xFFFF_FFFF


class Board:
    """A journal on an emulated core, and the same one in Python."""

    def __init__(self, machine: Machine, payload_bytes: int, page: int = 4096, unit: int = 4, history: int = 1) -> None:
        self.machine = machine
        pages = slot_bytes(payload_bytes, page) // page * (history + 2)
        self.flash = RamFlash(page, pages, unit)
        self.python = Journal(self.flash, ARTIFACT, payload_bytes, history)
        self._image, self._payload = machine.alloc(self.flash.size), machine.alloc(payload_bytes)
        self._board, self._artifact = machine.alloc(machine.call("board_sizeof").value), machine.alloc(32)
        machine.write(self._artifact, ARTIFACT)
        self._shape = (page, pages, unit, payload_bytes, history)
        self.image = b"\xff" * self.flash.size
        self.restart()

    @property
    def image(self) -> bytes:
        return self.machine.read(self._image, self.flash.size)

    @image.setter
    def image(self, image: bytes) -> None:
        self.machine.write(self._image, image)

    def restart(self) -> int:
        self.machine.write(self._board, bytes(64))
        return self.call("open", self._image, self._artifact, self._payload, *self._shape)

    def call(self, name: str, *arguments: int) -> int:
        return self.machine.call(f"board_{name}", [self._board, *arguments], count=False).value

    def instructions(self, name: str, *arguments: int) -> tuple[int, int]:
        """What a call takes: instructions, and bytes of stack."""
        result = self.machine.call(f"board_{name}", [self._board, *arguments], count=True, stack=True)
        assert result.value == 0
        return result.instructions, result.stack_bytes

    def put(self, payload: bytes) -> None:
        self.machine.write(self._payload, payload)

    def loaded(self) -> bytes | None:
        self.put(bytes(self._shape[3]))
        code = self.call("load")
        assert code in (0, 7)
        return self.machine.read(self._payload, self._shape[3]) if code == 0 else None

    def check(self) -> None:
        assert self.image == self.flash.image
        assert self.loaded() == self.python.load()
        assert self.call("number") == self.python.status().commit


MACHINES = [
    pytest.param((name, kind), id=f"{name}-{kind.__name__}")
    for name in WATCHES
    for kind in (Emulator, QemuSystem)
    if kind is QemuSystem or emulator_for(load_target(name)) is Emulator
]


@pytest.fixture(scope="module", params=MACHINES)
def machine(request):
    """Every watch on every emulator that has its core."""
    name, kind = request.param
    target = load_target(name)
    if kind is QemuSystem:
        second_emulator(target)
    with kind(build_image(FILES, "board.c", target), target) as running:
        yield running


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("payload_bytes", "page", "unit"), [(3001, 4096, 4), (500, 256, 16), (64, 128, 8)])
def test_commits_on_the_board_are_pythons_bytes(machine, payload_bytes, page, unit):
    rng = np.random.default_rng(payload_bytes)
    board = Board(machine, payload_bytes, page, unit, history=2)
    board.check()
    for n in range(1, 7):
        payload = rng.bytes(payload_bytes)
        board.put(payload)
        assert board.call("commit", n) == 0
        board.python.commit(payload, n)
        board.check()
    for name, argument in (("rollback", PREVIOUS), ("rollback", 5), ("switch", 0), ("reset", 0), ("switch", 1)):
        assert board.call(name, argument) == 0
        python = {
            "rollback": lambda a: board.python.rollback(None if a == PREVIOUS else a),
            "switch": lambda a: board.python.switch(bool(a)),
            "reset": lambda a: board.python.reset(),
        }[name]
        python(argument)
        board.check()
    assert board.restart() == 0
    board.check()
    assert board.call("rollback", 1) == 5  # out of reach
    board.call("forget")
    board.python.forget()
    board.check()


@pytest.mark.drawn(2)
def test_power_lost_on_the_board_leaves_the_old_state_or_the_new(machine):
    """While a commit is written by the board, after any number of bytes; what is there is what Python finds too."""
    payload_bytes, page = 100, 128
    board = Board(machine, payload_bytes, page, 8)
    for n in range(1, 5):
        board.put(bytes([n]) * payload_bytes)
        assert board.call("commit", n) == 0
    before, found = board.image, []
    steps = 2 + 104 + 64  # two pages, the payload in units of eight bytes, the header
    for left in range(steps + 1):
        board.image = before
        assert board.restart() == 0
        board.call("cut", left)
        board.put(bytes([9]) * payload_bytes)
        assert board.call("commit", 9) == (0 if left == steps else 2)
        assert board.restart() == 0
        found.append(board.call("number"))
        board.flash.image[:] = board.image
        board.python = Journal(board.flash, ARTIFACT, payload_bytes, 1)
        board.check()
        assert board.python.load() == bytes([9 if found[-1] == 5 else 4]) * payload_bytes
    assert found == [4] * steps + [5]
    board.put(bytes([7]) * payload_bytes)
    assert board.call("commit", 7) == 0
    board.python.commit(bytes([7]) * payload_bytes, 7)
    board.check()


# --- what it takes


def test_flash_of_the_code_is_small_and_nothing_of_ram_is_its_own():
    """Prints: bytes of code and constants for the Cortex-M33. A loop that is unrolled is not faster than the flash."""
    target = load_target("smartwatch-m33")
    for level, most in (("-Os", 3072), ("-O2", 8192)):
        sizes = object_sizes(build_object(journal_files(), "ekj_journal.c", target, extra_flags=(level,)))
        print(f"ekj_journal.c on {target.name}, {level}: {sizes.flash:,} bytes of flash, {sizes.ram} of RAM")
        assert sizes.flash < most
        assert sizes.ram == 0


def test_a_commit_costs_so_much_a_kilobyte():
    """Prints: instructions of a commit, a load and an opening on the Cortex-M33, with flash in RAM."""
    target = load_target("smartwatch-m33")
    with Emulator(build_image(FILES, "board.c", target), target) as machine:
        counts = {}
        for payload_bytes in (1024, 9 * 1024):
            board = Board(machine, payload_bytes)
            board.put(bytes(payload_bytes))
            board.call("commit", 1)
            counts[payload_bytes] = [board.instructions("commit", 2), board.instructions("load")]
        small, large = counts.values()
        each = [(b[0] - a[0]) / 8 for a, b in zip(small, large, strict=True)]
        print(f"commit: {each[0]:,.0f} instructions a kB, stack {large[0][1]} bytes; load: {each[1]:,.0f} a kB")
        print(f"structs: {machine.call('board_journal_bytes').value} bytes of RAM")
        assert each[0] < 100_000
        assert max(row[1] for row in large) < 1024
