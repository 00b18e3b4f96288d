"""A board over ssh: what is measured there, and everything that can go wrong on the way (sshd.py)."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from converted import ROOT, artifact
from sshd import Start, below, boards, free_port, key, kill, soon

from edgekit.artifact import Artifact
from edgekit.errors import CapacityError, EdgekitError, TargetError, UsageError
from edgekit.profile.measurer import Measurer, measure, program_for
from edgekit.profile.places import Here
from edgekit.profile.ssh import CONFIG, Ssh
from edgekit.profile.stimulus import selftest_stimulus
from edgekit.profile.timing import MeasurePlan

QUICK = MeasurePlan(windows=2, seconds=0.02, warm_seconds=0.01)
LONG = replace(QUICK, windows=1000)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with boards(tmp_path) as start:
        yield start


def first_line(error: EdgekitError) -> str:
    return str(error).splitlines()[0]


def test_a_board_is_measured_and_nothing_stays_on_it(start, monkeypatch):
    board, converted = start(), artifact("l2mu")
    monkeypatch.setenv(CONFIG, str(board.config))
    with Ssh(board.address) as place:
        assert len(board.left()) == 1
        assert place.arch == program_arch(converted)
        there = measure(place, converted, selftest_stimulus(converted), replace(QUICK, rate_hz=100, paced_seconds=0.1))
        (folder,) = board.temporary.iterdir()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {path.name for path in folder.iterdir()} == {"measurer", "program.so", "job"}
        bytes_there = Measurer(place).replay(program_for(place, converted), selftest_stimulus(converted))
    assert board.left() == []
    assert there.place == board.address
    assert there.engine.startswith("native (")
    assert there.selftest.steps == 32
    assert there.selftest.engine.startswith(board.address)
    assert [copied.split(",")[0] for copied in there.copied] == ["measurer", "program.so", "job"]
    assert there.paced is not None
    assert there.paced.deadlines == 10
    assert there.before.kernel == os.uname().release
    with Here() as place:
        bytes_here = Measurer(place).replay(program_for(place, converted), selftest_stimulus(converted))
    assert [a.tobytes() for a in bytes_there[0]] == [a.tobytes() for a in bytes_here[0]]
    assert bytes_there[1:] == bytes_here[1:]


def program_arch(converted: Artifact) -> str:
    return str(converted.manifest["program"]["arch"])


def test_files_of_the_board_are_sampled_while_it_measures(start):
    board, converted = start(), artifact("mlp")
    names = ["/proc/uptime", "!echo $SSH_CONNECTION", "/none/it's"]
    with board.ssh() as place:
        measurer = Measurer(place)
        with measurer.sampler(names, period_ms=20) as sampler:
            _, _, _, marks = measurer.time(program_for(place, converted), selftest_stimulus(converted), QUICK)
    assert sampler.error is None
    times = [sample for sample in sampler.samples if sample.name == names[0]]
    assert times[0].begin_ns < marks[0].begin_ns < marks[-1].end_ns < times[-1].end_ns + 10**9
    assert any("127.0.0.1" in (sample.text or "") for sample in sampler.samples if sample.name == names[1])
    assert {sample.error for sample in sampler.samples if sample.name == names[2]} == {2}


def test_an_unknown_host_key_is_refused_whatever_the_configuration_says(start):
    board = start()
    known = board.known.read_text()
    board.config.write_text(f"{board.config.read_text()}  NoHostAuthenticationForLocalhost yes\n")
    board.known.write_text("")
    with pytest.raises(TargetError) as caught, board.ssh():
        pytest.fail("it was let in")
    assert "shows a host key that is not known here; compare it, and accept it once by hand: ssh -p" in str(
        caught.value
    )
    assert board.known.read_text() == "", "nothing was accepted"
    words = known.split()
    board.known.write_text(f"{words[0]} {key(board.temporary.parent / 'other')}")
    with pytest.raises(TargetError, match="another host key than the one that is known"), board.ssh():
        pytest.fail("it was let in")
    assert board.left() == []


def test_a_board_that_refuses_or_is_not_there_says_which(start):
    board = start()
    (board.config.parent / "authorized").write_text("")
    with pytest.raises(TargetError, match=r"refuses the login; a key without a question.*ssh-copy-id -p"), board.ssh():
        pytest.fail("it was let in")
    with pytest.raises(TargetError, match="cannot be reached; try by hand"):
        board.ssh(address=f"ssh://127.0.0.1:{free_port()}").__enter__()
    with pytest.raises(TargetError, match="has no such name; mend the address"):
        board.ssh(address="ssh://no-such-host.invalid").__enter__()


@pytest.mark.parametrize(
    "address",
    [
        "ssh://",
        "ssh://-oProxyCommand=touch",
        "ssh://pi@-oProxyCommand=touch",
        "ssh://-l@host",
        "ssh://pi:secret@host",
        "ssh://host/folder",
        "ssh://host:99999",
        "ssh://host?x=1",
        "ssh://ho st",
        "ssh://host;reboot",
        "ssh://$(reboot)@host",
        "http://host",
        "host",
    ],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match=r"it is written ssh://\[user@\]host\[:port\]"):
        Ssh(address)


def test_a_file_that_arrives_changed_is_not_run(start):
    board, converted = start({"cat": '/bin/cat "$@"; printf x'}), artifact("mlp")
    with board.ssh() as place, pytest.raises(TargetError, match=r"file 'measurer': arrived on ssh.*with the SHA-256"):
        measure(place, converted, selftest_stimulus(converted), QUICK)
    assert board.left() == []


def test_a_board_without_sha256sum_is_checked_by_reading_back(start):
    tools = ("sh", "cat", "mkdir", "uname", "df", "tail", "rm", "chmod", "printf")
    board = start({tool: f'exec {shutil.which(tool)} "$@"' for tool in tools})
    small = board.config.parent / "bin"
    board = start(path=str(small))
    converted = artifact("mlp")
    with board.ssh() as place:
        code, _, said = place.do("sha256sum /dev/null")
        assert (code, "not found" in said) == (127, True)
        assert measure(place, converted, selftest_stimulus(converted), QUICK).timings
    (small / "cat").write_text('#!/bin/sh\n/bin/cat "$@"; printf x\n')
    with board.ssh() as place, pytest.raises(TargetError, match="file 'measurer': arrived"):
        Measurer(place)


def test_a_full_board_says_what_is_needed(start):
    row = "/dev/mmcblk0p2 1000 999 2 99% /"
    with start({"df": f"echo '{row}'"}).ssh() as place, pytest.raises(CapacityError, match="available 2,048 bytes"):
        Measurer(place)
    with start({"cat": "exec /bin/cat >/dev/full"}).ssh() as place, pytest.raises(CapacityError, match="make room"):
        Measurer(place)  # it filled up meanwhile: the kernel's own error


def test_another_machine_is_recognised_before_anything_is_copied(start):
    with pytest.raises(TargetError, match="is a riscv64; known are x86_64, aarch64, armv7l"):
        start({"uname": "echo riscv64"}).ssh().__enter__()
    converted = artifact("l2mu")
    other = "armv7l" if program_arch(converted) != "armv7" else "aarch64"
    board = start({"uname": f"echo {other}"})
    with board.ssh() as place, pytest.raises(UsageError, match=f"ssh://.* is {place.arch}; convert the model for that"):
        measure(place, converted, selftest_stimulus(converted), QUICK)
    assert board.left() == []


def test_a_shell_that_talks_does_not_disturb(start):
    board = start(command="""sh -c 'echo Welcome; echo; exec sh -c "$SSH_ORIGINAL_COMMAND"'""")
    converted = artifact("mlp")
    with board.ssh() as place:
        assert measure(place, converted, selftest_stimulus(converted), QUICK).selftest.steps == 32


def test_a_connection_that_is_cut_midway_is_said_and_the_board_tidies_up(start):
    board, converted = start(), artifact("mlp")

    def cut(_stage: str, done: int, _total: int | None) -> None:
        if done == 3:
            for session in below(board.server):
                if "sshd" in Path(f"/proc/{session}/comm").read_text():
                    kill(session)

    with board.ssh() as place:
        measurer, program = Measurer(place), program_for(place, converted)
        with pytest.raises(TargetError, match="cut the connection; try by hand: ssh -p"):
            measurer.time(program, selftest_stimulus(converted), LONG, cut)
        with pytest.raises(TargetError):
            measurer.read_files(["/proc/uptime"])
    soon(lambda: board.left() == [], "the folder is still there")


MEASURING = """
import sys
from edgekit.artifact import Artifact
from edgekit.profile.measurer import measure
from edgekit.profile.ssh import Ssh
from edgekit.profile.stimulus import selftest_stimulus
from edgekit.profile.timing import MeasurePlan
artifact = Artifact.open(sys.argv[2])
with Ssh(sys.argv[1], config=sys.argv[3]) as place:
    say = lambda stage, done, total: print(done, flush=True)
    measure(place, artifact, selftest_stimulus(artifact), MeasurePlan(10_000, 0.02, 0.0), say)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_when_edgekit_is_stopped(start, tmp_path, how):
    board, edge = start(), artifact("mlp").save(tmp_path / "m.edge")
    process = subprocess.Popen(
        [sys.executable, "-c", MEASURING, board.address, edge, board.config],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "4":
            assert process.poll() is None
        process.send_signal(how)
    assert process.returncode != 0
    soon(lambda: board.left() == [], "the folder is still there")
    soon(lambda: not below(board.server), "something still runs")
