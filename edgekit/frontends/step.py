"""Any stateful module as a pure function `(inputs, states) -> (outputs, next states)` of flat tuples of tensors."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from edgekit.frontends.slots import Slot, at, leaves, refilled
from edgekit.ir import printable

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Form:
    """How a method takes and returns the state that it is given as an argument.

    `none`: f(x) -> y · `pair`: f(x, state) -> (y, state) · `first`: f(x, state) -> (state, y) · `spread`: f(x, a, b) ->
    (y, a, b) · `bare`: f(x, state) -> state, whose first tensor is the output too (torch.nn.LSTMCell). `keyword` names
    an argument that takes the state by name alone. State that lives in attributes needs no form.
    """

    method: str
    kind: Literal["none", "pair", "first", "spread", "bare"] = "none"
    keyword: str = ""

    def call(self, module: nn.Module, inputs: Tensors, state: Any = None) -> tuple[Any, Any]:
        """Run the method once: (outputs, next state), nested as the method nests them. A None state is left out."""
        passed = () if state is None else tuple(state) if self.kind == "spread" else (state,)
        named = {self.keyword: passed[0]} if self.keyword and passed else {}
        with _only_these_neurons(module):
            return self.split(getattr(module, self.method)(*inputs, *(() if named else passed), **named))

    def split(self, result: Any) -> tuple[Any, Any]:
        """(outputs, state) of what the method returned."""
        if self.kind == "none":
            return result, None
        if self.kind == "bare":
            return next(iter(leaves(result)))[1], result
        if self.kind == "first":
            return result[1], result[0]
        return (result[0], result[1]) if self.kind == "pair" else (result[0], tuple(result[1:]))


class Step(nn.Module):
    """A module whose attribute states (`slots`) and passed state (`template` shows its nesting) are arguments.

    The states are the slots first, then the passed tensors; `forward` sets the slots, runs, and reads them back.
    """

    def __init__(self, module: nn.Module, form: Form, slots: tuple[Slot, ...], template: Any) -> None:
        super().__init__()
        self.module, self.form, self.slots, self.template = module, form, slots, template

    def forward(self, inputs: Tensors, states: Tensors) -> tuple[Tensors, Tensors]:
        """One step; all tensors [batch, ...]."""
        held, passed = states[: len(self.slots)], states[len(self.slots) :]
        for slot, value in zip(self.slots, held, strict=True):
            slot.write(self.module, value.clone())  # a copy, because the module may update it in place
        state = None if self.template is None else refilled(self.template, passed)
        outputs, state = self.form.call(self.module, inputs, state)
        after = tuple(slot.tensor(self.module) for slot in self.slots)
        return _flat(outputs), (*after, *_flat(state))


def _flat(tree: Any) -> Tensors:
    return tuple(tensor for _, tensor in leaves(tree))


def leaf_names(tree: Any, stem: str) -> tuple[str, ...]:
    """A name for each tensor of a tree: the keys of a mapping as they are, positions behind the stem."""
    found = list(leaves(tree))
    if len(found) == 1 and not isinstance(tree, Mapping):
        return (stem,)
    names = (".".join(_labels(tree, keys)) for keys, _ in found)
    bare = isinstance(tree, Mapping) or hasattr(tree, "_fields") or dataclasses.is_dataclass(tree)
    return tuple(printable(n) if bare else f"{stem}{n}" for n in names)


def _labels(tree: Any, keys: Sequence[Any]) -> Iterator[str]:
    """The keys that lead to a tensor, those of a named tuple by name."""
    for key in keys:
        fields = getattr(tree, "_fields", None)
        yield str(key) if fields is None else str(fields[int(key)])
        tree = at(tree, key)


@contextmanager
def _only_these_neurons(module: nn.Module) -> Iterator[None]:
    """Let snnTorch's `reset_hidden`, which zeroes every neuron of the process, see those of `module` alone."""
    neuron = getattr(sys.modules.get("snntorch"), "SpikingNeuron", None)
    if neuron is None:
        yield
        return
    everywhere, neuron.instances = neuron.instances, [m for m in module.modules() if isinstance(m, neuron)]
    try:
        yield
    finally:
        neuron.instances = everywhere
