"""The ssh processes of one connection: how they are called, and how they are ended from another thread."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import threading
from pathlib import Path

from edgekit.profile.places import end
from edgekit.profile.ssh_stop import Stop, StoppedError

CONNECT_S = 15
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


class Sessions:
    """Shells on a board, over one connection that the first of them makes (with the option -M); `entered` once it has.

    `host` is user@host and the port, `config` a configuration file of ssh. Where somebody asks `stop`, processes end
    that may be interrupted, or the next one is refused by StoppedError, so that the work fails; what tidies up then may
    start further ones, until somebody forces it.
    """

    def __init__(self, host: tuple[str, int | None], config: str | None, stop: Stop) -> None:
        self.entered = False
        self._host, self._config, self._stop = host, config, stop
        # Short, whatever TMPDIR is: the path of a socket has a limit of about 100 bytes.
        self._control = tempfile.TemporaryDirectory(prefix="ek-", dir="/tmp")
        self._lock = threading.Lock()
        self._running: list[tuple[subprocess.Popen[bytes], bool]] = []  # and whether it may be interrupted
        self._heard = False  # of the wish to stop
        stop.join(self)

    def start(self, script: str, *options: str, interruptible: bool = True) -> subprocess.Popen[bytes]:
        """A shell there that runs a script."""
        user_host, port = self._host
        command = ["ssh", *(("-F", self._config) if self._config else ()), "-T", *options]
        command += [word for option in _OPTIONS for word in ("-o", option)]
        command += ["-S", str(Path(self._control.name) / "s"), *(("-p", str(port)) if port else ())]
        command += ["--", user_host, f"exec sh -c {shlex.quote(script)}"]
        with self._lock:
            if self._stop.forced or (self._stop.asked and not self._heard):
                self._heard = True
                raise StoppedError
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches it through this process alone, which then tidies up
                env={**os.environ, "LC_ALL": "C"},
            )
            self._running.append((process, interruptible))
        return process

    def interrupt(self, *, force: bool) -> None:
        """End processes, from another thread: all of them with `force`, or while there is no connection yet."""
        with self._lock:
            for process, interruptible in self._running:
                if force or interruptible or not self.entered:
                    process.kill()
                    self._heard = True

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process if it still runs, and collect it."""
        with self._lock:
            self._running = [row for row in self._running if row[0] is not process]
        end(process)

    def close(self) -> None:
        """Forget the connection, whose processes have ended."""
        self._stop.leave(self)
        self._control.cleanup()
