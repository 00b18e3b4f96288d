"""Storage in an associative memory: a pattern is written into a row by the outer product of it and the row's unit.

For the equations of retrieval see `edgekit.models.memory`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from edgekit.errors import UnsupportedError
from edgekit.ir.graph import Entry, Graph, Op
from edgekit.learn.arithmetic import COUNTED, Arithmetic, Array, Num, moved, rewritten_output
from edgekit.learn.plastic import Plastic
from edgekit.learn.settings import Learning
from edgekit.reference import Interpreter

SIGNS = 4.0  # a bound at which integers hold -1 and 1 exactly, and what one differs by from the other
MOST_POWER = 16
TRIALS, STEPS = 16, 3  # cues by which a graph is told to be an associative memory


@dataclass(frozen=True)
class Stored(Plastic):
    """A step that is an associative memory: `patterns` [M, N] and how it separates overlaps (see `Memory`)."""

    patterns: Array = dataclasses.field(default_factory=lambda: np.zeros((0, 0)))
    power: int | None = None
    sharpness: float = 1.0


def memory_of(graph: Graph) -> Stored:
    """The associative memory that an optimised float graph is; UnsupportedError for any other model.

    Its separation is read off what it does to a few overlaps, and all of it is tried on random cues.
    """
    step = graph.entries["step"]
    linears = [op for op in step.ops if op.kind == "linear" and graph.tensors[op.inputs[1]].is_const]
    shapes = [graph.tensors[op.inputs[1]].shape for op in linears]
    if len(linears) != 2 or shapes[0] != shapes[1][::-1] or shapes[0][0] < 2 or len(graph.states) != 1:
        raise _no_memory("it does not multiply by patterns, and by the same patterns transposed")
    first, last = linears
    patterns = np.sign(np.asarray(graph.tensors[last.inputs[1]].data, np.float64).T)
    power, sharpness = _separation(graph, first, last)
    found = Stored(graph, (), "", patterns, power, sharpness)
    rng = np.random.default_rng(0)
    rows = patterns[np.any(patterns != 0, axis=1)]
    cues = np.concatenate([rows[:TRIALS], np.sign(rng.normal(size=(TRIALS, patterns.shape[1])))])
    cues = np.where(rng.random(cues.shape) < 0.1, -cues, cues).astype(np.float32)
    outputs, _ = Interpreter(graph).run({step.inputs[0]: np.repeat(cues[:, None], STEPS, axis=1)})
    if not np.array_equal(outputs[step.outputs[0]][:, -1], _recalled(found, cues)):
        raise _no_memory("it does not complete patterns as one does")
    return found


def add_store(a: Arithmetic, plastic: Plastic, asked: Learning) -> None:  # noqa: ARG001
    """Write the step anew with patterns that can change, and the entry `learn`, which stores one more.

    `learn` stores what the last step was given, 1 where it is above 0 and else -1, and gives the row that it is in:
    Xi += e_row (pattern - Xi_row)ᵀ for the rows in turn, so that the oldest pattern is overwritten when there is no
    free row. Integers hold -1 and 1 exactly, and overlaps in int16 over N.
    """
    if not isinstance(plastic, Stored):
        raise _no_memory("it was not looked at as one")
    draft = a.draft
    count, size = plastic.patterns.shape
    used = np.any(plastic.patterns != 0, axis=1)
    following = int(np.max(np.flatnonzero(used), initial=-1) + 1) % count
    (given,) = draft.rewrite("step")
    patterns = a.matrix("stored", plastic.patterns, SIGNS)
    row = a.vector("row", np.asarray(float(following)), COUNTED, "keep")
    state = a.vector("s", np.zeros(size), SIGNS, "reset")
    shown = a.vector("given", np.zeros(size), SIGNS, "scratch")
    plus, minus = (a.number("sign", np.asarray(v), SIGNS) for v in (1.0, -1.0))
    cue = a.alike(a.value(given), state)
    u = a.either(a.compare("eq", state, a.number("none", np.zeros(()))), cue, state)
    v = a.back(patterns, _separated(a, a.product(patterns, u, float(size)), plastic), float(count), fine=True)
    y = a.either(a.compare("le", a.alike(a.number("none", np.zeros(())), v), v), plus, minus)
    a.update(state, y)
    a.update(shown, cue)
    rewritten_output(a, y)
    draft.open("learn")
    pattern = a.either(a.compare("gt", shown, a.number("none", np.zeros(()))), plus, minus)
    here = a.value(a.compare("eq", a.number("rows", np.arange(float(count)), COUNTED), row))
    change = a.sub(pattern, a.back(patterns, here, SIGNS * (1 - 2.0**-10)), SIGNS)
    a.update(patterns, a.learned(patterns, here, change, 1.0))
    ended = a.compare("eq", row, a.number("last", np.asarray(float(count - 1)), COUNTED))
    after = a.add(row, a.number("one", np.ones(()), COUNTED), COUNTED)
    a.update(row, a.either(ended, a.number("none", np.zeros(()), COUNTED), after))
    draft.output(a.told(moved(a, "reshape", row, shape=(1,))))


def _separated(a: Arithmetic, d: Num, memory: Stored) -> Num:
    """f of overlaps d, but for a factor that all share."""
    if memory.power is None:
        return a.raised(a.scaled(d, memory.sharpness))
    h = a.scaled(d, 1 / memory.patterns.shape[1])
    if memory.power > 2:
        h = a.chosen(a.compare("gt", h, a.number("none", np.zeros(()))), h)
    f = h
    for _ in range(memory.power - 2):
        f = a.times(f, h, 1.0)
    return f


def _separation(graph: Graph, first: Op, last: Op) -> tuple[int | None, float]:
    """The power, or the sharpness, of what lies between two products."""
    step, overlaps = graph.entries["step"], first.outputs[0]
    between, wanted = [], {last.inputs[0]}
    for op in reversed(step.ops[: step.ops.index(last)]):
        if wanted & set(op.outputs) and op is not first:
            between.append(op)
            wanted |= set(op.inputs)
    entry = Entry("step", (overlaps,), (last.inputs[0],), tuple(reversed(between)))
    alone = graph.replace(entries={"step": entry}, states=())
    d = np.zeros((2, graph.tensors[overlaps].size), np.float32)
    d[0, :2], d[1, :2] = (1.0, 0.5), (0.0, -0.5)
    d[:, 2:] = -1.0
    outputs, _ = Interpreter(alone).execute({overlaps: d}, {})
    f = outputs[last.inputs[0]].astype(np.float64)
    if f[1, 0] > 0:  # a power is 0 at 0
        return None, float(round(-2 * np.log(f[1, 1] / f[1, 0]), 6))
    power = round(float(np.log2(f[0, 0] / f[0, 1]))) + 1 if f[0, 1] > 0 else 0
    if not 2 <= power <= MOST_POWER:
        raise _no_memory("it separates overlaps in a way that is not known")
    return power, 1.0


def _recalled(memory: Stored, cues: Array) -> Array:
    """What cues are completed to in a few steps."""
    s, xi = cues.astype(np.float64), memory.patterns
    for _ in range(STEPS):
        d = s @ xi.T
        if memory.power is None:
            f = np.exp(memory.sharpness * (d - d.max(axis=1, keepdims=True)))
        else:
            f = (np.maximum(d, 0) if memory.power > 2 else d) ** (memory.power - 1)
        s = np.where(f @ xi >= 0, 1.0, -1.0)
    return s


def _no_memory(cause: str) -> UnsupportedError:
    remedy = "see edgekit.models.Memory; one with a power has to hold a pattern before it is converted"
    return UnsupportedError("learning rule 'store'", f"is for associative memories: {cause}", remedy)
