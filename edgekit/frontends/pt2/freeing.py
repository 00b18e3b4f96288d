"""A program that was exported for one batch size, made good for any: by proof on shapes, then row by row on numbers."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from edgekit.errors import UnsupportedError
from edgekit.frontends.pt2.dry import any_batch, entered
from edgekit.frontends.pt2.ends import BATCH_REMEDY, Ends
from edgekit.frontends.pt2.module import Exported, Plan, built
from edgekit.frontends.pt2.steps import Values
from edgekit.frontends.pt2.values import Name
from edgekit.frontends.slots import leaves, line

ROW_TOLERANCE = 1e-4
"""How far a row of the program's own batch may be from the same row alone, absolute and relative: rounding only."""

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Freed:
    """The plan and tensors at batch 1, and what was done to come there."""

    plan: Plan
    tensors: Tensors
    notes: tuple[str, ...] = ()


def freed(ends: Ends, plan: Plan, tensors: Tensors, changed: frozenset[str], values: Values) -> Freed:
    """A plan for any batch where that can be proven, or for batch 1 alone where that is how it was exported.

    `changed` are the paths of the program's buffers that it updates, `values` all values of its dry run.
    UnsupportedError for a program that works at another batch than 1 alone.
    """
    batch, _ = ends.batch
    if ends.single:
        shapes = {leaf: ends.shape(i.name, 1) for leaf, i in enumerate(ends.leaves) if i.name in ends.metas}
        return Freed(replace(plan, batch=1, shapes=shapes), tensors)
    moving = frozenset(p for p in changed if tensors[p].shape[:1] == (batch,))
    sizes = {s for meta in ends.program.graph.tensors.values() for s in meta.sizes if isinstance(s, int)}
    new = next(n for n in range(batch + 1, batch + len(sizes) + 2) if n not in sizes)
    leaving = frozenset(o.value.name for o in ends.program.outputs if isinstance(o.value, Name))
    steps = any_batch(plan.steps, values, entered(ends, tensors, new, moving), (batch, new), leaving)
    if batch == 1:
        return Freed(replace(plan, batch=1) if isinstance(steps, str) else replace(plan, steps=steps), tensors)
    if isinstance(steps, str):
        raise _bound(ends.thing, batch, [steps])
    single = {path: tensors[path][:1].clone() for path in moving}
    uneven = [path for path in sorted(moving) if not torch.equal(tensors[path], single[path].expand_as(tensors[path]))]
    if uneven:
        raise _bound(ends.thing, batch, [f"{path} starts with another value for each sample" for path in uneven])
    free, alone = replace(plan, steps=steps), {**tensors, **single}
    if mixed := _mixed(ends, built(ends.thing, plan, tensors), built(ends.thing, free, alone)):
        raise _bound(ends.thing, batch, [mixed])
    return Freed(free, alone, (f"was exported for batch {batch}; its steps were rewritten for any batch",))


def _bound(thing: str, batch: int, items: list[str]) -> UnsupportedError:
    return UnsupportedError(thing, f"works for batch {batch} alone", BATCH_REMEDY, items)


def _mixed(ends: Ends, whole: Exported, single: Exported) -> str:
    """Whether a row of the program as it was exported differs from the same row alone; empty if it does not."""
    batch, _ = ends.batch
    random = torch.Generator().manual_seed(2)
    order = [leaf for leaf, _ in whole.pt2_plan.in_tree.leaves()]
    zeros = ends.zeros(order, batch)
    drawn = {leaf: torch.randn(t.shape, dtype=t.dtype, generator=random) for leaf, t in zeros.items()}
    rows = [{leaf: t[row : row + 1] if t.ndim else t for leaf, t in drawn.items()} for row in range(batch)]
    try:
        joint = _after(whole, drawn)
        apart = [_after(copy.deepcopy(single), row) for row in rows]
    except Exception as error:  # whatever an operator raises
        return line(error)
    for name, together in joint.items():
        alone = torch.cat([row[name] for row in apart])
        if together.shape != alone.shape or not torch.allclose(
            together, alone, rtol=ROW_TOLERANCE, atol=ROW_TOLERANCE, equal_nan=True
        ):
            return f"{name} mixes the samples of a batch"
    return ""


def _after(module: Exported, given: Mapping[int, Any]) -> dict[str, Tensor]:
    """Outputs and states after one call, with the batch in axis 0."""
    arguments = module.pt2_plan.in_tree.build(given)
    with torch.no_grad():
        outputs = module(*arguments)
    left = {".".join(map(str, ("output", *keys))): tensor for keys, tensor in leaves(outputs)}
    changed = {path: module.pt2_tensor(path) for path, _ in module.pt2_plan.updates}
    return {name: t if t.is_complex() else t.float() for name, t in {**left, **changed}.items()}
