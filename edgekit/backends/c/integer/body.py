"""A fused op taken apart, and what is known of the constants in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.fused import needed_lines
from edgekit.backends.c.integer.context import Context
from edgekit.ir import Entry, Op, Tensor
from edgekit.ir.dtypes import DTYPES
from edgekit.ir.ops import body_lines, fused_types
from edgekit.ir.ops.elementwise import Line


@dataclass(frozen=True)
class Body:
    """A fused op taken apart: its values in order, the lines a result depends on, and which inputs those read."""

    op: Op
    types: Sequence[Tensor]
    lines: Sequence[Line]
    used: Sequence[int]

    @property
    def arity(self) -> int:
        return len(self.op.inputs)

    @property
    def read(self) -> set[int]:
        """Numbers of the values that the needed lines take."""
        return {o for at in self.used for o in self.lines[at][1]}

    @property
    def results(self) -> tuple[int, ...]:
        return tuple(self.op.attrs["results"])


def body_of(ctx: Context, op: Op) -> Body:
    """Take a fused op apart."""
    lines = body_lines(op.attrs, len(op.inputs))
    types = fused_types([ctx.tensor(n) for n in op.inputs], op.attrs)
    return Body(op, types, lines, needed_lines(lines, len(op.inputs), op.attrs["results"]))


def constant_of(ctx: Context, entry: Entry, body: Body, number: int) -> Array | None:
    """The data of a value of the body that is a constant."""
    if number >= body.arity:
        return None
    data = ctx.const(entry, body.op.inputs[number])
    return None if data is None else data.astype(np.int64)


def is_shrinking(ctx: Context, entry: Entry, body: Body, line: Line) -> bool:
    """Whether a rescale cannot leave the range of its result: 0 ≤ m ≤ 2^shift, and the result as wide as x."""
    _, (x, m), pairs = line
    attrs, factor = dict(pairs), constant_of(ctx, entry, body, m)
    wide = DTYPES[attrs["to"]].bits >= body.types[x].dtype.bits
    return wide and factor is not None and bool((factor >= 0).all() and (factor <= 2 ** attrs["shift"]).all())


def indented(levels: int, lines: Sequence[str]) -> list[str]:
    """Lines of C that stand so many blocks deep."""
    return [f"{'    ' * levels}{line}" for line in lines]
