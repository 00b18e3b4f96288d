"""The example that learns on emulated boards, through a loss of power, beside a session fed with the same windows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.demo.har.synthetic import generate
from edgekit.learn import Learning
from edgekit.learn.flash import RamFlash
from edgekit.learn.journal import Journal
from edgekit.learn.journal_file import journal_path, open_journal
from edgekit.learn.journal_format import slot_bytes
from edgekit.target import load_target
from edgekit.toolchain import build_object

ROOT = Path(__file__).parent.parent.parent
PROJECT = ROOT / "examples" / "cortex-m"
CHECKPOINT = ROOT / "examples" / "har" / "checkpoints" / "mlp_B.pt"
CORES = {"m4": "smartwatch-m4", "m33": "smartwatch-m33", "m55": "smartwatch-m55"}
LEARNING = Learning("hlop", plastic=("readout",), subspace=(4, 4, 4), rate=0.02)
PAGE, HISTORY = 4096, 1
LESSON, KNOWN, MAY_CHANGE = 24, 12, 2
GESTURES, WRONG = (0, (0, 2, 4, 6)), (4, (1, 1, 1))  # the first motion, and the class of each


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "make"):
        if shutil.which(tool) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{tool} is not installed")
            pytest.skip(f"{tool} is not installed")


def convert(core: str, path: Path, learn: Learning | None) -> None:
    """The shipped MLP for a core, whose read-out learns or does not."""
    pytest.importorskip("torch")
    from edgekit.convert import Options, convert_file

    windows = generate(seed=1, subjects=1, windows_per_class=4).x
    options = Options(target=CORES[core], precision="int8", calib=windows, learn=learn)
    convert_file(CHECKPOINT, options).artifact.save(path)


def run_make(goal: str, core: str, folder: Path, app: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run make in the project, building in `folder`."""
    command = ["make", "-s", *options, goal, f"CORE={core}", f"APP={app}", f"ARTIFACT={folder}/model.edge"]
    command.append(f"BUILD={folder}/build")
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)


def make(goal: str, core: str, folder: Path, app: str = "learn") -> str:
    """What make prints; it must succeed."""
    done = run_make(goal, core, folder, app)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Ran:
    """An artifact that an emulated board has run, with the journal that it wrote beside it, and what it said."""

    core: str
    folder: Path
    artifact: Path
    said: list[str]


@pytest.fixture(scope="module", params=CORES)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The example on every core."""
    folder = tmp_path_factory.mktemp(request.param)
    convert(request.param, folder / "model.edge", LEARNING)
    make("all", request.param, folder)
    printed = make("run", request.param, folder)
    return Ran(request.param, folder, folder / "build" / "app.edge", printed.splitlines())


def window(motion: int, number: int) -> np.ndarray:
    """What board_window of learn/board.c makes up."""
    seed, made = (motion * 1000 + number + 1) * 2654435761 % 2**32, np.empty((40, 6), np.float32)
    for t in range(40):
        for c in range(6):
            at = (t * (motion + 2) + 5 * c) % 32
            wave = at if at < 16 else 31 - at
            seed = (seed * 1664525 + 1013904223) % 2**32
            made[t, c] = ((wave - 8) * (1 + (motion + c) % 3) + (seed >> 29) - 4) * (0.5 if c < 3 else 0.125)
    return made.reshape(-1)


class Watch:
    """learn/main.c in Python: a session, and a journal in flash that is a bytearray."""

    def __init__(self, artifact: Path) -> None:
        self.session = edgekit.load(artifact, engine="reference")
        self.session.restore_learned(None)
        self.size = self.session.facts.layout.learned_bytes
        self.flash = RamFlash(PAGE, slot_bytes(self.size, PAGE) // PAGE * (HISTORY + 2))
        self.sha256 = bytes.fromhex(self.session.artifact.sha256)
        self.as_it_came = self._known()
        self.said = ["a new board", *self.start()]

    def start(self) -> list[str]:
        self.journal = Journal(self.flash, self.sha256, self.size, HISTORY)
        self.recall()
        return [f"    slots damaged {len(self.journal.status().damaged)}", self.state()]

    def recall(self) -> None:
        self.session.restore_learned(self.journal.load())
        self.learned = self.journal.status().mark

    def state(self) -> str:
        total = 2166136261
        for byte in self.session.learned():
            total = (total ^ byte) * 16777619 % 2**32
        return f"    commit {self.journal.status().commit}, learned windows {self.learned}, weights {total}"

    def study(self, lesson: tuple[int, tuple[int, ...]]) -> bool:
        (first, classes), right = lesson, 0
        for _ in range(LESSON):
            k = self.learned % len(classes)
            before = self.session.learn(window(first + k, self.learned), classes[k])
            right += int(np.argmax(before) == classes[k])
            self.learned += 1
        self.session.merge()
        lost = sum(now != then for now, then in zip(self._known(), self.as_it_came, strict=True))
        line = f"    right before they were learned {right} of {LESSON}"
        self.said.append(f"{line}; known windows decided otherwise {lost} of {KNOWN}; saturated weights 0")
        return lost <= MAY_CHANGE

    def commit(self) -> None:
        self.journal.commit(self.session.learned(), self.learned)

    def lose_power(self, written: int) -> None:
        """A commit that ends after so many bytes."""
        before = bytes(self.flash.image)
        self.commit()
        at = PAGE * ((self.journal.status().commit - 1) % (HISTORY + 2))
        torn = b"\xff" * 64 + self.flash.image[at + 64 : at + 64 + written] + b"\xff" * (PAGE - 64 - written)
        self.flash.image[:] = before[:at] + torn + before[at + PAGE :]

    def _known(self) -> list[int]:
        runs = self.session.run(np.stack([window(4 + i % 3, 100 + i) for i in range(KNOWN)]))
        return [int(c) for c in self.session.decide(runs)]


def lived(artifact: Path) -> Watch:
    """The whole story of learn/main.c."""
    watch = Watch(artifact)
    watch.said.append("labels that are wrong")
    assert not watch.study(WRONG), "the canary must refuse it"
    watch.recall()
    watch.said += [watch.state(), "four gestures"]
    assert watch.study(GESTURES)
    watch.commit()
    watch.said += [watch.state(), "more of them, and power is lost while they are written"]
    watch.study(GESTURES)
    watch.lose_power(900)
    watch.said += ["the board starts again", *watch.start(), "the same windows once more"]
    assert watch.study(GESTURES)
    watch.commit()
    watch.said += [watch.state(), "taken back"]
    watch.journal.rollback()
    watch.recall()
    watch.said.append(watch.state())
    return watch


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_the_board_learns_what_the_session_learns(ran: Ran) -> None:
    """Decisions, verdicts and a checksum of what is learned, line for line; the image of the flash, byte for byte."""
    artifact, printed = ran.artifact, ran.said
    watch = lived(artifact)
    assert printed[-1] == f"flash written to {journal_path(artifact)}"
    assert printed[:-1] == watch.said
    assert any("slots damaged 1" in line for line in printed), "the commit that was cut must be seen"
    assert journal_path(artifact).read_bytes() == bytes(watch.flash.image)


@pytest.mark.slow
def test_the_host_reads_what_the_board_wrote(ran: Ran) -> None:
    taken_over = edgekit.load(ran.artifact, engine="reference")
    session = taken_over.stream()
    session.restore_learned(None)
    first = session.learned()
    for n in range(LESSON):
        session.learn(window(n % 4, n), GESTURES[1][n % 4])
    session.merge()
    assert taken_over.learned() == session.learned() != first
    size, sha256 = session.facts.layout.learned_bytes, bytes.fromhex(session.artifact.sha256)
    with open_journal(journal_path(ran.artifact), sha256, size, writable=False) as journal:
        status = journal.status()
        assert (status.commit, status.source, status.mark, status.history) == (3, 1, LESSON, (2,))
        assert not status.damaged
        assert journal.load() == session.learned()


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_another_application_or_core_is_built_again(ran: Ran) -> None:
    core, folder, program = ran.core, ran.folder, f"{ran.folder}/build/app.elf"
    other = next(c for c in CORES if c != core)
    for core_asked, app, built in ((core, "learn", True), (other, "learn", False), (core, "learn", False)):
        assert run_make(program, core_asked, folder, app, "-q").returncode == (0 if built else 1)
    make("all", core, folder)
    assert run_make(program, core, folder, "learn", "-q").returncode == 0
    assert run_make(program, core, folder, ".", "-q").returncode == 1


@pytest.mark.slow
def test_clang_takes_the_example_without_a_warning(ran: Ran) -> None:
    """make has shown that of gcc."""
    build = ran.folder / "build"
    paths = [*(build / "c").rglob("*.[ch]"), *PROJECT.glob("*.h"), *(PROJECT / "learn").iterdir(), *build.glob("*.h")]
    roots = (build / "c", PROJECT / "learn", PROJECT, build)
    files = {str(p.relative_to(next(r for r in roots if p.is_relative_to(r)))): p.read_text("utf-8") for p in paths}
    strict = ("-Wall", "-Wextra", "-Werror", "-pedantic", '-DJOURNAL_FILE="x"')
    for source in ("main.c", "board.c", "ekj_journal.c", "ekj_ram.c"):
        assert build_object(files, source, load_target(CORES[ran.core]), compiler="zig", extra_flags=strict)


# --- what it takes


PLAIN = """
#include "edgekit_model.h"
static edgekit_model model;
static volatile float sensor[240];
int main(void) {
    float raw[240];
    int8_t x[240];
    int16_t y[7];
    int i;
    EK(init)(&model);
    for (;;) {
        for (i = 0; i < 240; ++i) raw[i] = sensor[i];
        EK(quantize)(&model, raw, x);
        EK(step)(&model, x, y);
        sensor[0] = y[0];
LEARNS
    }
}
"""
LEARNS = """
        target[0] = (int8_t)sensor[1];
        EK(learn)(&model, target, y);
        if (sensor[2] > 0.0f) EK(merge)(&model, y);
        if (EK(saturated)(&model) || ekj_commit(&journal, parts, 3u, 1u)) ekj_load(&journal, parts, 3u);
        if (sensor[3] > 0.0f) ekj_rollback(&journal, EKJ_PREVIOUS);
"""
JOURNAL = """
#include "ekj_journal.h"
static ekj_journal journal;
static volatile uint32_t controller[4]; /* the place of the registers of a flash: reads are through memory */
static int erase(void *c, uint32_t page) { return controller[0] = page, c != 0; }
static int write(void *c, uint32_t at, const uint8_t *p, uint32_t n) { return controller[1] = at + *p + n, c != 0; }
static int read(void *c, uint32_t at, uint8_t *p, uint32_t n) { return *p = (uint8_t)controller[at & 3u], c != 0 && n; }
static const ekj_flash flash = {0, 4096u, 3u, 4u, erase, write, read, 0};
static const uint8_t sha256[32] = EDGEKIT_SHA256;
static int8_t target[7];
"""


def sources(learns: bool) -> str:
    """An application that only decides, or one that learns, with the flash driver of no chip."""
    if not learns:
        return PLAIN.replace("LEARNS", "")
    declared = "static const ekj_part parts[] = EK_MACRO(LEARNED)(&model);\nstatic volatile float sensor"
    opened = """    EK(init)(&model);
    if (ekj_open(&journal, &flash, sha256, EK_MACRO(LEARNED_BYTES), 1u)) return 1;
    ekj_load(&journal, parts, 3u);"""
    text = PLAIN.replace("LEARNS", LEARNS).replace("static volatile float sensor", declared)
    return text.replace("    EK(init)(&model);", opened).replace(
        "static edgekit_model", JOURNAL + "static edgekit_model", 1
    )


def sizes(folder: Path, core: str, learns: bool) -> Iterator[int]:
    """Flash and RAM of an application, in bytes, without the stack."""
    convert(core, folder / "model.edge", LEARNING if learns else None)
    app = folder / "app"
    app.mkdir()
    (app / "main.c").write_text(sources(learns))
    printed = make("all", core, folder, str(app)).splitlines()[-1]
    text, data, bss = map(int, re.findall(r"\d+", printed)[:3])
    yield from (text + data, data + bss)


@pytest.mark.slow
@pytest.mark.parametrize("core", ["m4", "m33"])
def test_what_learning_adds_to_an_application(core: str, tmp_path: Path) -> None:
    """Prints: flash and RAM of an application that decides, and of one that learns too; -O2, without the stack."""
    found = {}
    for learns in (False, True):
        folder = tmp_path / str(learns)
        folder.mkdir()
        found[learns] = tuple(sizes(folder, core, learns))
    (flash, ram), (flash_too, ram_too) = found[False], found[True]
    print(
        f"{core}: flash {flash:,} -> {flash_too:,} bytes, RAM {ram:,} -> {ram_too:,} bytes, and {3 * PAGE:,} of flash"
    )
    assert 0 < flash_too - flash < 24_576
    assert 0 < ram_too - ram < 4096
