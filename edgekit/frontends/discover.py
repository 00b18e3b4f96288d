"""State discovery: run a module twice, see which tensors it replaced or changed, and make them arguments of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError, UnsupportedError
from edgekit.frontends.batch import (
    Axes,
    Axis,
    Probe,
    VaryingError,
    axes_between,
    find_axes,
    sample,
    spread,
    spread_tree,
)
from edgekit.frontends.calls import Subject, input_names, running, shapes, state_names, subject
from edgekit.frontends.created import random_calls
from edgekit.frontends.initial import first_values
from edgekit.frontends.python_state import SHIFTS, loud, python_facts, refuse_python_state
from edgekit.frontends.slots import Slot, clone, copied, leaves, narrowed, slots
from edgekit.frontends.step import Step, Tensors, leaf_names

NATIVE_BATCH = 4
"""Streams that the replay runs side by side."""


@dataclass(frozen=True)
class Discovered:
    """A module as a step: its states, their names, their first values without the batch axis, and the batch axes.

    `native_batch` is the batch at which the untouched module can be run beside the graph.
    """

    subject: Subject
    step: Step
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]
    initial: Tensors
    axes: Axes
    native_batch: int
    notes: tuple[str, ...]

    def initial_states(self, batch: int) -> Tensors:
        """First values of all states for a batch of streams, the batch axis where the module has it."""
        first = (t if a is None else t.unsqueeze(a) for t, a in zip(self.initial, self.axes.states, strict=True))
        return tuple(spread(t, batch, a) for t, a in zip(first, self.axes.states, strict=True))

    def inputs_for(self, batch: int) -> Tensors:
        """The first sample of the example, once for each stream of a batch."""
        return tuple(spread(x, batch, self.axes.inputs) for x in self.subject.examples)

    def examples(self) -> Tensors:
        """The first sample of each example, without the batch axis."""
        return tuple(sample(x, self.axes.inputs) for x in self.subject.examples)

    def given_for(self, batch: int) -> Any:
        """The state that the module's first call gets, for a batch of streams."""
        return spread_tree(self.subject.given, batch, self.axes.states[len(self.step.slots) :])


def discover(module: nn.Module, example: object, method: str | None = None) -> Discovered:
    """Find the states of a module by running copies of it on `example`; the module itself is never touched.

    `example` is the input of one step [batch, ...], or a tuple of all positional arguments. A tensor attribute of any
    submodule is a state when a step replaces it or changes it in place, whatever its value. State that is passed is
    found from the signature: `step(x, state)` beside an `init_state(batch)`, or `forward(x, state=None)`.

    Raises ModelError when the step cannot run, UnsupportedError when its state grows or samples of a batch mix.
    """
    with torch.no_grad():
        found = subject(module, example, method)
        warm = clone(found.module)
        with running(found.thing):
            # copies: a module that keeps its input must not be seen to keep the same tensor
            _, before_state = found.form.call(warm, tuple(x.clone() for x in found.examples), found.given)
            before = {slot: (tensor, tensor._version) for slot, tensor in slots(warm).items()}
            before_facts = python_facts(warm)
            outputs, state = found.form.call(warm, tuple(x.clone() for x in found.examples), before_state)
        if not any(True for _ in leaves(outputs)):
            raise ModelError(found.thing, f"its {found.form.method} returns no tensor")
        _check_growth(found.thing, shapes(before_state), shapes(state))
        changed = _changed(found.thing, before, slots(warm))
        told = refuse_python_state(found, before_facts, warm, state)
        held = _that_matter(found, Step(copied(warm, found.thing), found.form, changed, state), state)
        counters = [s.path for s in changed if s not in held and not s.tensor(warm).ndim]
        step = Step(warm, found.form, held, state)
        names = state_names(found, [slot.path for slot in held], state)
        templates = (*(slot.tensor(warm) for slot in held), *(t for _, t in leaves(state)))
        output_names = leaf_names(outputs, "y")
        probe = Probe(found, step, names, templates, output_names)
        try:
            axes = find_axes(probe, _native_axes(found, held, templates))
        except VaryingError as error:
            items = [*error.items, *random_calls(probe)]
            raise UnsupportedError(error.thing, error.cause, error.remedy, items) from error
        initial = first_values(probe, axes.states)
        native_batch = 1 if axes.single else _native_batch(found, axes, held)
        notes = [*found.notes, *told]
        if kinds := narrowed(module):
            notes.append(f"{', '.join(kinds)} weights are converted as float32")
        notes += [f"{c}: a counter that nothing reads, left out" for c in counters]
        notes += [f"{n}: starts at a non-zero value" for n, value in zip(names, initial, strict=True) if value.any()]
        notes += [
            f"{n}: starts at infinity, taken as the largest number"
            for n, value in zip(names, initial, strict=True)
            if value.is_floating_point() and value.isinf().any()
        ]
        whole = [n for n, value in zip(names, initial, strict=True) if value.dtype in (torch.int64, torch.int32)]
        if whole:
            notes.append(f"{', '.join(whole)}: whole numbers are carried as float32, exact up to 2^24")
        if axes.single:
            notes.append("the module works for one stream at a time, and is replayed so")
        elif native_batch != NATIVE_BATCH:
            notes.append(f"the module's own state has a fixed batch: the replay runs at {native_batch}")
        return Discovered(
            subject=found,
            step=step,
            inputs=input_names(found),
            outputs=output_names,
            states=names,
            initial=initial,
            axes=axes,
            native_batch=native_batch,
            notes=tuple(notes),
        )


def _that_matter(found: Subject, step: Step, state: Any) -> tuple[Slot, ...]:
    """The slots without those that only hold what was computed: written anew in a step, and read by none.

    Looked for where the first axis is not the batch: the weights that an old weight norm computes are such.
    """
    doubtful = [s for s in step.slots if not (t := s.tensor(step.module)).ndim or t.shape[0] != found.batch]
    if not doubtful:
        return step.slots
    values = [s.tensor(step.module).clone() for s in step.slots]
    passed = tuple(t for _, t in leaves(state))
    noise = loud(found)
    usual = step(noise, (*values, *passed))
    unread = {s for s in doubtful if not _is_read(step, noise, (values, passed), step.slots.index(s), usual)}
    return tuple(s for s in step.slots if s not in unread)


def _is_read(
    step: Step, noise: Tensors, states: tuple[Sequence[Tensor], Tensors], at: int, usual: tuple[Tensors, Tensors]
) -> bool:
    """Whether any result but its own next value follows a state that is moved on, by little or by much."""
    values, passed = states
    for shift in SHIFTS:
        other = [v + shift if k == at and v.dtype is not torch.bool else v for k, v in enumerate(values)]
        try:
            changed = step(noise, (*other, *passed))
        except Exception:  # an index that is out of range matters
            return True
        # what only feeds itself is a counter that nothing reads
        pairs = [*zip(usual[0], changed[0], strict=True), *zip(usual[1], changed[1], strict=True)]
        del pairs[len(usual[0]) + at]
        if not all(torch.equal(a, b) for a, b in pairs):
            return True
    return False


def _native_axes(found: Subject, held: Sequence[Slot], templates: Tensors) -> tuple[Axis, ...]:
    """The batch axis of each state where a fresh module, run with one more sample, shows it; else None."""
    unknown: tuple[Axis, ...] = (None,) * len(templates)
    if found.given is not None:
        return unknown
    fresh = clone(found.module)
    try:
        _, state = found.form.call(fresh, tuple(spread(x, found.batch + 1, 0) for x in found.examples), None)
    except Exception:  # its own state has a fixed batch, or the batch is elsewhere: the axes are tried instead
        return unknown
    now = [slot.read(fresh) for slot in held]
    larger = [*(() if t is None else tuple(t.shape) for t in now), *(tuple(t.shape) for _, t in leaves(state))]
    return (
        tuple(axes_between([tuple(t.shape) for t in templates], larger)) if len(larger) == len(templates) else unknown
    )


def _changed(thing: str, before: dict[Slot, tuple[Tensor, int]], after: dict[Slot, Tensor]) -> tuple[Slot, ...]:
    """The slots whose tensor is another object than one step ago, or was written in place."""
    if grown := [slot.path for slot in after if slot not in before]:
        raise UnsupportedError(
            thing, "its state grows from step to step", "keep a state of fixed size; do not record", sorted(grown)
        )
    changed = [s for s, (t, version) in before.items() if s in after and (after[s] is not t or t._version != version)]
    # where values move through a container, one that has not moved yet will: a list of the same tensor many times
    moving = {_place(s) for s in changed if s.keys}
    changed = [s for s in before if s in after and (s in changed or (s.keys and _place(s) in moving))]
    _check_growth(
        thing,
        [(slot.path, tuple(before[slot][0].shape)) for slot in changed],
        [(slot.path, tuple(after[slot].shape)) for slot in changed],
    )
    if learned := [slot.path for slot in changed if slot.table == "_parameters"]:
        raise UnsupportedError(thing, "changes its own parameters in a step", "use a learning rule of edgekit", learned)
    return tuple(changed)


def _place(slot: Slot) -> tuple[Any, ...]:
    """The container that a slot is in."""
    return slot.owner, slot.attribute, slot.keys[:-1]


def _check_growth(
    thing: str, before: Sequence[tuple[str, tuple[int, ...]]], after: Sequence[tuple[str, tuple[int, ...]]]
) -> None:
    if before and len(before) != len(after):
        raise UnsupportedError(
            thing, f"passes on {len(before)} states, then {len(after)}", "keep a state of fixed size"
        )
    grown = [f"{name}: {list(a)} then {list(b)}" for (name, a), (_, b) in zip(before, after, strict=False) if a != b]
    if grown:
        raise UnsupportedError(thing, "its state grows from step to step", "keep a state of fixed size", grown)


def _native_batch(found: Subject, axes: Axes, held: Sequence[Slot]) -> int:
    """The batch at which the untouched module can run beside the graph: any, or only that of the example."""
    inputs = tuple(spread(x, NATIVE_BATCH, axes.inputs) for x in found.examples)
    fresh = clone(found.module)
    try:
        found.form.call(fresh, inputs, spread_tree(found.given, NATIVE_BATCH, axes.states[len(held) :]))
    except Exception:  # shapes or indices that do not fit: the module holds state for a fixed batch
        return found.batch
    own = [(slot.read(fresh), axis) for slot, axis in zip(held, axes.states, strict=False)]
    fits = all(t is not None and (axis is None or t.shape[axis] == NATIVE_BATCH) for t, axis in own)
    return NATIVE_BATCH if fits else found.batch
