"""Where the batch axis of inputs, states and outputs is, found by running the step at two batch sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

import torch
from torch import Tensor

from edgekit.errors import UnsupportedError
from edgekit.frontends.calls import Subject
from edgekit.frontends.slots import leaves, line, refilled
from edgekit.frontends.step import Step, Tensors

BATCH = 3
"""Samples run side by side to see whether they influence one another: neither 1 nor a likely layer size."""

TOLERANCE = 1e-4
"""How far the results of one sample alone may be from those in a batch, absolute and relative: rounding only."""

MAX_GUESSES = 32
"""Ways to place the batch axes of states that are tried."""

SEQUENCE = "if the first axis of the example is time, give the input of one time step"
REMEDY = f"let every operation keep the batch axis to itself, and write squeeze(dim) rather than squeeze(); {SEQUENCE}"

Axis = int | None


@dataclass(frozen=True)
class Axes:
    """The batch axis of all inputs, of each state and of each output; None where a value has none.

    `single` says that the step only works for one stream at a time.
    """

    inputs: int
    states: tuple[Axis, ...]
    outputs: tuple[Axis, ...]
    single: bool = False


def sample(tensor: Tensor, axis: Axis) -> Tensor:
    """The first sample, without the batch axis."""
    return tensor if axis is None else tensor.select(axis, 0)


def spread(tensor: Tensor, batch: int, axis: Axis) -> Tensor:
    """The first sample once for each stream of a batch, with the batch axis where it was."""
    if axis is None:
        return tensor.clone()
    return tensor.narrow(axis, 0, 1).expand(*tensor.shape[:axis], batch, *tensor.shape[axis + 1 :]).clone()


def placed(rows: Tensor, axis: Axis) -> Tensor:
    """Values [N, *shape] with the batch axis where the module has it."""
    return rows[0] if axis is None else rows.movedim(0, axis).contiguous()


def drawn(example: Tensor, batch: int, axis: Axis, random: torch.Generator) -> Tensor:
    """Random inputs like an example: noise, or of whole numbers the example's own in another order."""
    rows = sample(example, axis)
    shape = (batch, *rows.shape)
    if example.is_floating_point():
        return placed(torch.randn(shape, generator=random), axis)
    chosen = torch.randint(example.numel(), shape, generator=random)
    return placed(example.reshape(-1)[chosen], axis)


def in_front(tensor: Tensor, axis: Axis) -> Tensor:
    """A value of the module as [N, *shape]."""
    return tensor[None] if axis is None else tensor.movedim(axis, 0)


def spread_tree(tree: Any, batch: int, axes: Sequence[Axis]) -> Any:
    """A given state, its first sample once for each stream; None stays None."""
    if tree is None:
        return None
    found = [t.detach() for _, t in leaves(tree)]
    return refilled(tree, tuple(spread(t, batch, axis) for t, axis in zip(found, axes, strict=True)))


class VaryingError(UnsupportedError):
    """The same inputs and states gave two results."""


@dataclass(frozen=True)
class Probe:
    """A step whose batch axes are wanted: names of its states and outputs, and states at the example's batch."""

    subject: Subject
    step: Step
    states: tuple[str, ...]
    templates: Tensors
    outputs: tuple[str, ...]


def find_axes(probe: Probe, known: Sequence[Axis]) -> Axes:
    """The batch axes with which three streams side by side give what each gives alone.

    `known` are those of states that a run at another batch has shown, None where it has not. A step with state that has
    no batch axis, or that fails at any batch but one, is taken as it is for a single stream when the example is one.

    Raises UnsupportedError when samples influence one another, or results vary by themselves.
    """
    found, templates = probe.subject, probe.templates
    batch = found.batch
    choices: list[list[Axis]] = [
        [axis] if axis is not None else [a for a, n in enumerate(t.shape) if n == batch] or [None]
        for t, axis in zip(templates, known, strict=True)
    ]
    rows = zip(probe.states, templates, choices, strict=True)
    without = [f"{name}: {list(t.shape)}" for name, t, choice in rows if choice == [None]]
    failures: list[tuple[str, list[str]]] = []
    for input_axis in found.input_axes:
        for guess in islice(product(*choices), MAX_GUESSES):
            try:
                axes, mixed = _Trial(probe, input_axis, guess).run()
            except UnsupportedError:
                raise
            except Exception as error:  # shapes that do not fit: another guess, or a step for one stream
                failures.append((f"works only for the example's batch size ({line(error)})", []))
                continue
            if not mixed:
                return axes
            failures.append(("mixes the samples of a batch", mixed))
    if batch == 1 and (without or not any(items for _, items in failures)):
        return _single(probe)
    if without:
        raise UnsupportedError(
            found.thing,
            f"holds state without a leading batch axis of {batch}",
            f"keep one state for each sample, batch axis first, or give an example of one sample; {SEQUENCE}",
            without,
        )
    cause, items = next((f for f in failures if f[1]), failures[0])
    raise UnsupportedError(found.thing, cause, REMEDY, items)


def _single(probe: Probe) -> Axes:
    """The axes of a step that is for one stream: a leading axis of length one is the batch."""

    def leading(tensor: Tensor) -> Axis:
        return 0 if tensor.ndim and tensor.shape[0] == 1 else None

    results, again = (probe.step(probe.subject.examples, probe.templates) for _ in range(2))
    _refuse_varying(probe.subject, probe.outputs, results[0], again[0])
    return Axes(0, tuple(map(leading, probe.templates)), tuple(map(leading, results[0])), single=True)


class _Trial:
    """One placement of the batch axes, tried: three streams at once and one by one."""

    def __init__(self, probe: Probe, input_axis: int, guess: Sequence[Axis]) -> None:
        self.probe, self.input_axis, self.guess = probe, input_axis, tuple(guess)
        random = torch.Generator().manual_seed(1)
        self.inputs = tuple(drawn(x, BATCH, input_axis, random) for x in probe.subject.examples)
        self.states = tuple(
            _disturbed(spread(t, BATCH, axis), random) for t, axis in zip(probe.templates, self.guess, strict=True)
        )

    def run(self) -> tuple[Axes, list[str]]:
        """The axes, and the names of values in which samples influence one another."""
        names, outputs = self.probe.states, self.probe.outputs
        joint, again = (self.probe.step(self.inputs, self.states) for _ in range(2))
        alone = [self._alone(at) for at in range(BATCH)]
        _refuse_varying(self.probe.subject, (*outputs, *(f"state {n}" for n in names)), _both(joint), _both(again))
        axes = tuple(_differing(y, single) for y, single in zip(joint[0], alone[0][0], strict=True))
        mixed = [
            name
            for at, (name, axis) in enumerate(zip(outputs, axes, strict=True))
            if axis is None or not _alike(joint[0][at], torch.cat([a[0][at] for a in alone], axis))
        ]
        for at, (name, axis) in enumerate(zip(names, self.guess, strict=True)):
            parts = [a[1][at] for a in alone]
            together = parts if axis is None else [torch.cat(parts, axis)]  # without an axis it is that of every sample
            if not all(_alike(joint[1][at], part) for part in together):
                mixed.append(f"state {name}")
        if any(a.shape != b.shape for a, b in zip(joint[1], self.states, strict=True)):
            raise ValueError("a state changes its shape with this batch")
        return Axes(self.input_axis, self.guess, axes), mixed

    def _alone(self, at: int) -> tuple[Tensors, Tensors]:
        inputs = tuple(x.narrow(self.input_axis, at, 1) for x in self.inputs)
        states = tuple(s if a is None else s.narrow(a, at, 1) for s, a in zip(self.states, self.guess, strict=True))
        return self.probe.step(inputs, states)  # type: ignore[no-any-return]


def _both(result: tuple[Tensors, Tensors]) -> Tensors:
    return (*result[0], *result[1])


def _differing(joint: Tensor, single: Tensor) -> Axis:
    """The only axis whose length follows the batch."""
    if joint.ndim != single.ndim:
        return None
    pairs = enumerate(zip(joint.shape, single.shape, strict=True))
    differing = [axis for axis, (a, b) in pairs if a != b]
    fits = len(differing) == 1 and joint.shape[differing[0]] == BATCH and single.shape[differing[0]] == 1
    return differing[0] if fits else None


def _alike(a: Tensor, b: Tensor) -> bool:
    if a.is_complex() and b.is_complex():
        a, b = torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj())
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _refuse_varying(found: Subject, names: Sequence[str], once: Tensors, again: Tensors) -> None:
    """UnsupportedError where the same inputs and states gave two results."""
    if varying := [n for n, a, b in zip(names, once, again, strict=False) if not _alike(a, b)]:
        raise VaryingError(
            found.thing,
            "gives different results for the same inputs and states",
            "keep state in tensors, not in Python numbers, and draw nothing at random",
            varying,
        )


def _disturbed(state: Tensor, random: torch.Generator) -> Tensor:
    noise = torch.randn(state.shape, generator=random)
    return state + 0.5 * noise if state.is_floating_point() or state.is_complex() else state


def axes_between(small: Sequence[Sequence[int]], large: Sequence[Sequence[int]]) -> Iterator[Axis]:
    """For each pair of shapes at two batch sizes, the only axis that differs, None if that is not one."""
    for a, b in zip(small, large, strict=True):
        differing = [at for at, (m, n) in enumerate(zip(a, b, strict=False)) if m != n]
        yield differing[0] if len(a) == len(b) and len(differing) == 1 else None
