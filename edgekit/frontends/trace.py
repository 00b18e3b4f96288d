"""A step as the list of ATen calls that torch makes for it, one stream at a time."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch

from edgekit.errors import UnsupportedError
from edgekit.frontends.calls import running
from edgekit.frontends.discover import Discovered
from edgekit.frontends.record import Decomposed, Record, Recorder, Ref, Value, paths, plain_kernels, refs_in

MAX_CALLS = 20_000
"""A step has a few hundred calls; more is a sequence that Python has unrolled."""


@dataclass(frozen=True)
class Traced:
    """A whole step: values by number, calls in order, and which values enter and leave it."""

    values: dict[Ref, Value]
    calls: tuple[Record, ...]
    inputs: tuple[Ref, ...]
    states: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    next_states: tuple[Ref, ...]


def trace(found: Discovered, decomposed: Decomposed) -> Traced:
    """Trace a discovered step; `decomposed` gives torch's decomposition of an operator to be replaced by simpler ones.

    Raises UnsupportedError when the step unrolls a sequence.
    """
    thing = found.subject.thing
    step = copy.deepcopy(found.step)
    inputs, states = tuple(x.clone() for x in found.inputs_for(1)), found.initial_states(1)
    recorder = Recorder(step.module, decomposed)
    entered = tuple(recorder.enter(x) for x in inputs), tuple(recorder.enter(s) for s in states)
    with torch.no_grad(), plain_kernels(), running(thing), paths(step.module, recorder.path), recorder:
        outputs, next_states = step(inputs, states)
    left = tuple(recorder.value_of(y) for y in outputs), tuple(recorder.value_of(s) for s in next_states)
    if len(recorder.calls) > MAX_CALLS:
        raise UnsupportedError(
            thing, f"unrolls into {len(recorder.calls):,} operations", "convert the step, not the sequence"
        )
    return Traced(recorder.values, _needed(recorder.calls, {*left[0], *left[1]}), *entered, *left)


def _needed(calls: list[Record], wanted: set[Ref]) -> tuple[Record, ...]:
    """The calls that lead to the wanted values, and those that read a value into Python."""
    kept: list[Record] = []
    for call in reversed(calls):
        if wanted.intersection(call.results) or (call.fault and not call.results):
            kept.append(call)
            wanted.update(refs_in(dict(call.args), Ref))
    return tuple(reversed(kept))
