"""How a module is called for one step: its arguments, what it takes and gives back as state, and their names."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from edgekit.errors import ModelError, UsageError
from edgekit.frontends.recurrent import Recurrent
from edgekit.frontends.slots import clone, leaves, line
from edgekit.frontends.step import Form, Tensors, leaf_names
from edgekit.ir import printable


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


STATE_NAME = re.compile(
    r"(h|hx|hid|c|cx|s|st|v|u|z)\d*|.*(state|hidden|mem|carry|cache|prev|cell|buf).*", re.IGNORECASE
)
"""Names of an argument that is taken as state when what comes back is like it; a mask may have any shape."""


def _arguments(thing: str, example: object) -> tuple[Any, ...]:
    args = tuple(example) if isinstance(example, (tuple, list)) else (example,)
    tensors = [torch.as_tensor(t) if isinstance(t, (int, float, np.ndarray)) else t for t in args]
    first = tensors[0] if tensors else None
    if not isinstance(first, Tensor) or first.ndim < (1 if first.dtype is torch.int64 else 2):
        raise UsageError(
            f"{thing}, example input",
            "must be a tensor [batch, features] for one time step",
            "add a leading batch axis",
        )
    return tuple(_plain(t) if isinstance(t, Tensor) else t for t in tensors)


def _plain(tensor: Tensor) -> Tensor:
    """A copy that torch can run in float32: of other numbers only int64 stays, for what is looked up."""
    tensor = tensor.detach().cpu()
    return tensor if tensor.dtype is torch.int64 else tensor.float()


def _floats(args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(t.float() if isinstance(t, Tensor) else t for t in args)


def subject(module: nn.Module, example: object, method: str | None) -> Subject:
    """Find out how one step of a module is called, by calling copies of it.

    Beside an `init_state(batch)` it is `step(x, state)`; otherwise `method` or `forward`, whose results after the first
    are states when it takes them back.
    """
    module = getattr(module, "_orig_mod", module)  # what torch.compile wraps
    if isinstance(module, torch.jit.ScriptModule):
        clone(module)  # which refuses it
    thing = f"module {type(module).__name__}"
    args = _arguments(thing, example)
    if isinstance(module, nn.RNNBase) and method is None:
        module, args = Recurrent.of(module, args)
    if method is None and hasattr(module, "init_state") and hasattr(module, "step"):
        args = _floats(args)
        with running(thing):
            given = args[1] if len(args) > 1 else clone(module).init_state(args[0].shape[0])  # type: ignore[operator]
        return Subject(module, Form("step", "pair"), args[:1], given)
    method = method or "forward"
    if not callable(getattr(module, method, None)):
        raise UsageError(thing, f"has no method {method!r}")
    _check_arguments(thing, module, method, args)
    args, result = _first_result(thing, module, method, args)
    if _is_cell(module) and method == "forward":
        return Subject(module, Form(method, "bare"), args[:1], args[1] if len(args) > 1 else None)
    found = _with_state(thing, module, method, args, result)
    if found is not None:
        return found
    if not all(isinstance(a, Tensor) for a in args):
        raise UsageError(f"{thing}, example input", f"{method} does not give back the state that it was given")
    return Subject(module, Form(method), args, None, _unused(module, method, args, result))


def _is_cell(module: nn.Module) -> bool:
    """Whether a module is called as torch's own cells are: a subclass may do as it likes."""
    return type(module).forward in (nn.RNNCell.forward, nn.LSTMCell.forward, nn.GRUCell.forward)


def _check_arguments(thing: str, module: nn.Module, method: str, args: tuple[Any, ...]) -> None:
    """UsageError when the example lacks an argument, or has too many."""
    try:
        inspect.signature(getattr(module, method)).bind(*args)
    except TypeError as error:
        names = ", ".join(_parameters(module, method))
        raise UsageError(
            f"{thing}, example input",
            f"does not fit {method}({names}): {error}",
            "give all arguments as a tuple, states too: what comes back in their shapes is taken as state",
        ) from error


def _first_result(thing: str, module: nn.Module, method: str, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any]:
    """What the method returns, and the arguments that it takes: whole numbers as they are, else as float32."""
    form = Form(method)
    if any(isinstance(a, Tensor) and not a.is_floating_point() for a in args):
        with suppress(Exception):  # a layer that wants floats, whatever it raises
            return args, form.call(clone(module), args)[0]
    with running(thing):
        return _floats(args), form.call(clone(module), _floats(args))[0]


def _with_state(thing: str, module: nn.Module, method: str, args: tuple[Any, ...], result: Any) -> Subject | None:
    """The first way to hand the results back as arguments that works twice, None if there is none.

    ModelError when an argument that is called like a state comes back in its shape, but is not taken again.
    """
    refusal: ModelError | None = None
    keyword = _keyword_state(module, method) if len(args) == len(_parameters(module, method)) else ""
    for kind, count in _ways(module, method, args, result, keyword):
        inputs, rest = args[:count], args[count:]
        form = Form(method, kind, keyword if not rest and kind in ("pair", "bare") else "")
        if not all(isinstance(x, Tensor) for x in inputs):
            continue
        given = None if not rest else rest if kind == "spread" else rest[0]
        names = _parameters(module, method)[count:] or [keyword or "the state"]
        try:
            probe = clone(module)
            _, first = form.call(probe, inputs, given)
            _, second = form.call(probe, inputs, first)
        except Exception as error:  # only the module itself knows what it takes
            if rest and STATE_NAME.fullmatch(names[0]) and refusal is None:
                cause = f"does not take back its own state, {names[0]} ({line(error)})"
                refusal = ModelError(thing, cause, "let the step take the state in the form in which it returns it")
            continue
        if shapes(first) != shapes(second) and not rest and kind == "bare":
            continue  # nothing but a name says that this is a state; one that grows is refused later where more does
        taken = names[: len(first)] if kind == "spread" else names[:1]
        order = ", given back first" if kind == "first" else ""
        return Subject(module, form, inputs, given, (f"{', '.join(taken)}: passed as argument, taken as state{order}",))
    if refusal is not None:
        raise refusal
    return None


Kind = Literal["spread", "pair", "bare", "first"]


def _ways(
    module: nn.Module, method: str, args: tuple[Any, ...], result: Any, keyword: str
) -> Iterator[tuple[Kind, int]]:
    """How states may be passed, and how many of the arguments are then inputs."""
    returned = tuple(result) if isinstance(result, (tuple, list)) else ()
    rest, open_ended = _parameters(module, method)[len(args) :], _is_open_ended(module, method)
    states = len(returned) - 1
    if states == 1 and len(args) > 1 and shapes(args[-1]) == shapes(returned[0]) != shapes(returned[1]):
        yield "first", len(args) - 1
    all_tensors = states > 0 and all(isinstance(v, Tensor) for v in returned[1:])
    if all_tensors and len(args) > states and shapes(args[-states:]) == shapes(returned[1:]):
        yield "spread", len(args) - states
    if states == 1 and len(args) > 1 and shapes(args[-1]) == shapes(returned[1]):
        yield "pair", len(args) - 1
    if len(args) > 1 and shapes(args[-1]) == shapes(result):
        names = _parameters(module, method)
        if not isinstance(args[-1], Tensor) or (len(names) >= len(args) and STATE_NAME.fullmatch(names[len(args) - 1])):
            yield "bare", len(args) - 1
    if all_tensors and (len(rest) >= states or open_ended):
        yield "spread", len(args)
    if states == 1 and (rest or open_ended or keyword):
        yield "pair", len(args)
    if keyword or (rest and STATE_NAME.fullmatch(rest[0])):
        yield "bare", len(args)


def _unused(module: nn.Module, method: str, args: tuple[Any, ...], result: Any) -> tuple[str, ...]:
    """A note where results look like states, but cannot be handed back."""
    count = len(result) if isinstance(result, (tuple, list)) else 1
    if count == 1 or not (_parameters(module, method)[len(args) :] or _is_open_ended(module, method)):
        return ()
    return (f"{method} returns {count} values but does not take them back: they are outputs",)


def _parameters(module: nn.Module, method: str) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(getattr(module, method))
    return [p.name for p in signature.parameters.values() if p.kind in kinds]


def _keyword_state(module: nn.Module, method: str) -> str:
    """The argument that takes a state by name alone; empty if there is none."""
    parameters = inspect.signature(getattr(module, method)).parameters.values()
    named = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    return next((n for n in named if STATE_NAME.fullmatch(n)), "")


def _is_open_ended(module: nn.Module, method: str) -> bool:
    """Whether a method takes any number of arguments."""
    parameters = inspect.signature(getattr(module, method)).parameters.values()
    return any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)


def input_names(found: Subject) -> tuple[str, ...]:
    """`x` for a single input, the names of the arguments for several."""
    names, count = _parameters(found.module, found.form.method), len(found.examples)
    return ("x",) if count == 1 else tuple(names[at] if at < len(names) else f"x{at}" for at in range(count))


def state_names(found: Subject, held: Sequence[str], state: Any) -> tuple[str, ...]:
    """Names of all states; an attribute called like a passed state (snnTorch keeps both) is `self.…`."""
    passed = _passed_names(found, state)
    return (*(f"self.{name}" if name in passed else printable(name) for name in held), *passed)


def _passed_names(found: Subject, state: Any) -> tuple[str, ...]:
    form, parameters = found.form, _parameters(found.module, found.form.method)[len(found.examples) :]
    if form.kind == "none":
        return ()
    if _is_cell(found.module):
        return ("h", "c")[: len(list(leaves(state)))]
    if form.kind == "spread":
        named = [*parameters, *(f"state{at}" for at in range(len(parameters), len(state)))]
        return tuple(n for p, part in zip(named, state, strict=False) for n in leaf_names(part, p))
    return leaf_names(state, parameters[0] if parameters else "state")


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
