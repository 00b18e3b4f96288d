"""Inputs and outputs of a model at batch one: which axis is the batch, and what every other length is."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgekit.errors import UnsupportedError, UsageError

Dim = int | str | None
UNKNOWN = (-1,)
"""The shape of an output that nothing tells."""
MAX_ELEMENTS = 2**26
"""Largest value, in elements; a step of a model for the edge is far below it."""

_BATCH = re.compile(r"n|b|bs|.*batch.*", re.IGNORECASE)
_TIME = re.compile(r"t|l|time.*|seq.*|.*len(gth)?|.*frames?|.*steps?|.*samples|.*tokens?", re.IGNORECASE)


@dataclass(frozen=True)
class Port:
    """An input or output: its element type in ONNX, its full shape at batch one, the batch axis if it has one.

    `symbolic` says that the length of the batch axis is free in the file.
    """

    name: str
    elem: int
    shape: tuple[int, ...]
    batch: int | None = None
    symbolic: bool = False

    @property
    def step_shape(self) -> tuple[int, ...]:
        """The shape without the batch."""
        return tuple(n for axis, n in enumerate(self.shape) if axis != self.batch)


def dims(value: Any) -> list[Dim] | None:
    """The lengths of a value: numbers, names of symbols, None where unknown; None where even the rank is."""
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    found: list[Dim] = []
    for dim in tensor.shape.dim:
        kind = dim.WhichOneof("value")
        found.append(int(dim.dim_value) if kind == "dim_value" else (dim.dim_param or None) if kind else None)
    return found


def input_ports(values: Sequence[Any], shapes: Mapping[str, Sequence[int]] | None, thing: str) -> dict[str, Port]:
    """The inputs at batch one. `shapes` gives full shapes where the file leaves more than the batch open.

    Raises UnsupportedError that lists every length that nothing tells, UsageError for shapes that do not fit.
    """
    found: dict[str, list[Dim] | None] = {v.name: dims(v) for v in values}
    given = {name: tuple(int(n) for n in shape) for name, shape in (shapes or {}).items()}
    _check_given(found, given, thing)
    batches = batch_symbols(found.values())
    bound: dict[str, int] = dict.fromkeys(batches, 1)
    for name, shape in given.items():
        for dim, length in zip(found[name] or (), shape, strict=False):
            if isinstance(dim, str) and dim not in batches:
                bound[dim] = length
    faults, ports = [], {}
    for value in values:
        lengths = found[value.name]
        if lengths is None and value.name not in given:
            faults.append(f"input {value.name!r} has no shape")
            continue
        port, missing = _port(value, lengths, given.get(value.name), bound, batches)
        ports[value.name] = port
        faults += [f"input {value.name!r}, axis {axis}: {what}" for axis, what in missing]
    if faults:
        name = next(v.name for v in values if any(f"{v.name!r}" in f for f in faults))
        example = ",".join(
            str(d) if isinstance(d, int) else "1" if at == 0 or d in batches else "…"
            for at, d in enumerate(found[name] or [])
        )
        remedy = f"give the full shape of one step: --shape {name}={example}"
        raise UnsupportedError(thing, "leaves lengths open that are not the batch", remedy, faults)
    return ports


def batch_symbols(shapes: Any) -> set[str]:
    """The symbols that stand for the batch: the leading ones that are not named like a time, and those named so."""
    known = [lengths for lengths in shapes if lengths]
    named = {d for lengths in known for d in lengths if isinstance(d, str) and _BATCH.fullmatch(d)}
    leading = {lengths[0] for lengths in known if isinstance(lengths[0], str) and not _TIME.fullmatch(lengths[0])}
    return named | leading


def output_port(value: Any, elem: int, shape: tuple[int, ...], inputs: Sequence[Port], axes: Mapping[str, int]) -> Port:
    """An output whose full shape at batch one is known; its batch axis is in `axes`, else 0 as in inputs."""
    axis = axes.get(value.name, 0)
    if value.name in axes and axis < len(shape) and shape[axis] == 1:
        return Port(value.name, elem, shape, axis, symbolic=True)
    fixed = any(port.batch is not None and not port.symbolic for port in inputs)
    batched = fixed and len(shape) >= 2 and shape[0] == 1
    return Port(value.name, elem, shape, 0 if batched else None)


def _check_given(found: Mapping[str, Any], given: Mapping[str, tuple[int, ...]], thing: str) -> None:
    faults = [f"{name!r} is no input" for name in given if name not in found]
    for name, shape in given.items():
        lengths = found.get(name)
        if min(shape, default=1) < 1:
            faults.append(f"{name!r}: lengths start at 1, got {shape}")
        if lengths is not None and (
            len(lengths) != len(shape)
            or any(isinstance(d, int) and d != n for d, n in zip(lengths, shape, strict=True))
        ):
            faults.append(f"{name!r}: {shape} does not fit {lengths}")
    if faults:
        raise UsageError(
            "shapes", f"do not fit {thing}", f"its inputs are {', '.join(f'{n} {d}' for n, d in found.items())}", faults
        )


def _port(
    value: Any,
    lengths: list[Dim] | None,
    given: tuple[int, ...] | None,
    bound: Mapping[str, int],
    batches: set[str],
) -> tuple[Port, list[tuple[int, str]]]:
    elem = int(value.type.tensor_type.elem_type)
    lengths = list(given or ()) if lengths is None else lengths
    symbolic = [axis for axis, d in enumerate(lengths) if isinstance(d, str) and d in batches]
    if not symbolic and lengths and lengths[0] is None:
        symbolic = [0]
    shape, missing = [], []
    for axis, dim in enumerate(lengths):
        length = given[axis] if given else dim if isinstance(dim, int) else bound.get(dim or "")
        length = 1 if length is None and axis in symbolic else length
        if length is None or length < 0:
            missing.append((axis, f"length {dim!r}" if isinstance(dim, str) else "an unnamed length"))
        shape.append(length or 0)
    if not missing and math.prod(shape) > MAX_ELEMENTS:
        missing.append((0, f"{math.prod(shape):,} elements, more than {MAX_ELEMENTS:,}"))
    batch = symbolic[0] if len(symbolic) == 1 else None
    if batch is not None and shape[batch] != 1:
        batch = None
    if batch is None and not symbolic and len(shape) >= 2 and shape[0] == 1:
        batch = 0
    return Port(value.name, elem, tuple(shape), batch, symbolic=bool(symbolic)), missing
