"""Movement ops as strided walks: which element goes where, with as few axes as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from edgekit.ir import Graph, Op
from edgekit.ir.graph import Shape


@dataclass(frozen=True)
class Walk:
    """Element [i0, i1, …] goes from x_first + Σ i·x_step to y_first + Σ i·y_step."""

    shape: Shape
    x_first: int
    x_step: Shape
    y_first: int
    y_step: Shape


def _steps(shape: Shape) -> Shape:
    steps, step = [], 1
    for n in reversed(shape):
        steps.append(step)
        step *= n
    return tuple(reversed(steps))


def _joined(walk: Walk) -> Walk:
    """The same walk with axes of length one dropped and axes that continue one another joined."""
    axes: list[tuple[int, int, int]] = []
    for n, x, y in zip(walk.shape, walk.x_step, walk.y_step, strict=True):
        if n == 1:
            continue
        if axes and axes[-1][1] == n * x and axes[-1][2] == n * y:
            axes[-1] = (axes[-1][0] * n, x, y)
        else:
            axes.append((n, x, y))
    shape, x_step, y_step = zip(*(axes or [(1, 1, 1)]), strict=True)
    return Walk(shape, walk.x_first, x_step, walk.y_first, y_step)


def walks_of(graph: Graph, op: Op) -> list[Walk]:
    """One walk per input of a transpose, expand, slice or concat."""
    out = graph.tensors[op.outputs[0]].shape
    y_step = _steps(out)
    if op.kind == "concat":
        walks, axis, at = [], op.attrs["axis"], 0
        for name in op.inputs:
            shape = graph.tensors[name].shape
            walks.append(_joined(Walk(shape, 0, _steps(shape), at * y_step[axis], y_step)))
            at += shape[axis]
        return walks
    shape = graph.tensors[op.inputs[0]].shape
    x_first, x_step = 0, _steps(shape)
    if op.kind == "transpose":
        x_step = tuple(x_step[p] for p in op.attrs["perm"])
    elif op.kind == "expand":
        lead = len(out) - len(shape)
        x_step = (0,) * lead + tuple(0 if n == 1 else s for n, s in zip(shape, x_step, strict=True))
    else:
        axis = op.attrs["axis"]
        x_first = op.attrs["start"] * x_step[axis]
        x_step = tuple(s * op.attrs.get("step", 1) if i == axis else s for i, s in enumerate(x_step))
    return [_joined(Walk(out, x_first, x_step, 0, y_step))]


def walk_lines(graph: Graph, op: Op, kernel: str, y: str, xs: Sequence[str]) -> list[str]:
    """The lines that move every operand of an op into its result: a table each, and the call of the kernel."""
    lines = []
    for number, (x, walk) in enumerate(zip(xs, walks_of(graph, op), strict=True)):
        axes = [f"{{{', '.join(f'{n}u' for n in axis)}}}" for axis in (walk.shape, walk.x_step, walk.y_step)]
        table = ", ".join([f"{len(walk.shape)}u", f"{walk.x_first}u", f"{walk.y_first}u", *axes])
        lines.append(f"static const ek_walk walk{number} = {{{table}}};")
        lines.append(f"ek_{kernel}({y}, {x}, &walk{number});")
    return lines


def gather_sizes(graph: Graph, op: Op) -> str:
    """The sizes that a gather takes, as C: what is before the axis, along it, how many indices, and what follows."""
    shape, axis = graph.tensors[op.inputs[0]].shape, op.attrs["axis"]
    return f"{prod(shape[:axis])}u, {shape[axis]}u, {len(op.attrs['indices'])}u, {prod(shape[axis + 1 :])}u"
