"""Which values of a step are int8 in a QDQ file, at which scale, and the same step in ops that the reference runs.

What a linear or conv with int8 weights reads is int8 per tensor and symmetric, its weights int8 per output channel; a
spike is exact at scale 1. In a step with states an operand stays float32 where its rounding is too large for it:
noise that states integrate adds up. A state is int8 where nothing can tell: where all that it feeds are such operands,
at one scale, or states held at that scale. Every other state is float32, because a state that integrates would add up
the rounding of every step, and a decay of less than half a step of its grid would never move it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.onnx.body import Quantisation
from edgekit.compress.calibrate import Calibration
from edgekit.compress.plan import FEW, INT8_NOISE
from edgekit.ir import FLOAT32, INT8, OPS, SPIKE, Graph, Op, Tensor
from edgekit.ir.verify import verify

Array = npt.NDArray[Any]

LARGEST = 127  # of int8 that a scale uses; what lies beyond saturates at -128 or 127
CONTRACTIONS = ("linear", "conv")
MOVES = ("reshape", "transpose", "expand", "slice", "concat", "gather")


def quantisation_of(graph: Graph, calibration: Calibration) -> Quantisation:
    """Scales of a step whose weights are int8 already; a value that was zero throughout stays float32."""
    scales: dict[str, set[float | None]] = {}
    for op in _quantised(graph):
        scales.setdefault(op.inputs[0], set()).add(_scale(graph, calibration, op))
    operands = {name: scale for name, (scale, *others) in scales.items() if scale is not None and not others}
    return Quantisation(operands, _held(graph, operands))


def _quantised(graph: Graph) -> Iterator[Op]:
    """Contractions whose weights are int8 and whose operand is computed."""
    for op in graph.entries["step"].ops:
        if op.kind in CONTRACTIONS and graph.tensors[op.inputs[1]].quant and not graph.tensors[op.inputs[0]].is_const:
            yield op


def _scale(graph: Graph, calibration: Calibration, op: Op) -> float | None:
    """The scale of what a contraction reads, None where it stays float32."""
    tensor = graph.tensors[op.inputs[0]]
    if tensor.dtype is SPIKE:
        return 1.0
    seen = calibration.of(tensor.name)
    if seen.whole and 0 < seen.largest <= LARGEST:  # counts, spikes as floats: exact
        return 1.0
    scale = float(np.float32(seen.clip / LARGEST))
    few = prod(graph.tensors[op.inputs[1]].shape[1:]) < FEW
    noisy = bool(graph.states) and scale / np.sqrt(12) >= INT8_NOISE * seen.rms
    return None if few or noisy or scale == 0 else scale


@dataclass
class _Readers:
    """What a state becomes by moves alone: operands at which scales, next values of which states, or anything else."""

    scales: set[float | None]
    states: set[str]
    others: bool


def _held(graph: Graph, operands: Mapping[str, float]) -> dict[str, float]:
    """States that are int8 at no loss, by the one scale at which all that reads them rounds them anyway."""
    updated = graph.entries["step"].updates
    found = {s.tensor: _readers(graph, s.tensor, operands) for s in graph.states if s.tensor in updated}
    held: dict[str, float] = {}
    for group in _groups(found):
        scales = set().union(*(found[name].scales for name in group))
        only_rounded = not any(found[name].others or graph.tensors[name].dtype is SPIKE for name in group)
        if only_rounded and len(scales) == 1 and (scale := scales.pop()) is not None:
            held.update(dict.fromkeys(group, scale))
    return held


def _readers(graph: Graph, state: str, operands: Mapping[str, float]) -> _Readers:
    step, moved, found = graph.entries["step"], {state}, _Readers(set(), set(), False)
    for op in step.ops:
        read = moved.intersection(op.inputs)
        if read and op.kind in MOVES:
            moved.update(op.outputs)
        elif read and op.kind in CONTRACTIONS and read == {op.inputs[0]} and graph.tensors[op.inputs[1]].quant:
            found.scales.add(operands.get(op.inputs[0]))
        elif read:
            found.others = True
    found.others |= bool(moved.intersection(step.outputs))
    found.states = {name for name, value in step.updates.items() if value in moved}
    return found


def _groups(found: Mapping[str, _Readers]) -> list[set[str]]:
    """States that become one another: they have one scale or none."""
    groups: list[set[str]] = []
    for name, readers in found.items():
        mine = {name} | readers.states
        touched = [group for group in groups if group & mine]
        groups = [group for group in groups if group not in touched] + [mine.union(*touched)]
    return groups


class _Spelled:
    """A step under construction in which rounding to int8 is written as ops."""

    def __init__(self, graph: Graph) -> None:
        self.tensors, self.ops = dict(graph.tensors), list[Op]()
        self._rounded: dict[tuple[str, float], str] = {}

    def _fresh(self, stem: str) -> str:
        return next(n for n in (f"{stem}.{at}" for at in range(len(self.tensors) + 1)) if n not in self.tensors)

    def _const(self, stem: str, value: float) -> str:
        name, data = self._fresh(stem), np.asarray(value, np.float32)
        self.tensors[name] = Tensor(name, (), FLOAT32, data=data)
        return name

    def _emit(self, kind: str, *inputs: str) -> str:
        name = self._fresh(f"{inputs[0]}.{kind}")
        ((shape, dtype),) = OPS[kind].check([self.tensors[n] for n in inputs], {})
        self.tensors[name] = Tensor(name, shape, dtype)
        self.ops.append(Op(kind, inputs, (name,)))
        return name

    def rounded(self, name: str, scale: float) -> str:
        """scale · clip(round(x / scale), -128, 127); a spike as it is."""
        if self.tensors[name].dtype is SPIKE:
            return name
        if (name, scale) not in self._rounded:
            low, high = (self._const(f"{name}.end", value) for value in INT8.limits)
            step = self._const(f"{name}.scale", scale)
            stored = self._emit(
                "maximum", self._emit("minimum", self._emit("round", self._emit("div", name, step)), high), low
            )
            self._rounded[name, scale] = self._emit("mul", stored, step)
        return self._rounded[name, scale]


def reference_graph(graph: Graph, quantisation: Quantisation) -> Graph:
    """The step with QuantizeLinear and DequantizeLinear spelled out in ops that the reference runs."""
    step, spelled = graph.entries["step"], _Spelled(graph)
    for op in step.ops:
        if op.kind in CONTRACTIONS and op.inputs[0] in quantisation.operands and graph.tensors[op.inputs[1]].quant:
            rounded = spelled.rounded(op.inputs[0], quantisation.operands[op.inputs[0]])
            spelled.ops.append(replace(op, inputs=(rounded, *op.inputs[1:])))
        else:
            spelled.ops.append(op)
    scales = quantisation.states
    updates = {s: spelled.rounded(v, scales[s]) if s in scales else v for s, v in step.updates.items()}
    states = [replace(s, init=_first(s.init, scales[s.tensor])) if s.tensor in scales else s for s in graph.states]
    entry = replace(step, ops=tuple(spelled.ops), updates=updates)
    return verify(graph.replace(tensors=spelled.tensors, states=tuple(states)).with_entries(entry))


def _first(init: Array, scale: float) -> Array:
    """First values as the document stores them: rounded half up."""
    return (np.clip(np.floor(init / np.float64(scale) + 0.5), *INT8.limits) * scale).astype(np.float32)
