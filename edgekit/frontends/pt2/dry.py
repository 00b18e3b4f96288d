"""Running a program on shapes alone (torch's meta device), before any memory is spent on it.

It tells which inputs a program writes in place, whether what the file says of shapes is true, and whether a program
that was exported for one batch size can be carried out at any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from edgekit.errors import ModelError, UnsupportedError
from edgekit.frontends.pt2.ends import Ends
from edgekit.frontends.pt2.steps import Step, Values, carry_out, operands, results, with_batch
from edgekit.frontends.pt2.values import NARROWED, Meta, Name
from edgekit.frontends.slots import line

MAX_VALUES = 2**27
"""Elements of all values of one call together: half a gigabyte of float32, for all of them are kept until its end."""


def entered(
    ends: Ends, tensors: Mapping[str, Tensor], batch: int, moving: frozenset[str] = frozenset(), *, whole: bool = False
) -> Values:
    """Values without memory for all inputs of the graph; tensors in `moving` have the batch in axis 0.

    A step takes floats: inputs that the file has as integers are integers only where `whole`.
    """
    values: Values = {}
    for item in ends.program.inputs:
        if item.kind == "user":
            given = ends.metas[item.name].dtype
            kind = given if whole and given not in NARROWED else ends.dtype(item.name)
            values[item.name] = torch.empty(ends.shape(item.name, batch), dtype=kind, device="meta")
        elif item.kind != "value":
            held = tensors[item.target]
            shape = (batch, *held.shape[1:]) if item.target in moving else held.shape
            values[item.name] = torch.empty(shape, dtype=held.dtype, device="meta")
        elif item.name:
            values[item.name] = item.value
    return values


def checked(ends: Ends, steps: tuple[Step, ...], tensors: Mapping[str, Tensor], batch: int) -> Values:
    """All values of the program at a batch size, without memory, after a check of every step.

    Raises ModelError for a step that fails, differs from what the file says of it or grows too large, UnsupportedError
    where integer inputs are used as such.
    """
    as_declared = batch == ends.batch[0] and not ends.open_single
    declared = ends.program.graph.tensors if as_declared else {}
    values = entered(ends, tensors, batch)
    integers = [n for n, meta in ends.metas.items() if not (meta.dtype.is_floating_point or meta.dtype.is_complex)]
    try:
        _dry_run(ends.thing, steps, values, batch, declared)
    except ModelError as error:
        if not integers:
            raise
        _dry_run(ends.thing, steps, entered(ends, tensors, batch, whole=True), batch, declared)
        raise UnsupportedError(
            ends.thing,
            "computes with inputs that are not float32",
            "take float32 inputs, and look up or compare inside the model",
            [f"{n}: {str(ends.metas[n].dtype).removeprefix('torch.')}" for n in integers],
        ) from error
    wanted = [output.value.name for output in ends.program.outputs if isinstance(output.value, Name)]
    if missing := [name for name in wanted if name not in values]:
        raise ModelError(ends.thing, "returns what nothing computes", "export it again", missing[:20])
    return values


def written(ends: Ends, values: Values) -> frozenset[str]:
    """The inputs of the graph that its steps have written in place, by the values after them."""
    inputs = {item.name: values.get(item.name) for item in ends.program.inputs}
    return frozenset(name for name, value in inputs.items() if isinstance(value, Tensor) and value._version)


def _dry_run(thing: str, steps: tuple[Step, ...], values: Values, batch: int, declared: Mapping[str, Meta]) -> None:
    read = {name for step in steps for name in operands(step)}
    total = 0
    with torch.no_grad():
        for step in steps:
            _dry(thing, step, values, batch)
            made = [values[name] for name in results(step)]
            total += sum(value.numel() for value in made if isinstance(value, Tensor))
            if total > MAX_VALUES:
                cause = f"{step.origin} brings the values of one call to more than {MAX_VALUES:,} elements"
                raise ModelError(thing, cause, "convert one step of a smaller model")
            # what nothing reads (statistics beside a norm) has another shape on each device
            for name in read.intersection(results(step)):
                value, meta = values[name], declared.get(name)
                expected = None if meta is None else meta.shape()
                if isinstance(value, Tensor) and expected is not None and tuple(value.shape) != expected:
                    cause = f"{step.origin} gives {list(value.shape)}, and the file says {list(expected)}"
                    raise ModelError(thing, cause, "export it again")


def _dry(thing: str, step: Step, values: Values, batch: int) -> None:
    if taken := [name for name in results(step) if name in values]:
        raise ModelError(thing, f"{step.origin} defines {taken[0]} a second time", "export it again")
    try:
        carry_out(step, values, batch, "meta")
    # an operator raises what it likes, and other things where a shape depends on values
    except Exception as error:
        cause = f"needs {error}, which nothing computes" if isinstance(error, KeyError) else f"fails ({line(error)})"
        filled = step.target.startswith("torch.ops.aten.copy_.")  # what an assignment to a buffer is exported as
        remedy = "let the buffer start with its final shape" if filled else "export the module again, at batch 1"
        raise ModelError(thing, f"{step.origin} {cause}", remedy) from error


def any_batch(
    steps: tuple[Step, ...], at_old: Values, at_new: Values, batches: tuple[int, int], leaving: frozenset[str]
) -> tuple[Step, ...] | str:
    """The steps of a program exported at one batch size made good for any, or which of them cannot be.

    `at_old` are all its values at its own size; it runs at a new one, that occurs nowhere in it, from the inputs
    `at_new`. There every result of a value with the batch in it must have exactly one axis of the new size where it had
    the old one, and be otherwise of the same shape; where it is not, the leading size in the arguments is replaced by
    the batch, or the step refused. Results that neither a step reads nor are `leaving` do not count.
    """
    old, new = batches
    needed = leaving.union(*(operands(step) for step in steps))
    done: list[Step] = []
    with torch.no_grad():
        for step in steps:
            follows = any(_differ(at_old[name], at_new[name]) for name in operands(step))
            led = with_batch(step, old)
            # a constant without the batch needs none at batch 1, where it is broadcast
            tries = (step, led) if follows else (led, step) if old != 1 else (step,)
            for attempt in tries:
                made = None if attempt is None else _made(attempt, at_new, new)
                if attempt is None or made is None:
                    continue
                if all(_carried(at_old[name], made[name], batches, must=follows) for name in needed.intersection(made)):
                    at_new.update(made)
                    done.append(attempt)
                    break
            else:
                return step.origin
    return tuple(done)


def _made(step: Step, values: Values, batch: int) -> Values | None:
    """The results of a step by name, None where it cannot be carried out."""
    trial = {name: values[name] for name in operands(step)}
    try:
        carry_out(step, trial, batch, "meta")
    except Exception:  # whatever it is, the step does not work at this batch
        return None
    return {name: trial[name] for name in results(step)}


def _differ(old: Any, new: Any) -> bool:
    return bool(old.shape != new.shape) if isinstance(old, Tensor) else bool(old != new)


def _carried(old: Any, new: Any, batches: tuple[int, int], *, must: bool) -> bool:
    """Whether a result at the new batch is that of the old one, with the batch in one axis (or in none, if it may)."""
    if not isinstance(old, Tensor):
        return bool(old == new)
    if old.ndim != new.ndim or old.dtype != new.dtype:
        return False
    axes = [(a, b) for a, b in zip(old.shape, new.shape, strict=True) if a != b]
    return axes == [batches] or (not must and not axes)
