"""Where states start: what the module holds, what it was given, zero, or what it assigns first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError
from edgekit.frontends.batch import Axis, Probe, drawn, sample
from edgekit.frontends.calls import running, shapes
from edgekit.frontends.created import created_states
from edgekit.frontends.slots import Slot, clone, leaves
from edgekit.frontends.step import Tensors


def first_values(probe: Probe, axes: Sequence[Axis]) -> Tensors:
    """First values without the batch axis: those with which the step repeats what the fresh module does by itself.

    Tried in this order: what the module holds and was given; zero; what a lazily starting module assigns first; what
    it makes for itself when it is given no state.
    `axes` are the batch axes of the states. ModelError when none of these is right.
    """
    found, step, names, templates = probe.subject, probe.step, probe.states, probe.templates
    if not names:
        return ()
    random = torch.Generator().manual_seed(0)
    noise = tuple(drawn(x, x.shape[0], 0, random) for x in found.examples)
    assigned: dict[Slot, Tensor] = {}
    expected = []
    for inputs in (found.examples, noise):
        fresh = clone(found.module)
        with running(found.thing), _first_assignments(fresh, step.slots, assigned):
            outputs, state = step.form.call(fresh, inputs, found.given)
        after = (*(slot.read(fresh) for slot in step.slots), *(t for _, t in leaves(state)))
        expected.append((inputs, (*(t for _, t in leaves(outputs)), *after)))

    count = len(step.slots)
    given = [t for _, t in leaves(found.given)]
    _check_rows(found.thing, [name for name, _ in shapes(found.given)], given, axes[count:] if given else ())
    zeros = [torch.zeros_like(t) for t in templates]
    for values in _candidates(probe, given or zeros[count:], [assigned.get(slot) for slot in step.slots]):
        start = [_fitting(v, z) for v, z in zip(values, zeros, strict=True)]
        with running(found.thing):
            reproduced = all(_same(step(inputs, tuple(start)), values) for inputs, values in expected)
        if reproduced:
            break
    else:
        raise ModelError(
            found.thing,
            "starts from states that cannot be told from outside",
            "pass them as example: (x, state), or let the attributes hold their first values",
            names,
        )
    _check_rows(found.thing, names, start, axes)
    return tuple(sample(value, axis).clone() for value, axis in zip(start, axes, strict=True))


def _candidates(
    probe: Probe, passed: Sequence[Tensor], lazy: Sequence[Tensor | None]
) -> Iterator[Sequence[Tensor | None]]:
    """What the states may start from, the likeliest first; `passed` for those that are arguments, `lazy` for others."""
    untouched = clone(probe.subject.module)
    held = [slot.read(untouched) for slot in probe.step.slots]
    for values in (held, [None] * len(held), lazy):
        yield [*values, *passed]
    created = created_states(probe)
    yield [*held, *created[len(held) :]]
    yield created


def _check_rows(thing: str, names: Sequence[str], values: Sequence[Tensor], axes: Sequence[Axis]) -> None:
    """Refuse first values that differ from sample to sample."""
    rows = [(n, v, a) for n, v, a in zip(names, values, axes, strict=True) if a is not None]
    unlike = [n for n, v, a in rows if not _equal(v, v.narrow(a, 0, 1).expand_as(v))]
    if unlike:
        raise ModelError(thing, "starts differently for each sample of the batch", "reset the module first", unlike)


def _fitting(value: Tensor | None, zero: Tensor) -> Tensor:
    """A value in the shape of a state, or zero where it does not fit."""
    if value is None or value.numel() == 0 or value.dtype is not zero.dtype:
        return zero
    try:
        return value.detach().expand_as(zero).clone()
    except RuntimeError:
        return zero


def _same(result: tuple[Tensors, Tensors], expected: Sequence[Tensor | None]) -> bool:
    values = (*result[0], *result[1])
    return len(values) == len(expected) and all(
        b is None or _equal(a, b) for a, b in zip(values, expected, strict=True)
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())


@contextmanager
def _first_assignments(module: nn.Module, wanted: tuple[Slot, ...], seen: dict[Slot, Tensor]) -> Iterator[None]:
    """Note the first tensor that is assigned to each wanted attribute: a lazy module starts with it."""
    by_place = {(id(module.get_submodule(s.owner)), s.attribute): s for s in wanted if not s.keys}
    original = nn.Module.__setattr__

    def watch(self: nn.Module, name: str, value: Any) -> None:
        slot = by_place.get((id(self), name))
        if slot is not None and isinstance(value, Tensor):
            seen.setdefault(slot, value.detach().clone())
        original(self, name, value)

    nn.Module.__setattr__ = watch  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__setattr__ = original  # type: ignore[method-assign]
