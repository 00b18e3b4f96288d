"""Services of deployed artifacts: systemd is played by a script, sensors are FIFOs and pseudo-terminals."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from converted import artifact, edgekit_main, stream
from deploys import QUICK, board_fault, csv, folder_of, put, quick_boards, soon, to
from sshd import Start

from edgekit.deploy import Wish, deploy, destination, end_service, list_installed, remove, roll_back
from edgekit.deploy.contents import stream_of
from edgekit.errors import TargetError, UsageError
from edgekit.streaming import Options


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with quick_boards(tmp_path) as start:
        yield start


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

SYSTEMD = {**QUICK, "systemctl": SYSTEMCTL, "id": "echo 1000"}


@pytest.mark.slow
def test_a_service_reads_a_sensor_and_follows_its_versions(start, tmp_path):
    board = start(SYSTEMD)
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
    broken = SYSTEMCTL.replace("*restart*)", "never)")
    with board_fault(board, "systemctl", broken), pytest.raises(TargetError, match="did not start") as refused:
        roll_back(to(board), what.name, config=str(board.config))
    assert f"{two.version} is current again" in str(refused.value)
    assert Path(one.path).resolve().name == two.version
    dead = 'case "$*" in *is-system-running) echo running;; *) exit 1;; esac'
    with board_fault(board, "systemctl", dead), pytest.raises(TargetError, match="did not start") as refused:
        roll_back(to(board), what.name, config=str(board.config))
    assert f"{two.version} is current again\n  - going back was not all done" in str(refused.value)
    assert Path(one.path).resolve().name == two.version
    assert roll_back(to(board), what.name, config=str(board.config)).now == one.version
    assert running() == before
    with board_fault(board, "systemctl", broken), pytest.raises(TargetError, match="did not start edgekit-l2mu_fp32"):
        deploy(to(board), replace(wish, again=True, source=str(another)), config=str(board.config))
    assert Path(one.path).resolve().name == one.version
    with pytest.raises(TargetError, match=r"could not go on: not asked for; .* --no-service l2mu_fp32 '?ssh:"):
        put(board, what)
    with pytest.raises(UsageError, match="has nothing to run: not asked for"):
        put(board, what, source=str(source))
    assert end_service(to(board), what.name, config=str(board.config)).service == "removed"
    assert not unit.exists()
    with pytest.raises(TargetError, match="has no service"):
        end_service(to(board), what.name, config=str(board.config))
    after = deploy(to(board), replace(wish, source=None), config=str(board.config))
    assert (after.state, after.service, unit.exists()) == ("already there", None, False)
    assert "disable --now" in (home / "calls").read_text()


def test_a_service_that_cannot_be_installed_leaves_nothing_and_is_the_error(start, tmp_path):
    board, what = start(SYSTEMD), artifact("l2mu")
    (home := board.temporary.parent / "home").mkdir()
    (home / "systemd").write_text("no folder")
    os.mkfifo(source := tmp_path / "imu")
    wish = Wish(what, stream_of(what, Options(window=20), needed=True), str(source))
    with pytest.raises(TargetError, match=r"did not start edgekit-(.*\n)*.*l2mu_fp32 is not there, as before"):
        deploy(to(board), wish, config=str(board.config))
    assert list_installed(to(board), config=str(board.config)) == ()
    assert not (folder_of(board) / what.name).exists()
    (home / "systemd").unlink()
    put(board, what)
    dead = 'case "$*" in *is-system-running) echo running;; *) exit 1;; esac'
    with board_fault(board, "systemctl", dead), pytest.raises(TargetError, match="going back was not all done"):
        deploy(to(board), wish, config=str(board.config))
    assert len(list((home / "systemd" / "user").iterdir())) == 1
    assert end_service(to(board), what.name, config=str(board.config)).service == "removed"
    assert list((home / "systemd" / "user").iterdir()) == []


def test_a_removal_that_stopped_halfway_can_be_finished(start, tmp_path):
    board, what = start({**SYSTEMD, "loginctl": "echo yes"}), artifact("l2mu")
    (board.temporary.parent / "home").mkdir()
    os.mkfifo(source := tmp_path / "imu")
    wish = Wish(what, stream_of(what, Options(window=20), needed=True), str(source))
    assert deploy(to(board), wish, config=str(board.config)).service == "active"
    with board_fault(board, "mv", "exit 1"), pytest.raises(TargetError, match="could not remove l2mu_fp32"):
        remove(to(board), what.name, config=str(board.config))
    remove(to(board), what.name, config=str(board.config))
    assert not (folder_of(board) / what.name).exists()


def test_where_systemd_does_not_run_each_folder_has_its_unit_and_that_is_said(start, tmp_path):
    board, what = start({"systemctl": "echo offline; exit 1", "id": "echo 1000"}), artifact("mlp")
    sensor, port = os.openpty()
    wish = Wish(what, stream_of(what, Options(), needed=True), f"serial:{os.ttyname(port)}@57600")
    units = []
    for folder in (to(board), destination(f"{board.address}{tmp_path}/else")):
        outcome = deploy(folder, wish, config=str(board.config))
        assert outcome.service == "installed, not started: systemd does not run there"
        units.append(str(outcome.unit))
    assert sorted(path.name for path in (board.temporary.parent / "home/systemd/user").iterdir()) == sorted(set(units))
    text = (board.temporary.parent / "home/systemd/user" / units[0]).read_text()
    assert f'stty -F "{os.ttyname(port)}" 57600 raw' in text
    assert f'run" "{os.ttyname(port)}"' in text
    (regular := tmp_path / "samples").write_bytes(b"")
    for source, said in (
        (str(regular), "neither a FIFO nor a device; files and folders are no sensor"),
        (str(tmp_path), "neither a FIFO nor a device"),
        (os.ttyname(port), "a serial port; name its speed: --service serial:/dev/"),
        ("serial:/dev/null", "no serial port that stty can set"),
    ):
        with pytest.raises(TargetError, match=said):
            deploy(to(board), replace(wish, source=source), config=str(board.config))
    os.close(sensor)
    os.close(port)


@pytest.mark.parametrize("source", ["imu", "/a/../b", "/a\nb", "", "serial:x"])
def test_a_service_reads_from_a_path_of_the_board(source, tmp_path):
    answer = edgekit_main("deploy", artifact("mlp").save(tmp_path / "m.edge"), "ssh://h", "--service", source)
    assert (answer.returncode, "is no absolute path" in answer.stderr) == (2, True)
