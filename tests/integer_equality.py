"""Byte equality of a stream with the reference: steps, runs, resets, saved states, and the border of integer programs.

The numpy interpreter is asked once a program (`expected`), then any number of engines are held against it (`check`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from integer_streams import random_stream
from random_integer import FULL, describe, random_integer_graph

from edgekit.errors import StateError
from edgekit.ir import SPIKE, Graph
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.reference import with_first_values
from edgekit.reference.blob import HEADER
from edgekit.runtime.streams import ReferenceStream

STEPS = 52
HALF = 21  # where a state is saved and handed on
BORDER_STEPS = 4
AT_ONCE = 20  # programs of one image
EVERY, FEW, DRAWN = 220, 20, 8  # programs of `make test-all`, of `make test`, and of those that CI draws


def seeds(drawn: int) -> list[int]:
    """The programs to look at; under CI a few more, from the date."""
    fixed = range(EVERY if "EDGEKIT_SWEEPS" in os.environ else FEW)
    return [*fixed, *(range(drawn, drawn + DRAWN) if drawn else ())]


def batches(numbers: Sequence[int], at_once: int = AT_ONCE) -> list[tuple[int, ...]]:
    """As many programs as one image holds, again and again."""
    return [tuple(numbers[at : at + at_once]) for at in range(0, len(numbers), at_once)]


@dataclass(frozen=True)
class Expected:
    """What the reference says about a lowered program: inputs, outputs of every step, and states as blobs."""

    graph: Graph
    inputs: list[np.ndarray]
    outputs: list[np.ndarray]
    middle: bytes
    last: bytes
    after_reset: list[np.ndarray]  # outputs of a second run of HALF steps
    border: dict[str, tuple[list[np.ndarray], list[list[np.ndarray]]]] = field(default_factory=dict)


def lowered(seed: int) -> Graph:
    """A random program as a backend gets it."""
    return run_passes(random_integer_graph(seed), LOWER)


def stacked(rows: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """Outputs of many steps as arrays [T, *shape]."""
    return [np.stack(column) for column in zip(*rows, strict=True)]


@lru_cache(maxsize=512)
def expected(seed: int, steps: int = STEPS) -> Expected:
    """The reference's answer to the random program `seed` and its random stream."""
    return reference_of(lowered(seed), seed, steps)


def reference_of(
    graph: Graph, seed: int, steps: int = STEPS, make: Callable[[Graph, int, int], list[np.ndarray]] = random_stream
) -> Expected:
    """The reference's answer to a lowered program and a stream, random unless `make` says otherwise."""
    inputs = make(graph, seed, steps)
    stream = ReferenceStream(graph)
    first = [stream.call("step", [a[t] for a in inputs]) for t in range(min(HALF, steps))]
    middle = stream.save()
    rest = [stream.call("step", [a[t] for a in inputs]) for t in range(min(HALF, steps), steps)]
    last = stream.save()
    stream.reset()
    again = [stream.call("step", [a[t] for a in inputs]) for t in range(min(HALF, steps))]
    border = {}
    for entry in graph.entries:
        if entry != "step":
            given = random_stream(graph, seed, BORDER_STEPS, entry)
            border[entry] = given, [stream.call(entry, [a[t] for a in given]) for t in range(BORDER_STEPS)]
    return Expected(graph, inputs, stacked([*first, *rest]), middle, last, stacked(again), border)


def same(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray], names: Sequence[str], where: str) -> None:
    """Byte equality of arrays; the message names the output, the step and the element that differ first."""
    assert len(got) == len(wanted), where
    for name, a, b in zip(names, got, wanted, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), f"{where}: {name}"
        if a.tobytes() != b.tobytes():
            differs = a.view(np.uint8).reshape(-1) != b.view(np.uint8).reshape(-1)
            at = np.unravel_index(int(np.flatnonzero(differs)[0]) // a.itemsize, a.shape)
            raise AssertionError(f"{where}: {name}{[int(i) for i in at]} is {a[at]}, the reference says {b[at]}")


def check(stream: Any, wanted: Expected, where: str) -> None:
    """An engine's fresh stream says and stores what the reference does, in a run, in steps, and after every move."""
    graph, names = wanted.graph, wanted.graph.entries["step"].outputs
    first = stream.save()
    assert first == ReferenceStream(graph).save(), f"{where}: first state"
    same(stream.run(wanted.inputs), wanted.outputs, names, f"{where}: a run")
    assert stream.save() == wanted.last, f"{where}: state after a run"
    stream.reset()
    assert stream.save() == with_first_values(graph, wanted.last), f"{where}: state after a reset"
    half = len(wanted.after_reset[0])
    again = [stream.call("step", [a[t] for a in wanted.inputs]) for t in range(half)]
    same(stacked(again), wanted.after_reset, names, f"{where}: steps after a reset")
    other = stream.fork()
    assert other.save() == first, f"{where}: a fork starts afresh"
    steps = [other.call("step", [a[t] for a in wanted.inputs]) for t in range(half)]
    same(stacked(steps), [a[:half] for a in wanted.outputs], names, f"{where}: steps")
    assert other.save() == wanted.middle, f"{where}: state after {half} steps"
    if len(wanted.inputs[0]) > half:
        stream.restore(wanted.middle)  # the reference's own blob
        rest = stream.run([a[half:] for a in wanted.inputs])
        same(rest, [a[half:] for a in wanted.outputs], names, f"{where}: a run from a restored state")
        assert stream.save() == wanted.last, f"{where}: state after a restored run"
    check_border(stream, wanted, where)


def check_border(stream: Any, wanted: Expected, where: str) -> None:
    """The entries beside `step` give the reference's bytes and leave the state alone."""
    before = stream.save()
    for entry, (given, answers) in wanted.border.items():
        for t, answer in enumerate(answers):
            got = stream.call(entry, [a[t] for a in given])
            same(got, answer, wanted.graph.entries[entry].outputs, f"{where}: {entry} {t}")
    assert stream.save() == before, f"{where}: state after the border"


def check_refusals(stream: Any, wanted: Expected, where: str) -> None:
    """A damaged blob is refused and changes nothing; any byte but 0 on a spike port is a spike."""
    graph = wanted.graph
    stream.restore(wanted.middle)
    for blob in damaged(graph, wanted.middle):
        with pytest.raises(StateError):
            stream.restore(blob)
        assert stream.save() == wanted.middle, f"{where}: a refused blob"
    loud = [
        a * np.int8(-7) if graph.tensors[n].dtype is SPIKE else a
        for n, a in zip(graph.entries["step"].inputs, wanted.inputs, strict=True)
    ]
    half = len(wanted.after_reset[0])
    rest = stream.run([a[half:] for a in loud])
    same(rest, [a[half:] for a in wanted.outputs], graph.entries["step"].outputs, f"{where}: loud spikes")


def damaged(graph: Graph, blob: bytes) -> list[bytes]:
    """Blobs that must be refused: another program's, one too short, and one with a spike that is neither 0 nor 1."""
    blobs = [blob[:20] + bytes([blob[20] ^ 1]) + blob[21:], b"X" + blob[1:], blob[:-1], blob + b"\0"]
    at = HEADER.size
    for state in graph.states:
        tensor = graph.tensors[state.tensor]
        if tensor.dtype is SPIKE:
            blobs.append(blob[:at] + b"\2" + blob[at + 1 :])
        at += tensor.size * tensor.dtype.numpy.itemsize
    return blobs


def label(seed: int, engine: str) -> str:
    """What a failure is called."""
    return f"{describe(seed, FULL)} on {engine}"
