"""A board over ssh: a real sshd of Debian on this computer's loopback, with a host key and a user key of its own.

Faults are those of the board: programs on its PATH that behave as on a worn-out card, a full disk or another machine.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgekit.profile.ssh import Ssh

SECONDS = 10.0  # to wait for what has to happen soon


@dataclass(frozen=True)
class Board:
    """An sshd that runs, and what is needed to reach it; `temporary` is the board's folder for temporary files."""

    address: str
    config: Path
    known: Path
    temporary: Path
    server: int

    def ssh(self, **changes: str) -> Ssh:
        return Ssh(changes.get("address", self.address), config=str(changes.get("config", self.config)))

    def left(self) -> list[str]:
        """What is in the folder for temporary files."""
        return sorted(path.name for path in self.temporary.iterdir())


Start = Callable[..., Board]


def found(program: str) -> str:
    """The path of a program; its absence fails under CI and skips elsewhere."""
    path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        reason = f"no {program}: apt install openssh-server openssh-client"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def key(path: Path) -> str:
    """Make a key pair, and return its public half."""
    subprocess.run([found("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path.with_suffix(".pub").read_text()


@contextmanager
def boards(tmp_path: Path) -> Iterator[Start]:
    """Starts boards; `faults` maps names of programs to shell scripts that stand before the real ones."""
    servers: list[subprocess.Popen[bytes]] = []

    def start(faults: Mapping[str, str] | None = None, *, command: str = "", path: str = "") -> Board:
        folder = tmp_path / f"board{len(servers)}"
        (programs := folder / "bin").mkdir(parents=True)
        (temporary := folder / "tmp").mkdir()
        for name, script in (faults or {}).items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        # SHLVL below: bash reads ~/.bashrc for sshd unless it is another shell's; that is no part of a board.
        home = folder / "home"
        port, host, mine = free_port(), key(folder / "host"), key(folder / "mine")
        (folder / "authorized").write_text(mine)
        (folder / "known").write_text(f"[127.0.0.1]:{port} {host}")
        (folder / "sshd_config").write_text(
            textwrap.dedent(f"""
            Port {port}
            ListenAddress 127.0.0.1
            HostKey {folder / "host"}
            PidFile none
            AuthorizedKeysFile {folder / "authorized"}
            StrictModes no
            UsePAM no
            PasswordAuthentication no
            KbdInteractiveAuthentication no
            PermitRootLogin yes
            SetEnv PATH={path or f"{programs}:/usr/bin:/bin"} TMPDIR={temporary} XDG_CONFIG_HOME={home} SHLVL=1
            {f"ForceCommand {command}" if command else ""}
            """)
        )
        (folder / "config").write_text(
            textwrap.dedent(f"""
            Host *
              IdentityFile {folder / "mine"}
              IdentitiesOnly yes
              UserKnownHostsFile {folder / "known"}
              GlobalKnownHostsFile /dev/null
              StrictHostKeyChecking no
            """)  # the last must not count
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it, and Debian makes it when it boots
        server = subprocess.Popen([found("sshd"), "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.PIPE)
        servers.append(server)
        last = time.monotonic() + SECONDS
        while not listening(port):
            assert time.monotonic() < last, "sshd does not listen"
            assert server.poll() is None, server.stderr.read() if server.stderr else ""
            time.sleep(0.02)
        address = f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
        return Board(address, folder / "config", folder / "known", temporary, server.pid)

    found("ssh")
    found("sshd")
    try:
        yield start
    finally:
        for server in servers:
            for process in below(server.pid):
                kill(process)
            server.kill()
            server.communicate()


def soon(true: Callable[[], bool], what: str) -> None:
    """Wait until something is true; fails with `what` where it does not become so."""
    last = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < last, what
        time.sleep(0.02)


def below(parent: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    direct = [int(word) for word in children.read_text().split()] if children.exists() else []
    return [*direct, *(further for child in direct for further in below(child))]


def kill(process: int) -> None:
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
