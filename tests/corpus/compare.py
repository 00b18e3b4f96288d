"""One module in every format beside the original, 100 steps: spikes equal, floats within 1e-5 · max(1, |y|)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from corpus.neuromorphic import DT
from edgekit.backends.onnx import OnnxRuntime, export_onnx
from edgekit.backends.tflite import TfliteStep, export_tflite
from edgekit.convert import Options, convert_imported
from edgekit.frontends import Imported, import_module
from edgekit.frontends.nir import import_nir
from edgekit.ir import SPIKE, Graph
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.reference import Interpreter, pack_states
from edgekit.runtime import load

Array = npt.NDArray[Any]
STEPS = 100
TOLERANCE = 1e-5  # of a float, times max(1, |y|)
MARGIN = 1e-5  # in float64: a comparison that was closer to a tie may come out either way
ENGINES = ("C here", "C on A72", "ONNX", "TFLite")
COMPARES = ("gt", "ge", "lt", "le", "eq", "ne")


@dataclass
class Outcome:
    """What one engine did: its worst float error, spikes that fired, and the steps excused with their margins."""

    worst: float = 0.0
    fired: int = 0
    excused: list[tuple[int, float]] = field(default_factory=list)


class Engine(Protocol):
    """A program step by step; `put` sets its states."""

    def step(self, inputs: Sequence[Array]) -> Sequence[Array]: ...

    def put(self, states: Mapping[str, Array]) -> None: ...


class _Program:
    def __init__(self, imported: Imported, target: str) -> None:
        artifact = convert_imported(imported, Options(target=target)).artifact
        self.graph = artifact.graph
        self.session = load(artifact, engine="native" if target == "host" else "emulator")

    def step(self, inputs: Sequence[Array]) -> Sequence[Array]:
        y = self.session.step(*inputs)
        return y if isinstance(y, tuple) else (y,)

    def put(self, states: Mapping[str, Array]) -> None:
        self.session.restore_state(pack_states(self.graph, states))


class _Onnx:
    def __init__(self, graph: Graph) -> None:
        self.engine = OnnxRuntime(export_onnx(graph))
        self.names = graph.entries["step"].inputs
        self.state = self.engine.initial_state(1)

    def step(self, inputs: Sequence[Array]) -> Sequence[Array]:
        given = {name: x[None] for name, x in zip(self.names, inputs, strict=True)}
        got = self.engine.run({**given, **self.state})
        document = self.engine.document
        self.state = {s.input: got[s.output] for s in document.states}
        return [got[port.name][0] for port in document.outputs]

    def put(self, states: Mapping[str, Array]) -> None:
        self.state = {s.input: states[s.name][None].astype(np.float32) for s in self.engine.document.states}


class _Tflite:
    def __init__(self, graph: Graph) -> None:
        self.engine = TfliteStep(export_tflite(graph, io={}))
        self.names = graph.entries["step"].inputs
        self.state = self.engine.initial_state()

    def step(self, inputs: Sequence[Array]) -> Sequence[Array]:
        given = {name: x[None].astype(np.float32) for name, x in zip(self.names, inputs, strict=True)}
        got, self.state = self.engine.execute(given, self.state)
        return [got[port.name][0] for port in self.engine.document.outputs]

    def put(self, states: Mapping[str, Array]) -> None:
        self.state = {s.name: states[s.name][None].astype(np.float32) for s in self.engine.document.states}


def seed_of(name: str) -> int:
    """The seed of a case: fixed by its name."""
    return zlib.crc32(name.encode())


def made(name: str, make: Any) -> nn.Module:
    """The module of a case with its seeded random weights."""
    torch.manual_seed(seed_of(name))
    module: nn.Module = make()
    return module.eval()


def engine_of(kind: str, imported: Imported) -> Engine:
    """One of ENGINES for an imported module."""
    if kind.startswith("C "):
        return _Program(imported, "host" if kind == "C here" else "raspberrypi4")
    graph = run_passes(imported.graph, OPTIMISE)
    return _Onnx(graph) if kind == "ONNX" else _Tflite(graph)


def inputs_of(name: str, graph: Graph) -> list[list[Array]]:
    """Inputs of every step: smooth, noisy and silent stretches."""
    random = np.random.default_rng(seed_of(name))
    shapes = [graph.tensors[n].shape for n in graph.entries["step"].inputs]
    slow = [random.standard_normal(shape) for shape in shapes]
    rows = []
    for step in range(STEPS):
        scale = (0.8, 0.2, 0.0, 1.5)[step // 25]
        slow = [0.9 * s + 0.4 * random.standard_normal(s.shape) for s in slow]
        rows.append([(scale * s).astype(np.float32) for s in slow])
    return rows


def compare(name: str, imported: Imported, kind: str) -> Outcome:
    """Run one engine beside the original; AssertionError where they differ without excuse."""
    engine, outcome = engine_of(kind, imported), Outcome()
    original = imported.original.start(1, native=True)
    graph, exact = imported.graph, Interpreter(imported.graph, np.float64)
    outputs = graph.entries["step"].outputs
    for t, inputs in enumerate(inputs_of(name, graph)):
        before = {n: original.states()[n] for n in graph.state_names}
        wanted = original.step([x[None] for x in inputs])
        got = engine.step(inputs)
        errors = {n: _error(graph, n, g, w[0]) for n, g, w in zip(outputs, got, wanted, strict=True)}
        if max(errors.values()) <= TOLERANCE:
            outcome.worst = max(outcome.worst, *errors.values())
            spikes = (w for n, w in zip(outputs, wanted, strict=True) if graph.tensors[n].dtype is SPIKE)
            outcome.fired += sum(int(np.count_nonzero(w)) for w in spikes)
            continue
        margin = _margin(
            graph, exact, dict(zip(graph.entries["step"].inputs, (x[None] for x in inputs), strict=True)), before
        )
        assert margin < MARGIN, f"{name}, {kind}, step {t}: {errors}, float64 margin {margin:.3g}"
        outcome.excused.append((t, margin))
        after = original.states()
        engine.put({n: after[n][0] for n in graph.state_names})
    return outcome


def _error(graph: Graph, name: str, got: Array, wanted: Array) -> float:
    if graph.tensors[name].dtype is SPIKE:
        return 0.0 if np.array_equal(got != 0, wanted != 0) else float("inf")
    return float((np.abs(got - wanted) / np.maximum(1, np.abs(wanted))).max(initial=0.0))


def _margin(graph: Graph, exact: Interpreter, inputs: Mapping[str, Array], state: Mapping[str, Array]) -> float:
    """How close any comparison came to a tie in float64, relative to what is compared."""
    typed = {n: v.astype(np.bool_) if graph.tensors[n].dtype is SPIKE else v for n, v in state.items()}
    values, least = exact.trace(inputs, typed), np.inf
    for op in graph.entries["step"].ops:
        if op.kind in COMPARES:
            a, b = (values[n] for n in op.inputs)
            least = min(least, float((np.abs(a - b) / np.maximum(1, np.abs(b))).min(initial=np.inf)))
        elif op.kind in ("floor", "round"):
            x = values[op.inputs[0]] + (0.5 if op.kind == "round" else 0.0)
            least = min(least, float((np.abs(x - np.round(x)) / np.maximum(1, np.abs(x))).min(initial=np.inf)))
    return least


def imported_module(name: str, make: Any, example: Any) -> Imported:
    """A module through the front end."""
    return import_module(made(name, make), example, name="case")


def imported_graph(name: str, make: Any, options: Mapping[str, Any]) -> Imported:
    """A NIR case through the front end."""
    choices = {"reset": "v_reset", "initial": "leak", "integrator": "euler", **options}
    return import_nir(make(np.random.default_rng(seed_of(name))), dt=DT, name="case", **choices)
