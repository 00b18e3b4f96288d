"""Services of deployed artifacts: systemd is played by a script, sensors are FIFOs and pseudo-terminals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from converted import artifact, edgekit_main, stream
from deploys import QUICK, board_fault, csv, folder_of, put, quick_boards, to
from sshd import Start, soon

from edgekit.deploy import Wish, check_source, deploy, destination, end_service, list_installed, remove, roll_back
from edgekit.deploy.contents import stream_of
from edgekit.errors import TargetError, UsageError
from edgekit.streaming import Options


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with quick_boards(tmp_path) as start:
        try:
            yield start
        finally:
            for group in tmp_path.glob("*/home/units/*/group"):
                with suppress(ProcessLookupError):
                    os.killpg(int(group.read_text()), signal.SIGKILL)


# Plays systemd, which does not run here: units by their names, enabled by a link, and started again when they end.
SYSTEMCTL = r"""
home=$XDG_CONFIG_HOME units=$XDG_CONFIG_HOME/systemd/user
for unit in "$@"; do :; done
state=$home/units/$unit
echo "$*" >>"$home/calls"
case "$*" in *is-system-running) echo running; exit ;; *daemon-reload) exit ;; esac
test -e "$units/$unit" || { echo "Unit $unit does not exist" >&2; exit 1; }
end() { test ! -e "$state/group" || kill -9 "-$(cat "$state/group")"; rm -rf "$state"; }
case "$*" in
  *is-active*) test -e "$state/main" ;;
  *MainPID*) cat "$state/main" ;;
  *SubState*) test -e "$state/main" && echo running || echo auto-restart ;;
  *Result*) test "$(cat "$state/code")" = 0 && echo success || echo exit-code ;;
  *ExecMainStatus*) cat "$state/code" ;;
  *disable*) rm "$units/default.target.wants/$unit"; end ;;
  *enable*) mkdir -p "$units/default.target.wants"; ln -sf "$units/$unit" "$units/default.target.wants/" ;;
  *restart*)
    end
    mkdir -p "$state"
    command=$(sed -n 's/%%/%/g; s/[$][$]/\\$/g; s/^ExecStart=//p' "$units/$unit")
    setsid sh -c '
      while cd "$1"; do
        (eval "exec $2") & echo $! >main
        wait $!; echo $? >code; rm main; sleep 2
      done' - "$state" "$command" >>"$home/journal" 2>&1 <&- &
    echo $! >"$state/group" ;;
esac
"""

SYSTEMD = {**QUICK, "systemctl": SYSTEMCTL, "id": "echo 1000"}


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_a_service_reads_a_sensor_and_follows_its_versions(start, tmp_path):
    board = start(SYSTEMD)
    home, what = board.temporary.parent / "home", artifact("l2mu")
    home.mkdir()
    left = home / "systemd" / "user"
    os.mkfifo(source := tmp_path / "imu 50% $now")
    os.mkfifo(another := tmp_path / "another")
    wish = Wish(what, stream_of(what, Options(window=20), needed=True), str(source))
    with pytest.raises(TargetError, match="has no /none; make the FIFO first"):
        deploy(to(board), replace(wish, source="/none"), config=str(board.config))
    one = deploy(to(board), wish, config=str(board.config))
    assert one.service == "active until 1000 logs out; for longer: sudo loginctl enable-linger 1000"
    unit = left / str(one.unit)
    assert (left / "default.target.wants" / unit.name).resolve() == unit

    def running() -> str:
        main = home / "units" / unit.name / "main"
        soon(main.exists, "it is not started again")
        return str(Path(f"/proc/{main.read_text().strip()}/exe").readlink())

    def versions() -> list[str]:
        return sorted(path.name for path in Path(one.path).parent.glob("versions/*"))

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
    assert versions() == [one.version, two.version], "what was never accepted is no version to go back to"
    with board_fault(board, "id", "echo 0"), pytest.raises(TargetError, match="one of a user, and you are root there"):
        deploy(to(board), wish, config=str(board.config))
    document = Path(one.path) / "deployed.json"
    whole = document.read_text()
    document.write_text("{")
    with board_fault(board, "systemctl", broken), pytest.raises(TargetError, match=f"{one.version} is current again"):
        deploy(to(board), replace(wish, source=None), config=str(board.config))
    assert f'"source": "{source}"' in unit.read_text()
    document.write_text(whole)
    with pytest.raises(TargetError, match=r"could not go on: not asked for; .* --no-service l2mu_fp32 '?ssh:"):
        put(board, what)
    with pytest.raises(UsageError, match="has nothing to run: not asked for"):
        put(board, what, source=str(source))
    assert end_service(to(board), what.name, config=str(board.config)).service == "removed"
    assert not [path for path in left.rglob("*") if path.name == unit.name]
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
    assert len(list((home / "systemd" / "user").glob("*.service"))) == 1
    assert end_service(to(board), what.name, config=str(board.config)).service == "removed"
    assert list((home / "systemd" / "user").iterdir()) == []
    one = deploy(to(board), replace(wish, source="/dev/null"), config=str(board.config))
    assert str(one.service).startswith("active")  # a sensor whose samples end at once
    (found,) = list_installed(to(board), config=str(board.config))
    assert found.to_dict()["current"]["unit"] == found.unit == one.unit


def test_a_removal_that_stopped_halfway_can_be_finished(start, tmp_path):
    board, what = start({**SYSTEMD, "loginctl": "echo yes"}), artifact("l2mu")
    (board.temporary.parent / "home").mkdir()
    os.mkfifo(source := tmp_path / "imu")
    wish = Wish(what, stream_of(what, Options(window=20), needed=True), str(source))
    assert deploy(to(board), wish, config=str(board.config)).service == "active"
    with board_fault(board, "mv", "exit 1"), pytest.raises(TargetError, match="could not remove all of l2mu_fp32"):
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
    home = board.temporary.parent / "home/systemd/user"
    assert sorted(path.name for path in home.glob("*.service")) == sorted(set(units))
    assert sorted(path.name for path in home.glob("default.target.wants/*")) == sorted(set(units))
    assert remove(folder, what.name, config=str(board.config)).unit == units[1]
    assert [path.name for path in home.rglob("*.service")] == [units[0]] * 2
    of_the_system = 'case "$*" in --user*) exit 1;; *) echo running;; esac'
    with board_fault(board, "systemctl", of_the_system):
        said = deploy(to(board), replace(wish, again=True), config=str(board.config)).service
    assert said is not None
    assert "no systemd of 1000 runs there; sudo loginctl enable-linger 1000, then" in said
    text = (home / units[0]).read_text()
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


@pytest.mark.parametrize("source", ["imu", "/a/../b", "/a\nb", "/a\u202eb", "", "/", "serial:x"])
def test_a_service_reads_from_a_path_of_the_board(source):
    with pytest.raises(UsageError, match="is no absolute path"):
        check_source(source)


def test_a_serial_port_has_a_speed_that_it_can_be_set_to(tmp_path):
    edge = artifact("mlp").save(tmp_path / "m.edge")
    answer = edgekit_main("deploy", edge, "ssh://h", "--service", "serial:/dev/ttyS0@123")
    assert (answer.returncode, "no speed of serial ports; near it are 110 and 134" in answer.stderr) == (2, True)
