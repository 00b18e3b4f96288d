"""A step through torch.export: one graph of ATen calls over parameters, inputs and states, with a free batch size."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram, default_decompositions, export
from torch.export.graph_signature import InputKind, OutputKind

from edgekit.errors import UnsupportedError
from edgekit.frontends.discover import BATCH, Discovered
from edgekit.frontends.slots import line, slots

MAX_NODES = 20_000
"""A step has a few hundred calls; more is a sequence that torch has unrolled."""


@dataclass(frozen=True)
class Exported:
    """The nodes of an exported step: what each placeholder stands for, and which nodes leave it."""

    nodes: tuple[fx.Node, ...]
    constants: dict[str, tuple[str, Tensor]]
    inputs: tuple[fx.Node, ...]
    states: tuple[fx.Node, ...]
    outputs: tuple[object, ...]
    next_states: tuple[object, ...]


def export_step(found: Discovered, is_lowered: Callable[[object], bool]) -> Exported:
    """Trace a discovered step with a dynamic batch; calls that `is_lowered` does not know are decomposed by torch.

    Raises UnsupportedError when the step branches on the values of tensors, fixes its batch, or unrolls a sequence.
    """
    thing = found.subject.thing
    with torch.no_grad(), _quiet():
        program = _export(thing, found)
        if len(program.graph.nodes) > MAX_NODES:
            raise UnsupportedError(
                thing, f"unrolls into {len(program.graph.nodes):,} operations", "convert the step, not the sequence"
            )
        if not all(is_lowered(n.target) for n in program.graph.nodes if n.op == "call_function"):
            table = default_decompositions().items()  # type: ignore[no-untyped-call]
            program = program.run_decompositions({t: d for t, d in table if not is_lowered(t)})
    return _read(program, len(found.states))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch warns, logs and prints while it traces: a failure is reported by the exception alone."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _export(thing: str, found: Discovered) -> ExportedProgram:
    inputs = tuple(x[:1].expand(BATCH, *x.shape[1:]).clone() for x in found.subject.examples)
    states = found.initial_states(BATCH)
    batch = Dim("batch")
    shapes = tuple(tuple({0: batch} for _ in tensors) for tensors in (inputs, states))

    def trace(step: nn.Module) -> ExportedProgram:
        return export(step, (inputs, states), dynamic_shapes=shapes, strict=False)

    # Copies, because tracing leaves fake tensors in attributes. Integer buffers first become Python numbers, for
    # modules that branch on them (snnTorch's reset mechanism); one that computes with them needs them as they are.
    plain, numbered = copy.deepcopy(found.step), copy.deepcopy(found.step)
    try:
        if _integers_as_numbers(numbered.module, {slot.path for slot in found.step.slots}):
            with contextlib.suppress(Exception):  # the plain one tells what is wrong
                return trace(numbered)
        return trace(plain)
    except Exception as error:
        raise _refusal(thing, error) from error


def _integers_as_numbers(module: nn.Module, states: Iterable[str]) -> bool:
    """Replace the integer buffers of one element, states left out, by Python numbers; whether there were any."""
    single = [
        s for s, t in slots(module).items() if s.table == "_buffers" and t.ndim == 0 and not t.is_floating_point()
    ]
    chosen = [slot for slot in single if slot.path not in states and slot.attribute != "num_batches_tracked"]
    for slot in chosen:
        owner = module.get_submodule(slot.owner)
        owner.__dict__[slot.attribute] = slot.read(module).item()
        del owner._buffers[slot.attribute]
    return bool(chosen)


def _refusal(thing: str, error: Exception) -> UnsupportedError:
    text = f"{type(error).__name__} {error}"
    if "GuardOnDataDependent" in text or "data-dependent" in text:
        return UnsupportedError(thing, "branches on the value of a tensor", "use torch.where", [line(error)])
    if "Constraint" in text or "specialized" in text:
        return UnsupportedError(thing, "fixes its batch size", "take it from the input's shape", [line(error)])
    return UnsupportedError(thing, "cannot be traced by torch.export", items=[line(error)])


def _read(program: ExportedProgram, states: int) -> Exported:
    program.graph.eliminate_dead_code()
    by_name = {n.name: n for n in program.graph.nodes}
    constants: dict[str, tuple[str, Tensor]] = {}
    arguments: list[fx.Node] = []
    for spec in program.graph_signature.input_specs:
        name = spec.arg.name
        if spec.kind is InputKind.USER_INPUT:
            arguments.append(by_name[name])
        elif spec.target is not None:
            held = program.state_dict if spec.target in program.state_dict else program.constants
            constants[name] = (spec.target.removeprefix("module."), held[spec.target].detach())
    (output,) = (n for n in program.graph.nodes if n.op == "output")
    kinds = [spec.kind for spec in program.graph_signature.output_specs]
    results = [r for r, kind in zip(output.args[0], kinds, strict=True) if kind is OutputKind.USER_OUTPUT]
    return Exported(
        nodes=tuple(program.graph.nodes),
        constants=constants,
        inputs=tuple(arguments[: len(arguments) - states]),
        states=tuple(arguments[len(arguments) - states :]),
        outputs=tuple(results[: len(results) - states]),
        next_states=tuple(results[len(results) - states :]),
    )
