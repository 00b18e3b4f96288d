"""The IR: a model is one time step, `(inputs, states) -> (outputs, next states)`, and each entry is such a step.

A `Graph` holds tensors and states shared by its entries (`step`, `learn`, …). Shapes leave the batch dimension out.
Values are frozen; passes build new graphs with `replace`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import GraphError
from edgekit.ir.dtypes import DType
from edgekit.ir.quant import QuantParams

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
RESET_POLICIES = ("reset", "keep", "scratch")


def frozen(array: Array) -> Array:
    """A read-only, contiguous copy of an array (or the array itself when it is that already)."""
    if array.flags.writeable or not array.flags.c_contiguous:
        array = np.array(array, order="C", copy=True)
        array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named value: an input, a constant (`data` given), a state, or the result of an op."""

    name: str
    shape: Shape
    dtype: DType
    quant: QuantParams | None = None
    data: Array | None = None

    def __post_init__(self) -> None:
        if self.data is not None:
            object.__setattr__(self, "data", frozen(self.data))

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_const(self) -> bool:
        return self.data is not None

    @property
    def stored_bytes(self) -> int:
        """Bytes of the elements stored packed, without padding."""
        return (self.size * self.dtype.bits + 7) // 8


@dataclass(frozen=True, eq=False)
class State:
    """A value carried from step to step; a reset puts `init` back unless the policy is `keep`.

    `scratch` is what one entry leaves for another, such as what a layer was given: no memory of the model's own.
    """

    tensor: str
    init: Array
    reset: str = "reset"

    def __post_init__(self) -> None:
        object.__setattr__(self, "init", frozen(self.init))


@dataclass(frozen=True)
class Op:
    """One operation: `kind` is a row of `OPS`, `source` the module path or line it came from."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))


@dataclass(frozen=True)
class Entry:
    """One way into the graph: ordered ops, and the value that becomes each state when the entry is done."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    ops: tuple[Op, ...]
    updates: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "updates", MappingProxyType(dict(self.updates)))


@dataclass(frozen=True, eq=False)
class Graph:
    """Entries of ordered ops over shared tensors and states. `dt` is the time of one step in seconds, if known."""

    name: str
    tensors: Mapping[str, Tensor]
    states: tuple[State, ...]
    entries: Mapping[str, Entry]
    dt: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "tensors", MappingProxyType(dict(self.tensors)))
        object.__setattr__(self, "entries", MappingProxyType(dict(self.entries)))

    def tensor(self, name: str) -> Tensor:
        """The tensor of that name; GraphError if there is none."""
        try:
            return self.tensors[name]
        except KeyError:
            raise GraphError(f"tensor {name!r}", f"not in graph {self.name!r}") from None

    @cached_property
    def state_names(self) -> frozenset[str]:
        return frozenset(s.tensor for s in self.states)

    @property
    def consts(self) -> dict[str, Tensor]:
        """The constant tensors, in graph order."""
        return {n: t for n, t in self.tensors.items() if t.is_const}

    @cached_property
    def is_integer(self) -> bool:
        """Whether the step computes with integers and spikes alone; other entries convert from and to reals."""
        step = self.entries["step"]
        touched = {n for op in step.ops for n in (*op.inputs, *op.outputs)} | {*step.inputs, *step.outputs}
        return not any(self.tensor(n).dtype.is_float for n in touched | self.state_names)

    def port_dtype(self, name: str) -> np.dtype[Any]:
        """The numpy dtype in which an entry takes or gives a value: float32, or in an integer program its own dtype.

        A spike is then an int8 of 0 or 1, in a float program 0.0 or 1.0.
        """
        if not self.is_integer:
            return np.dtype(np.float32)
        dtype = self.tensor(name).dtype
        return np.dtype(np.int8) if dtype.numpy.kind == "b" else np.dtype(dtype.numpy)

    def ops(self) -> Iterator[tuple[Entry, Op]]:
        """Every op of every entry, in order."""
        for entry in self.entries.values():
            for op in entry.ops:
                yield entry, op

    def replace(self, **changes: Any) -> Graph:
        """A new graph with some fields changed."""
        return dataclasses.replace(self, **changes)

    def with_entries(self, *entries: Entry) -> Graph:
        """A new graph in which the given entries replace (or join) those of the same name."""
        return self.replace(entries={**self.entries, **{e.name: e for e in entries}})

    def hash(self) -> str:
        """SHA-256 over structure and data (provenance left out): the identity a state blob is bound to."""
        from edgekit.ir.document import to_document  # here, because the document form is built on these types

        document, weights = to_document(self, provenance=False)
        digest = hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode())
        for name in sorted(weights):
            digest.update(name.encode() + b"\0" + weights[name].tobytes())
        return digest.hexdigest()
