"""Deploying to a board: a real sshd on this computer's loopback (sshd.py), and everything that can go wrong."""

from __future__ import annotations

import functools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from converted import ROOT, artifact, edgekit_main, module, stream
from sshd import SECONDS, Board, Start, below, boards, found, kill

import edgekit
from edgekit.artifact import Artifact, SelfTest
from edgekit.deploy import (
    Destination,
    Outcome,
    Wish,
    deploy,
    destination,
    list_installed,
    look,
    read_step,
    remove,
    roll_back,
)
from edgekit.deploy.contents import Stream, stream_of
from edgekit.deploy.streamer import build_streamer
from edgekit.errors import CapacityError, EdgekitError, ReplayError, TargetError, UsageError
from edgekit.profile.ssh import CONFIG
from edgekit.runtime import load
from edgekit.streaming import Decision, FrontDoor, Options, Sample
from edgekit.target import load_target
from edgekit.toolchain.qemu_user import find_qemu, qemu_name

STRICT = ("-Wall", "-Wextra", "-Werror", "-Wno-unused-function")  # of the headers it uses a part
ARCHES = ("x86_64", "aarch64", "armv7")
NO_STREAM = Stream(None, "not asked for")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with boards(tmp_path) as start:
        yield start


@functools.cache
def other() -> Artifact:
    """Another version of the artifact that `artifact("mlp")` is."""
    network = module("mlp")
    return edgekit.convert(network, target="host", precision="w8", name=artifact("mlp").name)


@functools.cache
def quantised(target: str) -> Artifact:
    """An integer program."""
    options = {"precision": "int8", "calib": stream(40, 1, 8), "min_agreement": 0.5, "name": "l2mu_int8"}
    return edgekit.convert(module("l2mu"), target=target, **options)


def folder_of(board: Board) -> Path:
    return board.temporary / "it's mine" / "edge"


def to(board: Board) -> Destination:
    return destination(f"{board.address}{str(folder_of(board)).replace(' ', '%20')}")


def put(board: Board, what: Artifact, **changes: object) -> Outcome:
    return deploy(to(board), Wish(what, NO_STREAM, **changes), config=str(board.config))


def current(board: Board, name: str = "mlp_fp32") -> str | None:
    """The SHA-256 of the file that is current, after every file beside it has been compared with its own."""
    folder = folder_of(board) / name / "current"
    if not folder.is_symlink():
        return None
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    document = json.loads((folder / "deployed.json").read_text())
    assert Artifact.open(folder / f"{name}.edge").sha256 == document["sha256"]
    return str(document["sha256"])


def staged(board: Board) -> list[str]:
    return sorted(path.name for path in (folder_of(board) / ".staging").glob("*"))


def soon(true: Callable[[], bool], what: str) -> None:
    last = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < last, what
        time.sleep(0.02)


def ended(board: Board) -> bool:
    """Whether nobody is at work on the board any more, and nothing staged is left."""
    free = subprocess.run(["flock", "-n", folder_of(board) / ".lock", "true"], check=False).returncode == 0
    return free and not below(board.server) and not staged(board)


def cut(board: Board) -> None:
    """End every session of the board's sshd, as a cable that is pulled would."""
    for process in below(board.server):
        try:
            if "sshd" in Path(f"/proc/{process}/comm").read_text():
                kill(process)
        except (FileNotFoundError, ProcessLookupError):
            continue


def test_a_version_comes_the_one_before_is_kept_and_comes_back_and_all_goes(start):
    board, first, second = start(), artifact("mlp"), other()
    one = put(board, first)
    assert (one.state, one.board.arch, one.replaced) == ("deployed", load_target("host").arch, None)
    assert one.selftest is not None
    assert one.selftest.steps == 32
    assert one.path == str(folder_of(board) / "mlp_fp32" / "current")
    assert current(board) == first.sha256
    assert put(board, first).state == "already there"
    two = put(board, second)
    assert (current(board), two.replaced) == (second.sha256, one.version)
    assert [two.version, one.version] == sorted([one.version, two.version], reverse=True)
    (found,) = list_installed(to(board), config=str(board.config))
    assert found.current is not None
    assert (found.name, found.current.sha256, found.before.sha256) == ("mlp_fp32", second.sha256, first.sha256)
    change = roll_back(to(board), "mlp_fp32", config=str(board.config))
    assert (change.was, change.now, current(board)) == (two.version, one.version, first.sha256)
    with pytest.raises(TargetError, match="has no version before the current one"):
        roll_back(to(board), "mlp_fp32", config=str(board.config))
    assert staged(board) == []
    assert remove(to(board), "mlp_fp32", config=str(board.config)).was == one.version
    assert sorted(path.name for path in folder_of(board).iterdir()) == [".lock", ".staging"]
    with pytest.raises(UsageError, match="'mlp_fp32': is not on ssh"):
        remove(to(board), "mlp_fp32", config=str(board.config))


def test_a_file_that_was_damaged_there_is_deployed_again_and_never_gone_back_to(start):
    board, first = start(), artifact("mlp")
    put(board, first)
    (folder_of(board) / "mlp_fp32" / "current" / "program.so").write_bytes(b"worn out")
    assert put(board, first).state == "deployed"
    assert current(board) == first.sha256
    with pytest.raises(TargetError, match="has no version before the current one"):
        roll_back(to(board), "mlp_fp32", config=str(board.config))


def test_a_board_that_does_not_fit_is_refused_before_anything_is_copied(start):
    x86 = load_target("host").arch == "x86_64"
    what = artifact("l2mu")
    word = "aarch64" if x86 else "x86_64"
    cases: list[tuple[dict[str, str], type[EdgekitError], str]] = [
        ({"uname": f"echo {word}"}, UsageError, f"is {word}; convert the model for that board"),
        ({"uname": "echo riscv64"}, TargetError, "is a riscv64"),
        ({"grep": 'case "$*" in *Features*) echo "flags : fpu";; *) exec /bin/grep "$@";; esac'}, TargetError, "lacks"),
        (
            {"grep": 'case "$*" in *Mem*) echo "MemAvailable: 99 kB";; *) exec /bin/grep "$@";; esac'},
            CapacityError,
            "end other programs",
        ),
    ]
    for faults, kind, words in cases:
        board = start(faults)
        with pytest.raises(kind, match=words):
            put(board, what)
        assert list(folder_of(board).glob("l2mu*")) == staged(board) == []
    fitting = start()
    assert look(to(fitting), what, config=str(fitting.config)).state == "fits"
    assert not folder_of(fitting).exists()


@pytest.mark.parametrize(
    ("program", "script", "kind", "words"),
    [
        ("df", "echo '/dev/mmcblk0p2 1000 999 2 99% /'", CapacityError, "available 2,048 bytes"),
        ("cat", 'case "$1" in "") exec /bin/cat >/dev/full;; *) exec /bin/cat "$@";; esac', CapacityError, "make room"),
        ("cat", '/bin/cat "$@"; printf x', TargetError, "arrived on ssh.*with the SHA-256"),
        ("mv", "exit 1", TargetError, "the one before still stands"),
        ("sync", "exit 1", TargetError, "the one before still stands"),
        ("ln", "exit 1", TargetError, "the one before still stands"),
        ("mkdir", "exit 1", TargetError, "does not let you make the folder .*; make it by hand"),
        ("flock", "exit 1", TargetError, "is being deployed to by someone else; wait for that to end"),
    ],
    ids=["full", "fills up", "hash", "no switch", "no sync", "no link", "no folder", "locked"],
)
def test_a_fault_of_the_board_leaves_what_was_current(start, program, script, kind, words):
    board, first = start(), artifact("mlp")
    put(board, first)
    fault = board.config.parent / "bin" / program
    fault.write_text(f"#!/bin/sh\n{script}\n")
    fault.chmod(0o755)
    with pytest.raises(kind, match=words):
        put(board, other())
    assert current(board) == first.sha256
    soon(lambda: staged(board) == [], "what was staged is still there")


def test_a_program_that_fails_its_self_test_there_is_not_installed(start):
    board, first = start(), artifact("mlp")
    wrong = SelfTest(
        first.selftest.inputs, {n: a + 1 for n, a in first.selftest.outputs.items()}, first.selftest.final_state
    )
    members = {n: data for n, data in first.file.members.items() if n.startswith(("native/", "c/"))}
    manifest = {key: value for key, value in first.manifest.items() if key != "members"}
    with pytest.raises(ReplayError, match="self-test on ssh"):
        put(board, Artifact.build(manifest, first.graph, wrong, members))
    assert current(board) is None
    assert staged(board) == []


@pytest.mark.slow
def test_wherever_the_connection_is_cut_one_whole_version_is_current(start):
    board, versions = start(), (artifact("mlp"), other())
    put(board, versions[0])
    begin = time.monotonic()
    put(board, versions[1])
    whole = time.monotonic() - begin
    draw, cuts = random.Random(8), 0
    for turn in range(7):
        was = current(board)
        timer = threading.Timer(whole * (turn + draw.random()) / 6, cut, [board])
        timer.start()
        try:
            put(board, versions[turn % 2], again=True)
        except TargetError:
            cuts += 1
        timer.cancel()
        timer.join()
        soon(lambda: ended(board), "the board is still at it")
        assert current(board) in (was, versions[turn % 2].sha256)
    assert cuts >= 3
    assert put(board, versions[0], again=True).state == "deployed"
    assert len(list((folder_of(board) / "mlp_fp32" / "versions").iterdir())) == 2, "what was cut off is cleared away"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("which", ["*/versions/*", "*/.new/current*"])
def test_a_cut_at_the_very_rename_leaves_one_whole_version(start, which, when):
    """The two renames that matter: of what was staged, and of the link."""
    renames, pause = '/bin/mv "$@"', 'touch "$TMPDIR/now"; sleep 0.5'
    steps = f"{pause}; {renames}" if when == "before" else f"{renames}; {pause}"
    board, first, second = start(), artifact("mlp"), other()
    put(board, first)
    mv = board.config.parent / "bin" / "mv"
    mv.write_text(f'#!/bin/sh\ncase "$*" in {which}) {steps} ;; *) exec {renames} ;; esac\n')
    mv.chmod(0o755)

    def wait_and_cut() -> None:
        soon((board.temporary / "now").exists, "it was never renamed")
        cut(board)

    cutter = threading.Thread(target=wait_and_cut)
    cutter.start()
    with pytest.raises(TargetError, match="cut the connection"):
        put(board, second)
    cutter.join()
    soon(lambda: ended(board), "the board is still at it")
    assert current(board) in (first.sha256, second.sha256)
    for version in (folder_of(board) / "mlp_fp32" / "versions").iterdir():
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=version, check=True)
    mv.unlink()
    assert put(board, second).state in ("deployed", "already there")
    assert current(board) == second.sha256


@pytest.mark.slow
def test_two_deploys_at_once_do_not_mix_and_readers_never_find_nothing(start):
    board, versions = start(), (artifact("mlp"), other())
    put(board, versions[0])
    reads, stop = [], threading.Event()

    def read() -> None:
        path = folder_of(board) / "mlp_fp32" / "current" / "deployed.json"
        while not stop.is_set():
            reads.append(json.loads(path.read_text())["sha256"])

    reader = threading.Thread(target=read)
    reader.start()

    def one(number: int) -> str:
        try:
            return put(board, versions[number % 2], again=True).state
        except TargetError as error:
            return str(error)

    with ThreadPoolExecutor(3) as pool:
        states = list(pool.map(one, range(4)))
    stop.set()
    reader.join()
    assert "deployed" in states
    assert {s for s in states if s != "deployed"} <= {
        f"{board.address}: is being deployed to by someone else; wait for that to end"
    }
    assert current(board) in {version.sha256 for version in versions}
    assert set(reads) <= {version.sha256 for version in versions}
    assert len(reads) > 50


def test_what_a_power_cut_left_is_cleared_away(start):
    board = start()
    put(board, artifact("mlp"))
    (left := folder_of(board) / ".staging" / "edgekit-0123456789abcdef").mkdir()
    (left / "program.so").write_bytes(b"half")
    orphan = folder_of(board) / "mlp_fp32" / "versions" / "0009-000000000000"
    orphan.mkdir()
    put(board, other())
    assert staged(board) == []
    assert not orphan.exists()


def test_what_is_not_of_a_deploy_is_not_touched(start):
    board, what = start(), artifact("mlp")
    base = folder_of(board)
    mine = [base / name / "mine" for name in ("mlp_fp32", ".staging/else", "environments/versions/3.11")]
    for path in mine:
        path.parent.mkdir(parents=True)
        path.write_text("of somebody")
    with pytest.raises(TargetError, match=r"has something else at .*mlp_fp32, which is not touched; move it away"):
        put(board, what)
    for name in ("mlp_fp32", "environments"):
        with pytest.raises(UsageError, match="is not on ssh"):
            remove(to(board), name, config=str(board.config))
    assert list_installed(to(board), config=str(board.config)) == ()
    mine[0].rename(base / "mine")
    put(board, what)
    (later := base / "mlp_fp32" / "versions" / "notes").write_text("of somebody")
    put(board, other())
    remove(to(board), "mlp_fp32", config=str(board.config))
    assert [path.read_text() for path in (*mine[1:], base / "mine", later)] == ["of somebody"] * 4
    assert [path.name for path in (base / "mlp_fp32").rglob("*")] == ["versions", "notes"]


def test_a_first_deploy_that_was_cut_off_between_its_renames_is_done_again(start):
    board, what = start(), artifact("mlp")
    put(board, what)
    (folder_of(board) / "mlp_fp32" / "current").unlink()
    assert put(board, what).state == "deployed"
    assert current(board) == what.sha256


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_lock_that_is_no_plain_file_is_refused(start, tmp_path, kind):
    board = start()
    (lock := folder_of(board) / ".lock").parent.mkdir(parents=True)
    (precious := tmp_path / "precious").write_text("precious")
    lock.symlink_to(precious) if kind == "link" else lock.mkdir()
    with pytest.raises(TargetError, match=r"has no plain file at .*lock; move away what is there"):
        put(board, artifact("mlp"))
    assert precious.read_text() == "precious"


DEPLOYING = "import sys; from edgekit.cli import main; main()"


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(start, tmp_path):
    board = start({"sha256sum": 'echo here >>$TMPDIR/calls; sleep 3; exec /usr/bin/sha256sum "$@"'})
    edge = artifact("mlp").save(tmp_path / "m.edge")
    command = [sys.executable, "-c", DEPLOYING, "deploy", edge, to(board).address, "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), CONFIG: str(board.config)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        soon((board.temporary / "calls").exists, "it has not begun")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, said) == (130, "error: interrupted; no file is half written\n")
    assert current(board) is None
    soon(lambda: staged(board) == [], "what was staged is still there")


@pytest.mark.parametrize(
    "address",
    [
        "host",
        "http://host",
        "ssh://",
        "ssh://host/a/../b",
        "ssh://host/%2e%2e/b",
        "ssh://host/a//b",
        "ssh://host/~root/x",
        "ssh://host/a%0Ab",
        "ssh://host/a?b",
        "ssh://host:folder",
        "ssh://ho st",
        "ssh://pi:secret@host",
    ],
)
def test_what_is_no_destination_is_refused(address):
    with pytest.raises(UsageError, match=r"ssh://\[user@\]host.*/folder|give the folder itself") as refused:
        destination(address)
    assert "secret" not in str(refused.value)


def test_folders_are_absolute_or_below_home():
    assert destination("ssh://pi@host:22").folder == "~/edgekit"
    assert destination("ssh://pi@host/~/my%20models/").folder == "~/my models"
    assert destination("ssh://host/opt/edge") == Destination("ssh://host/opt/edge", "ssh://host", "/opt/edge")


def test_the_boards_own_edgekit_trusts_what_was_deployed(start):
    board = start({"python3": f'PYTHONPATH={ROOT} exec {sys.executable} "$@"'})
    listed = board.temporary.parent / "home" / "edgekit" / "trust.json"
    assert put(board, artifact("mlp")).trusted
    assert list(json.loads(listed.read_text())["trusted"]) == [artifact("mlp").sha256]
    remove(to(board), "mlp_fp32", config=str(board.config))
    assert json.loads(listed.read_text())["trusted"] == {}


@pytest.mark.slow
def test_a_fleet_tells_of_each_board_and_goes_on_where_it_failed(start, tmp_path, monkeypatch):
    fleet = [start(), start({"df": "echo '/dev/x 1000 999 2 99% /'"}), start()]
    (config := tmp_path / "config").write_text(
        "".join(
            b.config.read_text().replace("Host *", f'Match exec "test %p = {b.address.rsplit(":", 1)[1]}"')
            for b in fleet
        )
    )
    monkeypatch.setenv(CONFIG, str(config))
    edge = artifact("mlp").save(tmp_path / "m.edge")
    addresses = [to(board).address for board in fleet]
    first = edgekit_main("deploy", edge, *addresses, "--json")
    assert first.returncode == 1
    rows = json.loads(first.stdout)["boards"]
    assert [row["address"] for row in rows] == addresses
    assert [row["ok"] for row in rows] == [True, False, True]
    assert "available 2,048 bytes" in rows[1]["error"]
    (fleet[1].config.parent / "bin" / "df").unlink()
    second = edgekit_main("deploy", edge, *addresses)
    assert second.returncode == 0, second.stdout
    assert (second.stdout.count("already there"), second.stdout.count(" deployed ")) == (2, 1)
    listed = edgekit_main("deploy", "--list", *addresses)
    assert listed.stdout.count("mlp_fp32") == 3
    quiet = edgekit_main("deploy", "--remove", "none", *addresses, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr.count("failed: ssh://")) == (1, "", 3)
    alone = edgekit_main("deploy", "--rollback", "mlp_fp32", addresses[0])
    assert (alone.returncode, alone.stderr.count("\n")) == (2, 1)
    assert "has no version before the current one" in alone.stderr


def test_options_that_do_not_go_together_are_refused():
    for words, said in (
        (["m.edge"], "names no board"),
        (["ssh://h"], "names no file to deploy"),
        (["a.edge", "b.edge", "ssh://h"], "names 2 files"),
        (["--list", "m.edge", "ssh://h"], "is neither needed nor an address"),
        (["--list", "--remove", "m", "ssh://h"], "does not go with --list"),
        (["--list", "--again", "ssh://h"], "--again: does not go with --list"),
        (["--check", "--window", "3", "m.edge", "ssh://h"], "--window has no meaning"),
        (["m.edge", "ssh://h", "ssh://h"], "is named twice"),
        (["--list", "--at-once", "0", "ssh://h"], "--at-once 0: means nothing"),
    ):
        answer = edgekit_main("deploy", *words)
        assert (answer.returncode, said in answer.stderr, answer.stderr.count("\n")) == (2, True, 1), answer.stderr


def decisions(what: Artifact, options: Options, x: np.ndarray) -> list[dict[str, object]]:
    """What the front door decides here."""
    door = FrontDoor(load(what), options)
    said = [one for row in x for one in door.feed(Sample(None, tuple(map(float, row))))] + list(door.finish())
    keys = ("index", "start", "end", "label", "name")
    return [{key: getattr(one, key) for key in keys} for one in said if isinstance(one, Decision)]


def csv(x: np.ndarray) -> bytes:
    return "".join(",".join(map(repr, map(float, row))) + "\n" for row in x).encode()


@pytest.mark.slow
def test_what_was_deployed_decides_about_a_stream_as_the_front_door_does(start):
    board, options = start(), Options(window=20, stride=7)
    x = stream(300)
    for what, chosen in (
        (artifact("mlp"), Options()),
        (artifact("l2mu"), options),
        (quantised("host"), options),
    ):
        wish = Wish(what, stream_of(what, chosen, needed=True))
        outcome = deploy(to(board), wish, config=str(board.config))
        done = subprocess.run([f"{outcome.path}/run"], input=b"a,b,c\n" + csv(x), capture_output=True, check=True)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert found == decisions(what, chosen, x)
        assert len(found) > 30
        assert f"decisions: {len(found)}" in done.stderr.decode()


def test_a_line_that_is_no_sample_ends_the_windows_and_is_said(start, tmp_path):
    what, options = artifact("l2mu"), Options(window=20)
    board, x = start(), stream(50)
    outcome = deploy(to(board), Wish(what, stream_of(what, options, needed=True)), config=str(board.config))
    broken = csv(x[:30]) + b"1,nan,2\n" + b"7" * 70_000 + b"\n# said by nobody\n\n" + csv(x[30:])
    (source := tmp_path / "samples").write_bytes(broken)
    done = subprocess.run([f"{outcome.path}/run", str(source)], capture_output=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    after = decisions(what, options, x[30:])
    assert [(d["start"], d["end"]) for d in found] == [(0, 20), (30, 50)]
    assert [d["label"] for d in found] == [decisions(what, options, x[:20])[0]["label"], after[0]["label"]]
    assert "line 31" in done.stderr.decode()
    assert "lines that are no sample: 2" in done.stderr.decode()


# Plays systemd, which does not run here: one unit, started and stopped.
SYSTEMCTL = r"""
state=$XDG_CONFIG_HOME/state; unit=$XDG_CONFIG_HOME/systemd/user
pid=$(cat "$state" 2>/dev/null)
echo "$*" >>"$XDG_CONFIG_HOME/calls"
case "$*" in
  *is-system-running) echo running ;;
  *is-active*) kill -0 "$pid" 2>/dev/null ;;
  *show*) echo "$pid" ;;
  *disable*)
    for last in "$@"; do :; done
    test -e "$unit/$last" || { echo "Unit $last does not exist" >&2; exit 1; }
    kill "$pid" 2>/dev/null; true ;;
  *restart*)
    kill "$pid" 2>/dev/null
    command=$(sed -n 's/%%/%/g; s/[$][$]/\\$/g; s/^ExecStart=//p' "$unit"/edgekit-*.service)
    eval "exec $command" >>"$XDG_CONFIG_HOME/journal" 2>&1 <&- &
    echo $! >"$state" ;;
esac
"""


@pytest.mark.slow
def test_a_service_reads_a_sensor_and_follows_its_versions(start, tmp_path):
    board = start({"systemctl": SYSTEMCTL, "id": "echo 1000"})
    home, what = board.temporary.parent / "home", artifact("l2mu")
    home.mkdir()
    os.mkfifo(source := tmp_path / "imu 50% $now")
    os.mkfifo(another := tmp_path / "another")
    wish = Wish(what, stream_of(what, Options(window=20), needed=True), str(source))
    with pytest.raises(TargetError, match="has no /none; make the FIFO first"):
        deploy(to(board), replace(wish, source="/none"), config=str(board.config))
    one = deploy(to(board), wish, config=str(board.config))
    assert one.service == "active until 1000 logs out; for longer: sudo loginctl enable-linger 1000"
    unit = home / "systemd" / "user" / str(one.unit)

    def running() -> str:
        return str(Path(f"/proc/{(home / 'state').read_text().strip()}/exe").readlink())

    def decided() -> int:
        return (home / "journal").read_text().count('"label"')

    assert running() == str(Path(one.path).resolve() / "streamer")
    if shutil.which("systemd-analyze"):
        (clean := tmp_path / unit.name).write_text(unit.read_text())
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", clean], capture_output=True, text=True, check=False
        )
        assert not [line for line in done.stderr.splitlines() if unit.name in line], done.stderr
    before = running()
    with source.open("wb") as sensor:
        sensor.write(csv(stream(45)))
    soon(lambda: decided() == 2, "nothing was decided")
    two = deploy(to(board), replace(wish, source=None, again=True), config=str(board.config))
    assert (str(two.service)[:6], running() == before) == ("active", False)
    assert roll_back(to(board), what.name, config=str(board.config)).now == one.version
    assert running() == before
    (board.config.parent / "bin" / "systemctl").write_text(f"#!/bin/sh\n{SYSTEMCTL.replace('restart*)', 'no*)')}")
    with pytest.raises(TargetError, match="did not start edgekit-l2mu_fp32"):
        deploy(to(board), replace(wish, again=True, source=str(another)), config=str(board.config))
    (board.config.parent / "bin" / "systemctl").write_text(f"#!/bin/sh\n{SYSTEMCTL}")
    assert Path(one.path).resolve().name == one.version
    remove(to(board), what.name, config=str(board.config))
    assert not unit.exists()
    assert "disable --now" in (home / "calls").read_text()


def test_a_service_that_cannot_be_installed_leaves_nothing_and_is_the_error(start, tmp_path):
    board, what = start({"systemctl": SYSTEMCTL, "id": "echo 1000"}), artifact("l2mu")
    (home := board.temporary.parent / "home").mkdir()
    (home / "systemd").write_text("no folder")
    os.mkfifo(source := tmp_path / "imu")
    wish = Wish(what, stream_of(what, Options(window=20), needed=True), str(source))
    with pytest.raises(TargetError, match="did not start edgekit-l2mu_fp32"):
        deploy(to(board), wish, config=str(board.config))
    assert list_installed(to(board), config=str(board.config)) == ()
    assert not (folder_of(board) / what.name).exists()


def test_a_removal_that_stopped_halfway_can_be_finished(start, tmp_path):
    board, what = start({"systemctl": SYSTEMCTL, "id": "echo 1000"}), artifact("l2mu")
    (board.temporary.parent / "home").mkdir()
    os.mkfifo(source := tmp_path / "imu")
    wish = Wish(what, stream_of(what, Options(window=20), needed=True), str(source))
    deploy(to(board), wish, config=str(board.config))
    (mv := board.config.parent / "bin" / "mv").write_text("#!/bin/sh\nexit 1\n")
    mv.chmod(0o755)
    with pytest.raises(TargetError, match="could not remove l2mu_fp32"):
        remove(to(board), what.name, config=str(board.config))
    mv.unlink()
    remove(to(board), what.name, config=str(board.config))
    assert not (folder_of(board) / what.name).exists()


def test_where_systemd_does_not_run_the_unit_is_installed_and_that_is_said(start, tmp_path):
    board, what = start({"systemctl": "echo offline; exit 1", "id": "echo 1000"}), artifact("mlp")
    os.mkfifo(source := tmp_path / "samples")
    wish = Wish(what, stream_of(what, Options(), needed=True), str(source))
    outcome = deploy(to(board), wish, config=str(board.config))
    assert outcome.service == "installed, not started: systemd does not run there"
    assert (board.temporary.parent / "home" / "systemd" / "user" / str(outcome.unit)).is_file()


@pytest.mark.parametrize("source", ["imu", "/a/../b", "/a\nb", ""])
def test_a_service_reads_from_a_path_of_the_board(source, tmp_path):
    answer = edgekit_main("deploy", artifact("mlp").save(tmp_path / "m.edge"), "ssh://h", "--service", source)
    assert (answer.returncode, "is no absolute path" in answer.stderr) == (2, True)


# Plays trtexec: writes down what it was asked, and as outputs what it was told to.
TRTEXEC = """
echo "$*" >>"$TMPDIR/calls"
for option in "$@"; do
  case $option in
    --saveEngine=*) echo engine >"${{option#*=}}" ;;
    --exportOutput=*) echo '{said}' >"${{option#*=}}" ;;
  esac
done
"""


@pytest.mark.slow
def test_an_engine_is_built_there_and_compared_with_the_self_test(start, tmp_path):
    pytest.importorskip("onnx")
    edgekit.save(module("l2mu"), tmp_path / "net.pt")
    made = edgekit_main("convert", tmp_path / "net.pt", "--format", "edge,onnx", "-o", tmp_path / "net")
    assert made.returncode == 0, made.stderr
    what, model = Artifact.open(tmp_path / "net.edge"), tmp_path / "net.onnx"
    (first,) = (outputs[0] for outputs in what.selftest.outputs.values())
    said = json.dumps([{"name": "y", "dimensions": "1x4", "values": list(map(float, first))}])
    wish = Wish(what, NO_STREAM, step=read_step(model, what))
    board = start({"trtexec": TRTEXEC.format(said=said)})
    outcome = deploy(to(board), wish, config=str(board.config))
    assert outcome.engine_error == 0
    assert (Path(outcome.path) / "model.engine").read_text() == "engine\n"
    assert not list(Path(outcome.path).glob("tensorrt-*"))
    build, run = (board.temporary / "calls").read_text().splitlines()
    assert "--optShapes=x:1x3," in build
    assert "--loadInputs=x:tensorrt-input0," in run
    assert deploy(to(board), wish, config=str(board.config)).state == "already there"
    other_said = said.replace(str(float(first[0])), str(float(first[0]) + 1), 1)
    wrong = start({"trtexec": TRTEXEC.format(said=other_said)})
    with pytest.raises(ReplayError, match="differs by 1 at the first step"):
        deploy(to(wrong), wish, config=str(wrong.config))
    assert staged(wrong) == []
    with pytest.raises(TargetError, match="has no trtexec; on JetPack"):
        deploy(to(empty := start()), wish, config=str(empty.config))
    with pytest.raises(UsageError, match="takes, gives or keeps something else"):
        read_step(model, artifact("mlp"))


@pytest.mark.parametrize("arch", ARCHES)
def test_the_streamer_builds_for_every_architecture_without_a_warning(arch):
    assert build_streamer(arch, extra_flags=STRICT)[:4] == b"\x7fELF"


# A Pi 4 and an STM32MP157: what the kernel says of their processors, and what qemu calls these.
BOARDS = {
    "raspberrypi4": ("aarch64", "cortex-a72", "fp asimd evtstrm crc32 cpuid"),
    "stm32mp157": ("armv7l", "cortex-a7", "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae"),
}
# What a kernel with binfmt_misc does: programs that were copied run through qemu; and its own cpuinfo.
THROUGH = """#!/bin/sh
command=$(printf %s "$SSH_ORIGINAL_COMMAND" |
  sed -e 's#\\./measurer#{qemu} ./measurer#; s#\\./streamer#{qemu} ./streamer#; s#/proc/cpuinfo#{cpuinfo}#')
exec sh -c "$command"
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", BOARDS)
def test_a_board_of_another_architecture_is_deployed_to_through_its_own_instructions(start, tmp_path, target):
    machine, core, features = BOARDS[target]
    arch = load_target(target).arch
    qemu = [find_qemu(arch) or found(f"{qemu_name(arch)}-static"), "-cpu", core]
    (cpuinfo := tmp_path / "cpuinfo").write_text(f"processor : 0\nFeatures\t: {features}\n")
    (through := tmp_path / "through").write_text(THROUGH.format(qemu=" ".join(qemu), cpuinfo=cpuinfo))
    through.chmod(0o755)
    board = start({"uname": f'case "$1" in -m) echo {machine};; *) exec /bin/uname "$@";; esac'}, command=str(through))
    what, options = quantised(target), Options(window=20, stride=10)
    outcome = deploy(to(board), Wish(what, stream_of(what, options, needed=True)), config=str(board.config))
    assert (outcome.state, outcome.board.arch) == ("deployed", arch)
    assert outcome.selftest is not None
    assert outcome.selftest.worst_error == 0
    here, x = Path(outcome.path), stream(100)
    command = [*qemu, here / "streamer", here / "stream.job", here / "program.so"]
    done = subprocess.run(command, input=csv(x), capture_output=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == decisions(what, options, x)
    cpuinfo.write_text(cpuinfo.read_text().replace("crc32", "").replace("vfpv4", ""))
    with pytest.raises(TargetError, match=f"lacks instructions that this program for {target} is made of"):
        deploy(to(board), Wish(what, NO_STREAM, again=True), config=str(board.config))
