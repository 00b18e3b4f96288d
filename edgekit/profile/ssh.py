"""A board over ssh: the system's own ssh, nothing installed there, host keys always checked, nothing left behind.

A first connection makes the folder, and holds it: its shell removes the folder when its input ends, be that because the
work is over, because edgekit was killed, or because the connection was cut. All other commands go through it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from edgekit.errors import CapacityError, EdgekitError, TargetError, ToolchainError
from edgekit.profile.places import ended
from edgekit.profile.ssh_address import host_of
from edgekit.profile.ssh_said import arch_in, folder_in, free_bytes_in, printable, printable_lines, why_cut
from edgekit.profile.ssh_sessions import CONNECT_S, LOOK_S, Sessions, last_words
from edgekit.profile.ssh_stop import Stop, StoppedError

CONFIG = "EDGEKIT_SSH_CONFIG"  # a configuration file of ssh to use in place of the user's
REMOVE_S = 10
COPY_S, SLOWEST = 30.0, 10_000.0  # a copy may take so long, and a second more for each so many bytes


class Ssh:
    """The board that an address `ssh://[user@]host[:port]` names, through the user's own keys and configuration.

    `config` is a configuration file of ssh in place of the user's, by default what the variable EDGEKIT_SSH_CONFIG
    names. `hold` is a shell script that makes the folder and holds it in place of hold.sh, which finds its name in
    $name; it prints the folder, `uname -m` and the last line of `df -Pk`, and may then answer what `ask` gives it. When
    somebody asks `stop`, what waits for the board raises StoppedError. UsageError for what is no such address. Entering
    it raises TargetError where the board cannot be reached, refuses, or is not one that programs are built for; an
    unknown host key is one, and says what to do.
    """

    is_here = False

    def __init__(
        self, address: str, *, config: str | None = None, hold: str | None = None, stop: Stop | None = None
    ) -> None:
        self.name = address
        self.arch = ""
        self._user_host, self._port = host_of(address)
        self._config = config or os.environ.get(CONFIG)
        self._hold = hold or (Path(__file__).parent / "hold.sh").read_text(encoding="utf-8")
        self._folder = ""
        self._free_bytes: int | None = None
        self._rest = ""
        self._stop = stop or Stop()
        self._sessions: Sessions | None = None
        self._holder: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Ssh:
        if shutil.which("ssh") is None:
            raise ToolchainError("ssh", "is not installed", "apt install openssh-client")
        self._sessions = Sessions((self._user_host, self._port), self._config, self._stop)
        try:
            held = f"name=edgekit-{secrets.token_hex(8)}\n{self._hold}"
            self._holder = self._ssh(held, first=True, interruptible=False)
            folder, machine, free = self._first_lines(self._holder, 3)
            self._folder = folder_in(folder, self.name)
            self._sessions.entered = True
            self._free_bytes = free_bytes_in(free)
            self.arch = arch_in(machine, self.name)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def folder(self) -> str:
        """The folder there, while it is entered."""
        return self._folder

    def put(self, files: Mapping[str, bytes], programs: Sequence[str] = ()) -> None:
        """Copy files into the folder and compare their SHA-256 there; CapacityError where there is no room for them."""
        needed = sum(map(len, files.values()))
        if self._free_bytes is not None and needed > self._free_bytes:
            raise self._full(needed)
        for name, contents in files.items():
            path = shlex.quote(f"{self._folder}/{name}")
            code, _, messages = self.do(f"cat >{path}", contents)
            if code:
                raise self._full(needed) if "No space left" in messages else self.failed(code, messages)
        made = [shlex.quote(f"{self._folder}/{name}") for name in programs]
        mode = f"chmod 700 {' '.join(made)} && " if made else ""
        found = self.sha256([f"{self._folder}/{name}" for name in files], mode)
        wanted = [hashlib.sha256(contents).hexdigest() for contents in files.values()]
        for name, here, there in zip(files, wanted, found, strict=True):
            if here != there:
                cause = f"arrived on {self.name} with the SHA-256 {there[:12] or 'nobody knows'}, not {here[:12]}"
                raise TargetError(f"file {name!r}", cause, "is the board's memory or card worn out?")

    def sha256(self, paths: Sequence[str], before: str = "") -> list[str]:
        """The SHA-256 of files there, absolute paths, as the board says, after `before` has been run there."""
        words = [shlex.quote(path) for path in paths]
        code, answer, messages = self.do(f"{before}sha256sum {' '.join(words)}")
        if code == 127:  # a board without sha256sum: read the files back
            return [hashlib.sha256(self.do(f"cat {word}")[1]).hexdigest() for word in words]
        if code:
            raise self.failed(code, messages)
        found = re.findall(r"^\\?([0-9a-f]{64}) ", answer.decode("utf-8", "replace"), re.MULTILINE)
        return [*found, *[""] * len(paths)][: len(paths)]

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program of the folder there."""
        program, *arguments = command
        words = " ".join(shlex.quote(word) for word in (f"./{program}", *arguments))
        # Not by exec: of a program that a signal ends, ssh says no more than of a connection that was cut.
        process = self._ssh(f"cd {shlex.quote(self._folder)} && {words}; exit $?")
        self._started.append(process)
        return process

    def do(
        self, script: str, given: bytes = b"", limit_s: float = COPY_S, *, to_its_end: bool = False
    ) -> tuple[int, bytes, str]:
        """Run a shell command there: its exit code, what it printed, and its messages, which are printable.

        A wish to stop ends the wait for it, unless it has to come to its end; on the board it may run on.
        """
        process = self._ssh(script, interruptible=not to_its_end)
        try:
            out, errors = self._all_of(process, given, limit_s + len(given) / SLOWEST)
        finally:
            self._end(process)
        messages = printable_lines(errors.decode("utf-8", "replace"))
        if process.returncode < 0 or process.returncode == 255:
            raise self.failed(255, messages)
        return process.returncode, out, messages

    def _all_of(self, process: subprocess.Popen[bytes], given: bytes, limit_s: float) -> tuple[bytes, bytes]:
        """What a process prints and its messages. One that was interrupted leaves its pipes to the connection."""
        last, rest = time.monotonic() + limit_s, given or None
        while True:
            try:
                said = process.communicate(rest, timeout=LOOK_S)
            except subprocess.TimeoutExpired as error:
                rest = None  # it goes on with what it was given
                if time.monotonic() > last:
                    cause = f"did not answer within {limit_s:.0f} s"
                    raise TargetError(self.name, cause, "is it still reachable?") from error
                said = None
            if self._stop.asked and (process.poll() or 0) < 0:
                raise StoppedError
            if said is not None:
                return said

    def ask(self, request: str, limit_s: float = COPY_S) -> list[str]:
        """What the script that holds the folder prints for a line, up to `done`; TargetError where it says `fail …`."""
        if self._holder is None or self._holder.stdin is None:
            raise TargetError(self.name, "has not been entered", "use it in a with statement")
        try:
            self._holder.stdin.write(f"{request}\n".encode())
            self._holder.stdin.flush()
        except BrokenPipeError:  # what it said before it ended is read below
            pass
        lines, last = list[str](), time.monotonic() + limit_s
        while True:
            text = self._more(self._holder, last)
            lines += (self._rest + text).split("\n")
            self._rest = lines.pop()
            for at, line in enumerate(lines):
                if line == "done":
                    return lines[:at]
                if line.startswith("fail "):
                    raise TargetError(self.name, *printable(line[5:]).split("; ", 1))

    def failed(self, code: int, messages: str) -> EdgekitError:
        """Why ssh, or a program that it started, ended with this code and these messages."""
        messages = printable_lines(messages)
        # Where the shell that holds the folder has gone, so has the folder: that is why a command failed.
        gone = self._folder and (self._holder is None or self._holder.poll() is not None)
        if code != 255 and not gone:
            return ended(self.name, code, messages)
        words = (f"-p {self._port} " if self._port else "") + self._user_host
        return why_cut(self.name, words, messages, entered=bool(self._folder))

    def _ssh(self, script: str, *, first: bool = False, interruptible: bool = True) -> subprocess.Popen[bytes]:
        if self._sessions is None:
            raise TargetError(self.name, "has not been entered", "use it in a with statement")
        return self._sessions.start(script, first=first, interruptible=interruptible)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if self._sessions is not None:
            self._sessions.end(process)

    def _first_lines(self, process: subprocess.Popen[bytes], count: int) -> list[str]:
        """The first lines that a process prints; a login shell may print others before, which are passed over."""
        text, last = "", time.monotonic() + 2 * CONNECT_S
        while True:
            lines = text.split("\n")
            first = next((n for n, line in enumerate(lines[:-1]) if re.search(r"/edgekit-[0-9a-f]{16}$", line)), None)
            if first is not None and len(lines) - 1 >= first + count:
                return lines[first : first + count]
            text += self._more(process, last)

    def _more(self, process: subprocess.Popen[bytes], last: float) -> str:
        """What else a process prints; an error when it ends, or says nothing until then."""
        if process.stdout is None:
            raise ToolchainError("ssh", "has no pipes")
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, last - time.monotonic()))
        if not ready:
            raise TargetError(self.name, "did not answer in time", "is it reachable?")
        part = os.read(process.stdout.fileno(), 4096)
        if not part:
            raise self.failed(*last_words(process))
        return part.decode("utf-8", "replace")

    def _full(self, needed: int) -> CapacityError:
        return CapacityError(f"{self.name}, {self._folder}", needed, self._free_bytes or 0, "make room on the board")

    def _leave(self) -> None:
        """End what runs there, and wait until the folder is gone."""
        for process in self._started:
            self._end(process)
        self._started.clear()
        if self._holder is not None:
            try:
                if self._holder.stdin is not None:
                    self._holder.stdin.close()
                # Not for ssh to end, which waits for commands on the board that were given up.
                text, last = "", time.monotonic() + REMOVE_S
                while not text.endswith("gone\n"):
                    text += self._more(self._holder, last)
            except (EdgekitError, BrokenPipeError):  # it is ended below, and the board's shell with it
                pass
            finally:
                self._end(self._holder)
        self._holder = None
        self._folder = ""
        if self._sessions is not None:
            self._sessions.close()
        self._sessions = None
