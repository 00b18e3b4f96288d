"""What edgekit promises of a board over ssh holds whatever the user's configuration of ssh says (sshd.py)."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sshd import SECONDS, Board, below, boards, found, kill, soon

from edgekit.errors import EdgekitError, TargetError
from edgekit.profile.ssh import Ssh
from edgekit.profile.ssh_stop import Stop


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A board, and a user here who has an agent and a desktop that asks; what was asked goes to the file `asked`."""
    folder = tmp_path_factory.mktemp("user")
    asks = folder / "asks"
    asks.write_text(f'#!/bin/sh\necho "$1" >>{folder}/asked\nexec sleep 60\n')
    asks.chmod(0o755)
    agent = subprocess.Popen([found("ssh-agent"), "-D", "-a", folder / "agent"], stdout=subprocess.DEVNULL)
    with boards(folder) as start, pytest.MonkeyPatch.context() as patch:
        for name, value in (("SSH_AUTH_SOCK", folder / "agent"), ("SSH_ASKPASS", asks), ("DISPLAY", ":9")):
            patch.setenv(name, str(value))
        yield start()
    agent.terminate()
    agent.wait(SECONDS)


@pytest.fixture
def configured(user: Board, tmp_path: Path) -> Iterator[Callable[[str], Board]]:
    def configure(lines: str) -> Board:
        """The board with a configuration that says this first; `jump` is the same computer under another name."""
        jump = f"Host jump\n  HostName 127.0.0.1\n  Port {user.address.rpartition(':')[2]}\n"
        config = tmp_path / "config"
        config.write_text(f"{jump}Host 127.0.0.1\n  {lines.format(at=tmp_path)}\n{user.config.read_text()}")
        return replace(user, config=config)

    yield configure
    for session in below(user.server):  # what a failed test leaves
        kill(session)
    subprocess.run(["ssh-add", "-D"], stderr=subprocess.DEVNULL, check=True)


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    "lines",
    [
        "SessionType none",
        "SessionType subsystem",
        "StdinNull yes",
        "ForkAfterAuthentication yes",
        "ControlMaster auto\n  ControlPath {at}/c-%C\n  ControlPersist yes",
        "ControlMaster ask",
        "AddKeysToAgent yes",
        "AddKeysToAgent ask",
        "RequestTTY force\n  RemoteCommand sleep 60\n  EscapeChar h\n  LogLevel DEBUG3\n  VisualHostKey yes",
        "PermitLocalCommand yes\n  LocalCommand touch {at}/local\n  BatchMode no\n  Tunnel yes\n  ForwardX11 yes",
        "ExitOnForwardFailure yes\n  LocalForward 1 localhost:1\n  RemoteForward 22 localhost:1\n  DynamicForward 1",
        "ProxyJump jump",
        "ProxyCommand ssh -F {at}/config -W %h:%p jump",
    ],
)
def test_a_configuration_breaks_no_promise(configured, tmp_path, lines):
    board = configured(lines)
    with board.ssh() as place:
        assert place.do("cat; test -t 0 || echo none", b"hello\n~.\n") == (0, b"hello\n~.\nnone\n", "")
    assert board.left() == []
    soon(lambda: not below(board.server), "a connection still lives")
    assert [path.name for path in tmp_path.iterdir()] == ["config"]
    assert not Path(os.environ["SSH_ASKPASS"]).with_name("asked").exists()
    assert subprocess.run(["ssh-add", "-l"], stdout=subprocess.DEVNULL, check=False).returncode == 1, "a key was added"


def test_an_older_ssh_is_given_no_option_that_it_does_not_know(configured, tmp_path, monkeypatch):
    older, real = tmp_path / "older", found("ssh")
    older.mkdir()
    names = "*SessionType*|*StdinNull*|*ForkAfterAuthentication*"
    program(
        older / "ssh", f'case "$*" in {names}) echo "Bad configuration option" >&2; exit 255 ;; esac\nexec {real} "$@"'
    )
    monkeypatch.setenv("PATH", f"{older}:{os.environ['PATH']}")
    with configured("RemoteCommand sleep 60").ssh() as place:
        assert place.do("echo hello")[1] == b"hello\n"
    # What edgekit cannot overrule ends an ssh's output, but not the ssh.
    monkeypatch.setattr("edgekit.profile.ssh_sessions.END_S", 0.2)
    with pytest.raises(TargetError, match="cannot be reached"), configured("SessionType none").ssh():
        pytest.fail("there was a session")


def test_a_proxy_that_leaves_something_behind_is_not_waited_for(configured, tmp_path):
    program(
        tmp_path / "behind",
        f"echo $$ >{tmp_path}/number.new; mv {tmp_path}/number.new {tmp_path}/number; exec sleep 60",
    )
    program(tmp_path / "proxy", f"setsid {tmp_path}/behind <&- >&- &")
    began = time.monotonic()
    with pytest.raises(TargetError, match="cut the connection"), configured("ProxyCommand {at}/proxy").ssh():
        pytest.fail("there was a connection")
    assert time.monotonic() - began < 30
    soon((tmp_path / "number").exists, "it was never started")
    kill(int((tmp_path / "number").read_text()))


def test_a_proxy_that_hangs_ends_with_the_wish_to_stop(configured, tmp_path):
    program(
        tmp_path / "proxy", f"echo $$ >{tmp_path}/number.new; mv {tmp_path}/number.new {tmp_path}/number; exec sleep 60"
    )
    board, stop = configured("ProxyCommand {at}/proxy"), Stop()
    number = tmp_path / "number"
    asker = threading.Thread(target=lambda: (soon(number.exists, "it was never started"), stop.ask()))
    asker.start()
    began = time.monotonic()
    with pytest.raises(EdgekitError), Ssh(board.address, config=str(board.config), stop=stop):
        pytest.fail("there was a connection")
    assert time.monotonic() - began < 30
    asker.join(SECONDS)
    proxy = Path("/proc", number.read_text().strip(), "comm")
    soon(lambda: not proxy.exists() or proxy.read_text() != "sleep\n", "the proxy still runs")
