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
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from edgekit.errors import CapacityError, EdgekitError, TargetError, ToolchainError, UsageError
from edgekit.profile.places import end, ended

SCHEME = "ssh://"
CONFIG = "EDGEKIT_SSH_CONFIG"  # a configuration file of ssh to use in place of the user's
CONNECT_S, REMOVE_S = 15, 10
COPY_S, SLOWEST = 30.0, 10_000.0  # a copy may take so long, and a second more for each so many bytes
_UNAME = {"x86_64": "x86_64", "aarch64": "aarch64", "armv7l": "armv7", "armv8l": "armv7"}
_OPTIONS = (
    "BatchMode=yes",  # never a question that nobody sees
    "StrictHostKeyChecking=yes",
    f"ConnectTimeout={CONNECT_S}",
    "ServerAliveInterval=5",  # a connection that was cut is noticed after three times this
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "EscapeChar=none",
    "LogLevel=ERROR",
)
# The first folder whose files can be run; some boards mount /tmp so that none can.
_HOLD = """
umask 077
d=
trap 'test -z "$d" || rm -rf "$d"' EXIT
trap 'exit 1' HUP INT TERM PIPE
for base in "${TMPDIR:-/tmp}" /var/tmp "$HOME" /dev/shm; do
  mkdir "$base/$name" 2>/dev/null || continue
  d=$base/$name
  if printf '#!/bin/sh\\nexit 0\\n' >"$d/try" 2>/dev/null && chmod 700 "$d/try" && "$d/try" 2>/dev/null; then
    rm "$d/try"; break
  fi
  rm -rf "$d"; d=
done
test -n "$d" || { echo 'no folder whose files can be run' >&2; exit 3; }
printf '%s\\n' "$d"
uname -m
free=$(df -Pk "$d" 2>/dev/null | tail -n 1)
printf '%s\\n' "${free:-unknown}"
while read -r _; do :; done
"""


class Ssh:
    """The board that an address `ssh://[user@]host[:port]` names, through the user's own keys and configuration.

    `config` is a configuration file of ssh in place of the user's, by default what the variable EDGEKIT_SSH_CONFIG
    names. `hold` is a shell script that makes the folder and holds it, which finds its name in $name; it prints the
    folder, `uname -m` and the last line of `df -Pk`, and may then answer what `ask` gives it. UsageError for what is no
    such address. Entering it raises TargetError where the board cannot be reached, refuses, or is not one that programs
    are built for; an unknown host key is one, and says what to do.
    """

    is_here = False

    def __init__(self, address: str, *, config: str | None = None, hold: str = _HOLD) -> None:
        self.name = address
        self.arch = ""
        self._user_host, self._port = host_of(address)
        self._config = config or os.environ.get(CONFIG)
        self._hold = hold
        self._folder = ""
        self._free_bytes: int | None = None
        self._rest = ""
        self._control: tempfile.TemporaryDirectory[str] | None = None
        self._holder: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Ssh:
        if shutil.which("ssh") is None:
            raise ToolchainError("ssh", "is not installed", "apt install openssh-client")
        # Short, whatever TMPDIR is: the path of a socket has a limit of about 100 bytes.
        self._control = tempfile.TemporaryDirectory(prefix="ek-", dir="/tmp")
        try:
            self._holder = self._ssh(f"name=edgekit-{secrets.token_hex(8)}\n{self._hold}", "-M")
            folder, machine, free = self._first_lines(self._holder, 3)
            self._folder = _checked(folder, self.name)
            self._free_bytes = _free(free)
            if machine not in _UNAME:
                known = ", ".join(_UNAME)
                raise TargetError(self.name, f"is a {machine or 'machine without a name'}", f"known are {known}")
            self.arch = _UNAME[machine]
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
        paths = [shlex.quote(f"{self._folder}/{name}") for name in files]
        made = [shlex.quote(f"{self._folder}/{name}") for name in programs]
        mode = f"chmod 700 {' '.join(made)} && " if made else ""
        code, answer, messages = self.do(f"{mode}sha256sum {' '.join(paths)}")
        if code == 127:  # a board without sha256sum: read the files back
            found = [hashlib.sha256(self.do(f"cat {path}")[1]).hexdigest() for path in paths]
        elif code:
            raise self.failed(code, messages)
        else:
            found = re.findall(r"^\\?([0-9a-f]{64}) ", answer.decode("utf-8", "replace"), re.MULTILINE)
        wanted = [hashlib.sha256(contents).hexdigest() for contents in files.values()]
        for name, here, there in zip(files, wanted, [*found, *[""] * len(wanted)], strict=False):
            if here != there:
                cause = f"arrived on {self.name} with the SHA-256 {there[:12] or 'nobody knows'}, not {here[:12]}"
                raise TargetError(f"file {name!r}", cause, "is the board's memory or card worn out?")

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program of the folder there."""
        program, *arguments = command
        words = " ".join(shlex.quote(word) for word in (f"./{program}", *arguments))
        # Not by exec: of a program that a signal ends, ssh says no more than of a connection that was cut.
        process = self._ssh(f"cd {shlex.quote(self._folder)} && {words}; exit $?")
        self._started.append(process)
        return process

    def do(self, script: str, given: bytes = b"", limit_s: float = COPY_S) -> tuple[int, bytes, str]:
        """Run a shell command there to its end: its exit code, what it printed, and its messages."""
        process = self._ssh(script)
        try:
            limit = limit_s + len(given) / SLOWEST
            out, errors = process.communicate(given, timeout=limit)
        except subprocess.TimeoutExpired as error:
            raise TargetError(self.name, f"did not answer within {limit:.0f} s", "is it still reachable?") from error
        finally:
            end(process)
        messages = errors.decode("utf-8", "replace")
        if process.returncode == 255:
            raise self.failed(255, messages)
        return process.returncode, out, messages

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
                    raise TargetError(self.name, *line[5:].split("; ", 1))

    def failed(self, code: int, messages: str) -> EdgekitError:
        """Why ssh, or a program that it started, ended with this code and these messages."""
        lines = [line.strip() for line in messages.splitlines() if line.strip()]
        # Where the shell that holds the folder has gone, so has the folder: that is why a command failed.
        gone = self._folder and (self._holder is None or self._holder.poll() is not None)
        if code != 255 and not gone:
            return ended(self.name, code, messages)
        ssh = "ssh" + (f" -p {self._port}" if self._port else "") + f" {self._user_host}"
        for pattern, cause, remedy in (
            (
                "IDENTIFICATION HAS CHANGED",
                "shows another host key than the one that is known",
                "someone may be in between; if you know why it changed: ssh-keygen -R HOST, and connect by hand once",
            ),
            (
                "Host key verification failed|host key is known",
                "shows a host key that is not known here",
                f"compare it, and accept it once by hand: {ssh}",
            ),
            (
                "Permission denied",
                "refuses the login",
                f"a key without a question is needed, as in: ssh-copy-id {ssh[4:]}",
            ),
            ("Could not resolve", "has no such name", "mend the address"),
            ("refused|timed out|No route|unreachable", "cannot be reached", f"try by hand: {ssh}"),
            (
                "closed|reset|Broken pipe|not responding|lost connection|mux_client",
                "cut the connection",
                f"try by hand: {ssh}",
            ),
        ):
            if re.search(pattern, messages):
                return TargetError(self.name, cause, remedy, lines[-2:])
        return TargetError(
            self.name, "cut the connection" if self._folder else "cannot be reached", f"try by hand: {ssh}", lines[-2:]
        )

    def _ssh(self, script: str, *options: str) -> subprocess.Popen[bytes]:
        if self._control is None:
            raise TargetError(self.name, "has not been entered", "use it in a with statement")
        command = ["ssh", *(("-F", self._config) if self._config else ()), "-T", *options]
        command += [word for option in _OPTIONS for word in ("-o", option)]
        command += ["-S", str(Path(self._control.name) / "s"), *(("-p", str(self._port)) if self._port else ())]
        command += ["--", self._user_host, f"exec sh -c {shlex.quote(script)}"]
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches it through this process alone, which then tidies up
            env={**os.environ, "LC_ALL": "C"},
        )

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
            messages = process.stderr.read().decode("utf-8", "replace") if process.stderr else ""
            raise self.failed(process.wait(), messages)
        return part.decode("utf-8", "replace")

    def _full(self, needed: int) -> CapacityError:
        return CapacityError(f"{self.name}, {self._folder}", needed, self._free_bytes or 0, "make room on the board")

    def _leave(self) -> None:
        """End what runs there, and wait until the folder is gone."""
        for process in self._started:
            end(process)
        self._started.clear()
        if self._holder is not None:
            try:
                if self._holder.stdin is not None:
                    self._holder.stdin.close()
                self._holder.wait(REMOVE_S)
            except (subprocess.TimeoutExpired, BrokenPipeError):  # it is ended below, and the board's shell with it
                pass
            finally:
                end(self._holder)
        self._holder = None
        self._folder = ""
        if self._control is not None:
            self._control.cleanup()
        self._control = None


def host_of(address: str, form: str = "it is written ssh://[user@]host[:port]") -> tuple[str, int | None]:
    """`user@host` and the port; UsageError, with the form as its remedy, for what could be anything else than that."""
    what = f"address {shown(address)!r}"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise UsageError(what, "names a port that is none", form) from error
    user, host = parts.username, parts.hostname
    word = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
    fits = parts.scheme == "ssh" and host and not (parts.path.strip("/") or parts.query or parts.fragment)
    if not fits or parts.password or not re.fullmatch(rf"{word}|[0-9A-Fa-f:.]+(%{word})?", host or ""):
        raise UsageError(what, "does not name a board", form)
    if user is not None and not re.fullmatch(word, user):
        raise UsageError(what, "names a user that is none", form)
    return f"{user}@{host}" if user else str(host), port


def shown(address: str) -> str:
    """An address as messages tell it: without the password that somebody may have put in."""
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:…@", address)


def _checked(folder: str, name: str) -> str:
    if not re.fullmatch(r"/[^\x00-\x1f]*/edgekit-[0-9a-f]{16}", folder):
        raise TargetError(name, f"made a folder with the name {folder[:80]!r}", "set TMPDIR there")
    return folder


def _free(line: str) -> int | None:
    """Bytes that are free, from the last line of `df -Pk`; None where it says something else."""
    words = line.split()
    return int(words[3]) * 1024 if len(words) >= 6 and words[3].isdecimal() else None
