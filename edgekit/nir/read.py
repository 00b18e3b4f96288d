"""A `.nir` file as a raw graph: checked from outside, then read by a process of its own (hdf5_worker.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.errors import ModelError
from edgekit.nir.raw import RawNode

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_FILE_BYTES = 2**29
SECONDS = 10
BYTES_PER_SECOND = 2**22
"""Of compressed weights: a file gets SECONDS, and one more for so many bytes."""


def read_nir(path: str | os.PathLike[str]) -> RawNode:
    """The graph in a `.nir` file.

    Raises ModelError for a file that is none, is damaged, or holds more than is read.
    """
    path = Path(path)
    seconds = SECONDS + _checked_size(path) // BYTES_PER_SECOND
    head, blobs = _answer(path, seconds)
    if "fault" in head:
        thing, *rest = head["fault"]
        raise ModelError(str(path) if thing == str(path.resolve()) else thing, *rest)
    return _node(head, _Bytes(blobs))


def _checked_size(path: Path) -> int:
    """Bytes of the file; ModelError unless it is there, begins as HDF5 does, and is of a size to be read."""
    try:
        with path.open("rb") as stream:
            head, size = stream.read(len(SIGNATURE)), os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise ModelError(str(path), f"cannot be read ({error.strerror})") from error
    if head != SIGNATURE:
        raise ModelError(str(path), "is not a NIR file: it does not begin as HDF5 does", "write it with nir.write")
    if size > MAX_FILE_BYTES:
        raise ModelError(str(path), f"has {size:,} bytes", f"up to {MAX_FILE_BYTES:,} are read")
    return size


def _answer(path: Path, seconds: int) -> tuple[dict[str, Any], memoryview]:
    """What the reading process says: the document, and the bytes of the arrays."""
    command = [sys.executable, "-m", "edgekit.nir.hdf5_worker", str(path.resolve()), str(seconds)]
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=2 * seconds, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(str(path), f"is damaged: it could not be read within {seconds} s", "write it anew") from None
    if done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        why = f"the reader ended with {done.returncode}" + (f": {last[0][:200]}" if last else "")
        raise ModelError(str(path), f"is damaged ({why})", "write it anew")
    line, _, rest = done.stdout.partition(b"\n")
    head: dict[str, Any] = json.loads(line)
    return head, memoryview(rest)


class _Bytes:
    """The bytes of the arrays, taken in order."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._at = data, 0

    def array(self, dtype: str, shape: list[int]) -> np.ndarray[Any, Any]:
        count = int(np.prod(shape, dtype=np.int64))
        array = np.frombuffer(self._data, dtype, count, self._at) if count else np.zeros(0, dtype)
        self._at += array.nbytes
        return array.reshape(shape)


def _node(document: dict[str, Any], data: _Bytes) -> RawNode:
    fields = {
        name: data.array(*value) if isinstance(value, list) else value for name, value in document["fields"].items()
    }
    nodes = {name: _node(inner, data) for name, inner in document["nodes"].items()}
    edges = tuple((a, b) for a, b in document["edges"])
    return RawNode(document["kind"], fields, nodes, edges, document["metadata"])
