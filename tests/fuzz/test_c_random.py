"""Random graphs through the C backend: every step starts from the reference's state and must end where it ends."""

from __future__ import annotations

import os

import numpy as np
import pytest
from c_runs import Native
from random_graphs import random_graph

from edgekit.ir import Graph
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.reference import Interpreter, pack_states, unpack_states

STEPS = 6
SWEEPS = "EDGEKIT_SWEEPS" in os.environ
CLOSE = {"rtol": 2e-4, "atol": 2e-5}


def check(graph: Graph, program: Native, seed: int) -> int:
    """Steps compared; those where single and double precision disagree stand on a threshold and are left out."""
    single, double = Interpreter(graph), Interpreter(graph, np.float64)
    state, rng, compared = single.initial_state(), np.random.default_rng(seed), 0
    for _ in range(STEPS):
        for entry in graph.entries.values():
            inputs = {n: rng.standard_normal((1, *graph.tensors[n].shape)).astype(np.float32) for n in entry.inputs}
            assert program.restore(pack_states(graph, {n: v[0] for n, v in state.items()})) == 0
            code, got = program.entry(entry.name, *(inputs[n][0] for n in entry.inputs))
            assert code == 0
            wide = {n: v.astype(np.float64) if v.dtype.kind == "f" else v for n, v in state.items()}
            exact, exact_state = double.execute({n: v.astype(np.float64) for n, v in inputs.items()}, wide, entry.name)
            outputs, state = single.execute(inputs, state, entry.name)
            pairs = [(outputs[n], exact[n]) for n in outputs] + [(state[n], exact_state[n]) for n in state]
            if not all(np.allclose(a, b, **CLOSE) for a, b in pairs):
                continue
            compared += 1
            for result, wanted in zip(got, outputs.values(), strict=True):
                np.testing.assert_allclose(result, wanted[0], **CLOSE)
            after = unpack_states(graph, program.save())
            for name, wanted in state.items():
                np.testing.assert_allclose(after[name], wanted[0], **CLOSE, err_msg=name)
    return compared


def through_c(seed: int, *, plastic: bool = False) -> None:
    graph = run_passes(random_graph(seed, ops=16, entries=2, plastic=plastic), (*OPTIMISE, *LOWER))
    flags = ("-O1", *(("-DEK_FORCE_PORTABLE",) if seed % 2 else ()))
    assert check(graph, Native(graph, "gcc", flags), seed) > 0


@pytest.mark.drawn(2)
@pytest.mark.parametrize("number", range(4))
def test_random_graphs(number: int, drawn_seed: int) -> None:
    through_c(drawn_seed * 1000 + number)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("number", range(4))
def test_random_graphs_with_weights_that_change(number: int, drawn_seed: int) -> None:
    through_c(drawn_seed * 1000 + number, plastic=True)


@pytest.mark.drawn(4)
@pytest.mark.slow
@pytest.mark.parametrize("number", range(4, 40 if SWEEPS else 16))
def test_many_random_graphs_with_weights_that_change(number: int, drawn_seed: int) -> None:
    through_c(drawn_seed * 1000 + number, plastic=True)


@pytest.mark.drawn(4)
@pytest.mark.slow
@pytest.mark.parametrize("number", range(4, 60 if SWEEPS else 28))
def test_many_random_graphs(number: int, drawn_seed: int) -> None:
    through_c(drawn_seed * 1000 + number)
