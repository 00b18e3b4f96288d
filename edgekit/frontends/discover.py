"""State discovery: run a module twice, see which tensors it replaced or changed, and make them arguments of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError, UnsupportedError
from edgekit.frontends.calls import Subject, input_names, repeated, running, shapes, state_names, subject
from edgekit.frontends.initial import first_values
from edgekit.frontends.slots import Slot, clone, leaves, line, narrowed, slots
from edgekit.frontends.step import Step, Tensors, leaf_names

BATCH = 3
"""Samples run side by side to see whether they influence one another: neither 1 nor a likely layer size."""

BATCH_TOLERANCE = 1e-4
"""How far the results of one sample alone may be from those in a batch, absolute and relative: rounding only."""

NATIVE_BATCH = 4
"""Streams that the replay runs side by side."""


@dataclass(frozen=True)
class Discovered:
    """A module as a step: its states, their names, and their first values without the batch axis.

    `native_batch` is the batch at which the untouched module can be run beside the graph.
    """

    subject: Subject
    step: Step
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]
    initial: Tensors
    native_batch: int
    notes: tuple[str, ...]

    def initial_states(self, batch: int) -> Tensors:
        """First values of all states for a batch of streams, [batch, ...] each."""
        return tuple(t.expand(batch, *t.shape).clone() for t in self.initial)


def discover(module: nn.Module, example: object, method: str | None = None) -> Discovered:
    """Find the states of a module by running copies of it on `example`; the module itself is never touched.

    `example` is the input of one step [batch, ...], or a tuple of all positional arguments. A tensor attribute of any
    submodule is a state when a step replaces it or changes it in place, whatever its value. State that is passed is
    found from the signature: `step(x, state)` beside an `init_state(batch)`, or `forward(x, state=None)`.

    Raises ModelError when the step cannot run, UnsupportedError when its state grows or samples of a batch mix.
    """
    with torch.no_grad():
        found = subject(module, example, method)
        warm = clone(module)
        with running(found.thing):
            _, before_state = found.form.call(warm, found.examples, repeated(found.given, found.batch))
            before = {slot: (tensor, tensor._version) for slot, tensor in slots(warm).items()}
            outputs, state = found.form.call(warm, found.examples, before_state)
        if not any(True for _ in leaves(outputs)):
            raise ModelError(found.thing, f"its {found.form.method} returns no tensor")
        _check_growth(found.thing, shapes(before_state), shapes(state))
        changed = _changed(found.thing, before, slots(warm))
        held, counters = _without_counters(changed, warm)
        step = Step(warm, found.form, held, state)
        names = state_names(found, [slot.path for slot in held], state)
        templates = (*(slot.tensor(warm) for slot in held), *(t for _, t in leaves(state)))
        _check_batch_axis(found, names, templates)
        initial = first_values(found, step, names, templates)
        native_batch = _native_batch(found)
        notes = [*found.notes]
        if kinds := narrowed(module):
            notes.append(f"{', '.join(kinds)} weights are converted as float32")
        notes += [
            f"{c}: a counter without a batch axis, left as it is; the replay tells if it matters" for c in counters
        ]
        notes += [f"{n}: starts at a non-zero value" for n, value in zip(names, initial, strict=True) if value.any()]
        if native_batch != NATIVE_BATCH:
            notes.append(f"the module's own state has a fixed batch: the replay runs at {native_batch}")
        result = Discovered(
            subject=found,
            step=step,
            inputs=input_names(found),
            outputs=leaf_names(outputs, "y"),
            states=names,
            initial=initial,
            native_batch=native_batch,
            notes=tuple(notes),
        )
        _check_independence(result)
        return result


def _changed(thing: str, before: dict[Slot, tuple[Tensor, int]], after: dict[Slot, Tensor]) -> tuple[Slot, ...]:
    """The slots whose tensor is another object than one step ago, or was written in place."""
    if grown := [slot.path for slot in after if slot not in before]:
        raise UnsupportedError(
            thing, "its state grows from step to step", "keep a state of fixed size; do not record", sorted(grown)
        )
    changed = [s for s, (t, version) in before.items() if s in after and (after[s] is not t or t._version != version)]
    _check_growth(
        thing,
        [(slot.path, tuple(before[slot][0].shape)) for slot in changed],
        [(slot.path, tuple(after[slot].shape)) for slot in changed],
    )
    if learned := [slot.path for slot in changed if slot.table == "_parameters"]:
        raise UnsupportedError(thing, "changes its own parameters in a step", "use a learning rule of edgekit", learned)
    return tuple(changed)


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


def _check_batch_axis(found: Subject, names: Sequence[str], tensors: Sequence[Tensor]) -> None:
    without = [
        f"{name}: {list(t.shape)}"
        for name, t in zip(names, tensors, strict=True)
        if t.ndim == 0 or t.shape[0] != found.batch
    ]
    if without:
        raise UnsupportedError(
            found.thing,
            f"holds state without a leading batch axis of {found.batch}",
            "keep one state for each sample, batch axis first",
            without,
        )


def _without_counters(changed: tuple[Slot, ...], module: nn.Module) -> tuple[tuple[Slot, ...], list[str]]:
    """The changed slots, and apart from them the paths of single integers: counters of steps, no state of a sample."""
    counters = {s for s in changed if (t := s.tensor(module)).ndim == 0 and not t.is_floating_point()}
    return tuple(s for s in changed if s not in counters), [s.path for s in changed if s in counters]


def _check_independence(found: Discovered) -> None:
    """Refuse a step in which one sample of the batch influences another: three at once must equal one by one."""
    random = torch.Generator().manual_seed(1)
    inputs = tuple(torch.randn(BATCH, *x.shape[1:], generator=random) for x in found.subject.examples)
    states = tuple(_disturbed(t, random) for t in found.initial_states(BATCH))
    thing = found.subject.thing
    remedy = "let every operation keep the batch axis (axis 0) to itself, and write squeeze(dim) rather than squeeze()"
    try:
        joint, again = (_both(found.step(inputs, states)) for _ in range(2))
        alone = [
            _both(found.step(tuple(x[i : i + 1] for x in inputs), tuple(s[i : i + 1] for s in states)))
            for i in range(BATCH)
        ]
        single = [torch.cat(parts) for parts in zip(*alone, strict=True)]
    except Exception as error:
        raise UnsupportedError(thing, f"works only for the example's batch size ({line(error)})", remedy) from error
    names = (*found.outputs, *(f"state {n}" for n in found.states))
    if varying := _unlike(names, joint, again):
        raise UnsupportedError(
            thing,
            "gives different results for the same inputs and states",
            "keep state in tensors, not in Python numbers, and draw nothing at random",
            varying,
        )
    if mixed := _unlike(names, joint, single):
        raise UnsupportedError(thing, "mixes the samples of a batch", remedy, mixed)


def _both(result: tuple[Tensors, Tensors]) -> Tensors:
    return (*result[0], *result[1])


def _unlike(names: Sequence[str], left: Sequence[Tensor], right: Sequence[Tensor]) -> list[str]:
    """Names of the values that differ by more than rounding."""
    return [
        name
        for name, a, b in zip(names, left, right, strict=True)
        if a.shape != b.shape
        or not torch.allclose(a.double(), b.double(), rtol=BATCH_TOLERANCE, atol=BATCH_TOLERANCE, equal_nan=True)
    ]


def _disturbed(state: Tensor, random: torch.Generator) -> Tensor:
    noise = torch.randn(state.shape, generator=random)
    return state + 0.5 * noise if state.is_floating_point() else state


def _native_batch(found: Subject) -> int:
    """The batch at which the untouched module can run beside the graph: any, or only that of the example."""
    inputs = tuple(x[:1].expand(NATIVE_BATCH, *x.shape[1:]) for x in found.examples)
    try:
        found.form.call(clone(found.module), inputs, repeated(found.given, NATIVE_BATCH))
    except RuntimeError:  # torch's shape errors: the module holds state for a fixed batch
        return found.batch
    return NATIVE_BATCH
