"""The parent's side of a worker: it starts one, asks, waits only so long, and leaves none behind."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import numpy as np

import edgekit
from edgekit.bench.clock import Turn
from edgekit.bench.stimuli import Array
from edgekit.errors import ToolchainError
from edgekit.toolchain.interrupts import uninterrupted

_MOST_BYTES = 1_000_000  # of an answer
_SAID = 300  # characters of what a worker said last


@dataclass(frozen=True)
class Patience:
    """Seconds after which a worker that has not answered is taken to hang: while it imports its packages, converts a
    model (a first compilation, on a busy computer, takes a minute), computes outputs, or takes a turn of milliseconds.
    """

    start: float = 180.0
    open: float = 600.0
    run: float = 300.0
    turn: float = 60.0


PATIENCE = Patience()


class Worker:
    """A process in another environment that serves the subjects of one peer; a context that ends it."""

    def __init__(self, peer: str, python: Path, folder: Path, threads: int, patience: Patience) -> None:
        self.peer, self.patience, self.generation = peer, patience, 0
        self._command = [str(python), "-m", "edgekit.bench.worker", peer, str(folder), str(threads)]
        self.folder, self._threads = folder, threads
        self._log = folder / f"{peer}.{threads}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether it has been started and not ended by us."""
        return self._process is not None

    def subjects(self) -> list[str]:
        """Start if need be, and say what there is; ToolchainError when the worker cannot be started."""
        return [str(name) for name in self.ask(self.patience.start, do="subjects")["subjects"]]

    def ask(self, patience: float, **request: Any) -> dict[str, Any]:
        """The answer to a request; ToolchainError when there is none, or none that makes sense: the worker is then
        ended, and the next request starts another.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # its last words are in the log
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        line = self._line(process, patience)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self.close()
            raise ToolchainError(self._what(request), f"answered what is no answer: {line[:60]!r}")
        if "error" in answer:
            raise ToolchainError(self._what(request), _one_line(str(answer["error"])))
        return answer

    def close(self) -> None:
        """End the process, and those that it started."""
        if (process := self._process) is None:
            return
        self._process, self._rest = None, b""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        self.generation += 1
        with self._log.open("wb") as log, uninterrupted():  # one that nobody knows would not be ended
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=_environment(self.folder, self._threads),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the parent, which ends the whole group
            )
        return self._process

    def _line(self, process: subprocess.Popen[bytes], patience: float) -> bytes:
        assert process.stdout is not None
        until = monotonic() + patience
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, until - monotonic())):
                    self._fail(f"did not answer in {patience:g} s")
                block = os.read(process.stdout.fileno(), 65_536)
                if not block:
                    code = process.wait()
                    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
                    self._fail(how)
                self._rest += block
                if len(self._rest) > _MOST_BYTES:
                    self._fail("answers without an end")
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _fail(self, cause: str) -> None:
        self.close()
        said = _last_words(self._log)
        raise ToolchainError(f"the worker of {self.peer}", cause + (f"; it said: {said}" if said else ""))

    def _what(self, request: Mapping[str, Any]) -> str:
        return f"{self.peer}, {request['do']}"


@dataclass
class RemoteSubject:
    """A subject in a worker. Where another subject has ended the worker, this one is opened again in the next."""

    worker: Worker
    name: str
    detail: str = ""
    _generation: int = -1

    def open(self) -> None:
        """Convert and load; ToolchainError with the peer's own words when that fails."""
        answer = self.worker.ask(self.worker.patience.open, do="open", subject=self.name)
        self.detail, self._generation = str(answer["detail"]), self.worker.generation

    def run(self, windows: Array) -> Array:
        self._reopen()
        given, taken = (self.worker.folder / f"{self.worker.peer}.{what}.npy" for what in ("windows", "outputs"))
        np.save(given, windows)
        request = {"do": "run", "subject": self.name, "windows": str(given), "outputs": str(taken)}
        self.worker.ask(self.worker.patience.run, **request)
        outputs: Array = np.load(taken)
        if outputs.shape[:2] != windows.shape[:2]:
            raise ToolchainError(self.name, f"gave outputs of shape {outputs.shape} for windows {windows.shape}")
        return outputs

    def turn(self, steps: int) -> Turn:
        self._reopen()
        answer = self.worker.ask(self.worker.patience.turn, do="turn", subject=self.name, steps=steps)
        return Turn(int(answer["nanoseconds"]), bool(answer["interrupted"]))

    def _reopen(self) -> None:
        if self._generation != self.worker.generation or not self.worker.alive:
            self.open()


def _environment(folder: Path, threads: int) -> dict[str, str]:
    """This process's, but with edgekit alone on the path: not the packages that are installed beside it here."""
    path = folder / "path"
    path.mkdir(exist_ok=True)
    package = Path(edgekit.__file__).resolve().parent
    for source in (package, package.parent / "targets"):  # a checkout has its targets beside the package
        link = path / source.name
        if source.is_dir() and not link.exists():
            link.symlink_to(source)
    dropped = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONWARNINGS"}
    kept = {key: value for key, value in os.environ.items() if key not in dropped}
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {
        **kept,
        **counts,
        "PYTHONPATH": str(path),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def _last_words(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_SAID] if lines else ""


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID else f"{line[:_SAID]}…"
