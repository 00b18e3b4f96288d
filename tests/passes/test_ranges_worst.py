"""The worst that a proof allows: driven by its own construction linear states come near it, and nothing exceeds it.

The worst input of a linear recurrence is that with the sign of the impulse response at each lag, at full scale.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from integer_engines import EMULATED, HOST, opened
from integer_families import family
from range_samples import bounded, leaky, lif, memory, with_states

from edgekit.ir import INT32, SPIKE, Graph
from edgekit.passes.ranges import Interval, Ranges, analyse
from edgekit.passes.ranges.forward import constants, propagate
from edgekit.passes.ranges.linear import system_of
from edgekit.passes.ranges.nodes import Step
from edgekit.passes.ranges.paths import groups_of
from edgekit.passes.ranges.values import whole_range
from edgekit.reference import Interpreter
from edgekit.runtime.streams import Stream

FEEDBACK = (0.5, 0.2, 0.01, 0, 0, 0)
LINEAR: dict[str, Callable[[], Graph]] = {
    "leaks": lambda: leaky((0, 1, 16384, 29491, 32440, 32700, 32735), most=20),
    "wide leaks": lambda: leaky([2**31 - 2**k for k in (30, 27, 24, 21)], INT32, name="wide_leaks"),
    "memory": lambda: memory(6, 40),
    "three memories": lambda: memory(4, 20, channels=3),
    "long memory": lambda: memory(16, 100),
    "closed loop": lambda: memory(6, 40, 0.9, FEEDBACK),
}
OTHERS: dict[str, Callable[[], Graph]] = {
    "lif": lambda: lif(32440, 900, (700, 40, -300, -3)),
    "lif in place": lambda: lif(29491, 4000, (1500, 1500, -2000, -500), reset="in_place"),
    "lif to zero": lambda: lif(3277, 12000, (9000, -8000), reset="zero"),
    "bounded": lambda: bounded(0.98),
    "saturated memory": lambda: memory(6, 40, 2.5, name="saturated"),
    "unstable loop": lambda: memory(6, 40, 0.05, (3.0, 0, 0, 0, 0, 0), name="unstable"),
}
SAMPLES = {**LINEAR, **OTHERS}
SHIPPED = ("l2mu", "lmu", "elm")
LONG, SHORT, CHUNK = 10**6, 10**4, 50_000
CORES = list(EMULATED) if "EDGEKIT_SWEEPS" in os.environ else ["A72", "M4", "M55"]


@lru_cache
def program(name: str) -> tuple[Graph, Ranges]:
    """A program with its states among its outputs, and its proof."""
    graph = with_states(family(name).graph if name in SHIPPED else SAMPLES[name]())
    return graph, analyse(graph)


# --- near the bound ---------------------------------------------------------------------------------------------------


def worst_inputs(graph: Graph, steps: int) -> np.ndarray:
    """Inputs [2 n, T, …] that drive each of n states up, and then each down, as far as they can."""
    (name,) = graph.entries["step"].inputs
    step, (group,) = Step(graph), groups_of(Step(graph))
    known = {**constants(step), name: whole_range(graph.tensors[name])}
    known |= {s.tensor: whole_range(graph.tensors[s.tensor]) for s in graph.states}
    values, _, _ = propagate(step, step.nodes, known)
    system = system_of(step, group.states, group.nodes, values)
    count = graph.tensors[name].size
    x, responses = system.G[:, :count], []  # what is added to the states follows the inputs one by one
    for _ in range(steps):
        responses.append(x)
        x = system.F @ x
    signs = np.stack(responses[::-1], axis=1)  # [n, T, count]
    low, high = graph.tensors[name].dtype.limits
    both = np.concatenate([np.where(signs > 0, high, low), np.where(signs > 0, low, high)])
    return both.reshape(len(both), steps, *graph.tensors[name].shape)


@pytest.mark.parametrize("name", LINEAR)
def test_the_worst_input_of_the_proof_comes_near_the_bound(name: str) -> None:
    graph, ranges = program(name)
    (proof,) = ranges.states.values()
    assert proof.method == "l1 gain"
    inputs = worst_inputs(graph, 3000)
    interpreter = Interpreter(graph)
    state = interpreter.initial_state(len(inputs))
    for t in range(inputs.shape[1]):
        _, state = interpreter.execute({graph.entries["step"].inputs[0]: inputs[:, t]}, state)
        s = state[proof.state]
        assert (s >= proof.lo).all()
        assert (s <= proof.hi).all()
    n = len(inputs) // 2
    reached = state[proof.state].reshape(2 * n, n).astype(np.int64)
    top, bottom = np.diag(reached[:n]), np.diag(reached[n:])
    print(f"{name}: {(top / proof.hi.reshape(-1)).min():.3f} to {(top / proof.hi.reshape(-1)).max():.3f} of the bound")
    assert (top >= proof.hi.reshape(-1) / 2).all()
    assert (bottom <= proof.lo.reshape(-1) / 2).all()


def test_the_branches_of_a_shipped_model_reach_their_bound_under_constant_input() -> None:
    """With inputs that leave room, the filters of the ELM are proven by their gain."""
    pytest.importorskip("torch")
    graph = family("elm").graph
    (source,) = graph.entries["step"].inputs
    most = 12_000
    proof = analyse(graph, {source: Interval.of(-most, most)}).states["b"]
    assert proof.method == "l1 gain"
    interpreter = Interpreter(graph)
    x = np.array([most, -most], np.int16)[:, None] * np.ones(graph.tensors[source].shape, np.int16)
    state = interpreter.initial_state(2)
    for _ in range(400):
        _, state = interpreter.execute({source: x}, state)
    highest, lowest = state["b"].max(axis=0), state["b"].min(axis=0)
    assert (proof.hi / 2 <= highest).all()
    assert (highest <= proof.hi).all()
    assert (proof.lo <= lowest).all()
    assert (lowest <= proof.lo / 2).all()


# --- never beyond it --------------------------------------------------------------------------------------------------


def noise(graph: Graph, rng: np.random.Generator, steps: int) -> list[np.ndarray]:
    """Inputs of all kinds: white, at both ends, held for long, and drifting."""
    arrays = []
    for name in graph.entries["step"].inputs:
        tensor = graph.tensors[name]
        low, high = (0, 1) if tensor.dtype is SPIKE else tensor.dtype.limits
        x = np.empty((steps, *tensor.shape), graph.port_dtype(name))
        at = 0
        while at < steps:
            n = int(min(steps - at, rng.integers(20, 3000)))
            kind = rng.integers(4)
            hold = int(rng.integers(1, 1 + min(n, 400)))
            rows = -(-n // hold) if kind >= 2 else n
            part = rng.integers(low, high + 1, (rows, *tensor.shape))
            if kind % 2:
                part = rng.choice([low, high], (rows, *tensor.shape))
            x[at : at + n] = np.repeat(part, hold, axis=0)[:n] if kind >= 2 else part
            at += n
        arrays.append(x)
    return arrays


def run_within(stream: Stream, name: str, steps: int, chunk: int = CHUNK) -> dict[str, float]:
    """Run a program on noise; every state keeps its bounds at every step. The share of the bounds that was reached."""
    graph, ranges = program(name)
    rng, done = np.random.default_rng(7), 0
    step = graph.entries["step"]
    seen = {s: v for s, v in step.updates.items() if graph.tensors[s].dtype is not SPIKE}
    share = dict.fromkeys(seen, 0.0)
    while done < steps:
        outputs = dict(zip(step.outputs, stream.run(noise(graph, rng, min(chunk, steps - done))), strict=True))
        for state, value in seen.items():
            proof, x = ranges.states[state], outputs[value]
            low, high = x.min(axis=0), x.max(axis=0)
            shape = graph.tensors[state].shape
            assert (low.reshape(shape) >= proof.lo).all(), f"{name}: {state} below its bound after {done} steps"
            assert (high.reshape(shape) <= proof.hi).all(), f"{name}: {state} beyond its bound after {done} steps"
            share[state] = max(share[state], float(high.max() / max(proof.hi.max(), 1)))
        done += len(next(iter(outputs.values())))
    return share


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_a_million_random_steps_never_exceed_a_bound() -> None:
    pytest.importorskip("torch")
    names = [*SAMPLES, *SHIPPED]
    with opened(HOST["x86 simd"], [program(n)[0] for n in names]) as stream:
        for name in names:
            share = run_within(stream(program(name)[0]), name, LONG)
            print(name, {state: f"{part:.2f}" for state, part in share.items()})


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
def test_random_steps_on_emulated_cores_never_exceed_a_bound(core: str, tmp_path: Path) -> None:
    """And end in the very state that this computer's code ends in."""
    pytest.importorskip("torch")
    if not EMULATED[core].there:
        pytest.skip(f"the compiler or the emulator of {core} is not installed")
    names = [*SAMPLES, "l2mu"]
    graphs = [program(n)[0] for n in names]
    with opened(EMULATED[core], graphs) as there, opened(HOST["x86 simd"], graphs) as here:
        for name, graph in zip(names, graphs, strict=True):
            stream, native = there(graph), here(graph)
            run_within(stream, name, SHORT)
            run_within(native, name, SHORT)
            assert stream.save() == native.save(), f"{name} on {core}"
