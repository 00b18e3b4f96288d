"""The states that a step makes for itself when it is given none: read off its calls, beside those with states given."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Any

import torch
from torch import Tensor

from edgekit.frontends.batch import Probe
from edgekit.frontends.calls import running
from edgekit.frontends.record import DRAWS, Recorder, Ref, plain_kernels
from edgekit.frontends.slots import clone, refilled


def created_states(probe: Probe) -> list[Tensor | None]:
    """For each state the constant that stands in its place when a fresh module makes its states itself.

    The calls of both runs are aligned by name; a run without states has some more, which make them. None where the
    first use of a state tells nothing.
    """
    with_states, refs = _recorded(probe, tuple(t.clone() for t in probe.templates))
    without, _ = _recorded(probe, ())
    alignment = SequenceMatcher(None, [c.name for c in with_states.calls], [c.name for c in without.calls], False)
    first: dict[Ref, Tensor] = {}
    for a, b, size in alignment.get_matching_blocks():
        for step in range(size):
            left, right = (list(_items(run.calls[k + step].args)) for run, k in ((with_states, a), (without, b)))
            for given, made in zip(left, right, strict=False):
                if isinstance(given, Ref) and given in refs and isinstance(made, Ref):
                    constant = without.values[made].constant
                    if constant is not None:
                        first.setdefault(given, constant)
    return [first.get(ref) for ref in refs]


def random_calls(probe: Probe) -> list[str]:
    """Where a step draws random numbers: operators with the line of their author."""
    recorder, _ = _recorded(probe, tuple(t.clone() for t in probe.templates))
    drawn = (c for c in recorder.calls if c.fault == DRAWS)
    names = (f"{c.name} ({c.line})" if c.line else c.name for c in drawn)
    return [f"{name.replace('aten::', 'aten.')}: {DRAWS}" for name in dict.fromkeys(names)]


def _recorded(probe: Probe, states: tuple[Tensor, ...]) -> tuple[Recorder, list[Ref]]:
    """One call of a fresh module, with its states set to `states` or left as they are."""
    found, slots = probe.subject, probe.step.slots
    module, given = clone(found.module), found.given
    recorder = Recorder(module, lambda _: None)
    for x in found.examples:
        recorder.enter(x)
    refs = [recorder.enter(t) for t in states]
    if states:
        for slot, tensor in zip(slots, states, strict=False):
            slot.write(module, tensor)
        given = None if probe.step.template is None else refilled(probe.step.template, states[len(slots) :])
    with torch.no_grad(), plain_kernels(), running(found.thing), recorder:
        found.form.call(module, found.examples, given)
    return recorder, refs


def _items(tree: Any) -> Any:
    """Every leaf of the arguments of a call, in order."""
    if isinstance(tree, (tuple, list)):
        for item in tree:
            yield from _items(item)
    elif hasattr(tree, "values"):
        for item in tree.values():
            yield from _items(item)
    else:
        yield tree
