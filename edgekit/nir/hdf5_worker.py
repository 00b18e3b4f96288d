"""The process that reads HDF5: `python -m edgekit.nir.hdf5_worker FILE SECONDS`.

It is a process of its own because the HDF5 library may loop, take all memory or end the process on a damaged file.
The answer on standard output: a line of JSON, then the bytes of all arrays. The JSON is a node, or `fault` and `items`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

from edgekit.errors import EdgekitError, ModelError
from edgekit.nir.hdf5 import read_file
from edgekit.nir.raw import RawNode

MEMORY_BYTES = 2**31


def main(path: str, seconds: str) -> int:
    """Read a file within limits of time and memory, and write what is in it."""
    limit(int(seconds))
    blobs: list[memoryview] = []
    try:
        answer = _document(read_file(path), blobs)
    except EdgekitError as error:
        answer, blobs = {"fault": [error.thing, error.cause, error.remedy]}, []
    out = sys.stdout.buffer
    out.write(json.dumps(answer).encode() + b"\n")
    for blob in blobs:
        out.write(blob)
    return 0


def limit(seconds: int) -> None:
    """Bound this process where the system can."""
    try:
        import resource
    except ImportError:  # Windows: the caller's clock is the only limit
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _document(node: RawNode, blobs: list[memoryview]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in node.fields.items():
        if isinstance(value, np.ndarray):
            array = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
            fields[name] = [array.dtype.str, list(value.shape)]
            blobs.append(array.reshape(-1).view(np.uint8).data)
        else:
            fields[name] = value
    return {
        "kind": node.kind,
        "fields": fields,
        "metadata": dict(node.metadata),
        "edges": [list(edge) for edge in node.edges],
        "nodes": {name: _document(inner, blobs) for name, inner in node.nodes.items()},
    }


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        sys.exit(main(*sys.argv[1:]))
    except MemoryError:
        sys.exit(str(ModelError(sys.argv[1], "needs more memory than is given to read it")))
