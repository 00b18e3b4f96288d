"""A program as an `nn.Module`: parameters and buffers under their names, and a forward that carries out the steps."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from edgekit.errors import ModelError
from edgekit.frontends.pt2.schema import Input
from edgekit.frontends.pt2.steps import Step, Values, carry_out
from edgekit.frontends.pt2.trees import Tree
from edgekit.frontends.pt2.values import Name
from edgekit.frontends.record import AUTHOR_LINE


@dataclass(frozen=True)
class Plan:
    """What a forward does.

    `leaves` are the graph's inputs behind the leaves of `in_tree`, `results` those behind the leaves of `out_tree`;
    `held` maps each graph input that is a tensor of the module to its path, `plain` those that are plain values;
    `passed` are inputs that became states, `updates` buffers and their new values; `batch` is the only batch size that
    works, None where any does; `shapes` are all shapes that the inputs must have, by leaf, where only those work.
    """

    steps: tuple[Step, ...]
    in_tree: Tree
    out_tree: Tree
    names: tuple[str, ...]
    leaves: tuple[Input, ...]
    results: tuple[Any, ...]
    held: Mapping[str, str]
    plain: Mapping[str, Any]
    passed: frozenset[str]
    updates: tuple[tuple[str, str], ...]
    parameters: frozenset[str]
    batch: int | None = None
    shapes: Mapping[int, tuple[int, ...]] | None = None


class Part(nn.Module):
    """A submodule of the original, that its tensors and hooks may hang on; it runs what it is given."""

    def forward(self, run: Callable[[], None]) -> None:
        """Carry out one step as this submodule."""
        run()


class Exported(nn.Module):
    """A program of torch.export; `import_notes` is what a reader should know.

    Its own names are such as no exported module has for a tensor.
    """

    pt2_plan: ClassVar[Plan]

    def __init__(self) -> None:
        super().__init__()
        self.import_notes: tuple[str, ...] = ()

    def pt2_run(self, arguments: tuple[Any, ...]) -> Any:
        """One call, arguments in order and nested like those of the original; RuntimeError for a batch it cannot do."""
        plan = self.pt2_plan
        given = plan.in_tree.flatten(arguments)
        values: Values = {plan.leaves[leaf].name: value for leaf, value in given.items()}
        batch = next((int(t.shape[0]) for t in given.values() if isinstance(t, Tensor) and t.ndim), 1)
        if plan.batch not in (None, batch):
            raise RuntimeError(f"the program was exported for batch {plan.batch} alone, and is called with {batch}")
        for leaf, shape in (plan.shapes or {}).items():  # operators below ATen's own checks read what they are told to
            if isinstance(given.get(leaf), Tensor) and tuple(given[leaf].shape) != shape:
                raise RuntimeError(f"{plan.leaves[leaf].name} has shape {tuple(given[leaf].shape)}, not {shape}")
        values.update(plan.plain)
        values.update({name: self.pt2_tensor(path) for name, path in plan.held.items()})
        for name in plan.passed:  # they start at batch 1, and follow the first call
            state = values[name]
            if state.ndim and state.shape[0] == 1 != batch:
                values[name] = state.expand(batch, *state.shape[1:]).clone()
        for step in plan.steps:
            line = AUTHOR_LINE.set(step.line)
            try:
                if step.path:
                    self.get_submodule(step.path)(lambda step=step: carry_out(step, values, batch, "cpu"))
                else:
                    carry_out(step, values, batch, "cpu")
            finally:
                AUTHOR_LINE.reset(line)
        for path, name in plan.updates:
            owner, _, attribute = path.rpartition(".")
            self.get_submodule(owner)._buffers[attribute] = values[name]
        found = {leaf: values[r.name] if isinstance(r, Name) else r for leaf, r in enumerate(plan.results)}
        return plan.out_tree.build(found)

    def pt2_tensor(self, path: str) -> Tensor:
        """The parameter or buffer at a path."""
        owner, _, attribute = path.rpartition(".")
        part = self.get_submodule(owner)
        found: Tensor | None = part._parameters.get(attribute)
        found = part._buffers.get(attribute) if found is None else found
        if found is None:
            raise RuntimeError(f"{path} is not a tensor any more")
        return found


def built(thing: str, plan: Plan, tensors: Mapping[str, Tensor]) -> Exported:
    """The module of a plan with copies of its tensors by path; ModelError for paths that no module can have."""
    signature = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", *plan.names)]
    )

    def forward(self: Exported, *args: Any, **kwargs: Any) -> Any:
        return self.pt2_run(signature.bind(self, *args, **kwargs).args[1:])

    forward.__signature__ = signature  # type: ignore[attr-defined]
    kind = type("ExportedProgram", (Exported,), {"pt2_plan": plan, "forward": forward})
    module: Exported = kind()
    for path, tensor in tensors.items():
        owner, _, attribute = path.rpartition(".")
        part = _part(thing, module, owner)
        if not re.fullmatch(r"\w{1,200}", attribute) or hasattr(part, attribute):
            raise ModelError(thing, f"names a tensor {path[:100]!r}, which no module can hold")
        if path in plan.parameters and (tensor.is_floating_point() or tensor.is_complex()):
            part.register_parameter(attribute, nn.Parameter(tensor.clone(), requires_grad=False))
        else:
            part.register_buffer(attribute, tensor.clone())
    for path in sorted({step.path for step in plan.steps if step.path}):
        _part(thing, module, path)
    return module.eval()


def _part(thing: str, module: nn.Module, path: str) -> nn.Module:
    """The submodule at a path, made with all above it where it is missing."""
    for segment in path.split(".") if path else ():
        child = module._modules.get(segment)
        if child is None:
            if not re.fullmatch(r"\w{1,200}", segment) or hasattr(module, segment):
                raise ModelError(thing, f"names a module {path[:100]!r}, which no module can hold")
            child = Part()
            module.add_module(segment, child)
        module = child
    return module
