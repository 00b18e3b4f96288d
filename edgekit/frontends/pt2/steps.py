"""The nodes of a program as resolved calls, and how they are carried out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch._ops import OpOverload

from edgekit.errors import ModelError, UnsupportedError
from edgekit.frontends.pt2.operators import ASSERTS, IN_LINE, Refused, resolve
from edgekit.frontends.pt2.schema import MAX_NODES, Graph, Node
from edgekit.frontends.pt2.values import NARROWED, Device, Name

MAX_NEST = 8
SIZES = ("size", "shape", "repeats")
"""Arguments whose leading number may be the batch."""

Values = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """The batch size of the call that is being carried out."""


@dataclass(frozen=True)
class Step:
    """One resolved call, where it came from, and the names of its results, nested as they come."""

    name: str
    target: str
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Any, ...]
    path: str
    line: str

    @property
    def origin(self) -> str:
        """The node, its module path and its source line, for messages."""
        places = [self.target.removeprefix("torch.ops."), *(p for p in (self.path, self.line) if p)]
        return f"{self.name} ({', '.join(places)})"


@dataclass
class _Compiler:
    """Collects what is refused and what was changed while nodes become steps."""

    thing: str
    faults: list[str]
    narrowed: set[str]

    def graph(self, graph: Graph, names: Mapping[str, str], prefix: str = "") -> Iterator[Step]:
        """Steps of a graph whose outer values are called `names` and whose own get a prefix."""
        renamed = dict(names)
        for node in graph.nodes:
            if node.target.rsplit(".", 1)[0] in ASSERTS:
                continue
            if node.target == IN_LINE:
                yield from self._in_line(node, renamed, prefix)
                continue
            found = resolve(node.target)
            if isinstance(found, Refused):
                where = [f"module {node.path}" if node.path else "", node.line]
                short = node.target.removeprefix("torch.ops.")[:100]
                self.faults.append(", ".join([f"{short}: {found.cause}", *filter(None, where)]))
                continue
            given = [(name, self._known(value, renamed, node)) for name, value in node.inputs]
            args, kwargs = self._arguments(node, found, given)
            outputs = _fresh(node.outputs, renamed, prefix)
            yield Step(prefix + node.name, node.target, found, args, kwargs, outputs, node.path, node.line)

    def _in_line(self, node: Node, renamed: dict[str, str], prefix: str) -> Iterator[Step]:
        """The steps of a node that only runs its graph: a flag, the graph, and its inputs."""
        plain = [value for _, value in node.inputs]
        graph = plain[1] if len(plain) > 1 else None
        if not isinstance(graph, Graph) or prefix.count(".") > MAX_NEST:
            raise ModelError(self.thing, f"node {node.name} holds no graph, or too deep a nest of them")
        passed = [self._known(value, renamed, node) for value in plain[2:]]
        targets, returned = list(_names(node.outputs)), [o for o in graph.outputs if isinstance(o, Name)]
        if not all(isinstance(n, Name) for n in (*graph.inputs, *passed)) or (len(graph.inputs), len(targets)) != (
            len(passed),
            len(returned),
        ):
            raise ModelError(self.thing, f"node {node.name} does not fit its graph")
        bound = {own.name: outer.name for own, outer in zip(graph.inputs, passed, strict=True)}
        within = f"{prefix}{node.name}."
        yield from self.graph(graph, bound, within)
        for target, result in zip(targets, returned, strict=True):
            renamed[target.name] = bound.get(result.name, within + result.name)

    def _known(self, tree: Any, renamed: Mapping[str, str], node: Node) -> Any:
        """An argument with the names of the whole program; graphs belong to no operator that runs."""
        if isinstance(tree, Name):
            return Name(renamed.get(tree.name, tree.name))
        if isinstance(tree, Graph):
            raise ModelError(self.thing, f"node {node.name} passes a graph to an operator that takes none")
        return tuple(self._known(item, renamed, node) for item in tree) if isinstance(tree, tuple) else tree

    def _arguments(
        self, node: Node, found: Any, given: list[tuple[str, Any]]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments as the operator declares them."""
        if not isinstance(found, OpOverload):
            return tuple(value for _, value in given), {}
        values = dict(given)
        declared = {argument.name: argument for argument in found._schema.arguments}
        unknown = sorted(set(values) - set(declared))
        missing = [n for n, a in declared.items() if n not in values and not a.has_default_value()]
        if unknown or missing or len(values) != len(given):
            cause = f"node {node.name} does not give {node.target} its arguments"
            raise ModelError(self.thing, cause, "export it again", [*unknown, *missing][:10])
        if "device" in declared and not any("Tensor" in str(a.type) for a in declared.values()):
            values["device"] = Device()  # where it is not told, it would take memory even in a dry run
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, argument in declared.items():
            if name not in values or name == "pin_memory":
                continue
            value = self._narrow(values[name])
            if argument.kwarg_only or kwargs or len(args) != list(declared).index(name):
                kwargs[name] = value
            else:
                args.append(value)
        return tuple(args), kwargs

    def _narrow(self, value: Any) -> Any:
        if not isinstance(value, torch.dtype) or value not in NARROWED:
            return value
        self.narrowed.add(f"{value} are taken as casts to {NARROWED[value]}".replace("torch.", ""))
        return NARROWED[value]


def compiled(thing: str, graph: Graph) -> tuple[tuple[Step, ...], list[str]]:
    """The steps of a graph, and what was changed on the way; UnsupportedError with all nodes that are refused."""
    compiler = _Compiler(thing, [], set())
    steps = tuple(islice(compiler.graph(graph, {}), MAX_NODES + 1))
    if count := len(compiler.faults):
        items = list(dict.fromkeys(compiler.faults))
        raise UnsupportedError(thing, f"{count} operation{'s' * (count > 1)} cannot be taken over", items=items)
    if len(steps) > MAX_NODES:
        raise UnsupportedError(
            thing, f"unrolls into over {MAX_NODES:,} operations", "convert the step, not the sequence"
        )
    return steps, [f"casts to {kind}" for kind in sorted(compiler.narrowed)]


def _fresh(tree: Any, renamed: dict[str, str], prefix: str) -> Any:
    """Results under their names in the whole program; a name that is taken already is refused by the run."""
    if isinstance(tree, Name):
        renamed[tree.name] = prefix + tree.name
        return Name(prefix + tree.name)
    return tuple(_fresh(item, renamed, prefix) for item in tree) if isinstance(tree, tuple) else tree


def _names(tree: Any) -> Iterator[Name]:
    if isinstance(tree, Name):
        yield tree
    elif isinstance(tree, tuple):
        for item in tree:
            yield from _names(item)


# --- carrying out -----------------------------------------------------------------------------------------------------


def filled(tree: Any, values: Mapping[str, Any], batch: int, device: str) -> Any:
    """An argument with values in place of names; KeyError for a name that nothing has computed."""
    if isinstance(tree, Name):
        return values[tree.name]
    if isinstance(tree, Batch):
        return batch
    if isinstance(tree, Device):
        return device
    return [filled(item, values, batch, device) for item in tree] if isinstance(tree, tuple) else tree


def carry_out(step: Step, values: Values, batch: int, device: str) -> None:
    """Compute one step and put its results among `values`.

    Raises what the operator raises, KeyError for a missing value, TypeError for results of another number.
    """
    args = filled(step.args, values, batch, device)
    kwargs = {name: filled(value, values, batch, device) for name, value in step.kwargs.items()}
    result = step.call(*args, **kwargs)
    bind(step.outputs[0] if len(step.outputs) == 1 else step.outputs, result, values)


def bind(outputs: Any, result: Any, values: Values) -> None:
    """Put a result, nested like the names of its parts, among `values`."""
    if isinstance(outputs, Name):
        values[outputs.name] = result
    elif isinstance(outputs, tuple) and outputs:
        if not isinstance(result, (tuple, list)) or len(result) != len(outputs):
            raise TypeError("gives another number of results than the file says")
        for output, part in zip(outputs, result, strict=True):
            bind(output, part, values)


def results(step: Step) -> list[str]:
    """Names of all results of a step."""
    return [name.name for name in _names(step.outputs)]


def operands(step: Step) -> list[str]:
    """Names of all values that a step takes."""
    return [name.name for name in _names((step.args, tuple(step.kwargs.values())))]


def with_batch(step: Step, batch: int) -> Step | None:
    """The step with the leading number of its sizes replaced by the batch, None where that number is another."""
    if not isinstance(step.call, OpOverload):
        return None
    declared = [argument.name for argument in step.call._schema.arguments]
    args = tuple(_led(value, name, batch) for value, name in zip(step.args, declared, strict=False))
    kwargs = {name: _led(value, name, batch) for name, value in step.kwargs.items()}
    return None if (args, kwargs) == (step.args, step.kwargs) else replace(step, args=args, kwargs=kwargs)


def _led(value: Any, name: str, batch: int) -> Any:
    sizes: Sequence[Any] = value if isinstance(value, tuple) else ()
    if name in SIZES and sizes and sizes[0] == batch and not isinstance(sizes[0], bool):
        return (Batch(), *sizes[1:])
    return value
