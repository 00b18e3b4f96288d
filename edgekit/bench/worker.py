"""`python -m edgekit.bench.worker PEER FOLDER THREADS`: one peer in its own environment, driven over a pipe.

Requests and answers are JSON objects, one a line; arrays travel as .npy files. Whatever the peer's packages print goes
to stderr. A request that fails is answered with {"error": …}; the worker ends when its input does, or when its parent
dies.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edgekit.bench.packages import hushed
from edgekit.bench.parcel import read_case
from edgekit.bench.peers import PEERS
from edgekit.bench.subject import Subject
from edgekit.errors import EdgekitError

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Server:
    """What a worker can be asked; subjects are made when they are first opened."""

    def __init__(self, peer: str, folder: Path, threads: int) -> None:
        module: Any = import_module(f"edgekit.bench.peers.{PEERS[peer].module}")
        self._makers: Mapping[str, Callable[[], Subject]] = module.subjects(read_case(folder), folder, threads)
        self._open: dict[str, Subject] = {}

    def subjects(self) -> dict[str, Any]:
        """The names of all subjects of the peer."""
        return {"subjects": list(self._makers)}

    def open(self, subject: str) -> dict[str, Any]:
        """Convert and load one of them."""
        self._open[subject] = self._makers[subject]()
        return {"detail": self._open[subject].detail}

    def run(self, subject: str, windows: str, outputs: str) -> dict[str, Any]:
        """Step outputs of the windows in one file, to another."""
        np.save(outputs, self._open[subject].run(np.load(windows)))
        return {}

    def turn(self, subject: str, steps: int) -> dict[str, Any]:
        """The time of so many steps."""
        turn = self._open[subject].turn(steps)
        return {"nanoseconds": turn.nanoseconds, "interrupted": turn.interrupted}


def serve(server: Server, requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end."""
    handlers: Mapping[str, Callable[..., dict[str, Any]]] = {
        "subjects": server.subjects,
        "open": server.open,
        "run": server.run,
        "turn": server.turn,
    }
    for line in requests:
        request = json.loads(line)
        handler = handlers[request.pop("do")]
        try:
            answer = handler(**request)
        except Exception as error:  # whatever a peer raises is the answer
            said = str(error) if isinstance(error, EdgekitError) else f"{type(error).__name__}: {error}"
            answer = {"error": said}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve the peer that the command line names."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    peer, folder, threads = sys.argv[1:]
    with hushed():
        serve(Server(peer, Path(folder), int(threads)), sys.stdin, answers)


if __name__ == "__main__":
    main()
