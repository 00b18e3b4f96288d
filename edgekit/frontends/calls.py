"""How a module is called for one step: its arguments, what it takes and gives back as state, and their names."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError, UsageError
from edgekit.frontends.emitter import printable
from edgekit.frontends.recurrent import Recurrent
from edgekit.frontends.slots import clone, leaves, line
from edgekit.frontends.step import Form, Tensors, leaf_names


@dataclass(frozen=True)
class Subject:
    """A module under study: the form of its step, example inputs, and the state its first call gets (None: none)."""

    module: nn.Module
    form: Form
    examples: Tensors
    given: Any
    notes: tuple[str, ...] = ()

    @property
    def thing(self) -> str:
        """The module as error messages name it."""
        return f"module {type(self.module).__name__}"

    @property
    def batch(self) -> int:
        """Batch of the example, if its first axis is the batch."""
        return int(self.examples[0].shape[0])

    @property
    def input_axes(self) -> tuple[int, ...]:
        """Where the batch axis of the inputs may be: behind an axis of length one there may be a time axis in front."""
        ahead = all(x.ndim > 2 and x.shape[:2] == (1, 1) for x in self.examples)
        return (0, 1) if ahead else (0,)


def _arguments(thing: str, example: object) -> tuple[Any, ...]:
    args = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    tensors = [t if isinstance(t, (Tensor, dict, tuple, list)) or t is None else torch.as_tensor(t) for t in args]
    first = tensors[0] if tensors else None
    if not isinstance(first, Tensor) or first.ndim < 2:
        raise UsageError(
            f"{thing}, example input",
            "must be a tensor [batch, features] for one time step",
            "add a leading batch axis",
        )
    return tuple(_float(t) if isinstance(t, Tensor) else t for t in tensors)


def _float(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().float()


def subject(module: nn.Module, example: object, method: str | None) -> Subject:
    """Find out how one step of a module is called, by calling copies of it.

    Beside an `init_state(batch)` it is `step(x, state)`; otherwise `method` or `forward`, whose results after the first
    are states when it takes them back.
    """
    thing = f"module {type(module).__name__}"
    args = _arguments(thing, example)
    if isinstance(module, nn.RNNBase) and method is None:
        module, args = Recurrent.of(module, args)
    if method is None and hasattr(module, "init_state") and hasattr(module, "step"):
        with running(thing):
            given = args[1] if len(args) > 1 else clone(module).init_state(args[0].shape[0])  # type: ignore[operator]
        return Subject(module, Form("step", "pair"), args[:1], given)
    method = method or "forward"
    if not callable(getattr(module, method, None)):
        raise UsageError(thing, f"has no method {method!r}")
    if isinstance(module, nn.RNNCellBase) and method == "forward":
        return Subject(module, Form(method, "bare"), args[:1], args[1] if len(args) > 1 else None)

    stateless = Subject(module, Form(method), args, None)
    with running(thing):
        result, _ = stateless.form.call(clone(module), args)
    returned = result if isinstance(result, (tuple, list)) else ()
    parameters = _parameters(module, method)[1:]
    passed = args[1:]
    kind: Literal["spread", "pair"] | None = None
    if len(parameters) >= len(returned) - 1 > 0 and all(isinstance(v, Tensor) for v in returned[1:]):
        kind = "spread"
    elif len(returned) == 2 and parameters:
        kind = "pair"
    if kind is None or (passed and shapes(passed) != shapes(tuple(returned[1:]))):
        if not all(isinstance(a, Tensor) for a in passed):
            raise UsageError(f"{thing}, example input", f"{method} does not give back the state that it was given")
        return stateless
    given = None if not passed else passed if kind == "spread" else passed[0]
    form, probe = Form(method, kind), clone(module)
    try:
        _, state = form.call(probe, args[:1], given)
        form.call(probe, args[:1], state)
    except Exception as error:  # only the module itself knows what it takes
        if passed:
            raise ModelError(thing, f"does not take back its own state ({line(error)})") from error
        note = f"{method} returns {len(returned)} values but does not take them back: they are outputs"
        return dataclasses.replace(stateless, notes=(note,))
    note = f"{', '.join(parameters[: len(returned) - 1])}: passed as argument, taken as state"
    return Subject(module, form, args[:1], given, (note,))


def _parameters(module: nn.Module, method: str) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(getattr(module, method))
    return [p.name for p in signature.parameters.values() if p.kind in kinds]


def input_names(found: Subject) -> tuple[str, ...]:
    """`x` for a single input, the names of the arguments for several."""
    names, count = _parameters(found.module, found.form.method), len(found.examples)
    return ("x",) if count == 1 else tuple(names[at] if at < len(names) else f"x{at}" for at in range(count))


def state_names(found: Subject, held: Sequence[str], state: Any) -> tuple[str, ...]:
    """Names of all states; an attribute called like a passed state (snnTorch keeps both) is `self.…`."""
    passed = _passed_names(found.module, found.form, state)
    return (*(f"self.{name}" if name in passed else printable(name) for name in held), *passed)


def _passed_names(module: nn.Module, form: Form, state: Any) -> tuple[str, ...]:
    if form.kind == "none":
        return ()
    if form.kind == "spread":
        parameters = _parameters(module, form.method)[1:]
        return tuple(n for p, part in zip(parameters, state, strict=False) for n in leaf_names(part, p))
    if form.kind == "bare":
        return ("h", "c")[: len(list(leaves(state)))]
    return leaf_names(state, "state")


@contextmanager
def running(thing: str) -> Iterator[None]:
    """Turn whatever a foreign module raises into one ModelError."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            thing,
            f"its step fails on the example input ({line(error)})",
            "give the input of one time step with a leading batch axis, and the method that takes it",
        ) from error


def shapes(tree: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor of a tree."""
    return [(".".join(map(str, keys)) or "state", tuple(tensor.shape)) for keys, tensor in leaves(tree)]
