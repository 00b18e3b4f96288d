"""State discovery: run a module twice, see which tensors it replaced or changed, and make them arguments of the step."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError, UnsupportedError, UsageError
from edgekit.frontends.slots import Slot, clone, leaves, line, narrowed, refilled, slots
from edgekit.frontends.step import Form, Step, Tensors, leaf_names, printable

BATCH = 3
"""Samples run side by side to see whether they influence one another: neither 1 nor a likely layer size."""

BATCH_TOLERANCE = 1e-4
"""How far the results of one sample alone may be from those in a batch, absolute and relative: rounding only."""

NATIVE_BATCH = 4
"""Streams that the replay runs side by side."""


@dataclass(frozen=True)
class Discovered:
    """A module as a step: how to call it, its states, and their first values without the batch axis.

    `given` is the state that the first native call gets (None: the method starts by itself).
    """

    step: Step
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    states: tuple[str, ...]
    examples: Tensors
    initial: Tensors
    native_batch: int
    source: nn.Module
    given: Any
    notes: tuple[str, ...]

    def initial_states(self, batch: int) -> Tensors:
        """First values of all states for a batch of streams, [batch, ...] each."""
        return tuple(t.expand(batch, *t.shape).clone() for t in self.initial)


def discover(module: nn.Module, example: object, method: str | None = None) -> Discovered:
    """Find the states of a module by running copies of it on `example`; the module itself is never touched.

    `example` is the input of one step [batch, ...], or a tuple of all positional arguments. A tensor attribute of any
    submodule is a state when a step replaces it or changes it in place, whatever its value. State that is passed is
    found from the signature: `step(x, state)` beside an `init_state(batch)`, or `forward(x, state=None)`.

    Raises ModelError when the step cannot run, UnsupportedError when its state grows or samples of a batch mix.
    """
    thing = f"module {type(module).__name__}"
    with torch.no_grad():
        args = _arguments(thing, example)
        batch = args[0].shape[0]
        form, examples, given, notes = _form(thing, module, args, method)
        if kinds := narrowed(module):
            notes.append(f"{', '.join(kinds)} weights are converted as float32")

        warm = clone(module)
        with _running(thing):
            _, state = form.call(warm, examples, repeated(given, batch))
            before = {slot: (tensor, tensor._version) for slot, tensor in slots(warm).items()}
            outputs, after_state = form.call(warm, examples, state)
        found = _changed(thing, before, slots(warm))
        _check_growth(thing, _shapes(state), _shapes(after_state))
        step = Step(warm, form, found, after_state)
        names = _state_names([slot.path for slot in found], _passed_names(module, form, after_state))
        templates = (*(slot.read(warm) for slot in found), *(t for _, t in leaves(after_state)))
        _check_batch_axis(thing, names, templates, batch)
        initial = _initial(thing, module, step, names, templates, examples, given, notes)
        if not any(True for _ in leaves(outputs)):
            raise ModelError(thing, f"its {form.method} returns no tensor")
        native_batch = _native_batch(module, form, examples, given, notes)
        found_step = Discovered(
            step=step,
            inputs=_input_names(module, form, len(examples)),
            outputs=leaf_names(outputs, "y"),
            states=names,
            examples=examples,
            initial=initial,
            native_batch=native_batch,
            source=module,
            given=given,
            notes=tuple(notes),
        )
        _check_independence(thing, found_step)
        return found_step


# --- how the module is called ----------------------------------------------------------------------------------------


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


def _form(
    thing: str, module: nn.Module, args: tuple[Any, ...], method: str | None
) -> tuple[Form, Tensors, Any, list[str]]:
    """(form, example inputs, first state or None, notes) of the module's step."""
    if isinstance(module, nn.RNNBase):
        cell = {"LSTM": "LSTMCell", "GRU": "GRUCell"}.get(type(module).__name__, "RNNCell")
        raise UnsupportedError(thing, "runs a whole sequence", f"convert one step: use torch.nn.{cell}")
    notes: list[str] = []
    if method is None and hasattr(module, "init_state") and hasattr(module, "step"):
        with _running(thing):
            given = args[1] if len(args) > 1 else clone(module).init_state(1)  # type: ignore[operator]
        return Form("step", "pair"), args[:1], given, notes
    method = method or "forward"
    if not callable(getattr(module, method, None)):
        raise UsageError(thing, f"has no method {method!r}")
    if isinstance(module, nn.RNNCellBase) and method == "forward":
        given = args[1] if len(args) > 1 else None
        return Form(method, "bare"), args[:1], given, notes

    form = Form(method)
    with _running(thing):
        result, _ = form.call(clone(module), args)
    returned = result if isinstance(result, (tuple, list)) else ()
    parameters = _parameters(module, method)[1:]
    passed = args[1:]
    kind: Literal["spread", "pair"] | None = None
    if len(parameters) >= len(returned) - 1 > 0 and all(isinstance(v, Tensor) for v in returned[1:]):
        kind = "spread"
    elif len(returned) == 2 and parameters:
        kind = "pair"
    if kind is None or (passed and _shapes(passed) != _shapes(tuple(returned[1:]))):
        if not all(isinstance(a, Tensor) for a in passed):
            raise UsageError(f"{thing}, example input", f"{method} does not give back the state that it was given")
        return form, args, None, notes
    given = None if not passed else passed if kind == "spread" else passed[0]
    stateful, probe = Form(method, kind), clone(module)
    try:
        _, state = stateful.call(probe, args[:1], given)
        stateful.call(probe, args[:1], state)
    except Exception as error:  # only the module itself knows what it takes
        if passed:
            raise ModelError(thing, f"does not take back its own state ({line(error)})") from error
        notes.append(f"{method} returns {len(returned)} values but does not take them back: they are outputs")
        return form, args, None, notes
    notes.append(f"{', '.join(parameters[: len(returned) - 1])}: passed as argument, taken as state")
    return stateful, args[:1], given, notes


def _parameters(module: nn.Module, method: str) -> list[str]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.signature(getattr(module, method))
    return [p.name for p in signature.parameters.values() if p.kind in kinds]


def _input_names(module: nn.Module, form: Form, count: int) -> tuple[str, ...]:
    names = _parameters(module, form.method)
    return ("x",) if count == 1 else tuple(names[at] if at < len(names) else f"x{at}" for at in range(count))


def _state_names(held: Sequence[str], passed: Sequence[str]) -> tuple[str, ...]:
    """Names of all states; an attribute called like a passed state (snnTorch keeps both) is `self.…`."""
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
def _running(thing: str) -> Iterator[None]:
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


# --- which tensors are states ----------------------------------------------------------------------------------------


def _changed(thing: str, before: dict[Slot, tuple[Tensor, int]], after: dict[Slot, Tensor]) -> tuple[Slot, ...]:
    """The slots whose tensor is another object than one step ago, or was written in place."""
    if grown := [slot.path for slot in after if slot not in before]:
        raise UnsupportedError(
            thing, "its state grows from step to step", "keep a state of fixed size; do not record", sorted(grown)
        )
    changed = [s for s, (t, version) in before.items() if s in after and (after[s] is not t or t._version != version)]
    _check_growth(
        thing,
        [(slot.path, tuple(before[slot][0].shape)) for slot in changed],
        [(slot.path, tuple(after[slot].shape)) for slot in changed],
    )
    if learned := [slot.path for slot in changed if slot.table == "_parameters"]:
        raise UnsupportedError(thing, "changes its own parameters in a step", "use a learning rule of edgekit", learned)
    return tuple(changed)


def _shapes(tree: Any) -> list[tuple[str, tuple[int, ...]]]:
    return [(".".join(map(str, keys)) or "state", tuple(tensor.shape)) for keys, tensor in leaves(tree)]


def _check_growth(
    thing: str, before: Sequence[tuple[str, tuple[int, ...]]], after: Sequence[tuple[str, tuple[int, ...]]]
) -> None:
    if before and len(before) != len(after):
        raise UnsupportedError(
            thing, f"passes on {len(before)} states, then {len(after)}", "keep a state of fixed size"
        )
    grown = [f"{name}: {list(a)} then {list(b)}" for (name, a), (_, b) in zip(before, after, strict=False) if a != b]
    if grown:
        raise UnsupportedError(thing, "its state grows from step to step", "keep a state of fixed size", grown)


def _check_batch_axis(thing: str, names: Sequence[str], tensors: Sequence[Tensor], batch: int) -> None:
    without = [
        f"{name}: {list(t.shape)}" for name, t in zip(names, tensors, strict=True) if t.ndim == 0 or t.shape[0] != batch
    ]
    if without:
        raise UnsupportedError(
            thing,
            f"holds state without a leading batch axis of {batch}",
            "keep one state for each sample, batch axis first",
            without,
        )


# --- where the states start ------------------------------------------------------------------------------------------


def _initial(
    thing: str,
    module: nn.Module,
    step: Step,
    names: Sequence[str],
    templates: Tensors,
    examples: Tensors,
    given: Any,
    notes: list[str],
) -> Tensors:
    """First values without the batch axis: those with which the step repeats what the fresh module does by itself.

    Tried in this order: what the module holds and was given; zero; what a lazily starting module assigns first.
    """
    if not names:
        return ()
    batch = examples[0].shape[0]
    noise = tuple(torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) for x in examples)
    assigned: dict[Slot, Tensor] = {}
    expected = []
    for inputs in (examples, noise):
        fresh = clone(module)
        with _running(thing), _first_assignments(fresh, step.slots, assigned):
            outputs, state = step.form.call(fresh, inputs, repeated(given, batch))
        after = (*(slot.peek(fresh) for slot in step.slots), *(t for _, t in leaves(state)))
        expected.append((inputs, (*(t for _, t in leaves(outputs)), *after)))

    _check_rows(thing, [name for name, _ in _shapes(given)], [t for _, t in leaves(given)])
    passed = [t for _, t in leaves(repeated(given, batch))]
    held = [slot.peek(clone(module)) for slot in step.slots]
    zeros = [torch.zeros_like(t) for t in templates]
    count = len(step.slots)
    passed = passed or zeros[count:]
    lazy = [assigned.get(slot) for slot in step.slots]
    for slot_values in (held, [None] * count, lazy):
        start = [_fitting(v, z) for v, z in zip([*slot_values, *passed], zeros, strict=True)]
        if all(_same(step(inputs, tuple(start)), values) for inputs, values in expected):
            break
    else:
        raise ModelError(
            thing,
            "starts from states that cannot be told from outside",
            "pass them as example: (x, state), or let the attributes hold their first values",
            names,
        )
    _check_rows(thing, names, start)
    notes += [f"{name}: starts at a non-zero value" for name, value in zip(names, start, strict=True) if value.any()]
    return tuple(value[0].clone() for value in start)


def repeated(tree: Any, batch: int) -> Any:
    """A given state of one sample (or of equal samples) repeated for a batch."""
    tensors = tuple(t.detach()[:1].expand(batch, *t.shape[1:]).clone() for _, t in leaves(tree))
    return refilled(tree, tensors)


def _check_rows(thing: str, names: Sequence[str], values: Sequence[Tensor]) -> None:
    """Refuse first values that differ from sample to sample."""
    unlike = [n for n, v in zip(names, values, strict=True) if not _equal(v, v[:1].expand_as(v))]
    if unlike:
        raise ModelError(thing, "starts differently for each sample of the batch", "reset the module first", unlike)


def _fitting(value: Tensor | None, zero: Tensor) -> Tensor:
    """A value in the shape of a state, or zero where it does not fit."""
    if value is None or value.numel() == 0 or value.dtype is not zero.dtype:
        return zero
    try:
        return value.detach().expand_as(zero).clone()
    except RuntimeError:
        return zero


def _same(result: tuple[Tensors, Tensors], expected: Sequence[Tensor | None]) -> bool:
    values = (*result[0], *result[1])
    return len(values) == len(expected) and all(
        b is None or _equal(a, b) for a, b in zip(values, expected, strict=True)
    )


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())


@contextmanager
def _first_assignments(module: nn.Module, wanted: tuple[Slot, ...], seen: dict[Slot, Tensor]) -> Iterator[None]:
    """Note the first tensor that is assigned to each wanted attribute: a lazy module starts with it."""
    by_place = {(id(module.get_submodule(s.owner)), s.attribute): s for s in wanted if not s.keys}
    original = nn.Module.__setattr__

    def watch(self: nn.Module, name: str, value: Any) -> None:
        slot = by_place.get((id(self), name))
        if slot is not None and isinstance(value, Tensor):
            seen.setdefault(slot, value.detach().clone())
        original(self, name, value)

    nn.Module.__setattr__ = watch  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        nn.Module.__setattr__ = original  # type: ignore[method-assign]


# --- are samples independent? ----------------------------------------------------------------------------------------


def _check_independence(thing: str, found: Discovered) -> None:
    """Refuse a step in which one sample of the batch influences another: three at once must equal one by one."""
    random = torch.Generator().manual_seed(1)
    inputs = tuple(torch.randn(BATCH, *x.shape[1:], generator=random) for x in found.examples)
    states = tuple(_disturbed(t, random) for t in found.initial_states(BATCH))
    remedy = "let every operation keep the batch axis (axis 0) to itself, and write squeeze(dim) rather than squeeze()"
    try:
        together = found.step(inputs, states)
        alone = [
            found.step(tuple(x[i : i + 1] for x in inputs), tuple(s[i : i + 1] for s in states)) for i in range(BATCH)
        ]
        joint = (*together[0], *together[1])
        single = [torch.cat(parts) for parts in zip(*((*y, *s) for y, s in alone), strict=True)]
    except Exception as error:
        raise UnsupportedError(
            thing, f"works only for the batch size of the example ({line(error)})", remedy
        ) from error
    names = (*found.outputs, *(f"state {n}" for n in found.states))
    mixed = [
        name
        for name, a, b in zip(names, joint, single, strict=True)
        if a.shape != b.shape
        or not torch.allclose(a.double(), b.double(), rtol=BATCH_TOLERANCE, atol=BATCH_TOLERANCE, equal_nan=True)
    ]
    if mixed:
        raise UnsupportedError(thing, "mixes the samples of a batch", remedy, mixed)


def _disturbed(state: Tensor, random: torch.Generator) -> Tensor:
    noise = torch.randn(state.shape, generator=random)
    return state + 0.5 * noise if state.is_floating_point() else state


def _native_batch(module: nn.Module, form: Form, examples: Tensors, given: Any, notes: list[str]) -> int:
    """The batch at which the untouched module can run beside the graph: any, or only that of the example."""
    inputs = tuple(x[:1].expand(NATIVE_BATCH, *x.shape[1:]) for x in examples)
    try:
        form.call(clone(module), inputs, repeated(given, NATIVE_BATCH))
    except RuntimeError:  # torch's shape errors: the module holds state for a fixed batch
        notes.append(f"the module's own state has a fixed batch of {len(examples[0])}; the replay runs at that batch")
        return len(examples[0])
    return NATIVE_BATCH
