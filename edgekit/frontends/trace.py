"""A step as the list of ATen calls that torch makes for it, one stream at a time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn

from edgekit.errors import UnsupportedError
from edgekit.frontends.calls import running
from edgekit.frontends.discover import Discovered
from edgekit.frontends.record import (
    Decomposed,
    OverlongError,
    Record,
    Recorder,
    Ref,
    Value,
    paths,
    plain_kernels,
    refs_in,
)
from edgekit.frontends.slots import copied

LOOP = 8
"""Runs of one layer in a call that are taken for a loop over time."""


@dataclass(frozen=True)
class Traced:
    """A whole step: values by number, calls in order, and which values enter and leave it."""

    values: dict[Ref, Value]
    calls: tuple[Record, ...]
    inputs: tuple[Ref, ...]
    states: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    next_states: tuple[Ref, ...]
    notes: tuple[str, ...]


def trace(found: Discovered, decomposed: Decomposed) -> Traced:
    """Trace a discovered step; `decomposed` gives torch's decomposition of an operator to be replaced by simpler ones.

    Raises UnsupportedError when the step unrolls a sequence.
    """
    thing = found.subject.thing
    step = copied(found.step, thing)
    inputs, states = tuple(x.clone() for x in found.inputs_for(1)), found.initial_states(1)
    recorder = Recorder(step.module, decomposed)
    entered = tuple(recorder.enter(x) for x in inputs), tuple(recorder.enter(s) for s in states)
    visits: Counter[str] = Counter()
    try:
        with (
            torch.no_grad(),
            plain_kernels(recorder),
            running(thing),
            paths(step.module, recorder.path, visits),
            recorder,
        ):
            outputs, next_states = step(inputs, states)
    except OverlongError as error:
        loop = _loop(step.module, visits)
        raise UnsupportedError(thing, error.cause, error.remedy, loop) from error
    left = tuple(recorder.value_of(y) for y in outputs), tuple(recorder.value_of(s) for s in next_states)
    loop = _loop(step.module, visits)
    return Traced(recorder.values, _needed(recorder.calls, {*left[0], *left[1]}), *entered, *left, loop)


def _loop(module: nn.Module, visits: Counter[str]) -> tuple[str, ...]:
    """A note where a layer runs again and again in one call: a sequence that Python has unrolled."""
    layers = {name: n for name, n in visits.items() if n >= LOOP and [*module.get_submodule(name).parameters()]}
    if not layers:
        return ()
    name, count = max(layers.items(), key=lambda item: item[1])
    return (f"{name} runs {count} times in one call: if that is a loop over time, convert one step of it instead",)


def _needed(calls: list[Record], wanted: set[Ref]) -> tuple[Record, ...]:
    """The calls that lead to the wanted values, and those that read a value into Python."""
    kept: list[Record] = []
    for call in reversed(calls):
        if wanted.intersection(call.results) or (call.fault and not call.results):
            kept.append(call)
            wanted.update(refs_in(dict(call.args), Ref))
    return tuple(reversed(kept))
