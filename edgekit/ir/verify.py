"""The verifier: every rule a graph keeps, checked after each pass and on every graph read from a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import prod

import numpy as np

from edgekit.errors import GraphError
from edgekit.ir.dtypes import INT4
from edgekit.ir.graph import RESET_POLICIES, Entry, Graph, Shape, Tensor
from edgekit.ir.ops import OPS
from edgekit.ir.widths import check_widths

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/-]{0,199}")
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_TENSORS, MAX_OPS, MAX_RANK, MAX_ELEMENTS, MAX_VALUES = 100_000, 100_000, 6, 2**27, 2**26


def check_shape(name: str, shape: Shape) -> None:
    """GraphError unless a shape is of at most 6 axes and at most 2^27 elements, none of them empty."""
    thing = f"tensor {name[:80]!r}"
    if len(shape) > MAX_RANK or any(not 0 < n <= MAX_ELEMENTS for n in shape):
        raise GraphError(thing, f"has shape {shape}", f"axes run from 1 to {MAX_ELEMENTS}, at most {MAX_RANK} of them")
    elements = 1
    for n in shape:  # Python integers: no overflow, whatever a hostile file says
        elements *= n
    if elements > MAX_ELEMENTS:
        raise GraphError(thing, f"has {elements} elements", f"at most {MAX_ELEMENTS}")


def check_total(tensors: Mapping[str, Tensor]) -> None:
    """GraphError when all values together, constants aside, have more than 2^26 elements (256 MiB as float32)."""
    total = 0
    for name, tensor in tensors.items():
        check_shape(name, tensor.shape)
        total += 0 if tensor.is_const else prod(tensor.shape)
    if total > MAX_VALUES:
        raise GraphError("graph", f"has {total:,} elements in its values and states", f"at most {MAX_VALUES:,}")


def _check_tensor(name: str, tensor: Tensor) -> None:
    thing = f"tensor {name!r}"
    if tensor.name != name or not NAME.fullmatch(name):
        raise GraphError(thing, f"has no usable name ({tensor.name!r})")
    check_shape(name, tensor.shape)
    if tensor.data is not None:
        if tensor.data.shape != tensor.shape or tensor.data.dtype != tensor.dtype.numpy:
            raise GraphError(
                thing, f"declares {tensor.dtype}{tensor.shape}, holds {tensor.data.dtype}{tensor.data.shape}"
            )
        if tensor.dtype.is_float and not np.isfinite(tensor.data).all():
            raise GraphError(thing, "holds NaN or Inf", "a weight must be a number; was the model trained to the end?")
        if tensor.dtype is INT4 and tensor.size and not -8 <= tensor.data.min() <= tensor.data.max() <= 7:
            raise GraphError(thing, "holds a number outside int4, -8 to 7")
    if tensor.quant is not None:
        if not tensor.dtype.is_integer:
            raise GraphError(thing, f"has quantisation parameters but dtype {tensor.dtype}")
        axis = tensor.quant.axis
        if axis is not None and (not 0 <= axis < len(tensor.shape) or tensor.shape[axis] != tensor.quant.scale.size):
            raise GraphError(thing, f"has {tensor.quant.scale.size} scales along axis {axis} of {tensor.shape}")
        low, high = tensor.dtype.limits
        if not (tensor.quant.qmin >= low and tensor.quant.qmax <= high):
            raise GraphError(thing, f"has a quantised range outside {tensor.dtype}")


def _check_states(graph: Graph) -> None:
    seen: set[str] = set()
    for state in graph.states:
        tensor, thing = graph.tensor(state.tensor), f"state {state.tensor!r}"
        if state.tensor in seen:
            raise GraphError(thing, "is declared twice")
        seen.add(state.tensor)
        if tensor.is_const:
            raise GraphError(thing, "is a constant too")
        if state.reset not in RESET_POLICIES:
            raise GraphError(thing, f"has reset policy {state.reset!r}", f"known are {', '.join(RESET_POLICIES)}")
        if state.init.shape != tensor.shape or state.init.dtype != tensor.dtype.numpy:
            raise GraphError(thing, f"starts as {state.init.dtype}{state.init.shape}, is {tensor.dtype}{tensor.shape}")
        if tensor.dtype.is_float and not np.isfinite(state.init).all():
            raise GraphError(thing, "starts with NaN or Inf")


def _check_entry(graph: Graph, entry: Entry, defined: set[str]) -> None:
    where = f"entry {entry.name!r}"
    known = {n for n, t in graph.tensors.items() if t.is_const} | graph.state_names
    for name in entry.inputs:
        if name in known or name in defined:
            raise GraphError(where, f"input {name!r} is also something else")
        if graph.tensor(name).is_const:
            raise GraphError(where, f"input {name!r} is a constant")
        defined.add(name)
        known.add(name)
    for at, op in enumerate(entry.ops):
        thing = f"{where}, op {at} ({op.kind}{', from ' + op.source if op.source else ''})"
        if op.kind not in OPS:
            raise GraphError(thing, "is not in the op table")
        for name in op.inputs:
            if name not in known:
                raise GraphError(thing, f"reads {name!r} before it is defined")
        spec = OPS[op.kind]
        try:
            typed = spec.check([graph.tensor(n) for n in op.inputs], op.attrs)
        except GraphError as error:
            raise GraphError(thing, error.cause, error.remedy) from None
        if len(typed) != len(op.outputs):
            raise GraphError(thing, f"has {len(op.outputs)} outputs, its kind gives {len(typed)}")
        for name, (shape, dtype) in zip(op.outputs, typed, strict=True):
            if name in known or name in defined:
                raise GraphError(thing, f"defines {name!r} a second time")
            tensor = graph.tensor(name)
            if tensor.shape != shape or tensor.dtype is not dtype:
                raise GraphError(
                    thing, f"{name!r} is declared {tensor.dtype}{tensor.shape}, the op gives {dtype}{shape}"
                )
            if tensor.is_const:
                raise GraphError(thing, f"writes the constant {name!r}")
            defined.add(name)
            known.add(name)
    if not entry.outputs:
        raise GraphError(where, "has no outputs")
    for name in entry.outputs:
        if name not in known:
            raise GraphError(where, f"output {name!r} is never computed")
    for state, value in entry.updates.items():
        if state not in graph.state_names:
            raise GraphError(where, f"updates {state!r}, which is no state")
        if value not in known:
            raise GraphError(where, f"updates {state!r} with {value!r}, which is never computed")
        a, b = graph.tensor(state), graph.tensor(value)
        if a.shape != b.shape or a.dtype is not b.dtype:
            raise GraphError(where, f"updates {state!r} ({a.dtype}{a.shape}) with {b.dtype}{b.shape}")


def verify(graph: Graph) -> Graph:
    """Return the graph if it keeps every rule of the IR; GraphError names the first rule that it breaks.

    Rules: names are unique and printable; shapes are positive and bounded; constants fit their declaration and are
    finite; every value is defined once, before it is read; every op is in the table, with inputs, attributes and
    outputs that fit it; states are declared once and updated with a value of their own shape and dtype; entries named
    like a width take and give what the step does.
    """
    if not IDENTIFIER.fullmatch(graph.name):
        raise GraphError(f"graph {graph.name!r}", "has a name that is no C identifier of at most 64 characters")
    if graph.dt is not None and not (np.isfinite(graph.dt) and graph.dt > 0):
        raise GraphError(f"graph {graph.name!r}", f"has dt {graph.dt!r}", "dt is a time in seconds, above zero")
    if len(graph.tensors) > MAX_TENSORS or sum(len(e.ops) for e in graph.entries.values()) > MAX_OPS:
        raise GraphError(f"graph {graph.name!r}", "is too large", f"at most {MAX_TENSORS} tensors and {MAX_OPS} ops")
    if "step" not in graph.entries:
        raise GraphError(f"graph {graph.name!r}", "has no entry 'step'")
    check_total(graph.tensors)
    for name, tensor in graph.tensors.items():
        _check_tensor(name, tensor)
    _check_states(graph)
    defined: set[str] = set()
    for name, entry in graph.entries.items():
        if entry.name != name or not IDENTIFIER.fullmatch(name):
            raise GraphError(f"entry {name!r}", f"has no usable name ({entry.name!r})")
        _check_entry(graph, entry, defined)
    check_widths(graph)
    unused = set(graph.tensors) - defined - graph.state_names - set(graph.consts)
    if unused:
        raise GraphError(f"tensor {min(unused)!r}", "is declared but nothing defines it")
    return graph
