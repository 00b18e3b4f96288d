"""All subjects of all peers on one case: opened, checked, and closed whatever happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgekit.bench.accuracy import Accuracy, fault_of, measure_accuracy
from edgekit.bench.cases import Case
from edgekit.bench.environments import python_of
from edgekit.bench.peers import PEERS
from edgekit.bench.remote import Patience, RemoteSubject, Worker
from edgekit.errors import EdgekitError

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Rival:
    """A subject of a peer, and how near it is to PyTorch; with a `fault` it is not timed."""

    peer: str
    subject: RemoteSubject
    accuracy: Accuracy | None = None
    fault: str = ""


@contextmanager
def opened(
    case: Case,
    peers: Sequence[str],
    folder: Path,
    *,
    threads: int,
    decided: npt.NDArray[np.int64] | None,
    patience: Patience,
    progress: Progress,
) -> Iterator[list[Rival]]:
    """Every subject of `peers` on the case that lies in `folder`, each peer in a process with so many threads."""
    with ExitStack() as stack:
        rivals = []
        for peer in peers:
            worker = stack.enter_context(Worker(peer, python_of(PEERS[peer]), folder, threads, patience))
            progress(f"{case.name}: {peer}")
            try:
                names = worker.subjects()
            except EdgekitError as error:
                rivals.append(Rival(peer, RemoteSubject(worker, peer), fault=str(error)))
                continue
            for name in names:
                progress(f"{case.name}: {name}")
                rivals.append(_check(peer, RemoteSubject(worker, name), case, decided))
        yield rivals


def _check(peer: str, subject: RemoteSubject, case: Case, decided: npt.NDArray[np.int64] | None) -> Rival:
    try:
        subject.open()
        accuracy = measure_accuracy(subject, case, decided)
    except EdgekitError as error:
        return Rival(peer, subject, fault=str(error))
    return Rival(peer, subject, accuracy, fault_of(subject.name, accuracy, len(case.expected)))
