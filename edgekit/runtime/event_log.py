"""A log of what was learned from, in order: with the artifact, it gives the same learned bytes again.

A .npz file, never unpickled, of at most 1 GiB:

    format    1
    artifact  SHA-256 of the artifact, in hex
    engine    what learned it, in words
    x0, x1 …  [N, …] float32, in raw units: the windows of each input of the step
    y         [N] int64, the classes; [0] where the rule is told nothing
    order     [E] int64, the window of each update
    merges    [M] int64, rising: after so many updates a task ended
    before    uint8, what was learned before, as a journal holds it; empty for the weights that the artifact came with
    after     SHA-256 of what was learned then, in hex
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, replace
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.artifact.damage import ARRAY_FAULTS
from edgekit.errors import DataError, StateError
from edgekit.runtime.examples import Course, Examples, check_examples
from edgekit.runtime.kept import broken
from edgekit.runtime.session import Session
from edgekit.runtime.streams import Array

FORMAT = 1
MOST_BYTES = 1 << 30
MOST_TEXT = 200


@dataclass(frozen=True, eq=False)
class EventLog:
    """`course` over `examples`, by an artifact that had learned `before` (empty: nothing); then it had what hashes to
    `after`. `engine` learned it: floats may differ on another one.
    """

    artifact_sha256: str
    examples: Examples
    course: Course
    before: bytes
    after: str
    engine: str

    def continued(self, later: EventLog) -> EventLog:
        """This log and one that begins where it ends."""
        sides = zip(self.examples.inputs, later.examples.inputs, strict=True)
        known = [y for y in (self.examples.y, later.examples.y) if y is not None]
        examples = Examples(tuple(np.concatenate(pair) for pair in sides), np.concatenate(known) if known else None)
        order = np.concatenate([self.course.order, later.course.order + len(self.examples)])
        merges = (*self.course.merges, *(len(self.course) + at for at in later.course.merges))
        engine = self.engine if self.engine == later.engine else "several engines"
        return replace(self, examples=examples, course=Course(order, merges), after=later.after, engine=engine)

    def packed(self) -> bytes:
        """The .npz file: it holds the windows themselves."""
        made = BytesIO()
        arrays: dict[str, Any] = {f"x{at}": array for at, array in enumerate(self.examples.inputs)}
        arrays |= {
            "format": np.array(FORMAT),
            "artifact": np.array(self.artifact_sha256),
            "engine": np.array(self.engine),
            "before": np.frombuffer(self.before, np.uint8),
            "after": np.array(self.after),
            "y": np.zeros(0, np.int64) if self.examples.y is None else self.examples.y.astype(np.int64),
            "order": self.course.order.astype(np.int64),
            "merges": np.array(self.course.merges, np.int64),
        }
        np.savez_compressed(made, **arrays)
        return made.getvalue()


def digest(learned: bytes) -> str:
    """SHA-256 of what was learned."""
    return hashlib.sha256(learned).hexdigest()


def read_log(path: Path, session: Session) -> EventLog:
    """Read an event log of this artifact; DataError where it is none, StateError where it is another artifact's."""
    arrays = _arrays(path)
    try:
        log = _log(arrays, len(session.facts.inputs))
    except (KeyError, ValueError, TypeError) as error:
        cause = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise _no_log(path, cause) from error
    if log.artifact_sha256 != session.artifact.sha256:
        raise StateError(str(path), "is the log of another artifact", "replay it with the artifact it belongs to")
    if log.before and len(log.before) != session.facts.layout.learned_bytes:
        raise _no_log(path, f"what was learned before has {len(log.before)} bytes")
    if log.before and broken(session.facts, log.before):
        raise _no_log(path, "what was learned before holds NaN or Inf")
    _check_course(path, log)
    return replace(log, examples=check_examples(session, log.examples, str(path)))


def _arrays(path: Path) -> dict[str, Array]:
    """The arrays of a file, none of which may be larger than what it takes in the file."""
    if not path.is_file():
        cause = "is not a regular file" if path.exists() else "no such file"
        raise DataError(str(path), cause, "give what `edgekit learn --log` wrote")
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(member.file_size for member in archive.infolist())) > MOST_BYTES:
                raise DataError(str(path), f"holds {size:,} bytes, more than {MOST_BYTES:,}")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (*ARRAY_FAULTS, MemoryError) as error:
        raise _no_log(path, (str(error).splitlines() or [type(error).__name__])[0][:120]) from error


def _no_log(path: Path, why: str) -> DataError:
    return DataError(str(path), f"is no event log of `edgekit learn` ({why})", "give what `edgekit learn --log` wrote")


def _log(arrays: dict[str, Array], inputs: int) -> EventLog:
    """The log in arrays; KeyError, ValueError or TypeError where they are none."""
    if int(_whole(arrays, "format", 0)) != FORMAT:
        raise ValueError(f"of format {arrays['format']}, this edgekit knows {FORMAT}")
    x = tuple(arrays[f"x{at}"] for at in range(inputs))
    if any(a.dtype.kind != "f" or a.dtype.itemsize != 4 or not a.ndim for a in x):
        raise ValueError("windows are not float32")
    before, y = arrays["before"], _whole(arrays, "y", 1)
    if before.dtype != np.uint8 or before.ndim != 1:
        raise ValueError("what was learned before is not bytes")
    return EventLog(
        artifact_sha256=_text(arrays, "artifact"),
        examples=Examples(x, y if y.size else None),
        course=Course(_whole(arrays, "order", 1), tuple(_whole(arrays, "merges", 1).tolist())),
        before=before.tobytes(),
        after=_text(arrays, "after"),
        engine=_text(arrays, "engine"),
    )


def _whole(arrays: dict[str, Array], name: str, ndim: int) -> Array:
    array = arrays[name]
    if array.dtype.kind not in "iu" or array.ndim != ndim or array.dtype.itemsize > 8:
        raise ValueError(f"{name} is {array.dtype}{list(array.shape)}, not whole numbers")
    if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {array.max()}")
    return array.astype(np.int64)


def _text(arrays: dict[str, Array], name: str) -> str:
    array: Any = arrays[name]
    if array.dtype.kind != "U" or array.ndim or array.dtype.itemsize > 4 * MOST_TEXT:
        raise ValueError(f"{name} is {array.dtype}{list(array.shape)}, not a text")
    return str(array)


def _check_course(path: Path, log: EventLog) -> None:
    """DataError unless the events are examples of the log, and tasks end one after the other between them."""
    order, merges = log.course.order, log.course.merges
    if not len(log.examples) or not len(order):
        raise _no_log(path, "nothing was learned in it")
    if order.min() < 0 or order.max() >= len(log.examples):
        raise _no_log(path, f"it learns example {order.max()} of {len(log.examples)}")
    places = [0, *merges]
    if any(b <= a for a, b in pairwise(places)) or places[-1] > len(order):
        raise _no_log(path, "its tasks do not end one after the other")
