"""A journal in a file: made whole, locked, read by Python and C alike, and valid after every kill."""

from __future__ import annotations

import errno
import os
import random
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from converted import ROOT
from journal_cuts import ARTIFACT
from journal_engines import STRICT

from edgekit.backends.c.journal import JOURNAL
from edgekit.errors import ArtifactError, DataError, StateError, UsageError
from edgekit.learn import journal_file
from edgekit.learn.flash import FlashError
from edgekit.learn.journal import Journal
from edgekit.learn.journal_file import FileFlash, journal_path, open_journal
from edgekit.target import load_target
from edgekit.toolchain.compilers import built, find_compiler

SWEEPS = "EDGEKIT_SWEEPS" in os.environ  # make test-all kills more often
PAYLOAD, PAGE = 1000, 256  # a slot of five pages, as in journal_loop.c
SLOT = 5 * PAGE


def opened(path: Path, history: int | None = None, *, writable: bool = True):
    return open_journal(path, ARTIFACT, PAYLOAD, history, page_bytes=PAGE, writable=writable)


def payload(n: int) -> bytes:
    """What journal_loop.c commits."""
    return bytes((31 * n + i) % 256 for i in range(PAYLOAD))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_path(tmp_path / "m.edge")


def test_it_lies_beside_the_artifact():
    assert journal_path(Path("a/m.watch.edge")) == Path("a/m.watch.edge.journal")


def test_a_commit_is_there_when_the_file_is_opened_again(path):
    with opened(path) as journal:
        assert journal.load() is None
        assert journal.commit(payload(1), mark=7) == 1
    assert path.stat().st_size == 3 * SLOT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    for writable in (True, False):
        with opened(path, writable=writable) as journal:
            assert (journal.load(), journal.status().mark) == (payload(1), 7)


def test_the_file_is_the_image_that_flash_would_have(path):
    from edgekit.learn.flash import RamFlash

    flash = RamFlash(PAGE, 20)
    ram = Journal(flash, ARTIFACT, PAYLOAD, 2)
    with opened(path, 2) as journal:
        for one in (ram, journal):
            for n in range(1, 8):
                one.commit(payload(n), n)
            one.rollback()
            one.switch(False)
    assert path.read_bytes() == flash.image


def test_a_file_knows_its_own_history(path):
    with opened(path, 3) as journal:
        for n in range(1, 6):
            journal.commit(payload(n))
    with opened(path) as journal:
        assert journal.status().history == (4, 3, 2)
    with pytest.raises(UsageError, match="keeps a history of 3, not of 1; leave the history out, or remove the file"):
        opened(path, 1).__enter__()


def test_who_only_looks_makes_no_file_and_changes_none(path):
    with opened(path, writable=False) as journal:
        assert (journal.load(), journal.status().commit) == (None, 0)
        with pytest.raises(UsageError, match="read only"):
            journal.commit(payload(1))
    assert not path.exists()
    with opened(path) as journal:
        journal.commit(payload(1))
    image = path.read_bytes()
    path.chmod(0o400)
    with opened(path, writable=False) as journal:
        assert journal.load() == payload(1)
        with pytest.raises(UsageError, match="read only"):
            journal.reset()
    assert path.read_bytes() == image


def test_one_writer_at_a_time_and_readers_beside_it(path):
    with opened(path) as journal:
        journal.commit(payload(1))
        with pytest.raises(StateError, match="another process is learning into it; wait until"):
            opened(path).__enter__()
        with opened(path, writable=False) as one, opened(path, writable=False) as two:
            assert one.load() == two.load() == payload(1)
            assert journal.commit(payload(2)) == 2
            assert one.load() == payload(1)  # what was there when it was opened
        with opened(path, writable=False) as three:
            assert three.load() == payload(2)


def test_a_reader_beside_a_commit_sees_the_state_before_or_the_one_after(path, monkeypatch):
    """At every single write: a commit that is not finished counts for nothing."""
    seen, write = [], os.pwrite

    def looked(handle, data, offset):
        done = write(handle, data, offset)
        with opened(path, writable=False) as journal:
            seen.append(journal.load())
        return done

    with opened(path, history=0) as journal:
        journal.commit(payload(1))
        monkeypatch.setattr("edgekit.learn.journal_file.os.pwrite", looked)
        for n in (2, 3):
            before, now = len(seen), journal.commit(payload(n))
            assert now == n
            assert seen[before:] == [payload(n - 1)] * (len(seen) - before - 1) + [payload(n)]
    assert len(seen) > 6


def test_a_file_that_is_written_while_it_is_read_is_read_again(path, monkeypatch):
    with opened(path) as journal:
        journal.commit(payload(1))
    whole, read, left = path.read_bytes(), os.pread, [b"", b"\0", b"\1"]

    def busy(handle, nbytes, offset):
        found = read(handle, nbytes, offset)
        return found[:-1] + left.pop() if len(left) > 1 else found

    monkeypatch.setattr("edgekit.learn.journal_file.os.pread", busy)
    with opened(path, writable=False) as journal:
        assert journal.load() == payload(1)
    assert left == [b""]
    changing = (whole[:-8] + n.to_bytes(8, "big") for n in range(10**6))
    monkeypatch.setattr("edgekit.learn.journal_file.os.pread", lambda *_: next(changing))
    monkeypatch.setattr("edgekit.learn.journal_file.PAUSE", 0)
    with pytest.raises(StateError, match="is being written all the time"):
        opened(path, writable=False).__enter__()


def test_the_lock_is_released_when_something_goes_wrong(path):
    with pytest.raises(UsageError), opened(path) as journal:
        journal.commit(b"")
    with opened(path) as journal:
        journal.commit(payload(1))


def test_what_is_no_journal_of_this_model_is_refused_and_left_alone(path):
    for content in (b"", b"x", bytes(SLOT), bytes(3 * SLOT + 1), bytes(257 * SLOT)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"has {len(content):,} bytes; a journal of this .* multiple of 1,280"):
            opened(path).__enter__()
        assert path.read_bytes() == content
    path.unlink()
    with open_journal(path, bytes(32), PAYLOAD, page_bytes=PAGE) as journal:
        journal.commit(payload(1))
    with pytest.raises(StateError, match=rf"{path.name}: is not one of this model") as caught:
        opened(path).__enter__()
    assert caught.value.items == (f"slot 0 belongs to the artifact with SHA-256 {'00' * 32}",)


def test_only_regular_files_are_opened(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (folder, pipe, Path("/dev/zero")):
        for writable in (True, False):
            started = time.monotonic()
            with pytest.raises(DataError, match="is not a regular file"):
                opened(path, writable=writable).__enter__()
            assert time.monotonic() - started < 1
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match="dangling: has 0 bytes"):
        opened(dangling).__enter__()
    for path in (pipe, folder):
        with pytest.raises(DataError, match=r"is not a regular file|cannot be opened"):
            FileFlash(path, PAGE, 15)
    file = tmp_path / "file"
    file.write_bytes(bytes(99))
    with pytest.raises(DataError, match=r"has 99 bytes, it must have 3,840"):
        FileFlash(file, PAGE, 15)


def test_where_no_file_can_be_made_it_says_so(tmp_path):
    with pytest.raises(DataError, match="its folder does not exist"):
        opened(tmp_path / "no" / "m.journal").__enter__()
    with pytest.raises(DataError, match="File name too long"):
        opened(tmp_path / ("m" * 300)).__enter__()


def test_a_full_disk_while_it_is_made_leaves_nothing(tmp_path, path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(journal_file.os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"cannot be written \(No space left on device\); make some room"):
        opened(path).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_whoever_makes_it_second_uses_that_of_the_first(path, monkeypatch):
    link = os.link

    def late(temporary: str, name: Path) -> None:
        with opened(path) as journal:  # another process is faster
            monkeypatch.setattr(journal_file.os, "link", link)
            journal.commit(payload(5))
        link(temporary, name)

    def first(temporary: str, name: Path) -> None:
        monkeypatch.setattr(journal_file.os, "link", link)
        late(temporary, name)

    monkeypatch.setattr(journal_file.os, "link", first)
    with opened(path) as journal:
        assert journal.load() == payload(5)
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_fails_is_a_fault_of_the_file_and_the_state_stays(path, monkeypatch):
    def broken(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with opened(path) as journal:
        journal.commit(payload(1))
        for call in ("pwrite", "fsync"):
            with monkeypatch.context() as patched:
                patched.setattr(journal_file.os, call, broken)
                with pytest.raises(FlashError, match=r"m\.edge\.journal: cannot be written .Input/output error."):
                    journal.commit(payload(2))
            assert (journal.status().commit, journal.load()) == (1, payload(1))
    with opened(path) as journal:
        assert journal.load() == payload(1)
        os.truncate(path, 100)
        with pytest.raises(StateError, match="commit 1 changed since it was opened"):
            journal.load()


def test_writes_that_the_system_cuts_short_are_finished(path, monkeypatch):
    write, read = os.pwrite, os.pread
    monkeypatch.setattr(journal_file.os, "pwrite", lambda f, data, at: write(f, data[:100], at))
    monkeypatch.setattr(journal_file.os, "pread", lambda f, n, at: read(f, min(n, 100), at))
    with opened(path) as journal:
        journal.commit(payload(1))
    monkeypatch.undo()
    with opened(path) as journal:
        assert journal.load() == payload(1)


# --- C, and kills


@pytest.fixture(scope="module")
def loop(tmp_path_factory) -> Path:
    """The program of journal_loop.c for this computer."""
    files = {f.name: f.read_text() for f in JOURNAL.glob("*.[ch]")}
    files["journal_loop.c"] = (ROOT / "tests" / "journal_loop.c").read_text()
    sources = ["journal_loop.c", "ekj_journal.c", "ekj_file.c"]
    program = tmp_path_factory.mktemp("loop") / "loop"
    compiler = find_compiler_or_none("gcc") or find_compiler(load_target("host"))  # zig would build a libc first
    program.write_bytes(built(files, sources, compiler, ("-std=c99", "-O2", *STRICT)))
    program.chmod(0o700)
    return program


def run(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=60, check=check)


def test_c_and_python_go_on_with_each_others_files(loop, path):
    run(loop, path, PAYLOAD, 1, 5)
    with opened(path) as journal:
        assert journal.status().history == (journal.status().commit - 1,)
        assert (journal.load(), journal.status().mark) == (payload(4), 28)
        number = journal.commit(payload(77), 77)
    run(loop, path, PAYLOAD, 1, 3)
    with opened(path) as journal:
        assert journal.status().commit == number + 3 + 5  # rollback, off, on, reset, rollback
        assert journal.load() == payload(number + 2)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_c_makes_the_same_file(loop, path, tmp_path):
    run(loop, path, PAYLOAD, 2, 6)
    with opened(tmp_path / "python", 2) as journal:
        for n in range(1, 7):
            journal.commit(payload(n), 7 * n)
        journal.rollback()
        journal.switch(False)
        journal.switch(True)
        journal.reset()
        journal.rollback(to=9)
    assert (tmp_path / "python").read_bytes() == path.read_bytes()


def test_c_refuses_what_is_no_journal_of_this_model(loop, path, tmp_path):
    path.write_bytes(bytes(99))
    assert run(loop, path, PAYLOAD, 1, 1, check=False).stderr == "file: 3\n"
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path, tmp_path / "pipe"):
        assert run(loop, other, PAYLOAD, 1, 1, check=False).stderr == "file: 2\n"
    assert run(loop, tmp_path / "no" / "m.journal", PAYLOAD, 1, 1, check=False).stderr == "file: 1\n"
    assert path.read_bytes() == bytes(99)
    path.unlink()
    with open_journal(path, bytes(32), PAYLOAD, 1, page_bytes=PAGE) as journal:
        journal.commit(payload(1))
        assert run(loop, path, PAYLOAD, 1, 1, check=False).stderr == "file: 4\n"
    assert run(loop, path, PAYLOAD, 1, 1, check=False).stderr == "open: 3, not 0\n"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_c_is_clean_under_sanitizers(compiler, path, tmp_path):
    if find_compiler_or_none(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    sources = [JOURNAL / "ekj_journal.c", JOURNAL / "ekj_file.c", ROOT / "tests" / "journal_loop.c"]
    flags = ["-std=c99", "-O1", "-g", *STRICT, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    run(compiler, *flags, "-I", JOURNAL, *sources, "-o", tmp_path / "loop")
    for size, history in ((1, 1), (63, 1), (64, 2), (191, 1), (192, 1), (193, 5), (5000, 3)):
        where = path.with_suffix(f".{size}.{history}")
        run(tmp_path / "loop", where, size, history, 9)


def find_compiler_or_none(name: str):
    from edgekit.errors import ToolchainError

    try:
        return find_compiler(load_target("host"), name)
    except ToolchainError:
        return None


PYTHON_LOOP = f"""
import sys
from pathlib import Path
from edgekit.learn.journal_file import open_journal
with open_journal(Path(sys.argv[1]), {ARTIFACT!r}, {PAYLOAD}, 1, page_bytes={PAGE}) as journal:
    print(".", end="", flush=True)
    while True:
        n = journal.status().commit + 1
        journal.commit(bytes((31 * n + i) % 256 for i in range({PAYLOAD})), 7 * n)
"""


MOST_KILLS = 500


@contextmanager
def running(command: list[object]):
    """A process that commits for ever; it is killed in the end."""
    with subprocess.Popen([str(w) for w in command], stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(1) == b"."
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize(
    ("language", "kills"),
    [("C", 60 if SWEEPS else 30), pytest.param("Python", 60 if SWEEPS else 8, marks=pytest.mark.slow)],
)
def test_a_process_that_is_killed_while_it_commits_leaves_a_whole_journal(language, kills, path, request, drawn_seed):
    loop = request.getfixturevalue("loop")
    command = [loop, path, PAYLOAD, 1, 0] if language == "C" else [sys.executable, "-c", PYTHON_LOOP, path]
    pause, newest, unfinished = random.Random(drawn_seed), 0, 0
    for kill in range(MOST_KILLS):
        if kill >= kills and unfinished:  # it is chance whether one comes while a commit is written: on until one does
            break
        with running(command):
            if newest:
                with pytest.raises(StateError, match="another process"):
                    opened(path).__enter__()
            time.sleep(pause.uniform(0, 0.03))
        with opened(path) as journal:
            status, found = journal.status(), journal.load()
            assert status.commit >= newest
            assert found == (payload(status.source) if status.source else None)
            assert status.mark == 7 * status.source
            assert len(status.damaged) <= 1
            unfinished += len(status.damaged)
            if status.history:
                journal.rollback(to=status.commit - 1)
                assert journal.load() == payload(journal.status().source)
            newest = journal.status().commit
    assert newest > kills
    assert unfinished > 0, "no kill came while a commit was being written"
