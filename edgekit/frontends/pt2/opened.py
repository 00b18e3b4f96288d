"""From a .pt2 file to a module and example inputs: read, check, run on shapes, pair states, free the batch, build."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from edgekit.errors import EdgekitError, ModelError
from edgekit.frontends.calls import subject
from edgekit.frontends.pt2.archive import archive
from edgekit.frontends.pt2.contents import program_tensors, read_contents
from edgekit.frontends.pt2.dry import checked, written
from edgekit.frontends.pt2.ends import Ends
from edgekit.frontends.pt2.freeing import freed
from edgekit.frontends.pt2.module import Exported, Plan, built
from edgekit.frontends.pt2.schema import read_program
from edgekit.frontends.pt2.states import Pair, lost, state_pairs
from edgekit.frontends.pt2.steps import Step, compiled
from edgekit.frontends.pt2.trees import Tree

START = "at zero: what the example gave is not read from the file; a registered buffer keeps its first value"
"""Examples are pickled in the file."""


def open_pt2(path: str | os.PathLike[str], *, states: Sequence[str] | None = None) -> tuple[nn.Module, Any]:
    """The program of a torch.export file as a module, and the tuple of zero inputs of one step at batch 1.

    Nothing in the file is unpickled or imported: its JSON is checked, its operators are looked up in a list, and its
    weights are raw bytes (dicts of tensors in files of torch 2.5 to 2.8, read with `weights_only=True`). `states` are
    pairs `input:output`; a paired input, like a buffer or input that the program writes, becomes a state of the module.
    `module.import_notes` says what a reader should know.

    Raises ModelError for a damaged, hostile or unknown file, UnsupportedError with all operators that are refused or
    for a program that works at one batch only, which is not 1, and UsageError for a pair that names nothing.
    """
    with archive(path) as opened:
        contents = read_contents(opened)
    thing = opened.thing
    program = read_program(contents.document)
    ends = Ends(thing, program)
    ends.check()
    batch, dynamic = ends.batch
    steps, notes = compiled(thing, program.graph)
    tensors, narrowed = program_tensors(program, contents)
    values = checked(ends, steps, tensors, batch)
    if dynamic and batch != 1:
        checked(ends, steps, tensors, 1)
    rewritten = written(ends, values)
    pairs, found = state_pairs(ends, states or (), rewritten)
    notes += [*narrowed, *ends.notes(), *found]
    arguments = _arguments(ends, frozenset(pair.entry.leaf for pair in pairs))
    plan, entering = _plan(ends, steps, pairs, arguments, tensors)
    paths = {i.name: i.target for i in program.inputs if i.kind in ("parameter", "buffer", "constant")}
    kept = frozenset(paths[name] for name in rewritten if name in paths) | {p for p, _ in plan.updates if p in tensors}
    held: Mapping[str, Tensor] = {**tensors, **entering}
    if not dynamic:
        free = freed(ends, plan, held, kept, values)
        plan, held, notes = free.plan, free.tensors, [*notes, *free.notes]
    module: Exported = built(thing, plan, held)
    example = plan.in_tree.build(ends.zeros([leaf for leaf, _ in plan.in_tree.leaves()], 1))
    passed = _passed(module, example)
    if not pairs and not kept and passed == ():
        notes += lost(ends)
    if given := [*(pair.entry.names[0] for pair in pairs), *(passed or ())]:
        notes.append(f"{', '.join(given)}: {'start' if len(given) > 1 else 'starts'} {START}")
    module.import_notes = tuple(dict.fromkeys(notes))
    return module, example


def _passed(module: Exported, example: tuple[Any, ...]) -> tuple[str, ...] | None:
    """The arguments that the module gives back as its state, found as in any module.

    None where a module cannot be called so; what is amiss the import will say.
    """
    try:
        found = subject(module, example, None)
    except EdgekitError:
        return None
    return () if found.form.kind == "none" else module.pt2_plan.names[len(found.examples) :]


def _arguments(ends: Ends, states: frozenset[int]) -> list[tuple[str, Tree]]:
    """The arguments that a caller gives, by name.

    The last one keeps its nesting where something of the same shapes is given back, last or alone: then it is a state,
    and found by its nesting. Of anything else each tensor is an argument of its own.
    """
    gone = states | {leaf for leaf, item in enumerate(ends.leaves) if item.kind == "value"}
    children = (child for side in ends.program.in_tree.children for child in side.children)
    arguments = [
        (name, left)
        for name, child in zip(ends.called, children, strict=True)
        if (left := child.without(gone)) is not None
    ]
    if not arguments:
        raise ModelError(ends.thing, "takes nothing but states", "export a module that takes the input of one step")
    tree = ends.program.out_tree
    given = {port.leaf: port.shape for port in ends.entries()}
    taken = {port.leaf: port.shape for port in ends.exits()}
    back = [[taken.get(leaf) for leaf, _ in part.leaves()] for part in (tree, *tree.children[-1:])]
    name, last = arguments[-1]
    if len(arguments) > 1 and [given.get(leaf) for leaf, _ in last.leaves()] in back:
        arguments = [*_apart(ends, arguments[:-1]), (name, last)]
    else:
        arguments = _apart(ends, arguments)
    names = [name for name, _ in arguments]
    return arguments if len(set(names)) == len(names) else [(f"x{at}", tree) for at, (_, tree) in enumerate(arguments)]


def _apart(ends: Ends, arguments: list[tuple[str, Tree]]) -> list[tuple[str, Tree]]:
    """Each tensor of nested arguments as an argument of its own, called as in the program."""
    return [
        (name if argument.kind is None else ends.leaves[leaf].name, Tree(None, leaf=leaf))
        for name, argument in arguments
        for leaf, _ in argument.leaves()
    ]


def _plan(
    ends: Ends,
    steps: tuple[Step, ...],
    pairs: list[Pair],
    arguments: list[tuple[str, Tree]],
    tensors: Mapping[str, Tensor],
) -> tuple[Plan, dict[str, Tensor]]:
    """The plan of the module, and a zero buffer for each input that is a state."""
    inputs = ends.program.inputs
    paths = _state_paths(pairs, tensors)
    updates = [(o.target, o.value.name) for o in ends.program.outputs if o.kind == "buffer"]
    if unknown := sorted(path for path, _ in updates if path not in tensors):
        raise ModelError(ends.thing, "updates buffers that it does not have", items=unknown[:20])
    leaving = frozenset(pair.exit.leaf for pair in pairs if pair.exit is not None)
    out_tree = ends.program.out_tree.without(leaving)
    plan = Plan(
        steps=steps,
        in_tree=Tree(tuple, tuple(str(at) for at in range(len(arguments))), tuple(left for _, left in arguments)),
        # where all that is returned is state, its first part is the output too
        out_tree=out_tree if out_tree is not None else Tree(None, leaf=min(leaving)),
        names=tuple(name for name, _ in arguments),
        leaves=ends.leaves,
        results=ends.results,
        held={**{i.name: i.target for i in inputs if i.kind not in ("user", "value")}, **paths},
        plain={i.name: i.value for i in inputs if i.kind == "value" and i.name},
        passed=frozenset(paths),
        updates=(*updates, *((paths[pair.entry.value], pair.value) for pair in pairs)),
        parameters=frozenset(i.target for i in inputs if i.kind == "parameter"),
    )
    zeros = ends.zeros([pair.entry.leaf for pair in pairs], 1)
    return plan, {paths[pair.entry.value]: zeros[pair.entry.leaf] for pair in pairs}


def _state_paths(pairs: list[Pair], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """A free attribute for each input that is a state, called like the input."""
    taken = {path.split(".")[0] for path in tensors} | set(dir(Exported())) | {"pt2_plan"}
    paths: dict[str, str] = {}
    for pair in pairs:
        name = pair.entry.value
        while name in taken:
            name += "_"
        taken.add(name)
        paths[pair.entry.value] = name
    return paths
