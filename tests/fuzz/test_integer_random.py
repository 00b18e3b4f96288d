"""Random integer programs as C on this computer: the reference's bytes from every compiler, with SIMD or without."""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np
import pytest
from integer_engines import HOST, Library, build
from integer_equality import batches, check, check_refusals, expected, label, reference_of, same, seeds, stacked
from integer_streams import square_waves
from random_graphs import same_graph
from random_integer import random_integer_graph

from edgekit.ir import from_document, from_text, to_document, to_text
from edgekit.runtime.streams import ReferenceStream


@lru_cache(maxsize=8)
def library(engine: str, numbers: tuple[int, ...]) -> Library:
    """The programs `numbers` for one engine."""
    if not HOST[engine].there:
        pytest.skip(f"{HOST[engine].compiler} is not installed")
    return Library(build(HOST[engine], [expected(n).graph for n in numbers]))


@pytest.mark.drawn(3)
@pytest.mark.slow
@pytest.mark.parametrize("engine", [e for e in HOST if e != "clang" or "EDGEKIT_SWEEPS" in os.environ])
def test_random_programs_are_byte_equal(engine: str, drawn_seed: int) -> None:
    numbers = seeds(drawn_seed)
    print(f"programs {numbers[0]} to {numbers[-1]}")
    for batch in batches(numbers):
        for n in batch:
            wanted = expected(n)
            check(library(engine, batch).stream(wanted.graph), wanted, label(n, engine))


@pytest.mark.drawn(2)
@pytest.mark.parametrize("engine", ["x86 simd", "x86 portable"])
def test_square_waves_at_both_ends_are_byte_equal(engine: str) -> None:
    batch = batches(seeds(0))[0]
    for n in batch:
        graph = expected(n).graph
        wanted = reference_of(graph, n, 40, square_waves)
        check(library(engine, batch).stream(graph), wanted, label(n, f"{engine}, square waves"))


@pytest.mark.drawn(2)
def test_a_state_goes_from_one_engine_to_the_next() -> None:
    """Saved after every few steps and taken over by another engine, the stream is the reference's to the end."""
    batch = batches(seeds(0))[0]
    engines = [name for name, engine in HOST.items() if engine.there]
    for n in batch:
        wanted = expected(n)
        streams = [library(engine, batch).stream(wanted.graph) for engine in engines]
        outputs, blob = [], streams[0].save()
        for at, start in enumerate(range(0, len(wanted.inputs[0]), 7)):
            stream = streams[at % len(streams)]
            stream.restore(blob)
            outputs.append(stream.run([a[start : start + 7] for a in wanted.inputs]))
            blob = stream.save()
        joined = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
        same(joined, wanted.outputs, wanted.graph.entries["step"].outputs, label(n, " and ".join(engines)))
        assert blob == wanted.last


@pytest.mark.parametrize("engine", ["x86 simd", "x86 portable"])
def test_damaged_states_are_refused_and_any_byte_but_zero_is_a_spike(engine: str) -> None:
    batch = batches(seeds(0))[0]
    for n in batch:
        wanted = expected(n)
        check_refusals(library(engine, batch).stream(wanted.graph), wanted, label(n, engine))


def test_programs_survive_their_document_and_their_text() -> None:
    for n in batches(seeds(0))[0]:
        for graph in (random_integer_graph(n), expected(n).graph):
            document, weights = to_document(graph)
            assert same_graph(from_document(document, weights), graph)
            assert same_graph(from_text(to_text(graph), weights), graph)


def test_many_programs_share_nothing() -> None:
    """Streams of one library, stepped in turn, do not see one another."""
    batch = batches(seeds(0))[0]
    wanted = [expected(n) for n in batch]
    streams = [library("x86 simd", batch).stream(w.graph) for w in wanted]
    rows: list[list[list[np.ndarray]]] = [[] for _ in batch]
    for t in range(10):
        for at, (stream, w) in enumerate(zip(streams, wanted, strict=True)):
            rows[at].append(stream.call("step", [a[t] for a in w.inputs]))
    for n, w, got in zip(batch, wanted, rows, strict=True):
        same(stacked(got), [a[:10] for a in w.outputs], w.graph.entries["step"].outputs, label(n, "one library"))


def test_a_difference_is_found() -> None:
    """The comparison is not vacuous: one bit of one output or of a state is noticed, and the message says where."""
    wanted = expected(0)
    name = wanted.graph.entries["step"].outputs[0]
    spoiled = [wanted.outputs[0].copy(), *wanted.outputs[1:]]
    spoiled[0].reshape(-1)[-1] ^= 1
    with pytest.raises(AssertionError, match=f"{name}"):
        same(wanted.outputs, spoiled, wanted.graph.entries["step"].outputs, "here")

    class Wrong(ReferenceStream):
        def save(self) -> bytes:
            blob = super().save()
            return blob[:-1] + bytes([blob[-1] ^ 1]) if len(blob) > 40 else blob

    stateful = next(w for w in map(expected, range(20)) if w.graph.states)
    with pytest.raises(AssertionError, match="state"):
        check(Wrong(stateful.graph), stateful, "there")
    assert "EDGEKIT_SWEEPS" not in os.environ or len(seeds(0)) >= 200
