"""The ssh processes of one connection: how they are called, and how they are ended from another thread."""

from __future__ import annotations

import functools
import os
import select
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from edgekit.errors import ToolchainError
from edgekit.profile.places import end
from edgekit.profile.ssh_stop import Stop, StoppedError

CONNECT_S = 15
END_S, LOOK_S = 3.0, 0.1  # how long an ssh that prints no more may take to end, and how often one looks
_OPTIONS = (  # what the user's configuration may say otherwise
    "BatchMode=yes",  # never a question that nobody sees
    "StrictHostKeyChecking=yes",
    "NoHostAuthenticationForLocalhost=no",
    f"ConnectTimeout={CONNECT_S}",
    "ServerAliveInterval=5",  # a connection that was cut is noticed after three times this
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "PermitLocalCommand=no",
    "ControlPersist=no",
    "EscapeChar=none",
    "LogLevel=ERROR",
)
_NEWER = (  # an ssh that does not know one of them refuses it, here as in the user's configuration
    "AddKeysToAgent=no",  # `ask` would open a dialog, the others leave a key in the agent
    "RemoteCommand=none",
    "SessionType=default",  # this and the next two came with OpenSSH 8.7
    "StdinNull=no",
    "ForkAfterAuthentication=no",
)


class Sessions:
    """Shells on a board, over one connection that the `first` of them makes; `entered` once it has.

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

    def start(self, script: str, *, first: bool = False, interruptible: bool = True) -> subprocess.Popen[bytes]:
        """A shell there that runs a script."""
        user_host, port = self._host
        command = ["ssh", *(("-F", self._config) if self._config else ()), "-T"]
        every = (*_OPTIONS, *_known(shutil.which("ssh") or "ssh"), f"ControlMaster={'yes' if first else 'no'}")
        command += [word for option in every for word in ("-o", option)]
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
                    _kill(process)
                    self._heard = True

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process if it still runs, and collect it."""
        with self._lock:
            self._running = [row for row in self._running if row[0] is not process]
        _kill(process)
        end(process)

    def close(self) -> None:
        """Forget the connection, whose processes have ended."""
        self._stop.leave(self)
        self._control.cleanup()


def last_words(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The exit code and the messages of an ssh that prints no more; 255, as of a cut connection, if it lives on."""
    said, last = b"", time.monotonic() + END_S
    while process.stderr is not None and time.monotonic() < last:
        # Not until its end: what ssh has started, as a jump's connection that persists, may keep the pipe open.
        if select.select([process.stderr], [], [], LOOK_S)[0]:
            part = os.read(process.stderr.fileno(), 4096)
            if not part:
                break
            said += part
        elif process.poll() is not None:
            break
    try:
        code = process.wait(max(0.0, last - time.monotonic()))
    except subprocess.TimeoutExpired:
        code = 255
    return code, said.decode("utf-8", "replace")


@functools.cache
def _known(ssh: str) -> tuple[str, ...]:
    """Those of the newer options that an ssh knows; ToolchainError if it does not answer."""

    def knows(option: str) -> bool:
        asked = [ssh, "-F", "none", "-G", "-o", option, "--", "board"]
        try:
            return subprocess.run(asked, capture_output=True, check=False, timeout=CONNECT_S).returncode == 0
        except subprocess.TimeoutExpired as error:
            cause = f"did not say within {CONNECT_S} s which options it knows"
            raise ToolchainError("ssh", cause, "try by hand: ssh -G localhost") from error

    return tuple(filter(knows, _NEWER))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill an ssh that runs, and end the ProxyCommand that it would have ended: they are a group of their own."""
    process.kill()
    if process.returncode is None:  # not collected, so that the number of the group is still its own
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
