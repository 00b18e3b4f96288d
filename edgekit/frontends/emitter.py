"""A graph under construction, as lowering tables see it: operands that are live or known, each op added once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import FLOAT32, SPIKE, DType, GraphBuilder, printable
from edgekit.ir.graph import Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Live:
    """A value computed at run time, by its name in the graph."""

    name: str


@dataclass(frozen=True, eq=False)
class Known:
    """A value fixed at import; `hint` is what it is called in the graph."""

    array: Array
    hint: str = "const"


LARGEST = float(np.finfo(np.float32).max)
"""The largest finite float32, where a graph needs a number in the place of infinity."""

Operand = Live | Known | float | int | bool


class Refuse(Exception):  # noqa: N818  (control flow inside a lowering, never seen by a user)
    """A row cannot lower its call: the cause, and what to write instead."""

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause, self.remedy = cause, remedy


class Emitter:
    """Adds ops to a graph. All shapes are full: where there is a batch axis, it is an ordinary axis of length one."""

    def __init__(self, name: str, dt: float | None = None) -> None:
        self.builder = GraphBuilder(name, dt)
        self.source = ""  # module path, node or line that the next ops come from
        self._made: dict[Any, str] = {}
        self._producers: dict[str, tuple[str, tuple[str, ...]]] = {}

    def emit(self, kind: str, *inputs: Operand, **attrs: Any) -> Live:
        """Add an op with one result; the same op on the same inputs is added once."""
        names = tuple(self.name(value) for value in inputs)
        key = (kind, names, tuple(sorted(attrs.items())))
        if key not in self._made:
            self._made[key] = self.builder.op(kind, *names, source=self.source, **attrs)
            self._producers[self._made[key]] = (kind, names)
        return Live(self._made[key])

    def name(self, value: object) -> str:
        """The graph tensor of an operand; what is known becomes a constant: float32, or spikes where it is bool.

        Raises Refuse for NaN and Inf, which no backend takes as constants.
        """
        if isinstance(value, Live):
            return value.name
        known = self.known(value)
        if known is None:
            raise Refuse(f"takes {type(value).__name__}, not a tensor")
        dtype = SPIKE if known.array.dtype == np.bool_ else FLOAT32
        array = np.asarray(known.array, dtype=dtype.numpy)
        if not np.isfinite(array).all():
            raise Refuse("takes a constant with NaN or Inf in it", "use a large finite number")
        key = (known.hint, dtype.name, array.shape, array.tobytes())
        if key not in self._made:
            self._made[key] = self.builder.const(self.builder.fresh(printable(known.hint)), array, dtype)
        return self._made[key]

    def known(self, value: object) -> Known | None:
        """What is fixed at import, numbers too; None for a live value."""
        if isinstance(value, Known):
            return value
        if isinstance(value, (bool, np.bool_)):
            return Known(np.asarray(value), "const.true" if value else "const.false")
        if isinstance(value, (int, float)):
            return Known(np.asarray(value, np.float32), f"const.{np.float32(value)!s}")
        return None

    def shape(self, value: object) -> Shape:
        """Shape of an operand."""
        if isinstance(value, Live):
            return self.builder.tensor(value.name).shape
        return value.array.shape if isinstance(value, Known) else ()

    def dtype(self, value: Live) -> DType:
        """Dtype of a live value."""
        return self.builder.tensor(value.name).dtype

    def producer(self, value: object) -> tuple[str, tuple[str, ...]]:
        """(kind, inputs) of the op that made a value; ('', ()) for inputs, states and constants."""
        return self._producers.get(value.name, ("", ())) if isinstance(value, Live) else ("", ())

    def real(self, value: Any) -> Any:
        """An operand as float32: spikes become 0.0 and 1.0."""
        if isinstance(value, Live):
            return self.emit("cast", value, to="float32") if self.dtype(value) is SPIKE else value
        known = self.known(value)
        if known is not None and known.array.dtype == np.bool_:
            return Known(known.array.astype(np.float32), known.hint)
        return value

    def spike(self, value: Any) -> Any:
        """An operand as spikes: whatever is not zero."""
        if isinstance(value, Live):
            return self.emit("cast", value, to="spike") if self.dtype(value) is FLOAT32 else value
        known = self.known(value)
        if known is None:
            raise Refuse(f"takes {type(value).__name__}, not a tensor")
        return Known(known.array != 0, known.hint)

    def live(self, value: Operand) -> Live:
        """An operand as a tensor of the graph."""
        return value if isinstance(value, Live) else Live(self.name(value))

    def reshape(self, value: Operand, shape: Sequence[int]) -> Operand:
        """The same elements, row-major, in another shape; no op where the shape is the same."""
        shape = tuple(int(n) for n in shape)
        if self.shape(value) == shape:
            return value
        if isinstance(value, Live):
            return self.emit("reshape", value, shape=shape)
        known = self.known(value)
        return value if known is None else Known(known.array.reshape(shape), known.hint)

    def transpose(self, value: Operand, perm: Sequence[int]) -> Operand:
        """Axes in another order; no op where the order is the same."""
        perm = tuple(int(p) for p in perm)
        if perm == tuple(range(len(perm))):
            return value
        if isinstance(value, Live):
            return self.emit("transpose", value, perm=perm)
        known = self.known(value)
        return value if known is None else Known(known.array.transpose(perm), known.hint)

    def expand(self, value: Operand, shape: Sequence[int]) -> Operand:
        """A value broadcast to a shape; no op where it has it already."""
        shape = tuple(int(n) for n in shape)
        if self.shape(value) == shape:
            return value
        if isinstance(value, Live):
            return self.emit("expand", value, shape=shape)
        known = self.known(value)
        return value if known is None else Known(np.broadcast_to(known.array, shape), known.hint)

    def state(self, name: str, init: Array) -> Live:
        """Declare a state with its first value: bool ones are spikes, all others float32."""
        dtype = SPIKE if init.dtype == np.bool_ else FLOAT32
        return Live(self.builder.state(self.builder.fresh(printable(name)), init, dtype))

    def update(self, state: Live, value: Operand) -> None:
        """Say what a state becomes, cast and broadcast to its dtype and shape."""
        tensor = self.builder.tensor(state.name)
        value = self.spike(value) if tensor.dtype is SPIKE else self.real(value)
        self.builder.update(state.name, self.name(self.expand(value, tensor.shape)))
