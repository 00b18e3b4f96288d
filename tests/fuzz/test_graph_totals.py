"""A small file must not make this computer reserve gigabytes: sizes are summed before anything is allocated."""

from __future__ import annotations

import tracemalloc

import pytest

from edgekit.errors import GraphError
from edgekit.ir import GraphBuilder, from_document, to_document


def test_states_that_are_large_together_are_refused_before_they_are_made() -> None:
    b = GraphBuilder("bomb")
    b.input("x", (4,))
    b.output(b.op("neg", "x"))
    document, weights = to_document(b.build())
    for n in range(6):
        document["tensors"].append({"name": f"s{n}", "shape": [2**27], "dtype": "float32"})
        document["states"].append({"tensor": f"s{n}", "reset": "reset", "init": "zero"})
    tracemalloc.start()
    with pytest.raises(GraphError, match="elements in its values and states"):
        from_document(document, weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
