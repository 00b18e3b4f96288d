"""Movement ops as strided walks: which element goes where, with as few axes as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from edgekit.ir import Graph, Op
from edgekit.ir.graph import Shape

NEIGHBOURS = 4  # elements that are copied together at least
MAX_RANK = 6  # EK_MAX_RANK in kernels/walk.h


@dataclass(frozen=True)
class Walk:
    """Element [i0, i1, …] of an operand goes from x_first + Σ i·x_step to y_first + Σ i·y_step."""

    shape: Shape
    x_first: int
    x_step: Shape
    y_first: int
    y_step: Shape
    operand: int = 0


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
    return Walk(shape, walk.x_first, x_step, walk.y_first, y_step, walk.operand)


def _fitness(axis: tuple[int, int, int]) -> tuple[bool, int]:
    """Neighbours that stay neighbours are copied fastest, then what is long."""
    n, x_step, y_step = axis
    return n >= NEIGHBOURS and x_step == y_step == 1, n


def _window_walks(shape: Shape, out: Shape, op: Op) -> list[Walk]:
    """Axes of the result, the last one split into those of a window; the fastest to walk comes last.

    Where that are more axes than a walk has, the shortest ones are walks of their own.
    """
    size, stride, dilation = (op.attrs[n] for n in ("size", "stride", "dilation"))
    lead, x_step, y_step = len(shape) - len(size), _steps(shape), _steps((*out[:-1], *size))
    x_places = tuple(s * n for s, n in zip(stride, x_step[lead:], strict=True))
    x_taps = tuple(s * n for s, n in zip(dilation, x_step[lead:], strict=True))
    walk = _joined(Walk((*out[:-1], *size), 0, (*x_step[:lead], *x_places, *x_taps), 0, y_step))
    axes = sorted(zip(walk.shape, walk.x_step, walk.y_step, strict=True), key=_fitness)
    apart, together = axes[:-MAX_RANK], axes[-MAX_RANK:]
    sizes, x_steps, y_steps = zip(*together, strict=True)
    return [
        Walk(
            sizes,
            sum(i * axis[1] for i, axis in zip(at, apart, strict=True)),
            x_steps,
            sum(i * axis[2] for i, axis in zip(at, apart, strict=True)),
            y_steps,
        )
        for at in product(*(range(axis[0]) for axis in apart))
    ]


def walks_of(graph: Graph, op: Op) -> list[Walk]:
    """The walks of a transpose, expand, slice, pad or windows, or one per input of a concat."""
    out = graph.tensors[op.outputs[0]].shape
    y_step = _steps(out)
    if op.kind == "concat":
        walks, axis, at = [], op.attrs["axis"], 0
        for operand, name in enumerate(op.inputs):
            shape = graph.tensors[name].shape
            walks.append(_joined(Walk(shape, 0, _steps(shape), at * y_step[axis], y_step, operand)))
            at += shape[axis]
        return walks
    shape = graph.tensors[op.inputs[0]].shape
    x_first, x_step = 0, _steps(shape)
    if op.kind == "windows":
        return _window_walks(shape, out, op)
    if op.kind == "pad":
        return [
            _joined(Walk(shape, 0, x_step, sum(n * s for n, s in zip(op.attrs["before"], y_step, strict=True)), y_step))
        ]
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
    for number, walk in enumerate(walks_of(graph, op)):
        axes = [f"{{{', '.join(f'{n}u' for n in axis)}}}" for axis in (walk.shape, walk.x_step, walk.y_step)]
        table = ", ".join([f"{len(walk.shape)}u", f"{walk.x_first}u", f"{walk.y_first}u", *axes])
        lines.append(f"static const ek_walk walk{number} = {{{table}}};")
        lines.append(f"ek_{kernel}({y}, {xs[walk.operand]}, &walk{number});")
    return lines


def gather_sizes(graph: Graph, op: Op) -> str:
    """The sizes that a gather takes, as C: what is before the axis, along it, how many indices, and what follows."""
    shape, axis = graph.tensors[op.inputs[0]].shape, op.attrs["axis"]
    return f"{prod(shape[:axis])}u, {shape[axis]}u, {len(op.attrs['indices'])}u, {prod(shape[axis + 1 :])}u"
