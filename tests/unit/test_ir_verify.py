"""Malformed graphs: each is refused, and the first line names the thing that is wrong."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
from graph_samples import busy_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, same_graph

from edgekit.errors import GraphError
from edgekit.ir import (
    FLOAT32,
    INT8,
    INT32,
    SPIKE,
    Entry,
    Graph,
    GraphBuilder,
    Op,
    QuantParams,
    State,
    Tensor,
    from_document,
    to_document,
    verify,
)


def _base() -> Graph:
    b = GraphBuilder("base", dt=0.1)
    x, u = b.input("x", (2,)), b.state("u", np.zeros(3))
    y = b.op("linear", x, b.const("w", np.ones((3, 2))), out="y")
    b.update("u", b.op("add", u, y, out="n"))
    b.output(y)
    return b.build()


def _tensor(name, **changes):
    def change(graph):
        tensor = dataclasses.replace(graph.tensors[name], **changes)
        return graph.replace(tensors={**graph.tensors, name: tensor})

    return change


def _entry(**changes):
    return lambda graph: graph.with_entries(dataclasses.replace(graph.entries["step"], **changes))


def _state(**changes):
    return lambda graph: graph.replace(states=(dataclasses.replace(graph.states[0], **changes),))


def _op(at, **changes):
    def change(graph):
        ops = list(graph.entries["step"].ops)
        ops[at] = dataclasses.replace(ops[at], **changes)
        return graph.with_entries(dataclasses.replace(graph.entries["step"], ops=tuple(ops)))

    return change


def _with(*tensors):
    return lambda graph: graph.replace(tensors={**graph.tensors, **{t.name: t for t in tensors}})


NAN = np.full((3, 2), np.nan, np.float32)
SYMMETRIC = QuantParams(np.ones(3, np.float32), np.zeros(3, np.int32), 0, -127, 127)

# what is wrong -> (the change that makes it wrong, what the first line names, and says)
MALFORMED = {
    "graph name": (lambda g: g.replace(name="no name"), "graph 'no name'", "C identifier"),
    "long graph name": (lambda g: g.replace(name="g" * 65), "graph 'ggg", "64 characters"),
    "dt of zero": (lambda g: g.replace(dt=0.0), "graph 'base'", "dt"),
    "dt of NaN": (lambda g: g.replace(dt=float("nan")), "graph 'base'", "dt"),
    "no step": (lambda g: g.replace(entries={}), "graph 'base'", "no entry 'step'"),
    "misnamed entry": (lambda g: g.replace(entries={**g.entries, "b": g.entries["step"]}), "entry 'b'", "name"),
    "misnamed tensor": (lambda g: g.replace(tensors={**g.tensors, "x": g.tensors["y"]}), "tensor 'x'", "name"),
    "name with a space": (_with(Tensor("a b", (), FLOAT32, data=np.float32(1).reshape(()))), "tensor 'a b'", "name"),
    "empty axis": (_tensor("x", shape=(0,)), "tensor 'x'", "shape"),
    "seven axes": (_tensor("x", shape=(1,) * 7), "tensor 'x'", "at most 6"),
    "too many elements": (_tensor("x", shape=(2**20, 2**20)), "tensor 'x'", "elements"),
    "data of another shape": (_tensor("w", data=np.ones((2, 3), np.float32)), "tensor 'w'", "holds"),
    "data of another type": (_tensor("w", data=np.ones((3, 2), np.float64)), "tensor 'w'", "holds"),
    "NaN weights": (_tensor("w", data=NAN), "tensor 'w'", "NaN"),
    "infinite weights": (_tensor("w", data=NAN * 0 + np.float32(np.inf)), "tensor 'w'", "Inf"),
    "scales on floats": (_tensor("w", quant=SYMMETRIC), "tensor 'w'", "quantisation"),
    "scales that do not fit": (
        _tensor("w", dtype=INT8, data=np.ones((3, 2), np.int8), quant=dataclasses.replace(SYMMETRIC, axis=1)),
        "tensor 'w'",
        "scales",
    ),
    "range outside int8": (
        _tensor("w", dtype=INT8, data=np.ones((3, 2), np.int8), quant=dataclasses.replace(SYMMETRIC, qmax=300)),
        "tensor 'w'",
        "int8",
    ),
    "unused tensor": (_with(Tensor("ghost", (2,), FLOAT32)), "tensor 'ghost'", "nothing defines"),
    "state declared twice": (lambda g: g.replace(states=(*g.states, *g.states)), "state 'u'", "twice"),
    "state without tensor": (_state(tensor="v"), "tensor 'v'", "not in graph"),
    "state that is constant": (_state(tensor="w", init=np.ones((3, 2), np.float32)), "state 'w'", "constant"),
    "unknown reset policy": (_state(reset="sometimes"), "state 'u'", "reset, keep"),
    "first value of another shape": (_state(init=np.zeros(4, np.float32)), "state 'u'", "starts as"),
    "first value of another type": (_state(init=np.zeros(3, np.int32)), "state 'u'", "starts as"),
    "first value NaN": (_state(init=np.full(3, np.nan, np.float32)), "state 'u'", "NaN"),
    "no outputs": (_entry(outputs=()), "entry 'step'", "no outputs"),
    "unknown output": (_entry(outputs=("z",)), "entry 'step'", "'z'"),
    "unknown input": (_entry(inputs=("x", "z")), "tensor 'z'", "not in graph"),
    "input twice": (_entry(inputs=("x", "x")), "entry 'step'", "also something else"),
    "input that is a state": (_entry(inputs=("x", "u")), "entry 'step'", "also something else"),
    "input that is constant": (_entry(inputs=("x", "w")), "entry 'step'", "also something else"),
    "update of no state": (_entry(updates={"y": "n"}), "entry 'step'", "no state"),
    "update with nothing": (_entry(updates={"u": "z"}), "entry 'step'", "never computed"),
    "update of another shape": (_entry(updates={"u": "x"}), "entry 'step'", "updates 'u'"),
    "unknown op": (_op(0, kind="conv9"), "entry 'step', op 0 (conv9)", "op table"),
    "missing operand": (_op(0, inputs=("x",)), "entry 'step', op 0 (linear)", "2 to 3 inputs"),
    "operand of the future": (_op(0, inputs=("n", "w")), "entry 'step', op 0 (linear)", "before it is defined"),
    "unknown attribute": (_op(0, attrs={"shape": 1}), "entry 'step', op 0 (linear)", "no attribute 'shape'"),
    "attribute of another kind": (_op(0, attrs={"form": 3}), "entry 'step', op 0 (linear)", "cannot be 3"),
    "form that does not fit": (_op(0, attrs={"form": "event"}), "entry 'step', op 0 (linear)", "spike input"),
    "too many results": (_op(0, outputs=("y", "n")), "entry 'step', op 0 (linear)", "has 2 outputs"),
    "result defined twice": (_op(1, outputs=("y",)), "entry 'step', op 1 (add)", "second time"),
    "result that is constant": (_op(1, outputs=("w",)), "entry 'step', op 1 (add)", "second time"),
    "result of another shape": (_tensor("n", shape=(4,)), "entry 'step', op 1 (add)", "declared"),
    "result of another type": (_tensor("n", dtype=SPIKE), "entry 'step', op 1 (add)", "declared"),
    "source in the message": (_op(1, source="net.fc", kind="gt"), "op 1 (gt, from net.fc)", "declared"),
}


@pytest.mark.parametrize(("change", "thing", "cause"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_graphs_are_refused_by_name(change, thing, cause):
    graph = _base()
    with pytest.raises(GraphError) as caught:
        verify(change(graph))
    first = str(caught.value).splitlines()[0]
    assert thing in first.split(": ")[0] or first.startswith(thing)
    assert cause in first


def test_the_graph_that_all_of_them_start_from_is_accepted():
    graph = _base()
    assert verify(graph) is graph


def test_the_same_result_name_in_two_entries_is_refused():
    graph = _base()
    again = dataclasses.replace(graph.entries["step"], name="again", inputs=(), ops=(Op("neg", ("u",), ("y",)),))
    with pytest.raises(GraphError, match="entry 'again', op 0"):
        verify(graph.with_entries(again))


# --- int8 weights of a linear ----------------------------------------------------------------------------------------


def _int8(**changes):
    params = {
        "scale": np.ones(3, np.float32),
        "zero_point": np.zeros(3, np.int32),
        "axis": 0,
        "qmin": -127,
        "qmax": 127,
    }
    return Tensor("w", (3, 2), INT8, QuantParams(**{**params, **changes}), np.ones((3, 2), np.int8))


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (Tensor("w", (3, 2), INT8, None, np.ones((3, 2), np.int8)), "constant and have scales"),
        (_int8(zero_point=np.ones(3, np.int32)), "symmetrically"),
        (_int8(axis=1, scale=np.ones(2, np.float32), zero_point=np.zeros(2, np.int32)), "per tensor or per output"),
        (Tensor("w", (3, 2), INT32, None, np.ones((3, 2), np.int32)), "float32 or int8"),
    ],
)
def test_weights_a_linear_cannot_take(weights, says):
    tensors = {"w": weights, "x": Tensor("x", (2,), FLOAT32), "y": Tensor("y", (3,), FLOAT32)}
    step = Entry("step", ("x",), ("y",), (Op("linear", ("x", "w"), ("y",)),))
    with pytest.raises(GraphError, match=says):
        verify(Graph("g", tensors, (), {"step": step}))


def test_states_and_entries_may_share_constants():
    b = GraphBuilder("two")
    w, u = b.const("w", np.ones((2, 2))), b.state("u", np.ones(2), reset="keep")
    b.output(b.op("linear", b.input("x", (2,)), w))
    b.entry("learn")
    b.update("u", b.op("linear", b.input("t", (2,)), w, u))
    b.output(u)
    graph = b.build()
    assert list(graph.entries) == ["step", "learn"]
    assert graph.states[0] == State("u", graph.states[0].init, "keep") or graph.states[0].reset == "keep"


# --- hostile documents -----------------------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**31, 2**63, 2**64 - 1, -(2**63), 0.0, 1e308, -1.5]),
    st.sampled_from(["", "x", "u", "w", "step", "float32", "spike", "int8", "keep", "data", "\0", "a b", "🙂"]),
    st.sampled_from([[], {}, [[]], [0], [2**63], [2**64 - 1], [-1], ["x"], [["u", "w"]], {"axis": 0}]),
)


def _paths(value, path=()):
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from _paths(inner, (*path, key))


DOCUMENTS = [to_document(g) for g in (busy_graph(), random_graph(3, 10, entries=2), random_graph(8, 12))]


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2), st.integers(0, 10**6), HOSTILE, st.booleans())
def test_any_value_anywhere_in_a_document_is_refused_or_changes_nothing_else(which, at, value, remove):
    document, weights = DOCUMENTS[which]
    paths = [p for p in _paths(document) if p]
    path = paths[at % len(paths)]
    hostile = copy.deepcopy(document)
    place = hostile
    for key in path[:-1]:
        place = place[key]
    if remove and isinstance(place, list):
        place.pop(path[-1])
    else:
        place[path[-1]] = value
    try:
        read = from_document(hostile, weights)
    except GraphError:
        return
    assert same_graph(from_document(*to_document(read)), read)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2),
    st.integers(0, 100),
    st.sampled_from([np.float32, np.float64, np.int8, np.int32, np.bool_, np.uint8, np.complex64]),
    st.lists(st.integers(0, 4), max_size=4),
    st.booleans(),
)
def test_any_array_in_place_of_a_weight_is_refused_or_fits(which, at, dtype, shape, rename):
    document, weights = DOCUMENTS[which]
    name = sorted(weights)[at % len(weights)]
    hostile = {**weights, (name + "x" if rename else name): np.ones(shape, dtype)}
    try:
        read = from_document(document, hostile)
    except GraphError:
        return
    assert not rename
    np.testing.assert_array_equal(to_document(read)[1].get(name, 0), hostile[name])
