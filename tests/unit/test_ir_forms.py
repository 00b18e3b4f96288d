"""The document and the text form of a graph: both say everything, and both come back as they went."""

from __future__ import annotations

import json

import numpy as np
import pytest
from graph_samples import busy_graph
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph, same_graph

from edgekit.artifact import dump_tensors, load_tensors
from edgekit.errors import GraphError
from edgekit.ir import GraphBuilder, from_document, from_text, printable, to_document, to_text
from edgekit.passes.fuse import fuse_elementwise
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes

GRAPHS = st.builds(
    random_graph, st.integers(0, 2**32), st.integers(1, 15), quantised=st.booleans(), entries=st.integers(1, 2)
)


@settings(max_examples=60, deadline=None)
@given(GRAPHS)
def test_document_round_trip_through_json_and_safetensors(graph):
    document, weights = to_document(graph)
    read = from_document(json.loads(json.dumps(document)), load_tensors(dump_tensors(weights), "weights"))
    assert same_graph(read, graph)
    assert read.hash() == graph.hash()
    assert list(read.tensors) == list(graph.tensors)


@settings(max_examples=60, deadline=None)
@given(GRAPHS)
def test_text_round_trip(graph):
    text, (_, weights) = to_text(graph), to_document(graph)
    read = from_text(text, weights)
    assert same_graph(read, graph)
    assert to_text(read) == text


@settings(max_examples=30, deadline=None)
@given(GRAPHS)
def test_fused_and_lowered_graphs_round_trip_too(graph):
    for lowered in (fuse_elementwise(graph), run_passes(graph, (*OPTIMISE, *LOWER))):
        document, weights = to_document(lowered)
        assert same_graph(from_document(json.loads(json.dumps(document)), weights), lowered)
        assert same_graph(from_text(to_text(lowered), weights), lowered)


def test_small_constants_are_written_in_the_text():
    text = """graph small dt=0.125
const %spikes spike[2] = [true, false]
const %level float32[] = [0.5]
const %third float32[1] = [0.3333333432674408]
state %u float32[] keep zero
entry step
  in %x float32[2]
  %y float32[2] = add %x %level  # cell.fc, line 3
  %z float32[2] = where %spikes %y %third
  %n float32[] = add %u %level
  update %u %n
  out %z
"""
    graph = from_text(text)
    assert to_text(graph) == text
    assert graph.tensors["third"].data == np.float32(1 / 3)
    assert graph.entries["step"].ops[0].source == "cell.fc, line 3"
    assert graph.dt == 0.125
    assert graph.states[0].reset == "keep"


def test_the_hash_is_of_structure_and_data_but_not_of_provenance():
    graph = busy_graph()
    document, weights = to_document(graph)
    with_source, _ = to_document(graph)
    with_source["entries"][0]["ops"][0]["source"] = "elsewhere"
    assert from_document(with_source, weights).hash() == graph.hash()
    nudged = {**weights, "w": weights["w"] + np.float32(1e-3)}
    assert from_document(document, nudged).hash() != graph.hash()
    for change in ({"name": "other"}, {"dt": 0.02}):
        assert from_document({**document, **change}, weights).hash() != graph.hash()


def test_values_of_a_graph_cannot_be_changed():
    graph = busy_graph()
    for array in (graph.tensors["w"].data, graph.states[0].init):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(TypeError):
        graph.tensors["w"] = graph.tensors["c"]
    with pytest.raises(TypeError):
        graph.entries["step"].ops[0].attrs["form"] = "dense"


HEAD = "graph g\nentry step\n  in %x float32[2]\n"
UNREADABLE = {
    "no such line": (HEAD + "  jump %x\n  out %x\n", "line 4"),
    "an op before any entry": ("graph g\n  %y float32[2] = neg %x\n", "line 2"),
    "dt that is no number": ("graph g dt=soon\nentry step\n  in %x float32[2]\n  out %x\n", "line 1"),
    "attributes that are no JSON": (HEAD + "  %y float32[] = sum %x {axis: 0}\n  out %y\n", "line 4"),
    "scales that are no JSON": ("graph g\nconst %w int8[2,2] quant {axis}\n" + HEAD[8:] + "  out %x\n", "line 2"),
    "a constant that is no JSON": ("graph g\nconst %c float32[2] = [1, oops]\n" + HEAD[8:] + "  out %x\n", "line 2"),
    "too few elements": ("graph g\nconst %c float32[3] = [1, 2]\n" + HEAD[8:] + "  out %x\n", "line 2"),
    "elements that are no numbers": ('graph g\nconst %c float32[1] = ["a"]\n' + HEAD[8:] + "  out %x\n", "line 2"),
    "an integer that does not fit": ("graph g\nconst %c int8[1] = [1000]\n" + HEAD[8:] + "  out %x\n", "line 2"),
    "a size no tensor has": (
        "graph g\nconst %c float32[" + "9" * 5000 + "] = [1]\n" + HEAD[8:] + "  out %x\n",
        "line 2",
    ),
}


@pytest.mark.parametrize(("text", "line"), UNREADABLE.values(), ids=UNREADABLE)
def test_text_that_cannot_be_read_names_its_line(text, line):
    with pytest.raises(GraphError, match=line):
        from_text(text)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 10**6), st.text(alphabet='%[]{}=,:"0128 abxst#.-\n', max_size=4))
def test_damaged_text_is_refused_or_read_but_never_crashes(seed, at, noise):
    text, (_, weights) = to_text(random_graph(seed % 20, 6)), to_document(random_graph(seed % 20, 6))
    at %= len(text)
    damaged = text[:at] + noise + text[at + seed % 3 :]
    try:
        read = from_text(damaged, weights)
    except GraphError:
        return
    assert to_text(from_text(to_text(read), to_document(read)[1])) == to_text(read)


def test_any_name_becomes_one_that_the_graph_accepts() -> None:
    for name in ("1.conv/weight:0", "", "é ü", "x" * 1000, "a-b_c"):
        b = GraphBuilder("g")
        b.input(b.fresh(printable(name)), (1,))
        b.output(b.op("neg", printable(name), out="y"))
        assert b.build().entries["step"].inputs == (printable(name),)
