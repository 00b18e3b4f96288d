"""What a row of the op table says: arity, attributes, shape and dtype inference, reference evaluation, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from sys import float_info
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError
from edgekit.ir.dtypes import FLOAT32, DType
from edgekit.ir.graph import Op, Shape, Tensor
from edgekit.ir.quant import QuantParams

Array = npt.NDArray[Any]
Attrs = Mapping[str, Any]
Typed = tuple[Shape, DType]
Infer = Callable[[Sequence[Tensor], Attrs], Sequence[Typed]]
Evaluate = Callable[[Sequence[Array], Attrs, Sequence[Tensor]], Sequence[Array]]


@dataclass(frozen=True)
class Cost:
    """Work of one execution: multiply-accumulates, additions alone (of spike inputs, all of them), and bytes read."""

    macs: int = 0
    acs: int = 0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.acs + other.acs, self.bytes + other.bytes)


@dataclass(frozen=True)
class Attr:
    """One attribute: `kind` is int, float, str, bool, 'ints' or 'body'; `choices` bounds a str."""

    kind: type | str
    default: Any = None
    required: bool = True
    choices: tuple[str, ...] = ()

    def accepts(self, value: object) -> bool:
        """Whether a value (from a pass or from a hostile file) is of this attribute's kind."""
        if self.kind == "ints":
            return isinstance(value, tuple) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
        if self.kind == "body":
            return isinstance(value, tuple)  # the op's own inference checks the lines
        if self.kind is int:
            return isinstance(value, int) and not isinstance(value, bool)
        if self.kind is float:
            return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= float_info.max
        if self.choices and value not in self.choices:
            return False
        return isinstance(self.kind, type) and isinstance(value, self.kind)


class Decomposer(Protocol):
    """What a decomposition builds with: it looks tensors up, adds ops, and adds constants."""

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name."""

    def emit(self, kind: str, *inputs: str, **attrs: Any) -> str:
        """Add an op with one result and return its name; the last one stands for the decomposed op."""

    def const(self, stem: str, data: Array, dtype: DType = FLOAT32, quant: QuantParams | None = None) -> str:
        """Add a constant under a fresh name made from `stem`."""


Decompose = Callable[[Op, Decomposer], None]


@dataclass(frozen=True)
class OpSpec:
    """A row of the op table. `decompose` rewrites the op into simpler ones for a backend without a kernel for it."""

    kind: str
    group: str
    summary: str
    arity: tuple[int, int | None]
    infer: Infer
    evaluate: Evaluate
    attrs: Mapping[str, Attr] = field(default_factory=dict)
    outputs: int | None = 1
    cost: Callable[[Sequence[Tensor], Sequence[Tensor], Attrs], Cost] | None = None
    decompose: Decompose | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))

    def attr(self, attrs: Attrs, name: str) -> Any:
        """The attribute's value in `attrs`, or its default."""
        return attrs.get(name, self.attrs[name].default)

    def check(self, inputs: Sequence[Tensor], attrs: Attrs) -> Sequence[Typed]:
        """Check arity and attributes, then infer the shapes and dtypes of the outputs.

        Raises GraphError when the op cannot take these inputs or attributes.
        """
        low, high = self.arity
        if len(inputs) < low or (high is not None and len(inputs) > high):
            wants = str(low) if low == high else f"{low} to {high}" if high is not None else f"at least {low}"
            raise GraphError(f"op {self.kind!r}", f"takes {wants} inputs, got {len(inputs)}")
        for name, value in attrs.items():
            if name not in self.attrs:
                raise GraphError(f"op {self.kind!r}", f"has no attribute {name!r}", f"it knows {sorted(self.attrs)}")
            if not self.attrs[name].accepts(value):
                raise GraphError(f"op {self.kind!r}", f"attribute {name!r} cannot be {value!r}")
        for name, attr in self.attrs.items():
            if attr.required and name not in attrs:
                raise GraphError(f"op {self.kind!r}", f"lacks attribute {name!r}")
        return self.infer(inputs, attrs)


def broadcast(kind: str, shapes: Sequence[Shape]) -> Shape:
    """The numpy broadcast of shapes; GraphError when they do not fit."""
    try:
        return tuple(int(n) for n in np.broadcast_shapes(*shapes))
    except ValueError:
        raise GraphError(f"op {kind!r}", f"shapes {', '.join(map(str, shapes))} do not broadcast") from None


def batched(array: Array, shape: Shape, rank: int) -> Array:
    """An array [N, *shape] with ones put after N, so that values of different rank broadcast to `rank` dimensions."""
    return array.reshape(array.shape[0], *(1,) * (rank - len(shape)), *shape)


def need(kind: str, condition: bool, cause: str) -> None:
    """GraphError unless the condition holds."""
    if not condition:
        raise GraphError(f"op {kind!r}", cause)


def axis_of(kind: str, attrs: Attrs, rank: int) -> int:
    """The attribute `axis`, checked against a rank (no negative axes in the IR)."""
    axis = attrs["axis"]
    need(kind, 0 <= axis < rank, f"axis {axis} is outside a tensor of rank {rank}")
    return int(axis)
