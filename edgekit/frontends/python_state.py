"""State that a module keeps in Python: numbers, texts and arrays beside its tensors, which no graph can see."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.errors import UnsupportedError
from edgekit.frontends.batch import drawn
from edgekit.frontends.calls import Subject
from edgekit.frontends.slots import Keys, at, clone, copied, items_of, leaves, own_attributes

MAX_DEPTH = 4
SHIFTS = (1, 1000, 1_000_000)
"""By how much a changed number is moved on, to see whether a result follows it: a switch may come late."""

CLASS = "class"
Place = tuple[str, str, Keys]
"""Submodule, attribute, and the keys inside it."""


def python_facts(module: nn.Module) -> dict[Place, Any]:
    """Every plain value that a module and its helpers hold, by place: numbers, texts, enum members, numpy arrays."""
    facts = {
        (owner, name, keys): value
        for owner, part in module.named_modules()
        for name, held in own_attributes(part).items()
        for keys, value in _values(held)
    }
    classes = {c for part in module.modules() for c in type(part).__mro__ if c.__module__.partition(".")[0] != "torch"}
    for c in classes:
        facts.update({(CLASS, f"{c.__name__}.{n}", ()): v for n, v in vars(c).items() if type(v) in (bool, int, float)})
    return facts


def _values(tree: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    if isinstance(tree, (bool, int, float, str, Enum)) or tree is None:
        yield keys, tree
    elif isinstance(tree, np.generic):
        yield keys, tree.item()
    elif isinstance(tree, np.ndarray):
        yield keys, tree.tobytes()
    elif not isinstance(tree, Tensor) and len(keys) < MAX_DEPTH:
        for key, item in items_of(tree):
            yield from _values(item, (*keys, key))


def loud(found: Subject) -> tuple[Tensor, ...]:
    """Random inputs like the example: of silence a module may make the same whatever it holds."""
    random = torch.Generator().manual_seed(4)
    return tuple(drawn(x, x.shape[0], 0, random) for x in found.examples)


def refuse_python_state(found: Subject, before: dict[Place, Any], module: nn.Module, state: Any) -> tuple[str, ...]:
    """UnsupportedError where a plain value changes in a step and the next results depend on it; notes of other changes.

    `before` are the facts of the step before, `module` the one that has taken it, `state` what it passed on.
    """
    now = python_facts(module)
    changed = [place for place, value in now.items() if place in before and before[place] != value]
    guilty = [place for place in changed if _matters(found, module, state, place)]
    if guilty:
        raise UnsupportedError(
            found.thing,
            "keeps state in Python, which a graph cannot see",
            "keep it in a tensor that the step replaces (a buffer)",
            [f"{_path(place)}: {before[place]!r:.40}, then {now[place]!r:.40}" for place in guilty],
        )
    doubtful = [place for place in changed if not isinstance(now[place], (bool, int, float))]
    return tuple(
        f"{_path(place)}: changes in a step, outside of tensors; the replay sees what comes of that in its steps alone"
        for place in doubtful
    )


def _path(place: Place) -> str:
    owner, name, keys = place
    return ".".join(part for part in (owner, name, *map(str, keys)) if part)


def _matters(found: Subject, module: nn.Module, state: Any, place: Place) -> bool:
    """Whether results change with a value: moved on, flipped, or in the words of the step before."""
    if place[0] == CLASS:
        return True  # shared by every copy: nothing of it can be tried
    usual = _after(found, module, state, place, None)
    value = python_facts(module)[place]
    if isinstance(value, bool):
        others: list[Any] = [not value]
    elif isinstance(value, (int, float)):
        others = [value + type(value)(shift) for shift in SHIFTS]
    else:
        return False  # there is no telling what else it could be; the replay tells what comes of it in its steps
    return any(not _equal(usual, _after(found, module, state, place, other)) for other in others)


def _after(found: Subject, module: nn.Module, state: Any, place: Place, value: Any) -> list[Tensor] | None:
    """Results of one step of a copy with one value set; None where that fails."""
    owner, name, keys = place
    fresh = clone(module)
    if value is not None:
        _put(fresh.get_submodule(owner), name, keys, value)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            outputs, following = found.form.call(fresh, loud(found), copied(state, found.thing))
    except Exception:  # whatever a module does with a number that it did not expect
        return None
    return [t for tree in (outputs, following) for _, t in leaves(tree)]


def _put(part: nn.Module, name: str, keys: Keys, value: Any) -> None:
    """Set a plain value in place."""
    if not keys:
        part.__dict__[name] = value
        return
    holder = part.__dict__[name]
    for key in keys[:-1]:
        holder = at(holder, key)
    if isinstance(holder, (list, dict)):
        holder[keys[-1]] = value
    elif not isinstance(holder, tuple):
        object.__setattr__(holder, str(keys[-1]), value)


def _equal(a: list[Tensor] | None, b: list[Tensor] | None) -> bool:
    if a is None or b is None:
        return a is b
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))
