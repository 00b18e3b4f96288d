"""Places where a program is measured: this computer, or a board over ssh (ssh.py)."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edgekit.errors import EdgekitError, TargetError
from edgekit.target import load_target

_NO_INSTRUCTION = (-4, 128 + 4)  # SIGILL, as the system and as a shell tells it


class Place(Protocol):
    """A folder on some machine, made on entering and removed on leaving, into which files are put and programs started.

    `arch` is x86_64, aarch64 or armv7, known once it has been entered; `is_here` says whether the code that runs there
    runs on this computer.
    """

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def arch(self) -> str:
        """The architecture of programs for it."""

    @property
    def is_here(self) -> bool:
        """Whether it is this computer."""

    def __enter__(self) -> Place: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def put(self, files: Mapping[str, bytes], programs: Sequence[str] = ()) -> None:
        """Copy files into the folder, and check there that they arrived whole; `programs` are those that are run."""

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program of the folder, with pipes for its input, output and messages."""

    def failed(self, code: int, messages: str) -> EdgekitError:
        """Why a program that was started ended with this code and these messages."""


class Here:
    """This computer. `through` is a command that runs programs for another one here, such as qemu's user mode, and
    `arch` theirs: it is no confinement, code that runs through it runs here.
    """

    is_here = True

    def __init__(self, *, through: Sequence[str] = (), arch: str | None = None) -> None:
        self.name = "this computer" + (f", through {Path(through[0]).name}" if through else "")
        self.arch = arch or load_target("host").arch
        self._through = tuple(through)
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Here:
        self._folder = tempfile.TemporaryDirectory(prefix="edgekit-")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._started:
            end(process)
        self._started.clear()
        if self._folder is not None:
            self._folder.cleanup()
        self._folder = None

    @property
    def _path(self) -> Path:
        if self._folder is None:
            raise TargetError(self.name, "has not been entered", "use it in a with statement")
        return Path(self._folder.name)

    def put(self, files: Mapping[str, bytes], programs: Sequence[str] = ()) -> None:
        """Write files into the folder."""
        for name, contents in files.items():
            (self._path / name).write_bytes(contents)
        for name in programs:
            (self._path / name).chmod(0o700)

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program of the folder."""
        program, *arguments = command
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        try:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                [*self._through, str(self._path / program), *arguments],
                cwd=self._path,
                start_new_session=True,  # Ctrl-C reaches it through this process alone
                **pipes,  # type: ignore[call-overload]
            )
        except OSError as error:
            cause = f"does not run programs in {self._path}: {error.strerror}"
            raise TargetError(self.name, cause, "set TMPDIR to a folder that does") from error
        self._started.append(process)
        return process

    def failed(self, code: int, messages: str) -> EdgekitError:
        """Why a program ended."""
        return ended(self.name, code, messages)


def ended(name: str, code: int, messages: str) -> TargetError:
    """The error of a program that ended at a place before it was done."""
    remedy = "convert the model for that very board" if code in _NO_INSTRUCTION else ""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    return TargetError(f"the program on {name}", ending(code), remedy, lines[-3:])


def ending(code: int) -> str:
    """How a process ended, from its return code; a shell adds 128 to the number of a signal."""
    signal = -code if code < 0 else code - 128
    names = {4: "an instruction that the processor does not have", 7: "a bus error", 11: "memory it may not use"}
    if code < 0 or 128 < code <= 128 + 64:
        return f"was ended by signal {signal}" + (f": {names[signal]}" if signal in names else "")
    return f"ended with exit code {code}"


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process if it still runs, collect it, and close its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None and not pipe.closed:
            try:
                pipe.close()
            except BrokenPipeError:  # what was left to send has nobody to read it
                continue
