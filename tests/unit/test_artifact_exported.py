"""The document that travels in an exported file: round trip, and everything that is malformed."""

import json

import numpy as np
import pytest

from edgekit.artifact import Quantised, dump_step_document, read_step_document, step_document
from edgekit.errors import ArtifactError
from edgekit.ir import INT8, GraphBuilder


def _graph():
    b = GraphBuilder("sums", 0.01)
    x, s = b.input("x", (3,)), b.state("s", [1.0, -2.0, 0.24])
    z = b.state("z", np.zeros((3,)), reset="keep")
    y = b.op("add", x, s, out="y")
    b.update("s", y)
    b.update("z", b.op("add", z, y))
    b.output(y)
    return b.build()


def test_round_trip_keeps_states_dt_and_first_values():
    graph = _graph()
    document = read_step_document(dump_step_document(step_document(graph, meta={}, precision="fp32")))
    assert (document.name, document.dt, document.precision) == ("sums", 0.01, "fp32")
    assert document.graph_sha256 == graph.hash()
    assert [(s.name, s.input, s.output, s.reset) for s in document.states] == [
        ("s", "s", "s.next", "reset"),
        ("z", "z", "z.next", "keep"),
    ]
    assert np.array_equal(document.states[0].init, np.float32([1.0, -2.0, 0.24]))
    assert not document.states[1].init.any()


def test_quantised_states_store_rounded_first_values():
    quant = {"s": Quantised(0.5, 3)}
    document = read_step_document(
        dump_step_document(step_document(_graph(), meta={}, precision="int8", dtypes={"s": INT8}, quant=quant))
    )
    state = document.states[0]
    assert state.dtype is INT8
    assert state.quant == quant["s"]
    assert state.init.tolist() == [5, -1, 3]


def test_a_large_state_is_not_too_much():
    b = GraphBuilder("large")
    x, s = b.input("x", (100_000,)), b.state("s", np.ones(100_000))
    b.update("s", b.op("add", x, s, out="y"))
    b.output("y")
    document = read_step_document(dump_step_document(step_document(b.build(), meta={}, precision="fp32")))
    assert document.states[0].init.sum() == 100_000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.update(schema_version=9), "schema_version"),
        (lambda d: d.update(inputs=[]), "inputs"),
        (lambda d: d["states"][0].update(output="y"), "'y' is named twice"),
        (lambda d: d["states"][0].update(init="AAAA"), "3 bytes"),
        (lambda d: d["states"][0].update(init="#"), "base64"),
        (lambda d: d["states"][0].update(init="AADAfwAAwH8AAMB/"), "NaN"),
        (lambda d: d["states"][0].update(shape=[2**40]), "shape"),
        (lambda d: d.update(surprise=1), "surprise"),
    ],
)
def test_malformed_documents_are_refused(change, says):
    document = json.loads(dump_step_document(step_document(_graph(), meta={}, precision="fp32")))
    change(document)
    with pytest.raises(ArtifactError, match=says):
        read_step_document(json.dumps(document))
