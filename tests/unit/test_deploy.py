"""Deploying to a board: a real sshd on this computer's loopback (sshd.py), and everything that can go wrong."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from converted import ROOT, artifact, edgekit_main
from deploys import (
    NO_STREAM,
    QUICK,
    board_fault,
    current,
    cut,
    ended,
    folder_of,
    other,
    put,
    quick_boards,
    staged,
    to,
)
from sshd import SECONDS, Start, soon

from edgekit.artifact import Artifact, SelfTest
from edgekit.deploy import (
    Destination,
    Wish,
    asking,
    deploy,
    destination,
    end_service,
    list_installed,
    look,
    remove,
    roll_back,
)
from edgekit.errors import CapacityError, EdgekitError, ReplayError, TargetError, UsageError
from edgekit.profile.ssh import CONFIG
from edgekit.profile.ssh_stop import Stop, StoppedError
from edgekit.target import load_target


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with quick_boards(tmp_path) as start:
        yield start


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
    said = f"could not make {one.version} current; what was current still is"
    with board_fault(board, "mv", "exit 1"), pytest.raises(TargetError, match=said):
        roll_back(to(board), "mlp_fp32", config=str(board.config))
    change = roll_back(to(board), "mlp_fp32", config=str(board.config))
    assert (change.was, change.now, current(board)) == (two.version, one.version, first.sha256)
    with pytest.raises(TargetError, match="has no version before the current one"):
        roll_back(to(board), "mlp_fp32", config=str(board.config))
    assert staged(board) == []
    assert remove(to(board), "mlp_fp32", config=str(board.config)).was == one.version
    assert sorted(path.name for path in folder_of(board).iterdir()) == [".lock", ".staging"]
    with pytest.raises(UsageError, match="'mlp_fp32': is not on ssh"):
        remove(to(board), "mlp_fp32", config=str(board.config))


@pytest.mark.drawn(2)
@pytest.mark.parametrize("hashes", [True, False], ids=["sha256sum", "read back"])
def test_a_version_that_was_damaged_there_never_costs_the_last_whole_one(start, hashes):
    board, first, second = start({} if hashes else {"sha256sum": "exit 127"}), artifact("mlp"), other()
    good = put(board, first)
    put(board, second)
    (folder_of(board) / "mlp_fp32" / "current" / "program.so").write_bytes(b"worn out")
    again = put(board, second)
    assert (again.state, again.replaced, current(board)) == ("deployed", good.version, second.sha256)
    with board_fault(board, "sync", "exit 1"), pytest.raises(TargetError, match="the one before still stands"):
        put(board, first)
    assert roll_back(to(board), "mlp_fp32", config=str(board.config)).now == good.version
    assert current(board) == first.sha256


def test_a_board_that_does_not_fit_is_refused_before_anything_is_copied(start):
    x86 = load_target("host").arch == "x86_64"
    what = artifact("l2mu")
    word = "aarch64" if x86 else "x86_64"
    cases: list[tuple[dict[str, str], type[EdgekitError], str]] = [
        ({"uname": f"echo {word}"}, UsageError, f"is {word}; convert the model for that board"),
        ({"uname": "printf '\\033[2Jriscv64\\n'"}, TargetError, r"is a \[2Jriscv64"),
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


FAULTS: tuple[tuple[str, str, type[EdgekitError], str], ...] = (
    ("df", "echo '/dev/mmcblk0p2 1000 999 2 99% /'", CapacityError, "disk of ssh.*available 2,048 bytes"),
    ("cat", 'case "$1" in "") exec /bin/cat >/dev/full;; *) exec /bin/cat "$@";; esac', CapacityError, "make room"),
    ("cat", '/bin/cat "$@"; printf x', TargetError, "arrived on ssh.*with the SHA-256"),
    ("mv", "exit 1", TargetError, "the one before still stands"),
    ("mkdir", "exit 1", TargetError, "does not let you make the folder .*; make it by hand"),
    ("flock", "exit 1", TargetError, "is being deployed to by someone else; wait for that to end"),
)


def test_a_fault_of_the_board_leaves_what_was_current(start):
    board, first = start(QUICK), artifact("mlp")
    put(board, first)
    for program, script, kind, words in FAULTS:
        with board_fault(board, program, script), pytest.raises(kind, match=words):
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
def test_whatever_happens_one_whole_version_is_current(start, drawn_seed):
    """Cut connections, documents that were damaged, renames, links and flushes that fail."""
    board, versions = start(), (artifact("mlp"), other())
    link = folder_of(board) / "mlp_fp32" / "current"
    put(board, versions[0])
    begin = time.monotonic()
    put(board, versions[1])
    whole = time.monotonic() - begin
    draw, failed = random.Random(drawn_seed), 0
    for turn in range(6):
        was, wish = link.readlink(), versions[turn % 2]
        if draw.random() < 0.5:
            (link / "deployed.json").write_text(draw.choice(["", "{}", '{"schema_version": 1}', "[[[["]))
        timer = threading.Timer(whole * (turn + draw.random()) / 5, cut, [board])
        try:
            if turn % 2:
                with board_fault(board, draw.choice(["mv", "ln", "sync"]), "exit 1"):
                    put(board, wish, again=True)
            else:
                timer.start()
                put(board, wish, again=True)
        except TargetError:
            failed += 1
        timer.cancel()
        soon(lambda: ended(board), "the board is still at it")
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=link, check=True)
        assert link.readlink() == was or Artifact.open(link / "mlp_fp32.edge").sha256 == wish.sha256
    assert failed >= 3
    assert put(board, versions[0], again=True).state == "deployed"
    assert len(list(link.parent.glob("versions/*"))) <= 2, "what was cut off is cleared away"


@pytest.mark.drawn(4)
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
            time.sleep(0.001)

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
    (folder_of(board) / ".staging" / "edgekit-mine").mkdir()
    (orphan := folder_of(board) / "mlp_fp32" / "versions" / "0009-000000000000").mkdir()
    (orphan / "unproven").touch()
    (folder_of(board) / "mlp_fp32" / ".new").mkdir()
    put(board, other())
    assert staged(board) == ["edgekit-mine"]
    assert sorted(path.name for path in orphan.parent.parent.iterdir()) == ["current", "versions"]
    assert not orphan.exists()


def damage(version: Path, document: str) -> None:
    (version / "deployed.json").write_text(document)


def test_a_version_that_cannot_say_what_it_is_is_a_version_still(start):
    """Its document may be empty, half, of nobody, or of an edgekit to come."""
    board, first, second = start(QUICK), artifact("mlp"), other()
    one, two = put(board, first), put(board, second)
    versions = folder_of(board) / "mlp_fp32" / "versions"
    whole = (versions / two.version / "deployed.json").read_text()
    damage(versions / two.version, "")
    (found,) = list_installed(to(board), config=str(board.config))
    assert found.to_dict()["current"] == {"version": two.version, "state": "unreadable", "unit": None}
    assert found.before is not None
    assert found.before.name == one.version
    with board_fault(board, "sync", "exit 1"), pytest.raises(TargetError, match="the one before still stands"):
        put(board, second)
    assert sorted(path.name for path in versions.iterdir()) == [one.version, two.version]
    three = put(board, second)
    assert (three.state, three.replaced, three.version[:4]) == ("deployed", one.version, "0003")
    newer = whole.replace('"schema_version": 1', '"schema_version": 2')
    for name in (one.version, three.version):
        damage(versions / name, newer)
    for act in (lambda: put(board, first), lambda: remove(to(board), "mlp_fp32", config=str(board.config))):
        with pytest.raises(TargetError, match=r"was deployed by a newer edgekit \(schema 2\); pip install"):
            act()
    assert sorted(path.name for path in versions.iterdir()) == [one.version, three.version]
    for name in (one.version, three.version):
        damage(versions / name, '{"version": "x"}')
    assert remove(to(board), "mlp_fp32", config=str(board.config)).was == three.version
    assert not versions.exists()


def test_a_list_of_files_that_was_damaged_is_noticed(start):
    board, what = start(), artifact("mlp")
    put(board, what)
    sums = folder_of(board) / "mlp_fp32" / "current" / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(keepends=True) if "program.so" not in line))
    (sums.parent / "program.so").write_bytes(b"worn out")
    assert put(board, what).state == "deployed"


def test_a_board_that_greets_at_every_command_is_understood(start):
    noisy = start(command="echo 'trusted new none'; eval \"$SSH_ORIGINAL_COMMAND\"")
    assert put(noisy, artifact("mlp")).state == "deployed"
    assert put(noisy, artifact("mlp")).state == "already there"
    with pytest.raises(TargetError, match="has no service"):
        end_service(to(noisy), "mlp_fp32", config=str(noisy.config))
    assert remove(to(noisy), "mlp_fp32", config=str(noisy.config)).service is None


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


def test_a_staging_folder_that_leads_elsewhere_is_refused(start, tmp_path):
    board = start()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    folder_of(board).mkdir(parents=True)
    (folder_of(board) / ".staging").symlink_to(elsewhere)
    with pytest.raises(TargetError, match=r"has a link at .*staging; move it away"):
        put(board, artifact("mlp"))
    assert list(elsewhere.iterdir()) == []


DEPLOYING = "import sys; from edgekit.cli import main; main()"


@pytest.mark.slow
def test_ctrl_c_ends_at_once_and_leaves_nothing_behind(start, tmp_path):
    board = start({"sha256sum": "echo here >>$TMPDIR/calls; exec sleep 20"})
    edge = artifact("mlp").save(tmp_path / "m.edge")
    command = [sys.executable, "-c", DEPLOYING, "deploy", edge, to(board).address, "--quiet"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), CONFIG: str(board.config)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        soon((board.temporary / "calls").exists, "it has not begun")
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert (process.returncode, said) == (130, "error: interrupted; no file is half written\n")
    assert time.monotonic() - begin < 3
    assert current(board) is None
    soon(lambda: staged(board) == [], "what was staged is still there")
    (board.config.parent / "bin" / "sha256sum").unlink()
    was = put(board, artifact("mlp"))
    other().save(edge)
    slow = 'case "$3" in add) touch $TMPDIR/now; exec /bin/sleep 20;; *) echo edgekit=3;; esac'
    with (
        board_fault(board, "python3", slow),
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process,
    ):
        soon((board.temporary / "now").exists, "it has not switched")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=SECONDS)
    assert said.splitlines()[0] == f"interrupted: {to(board)}: {was.version} is current again"
    assert current(board) == artifact("mlp").sha256


def test_a_switch_that_nobody_answered_for_is_said_and_goes_on(start, monkeypatch):
    board, what = start(), artifact("mlp")
    put(board, other())
    monkeypatch.setattr(asking, "SYNC_S", 0.2)
    said = (
        rf"did not answer in time(.*\n)+  - 0002-.* may be current: edgekit deploy --list .*{board.address}.* goes on"
    )
    with board_fault(board, "sync", "/bin/sleep 0.6"), pytest.raises(TargetError, match=said):
        put(board, what)
    monkeypatch.undo()
    (found,) = list_installed(to(board), config=str(board.config))
    assert found.current is not None
    assert (found.current.state, current(board)) == ("unproven", what.sha256)
    assert put(board, what).state == "already there"
    (found,) = list_installed(to(board), config=str(board.config))
    assert (found.to_dict()["current"]["state"], len(found.versions)) == ("accepted", 2)


def test_a_wish_to_stop_lets_a_switch_that_was_begun_go_back(start):
    """A trust list that takes long is asked after the rename."""
    python = 'case "$3" in add) touch $TMPDIR/now; exec sleep 20;; *) echo edgekit=3;; esac'
    board, first, stop = start({"python3": python}), artifact("mlp"), Stop()
    path = folder_of(board) / "mlp_fp32"

    def wait_and_stop() -> None:
        soon((board.temporary / "now").exists, "it was never trusted")
        assert current(board) == first.sha256
        stop.ask()

    stopper = threading.Thread(target=wait_and_stop)
    stopper.start()
    begin = time.monotonic()
    with pytest.raises(StoppedError):
        deploy(to(board), Wish(first, NO_STREAM), config=str(board.config), stop=stop)
    stopper.join()
    assert time.monotonic() - begin < SECONDS
    assert not path.exists()


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
        "ssh://host/a%C2%A0b",
        "ssh://host/%E2%80%AEb",
        "ssh://host/%E9",
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


@pytest.mark.drawn(2)
def test_the_boards_own_edgekit_trusts_what_was_deployed_and_nothing_else(start):
    board, first, second = start({"python3": f'PYTHONPATH={ROOT} exec {sys.executable} "$@"'}), artifact("mlp"), other()
    listed = board.temporary.parent / "home" / "edgekit" / "trust.json"

    def trusted() -> set[str]:
        return set(json.loads(listed.read_text())["trusted"])

    assert put(board, first).trusted
    assert trusted() == {first.sha256}
    put(board, second)
    assert trusted() == {first.sha256, second.sha256}
    listed.write_text(json.dumps({"schema_version": 1, "trusted": {first.sha256: "of the board's user"}}))
    assert put(board, second).state == "already there"  # where it was cut off before
    assert trusted() == {first.sha256, second.sha256}
    also = destination(f"{to(board).address}/also")
    deploy(also, Wish(second, NO_STREAM), config=str(board.config))
    remove(to(board), "mlp_fp32", config=str(board.config))
    assert trusted() == {first.sha256, second.sha256}, "the other folder holds it still"
    deploy(also, Wish(first, NO_STREAM), config=str(board.config))
    deploy(also, Wish(first, NO_STREAM, again=True), config=str(board.config))
    assert trusted() == {first.sha256}
    deploy(also, Wish(second, NO_STREAM), config=str(board.config))
    with board_fault(board, "python3", "exit 1"):
        assert "may be on the trust list there still" in str(remove(also, "mlp_fp32", config=str(board.config)).left)
        assert not put(board, first).trusted
    assert trusted() == {first.sha256, second.sha256}
    assert put(board, first).trusted, "edgekit came there later"
    remove(to(board), "mlp_fp32", config=str(board.config))
    assert trusted() == {first.sha256, second.sha256}
    assert json.loads(listed.read_text())["trusted"][first.sha256] == "of the board's user"


@pytest.mark.slow
def test_a_fleet_tells_of_each_board_and_goes_on_where_it_failed(start, tmp_path, monkeypatch):
    fleet = [start(), start({"df": "echo '/dev/x 1000 999 2 99% /'"})]
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
    assert [row["ok"] for row in rows] == [True, False]
    assert "available 2,048 bytes" in rows[1]["error"]
    asked = edgekit_main("deploy", edge, *addresses, "--check")
    assert (asked.returncode, asked.stdout.count("fits"), asked.stderr.count("available 2,048")) == (1, 1, 1)
    document = folder_of(fleet[0]) / "mlp_fp32" / "current" / "deployed.json"
    document.write_text(document.read_text().replace('"target": "host"', '"target": "ho\\u001b[2Jst"'))
    (fleet[1].config.parent / "bin" / "df").unlink()
    second = edgekit_main("deploy", edge, *addresses)
    assert second.returncode == 0, second.stdout
    assert (second.stdout.count("already there"), second.stdout.count(" deployed ")) == (1, 1)
    listed = edgekit_main("deploy", "--list", *addresses)
    assert listed.stdout.count("mlp_fp32") == 2
    assert all(address in listed.stdout for address in addresses)
    assert "ho[2Jst" in listed.stdout
    quiet = edgekit_main("deploy", "--remove", "none", *addresses, "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr.count("failed: ssh://")) == (1, "", 2)
    assert f"for those alone: edgekit deploy --remove none {shlex.join(addresses)}\n" in quiet.stderr
    single = edgekit_main("deploy", "--remove", "none", addresses[0], "--json")
    assert (single.returncode, json.loads(single.stdout)["boards"][0]["address"]) == (2, addresses[0])
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
        (["m.edge", "ssh://h", "ssh://H:22/~/edgekit/"], "is the same folder as ssh://h"),
        (["--no-service", "m", "--service", "/x", "ssh://h"], "does not go with --no-service"),
        (["--list", "--at-once", "0", "ssh://h"], "--at-once 0: means nothing"),
    ):
        answer = edgekit_main("deploy", *words)
        assert (answer.returncode, said in answer.stderr, answer.stderr.count("\n")) == (2, True, 1), answer.stderr
