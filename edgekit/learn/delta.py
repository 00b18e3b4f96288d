"""The delta rule on the read-out: the smallest rule that needs a second entry and states that survive a reset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from edgekit.errors import UnsupportedError, UsageError
from edgekit.ir.dtypes import FLOAT32, SPIKE
from edgekit.ir.graph import Entry, Graph, Op, State, Tensor
from edgekit.ir.ops import OPS
from edgekit.ir.verify import verify

TARGET = "target"


def _readout(graph: Graph, step: Entry) -> tuple[int, Op]:
    """The last linear with constant float weights whose output has the size of the model's output."""
    outputs = graph.tensors[step.outputs[0]].size
    for at in range(len(step.ops) - 1, -1, -1):
        op = step.ops[at]
        if op.kind == "linear" and graph.tensors[op.inputs[1]].is_const:
            out = graph.tensors[op.outputs[0]]
            constant_addend = len(op.inputs) == 2 or graph.tensors[op.inputs[2]].is_const
            if out.shape == (outputs,) and constant_addend:
                return at, op
            break
    raise UnsupportedError("learning rule 'delta'", "finds no read-out: the model does not end in W z + b")


def _fresh(tensors: Mapping[str, Tensor], stem: str) -> str:
    """A name that no tensor has: a layer of the model may be called `readout` too."""
    at, name = 0, stem
    while name in tensors:
        at += 1
        name = f"{stem}.{at}"
    return name


def delta_rule(graph: Graph, rate: float) -> Graph:
    """Make the read-out plastic and add the entry `learn`.

    With z the input of the read-out, y the model's output and t the target of the step:
    W += rate · (t - y) zᵀ,  b += rate · (t - y). `learn` also advances the model's states, as `step` does.

    W [C, H] and b [C] become states with the policy `keep`. Widrow and Hoff, 1960.
    Raises UnsupportedError when the model has no linear read-out, UsageError for a rate that is not positive.
    """
    if not (np.isfinite(rate) and rate > 0):
        raise UsageError("learning rate", f"{rate!r} is not a positive number")
    step = graph.entries["step"]
    at, readout = _readout(graph, step)
    weights = graph.tensors[readout.inputs[1]]
    if weights.data is None or weights.dtype is not FLOAT32:
        raise UnsupportedError("learning rule 'delta'", f"read-out weights {weights.name!r} are not float32")
    bias = graph.tensors[readout.inputs[2]].data if len(readout.inputs) == 3 else None
    classes, features = weights.shape
    tensors, states = dict(graph.tensors), list(graph.states)
    w, b, target = (_fresh(tensors, stem) for stem in ("readout.weight", "readout.bias", TARGET))
    for name, init in ((w, weights.data), (b, np.zeros(classes, np.float32) if bias is None else bias)):
        full = np.broadcast_to(init, (classes, features) if name == w else (classes,)).astype(np.float32)
        tensors[name] = Tensor(name, full.shape, FLOAT32)
        states.append(State(name, full, "keep"))
    plastic = Op("linear", (readout.inputs[0], w, b), readout.outputs, {}, readout.source)
    step_ops = (*step.ops[:at], plastic, *step.ops[at + 1 :])

    ops: list[Op] = []
    rename = {name: name for name in (*graph.consts, *graph.state_names, w, b)}
    inputs = []
    for name in step.inputs:
        rename[name] = f"learn.{name}"
        tensors[rename[name]] = dataclasses.replace(tensors[name], name=rename[name])
        inputs.append(rename[name])
    tensors[target] = Tensor(target, (classes,), FLOAT32)
    for op in step_ops:
        for name in op.outputs:
            rename[name] = f"learn.{name}"
            tensors[rename[name]] = dataclasses.replace(tensors[name], name=rename[name])
        ops.append(
            dataclasses.replace(
                op, inputs=tuple(rename[n] for n in op.inputs), outputs=tuple(rename[n] for n in op.outputs)
            )
        )

    def emit(kind: str, *names: str, out: str, **attrs: object) -> str:
        out = _fresh(tensors, out)
        ((shape, dtype),) = OPS[kind].check([tensors[n] for n in names], attrs)
        tensors[out] = Tensor(out, shape, dtype)
        ops.append(Op(kind, names, (out,), attrs, "delta rule"))
        return out

    step_size = _fresh(tensors, "learn.rate")
    tensors[step_size] = Tensor(step_size, (), FLOAT32, data=np.asarray(rate, np.float32))
    z, y = rename[readout.inputs[0]], rename[step.outputs[0]]
    if tensors[z].dtype is SPIKE:
        z = emit("cast", z, out="learn.z", to="float32")
    if tensors[y].dtype is SPIKE:
        y = emit("cast", y, out="learn.y", to="float32")
    error = emit("sub", target, y, out="learn.error")
    nudge = emit("mul", error, step_size, out="learn.nudge")
    column = emit("reshape", nudge, out="learn.nudge.column", shape=(classes, 1))
    row = emit("reshape", z, out="learn.z.row", shape=(1, features))
    change = emit("mul", column, row, out="learn.change")
    new_w = emit("add", w, change, out=f"{w}.next")
    new_b = emit("add", b, nudge, out=f"{b}.next")
    updates = {**{s: rename[v] for s, v in step.updates.items()}, w: new_w, b: new_b}
    learn = Entry("learn", (*inputs, target), tuple(rename[n] for n in step.outputs), tuple(ops), updates)
    learned = graph.replace(tensors=tensors, states=tuple(states))
    step = dataclasses.replace(step, ops=step_ops)
    used = {n for e in (step, learn) for op in e.ops for n in op.inputs}
    kept = {n: t for n, t in learned.tensors.items() if not t.is_const or n in used}
    return verify(learned.replace(tensors=kept).with_entries(step, learn))
