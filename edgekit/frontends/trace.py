"""A step as the list of ATen calls that torch makes for it, with every tensor numbered and the batch axis found.

The step runs on ordinary tensors at two batch sizes while a dispatch mode writes down each call. An axis whose length
differs between the two runs is the batch; what differs otherwise depends on the batch size and is marked as `Extent`.
In-place calls are written down as the calls that make a new value.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from edgekit.errors import UnsupportedError
from edgekit.frontends.calls import running
from edgekit.frontends.discover import Discovered
from edgekit.frontends.slots import slots

SIZES = (3, 5)
"""Batch sizes of the two runs."""

MAX_CALLS = 20_000
"""A step has a few hundred calls; more is a sequence that Python has unrolled."""

Shape = tuple[int, ...]
Decomposed = Callable[[OpOverload], "Callable[..., Any] | None"]


@dataclass(frozen=True)
class Ref:
    """One value of a trace, by number."""

    number: int


class Extent(int):
    """A number that follows the batch size: good for shapes, not for arithmetic on values."""


@dataclass(frozen=True)
class Meta:
    """What is known of a value: shape of one sample, dtype, how the batch enters, and the tensor if it is constant.

    `lead` is 0 without a batch axis, 1 with the batch first, k > 1 where axis 0 is the batch times k (then `shape`
    begins with k), and -1 where the batch is elsewhere.
    """

    shape: Shape
    dtype: torch.dtype
    lead: int
    constant: Tensor | None = None
    hint: str = ""


@dataclass(frozen=True)
class Record:
    """One ATen call: operator, arguments with Ref for tensors, results, path of the submodule.

    `fault` says why it cannot be part of a graph; `part_of` names the operator that torch decomposed into this one.
    """

    target: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: tuple[Ref, ...]
    source: str
    fault: str = ""
    part_of: str = ""


@dataclass(frozen=True)
class Traced:
    """A whole step: values by number, calls in order, and which values enter and leave it."""

    values: dict[Ref, Meta]
    calls: tuple[Record, ...]
    inputs: tuple[Ref, ...]
    states: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    next_states: tuple[Ref, ...]


def trace(found: Discovered, decomposed: Decomposed) -> Traced:
    """Trace a discovered step; `decomposed` gives torch's decomposition of an operator to be replaced by simpler ones.

    Raises UnsupportedError when the step takes another path for another batch size, or unrolls a sequence.
    """
    thing = found.subject.thing
    small, large = (_run(found, size, decomposed) for size in SIZES)
    if [c.target for c in small.calls] != [c.target for c in large.calls]:
        raise UnsupportedError(thing, "computes something else for another batch size", "treat every sample alike")
    if len(small.calls) > MAX_CALLS:
        raise UnsupportedError(
            thing, f"unrolls into {len(small.calls):,} operations", "convert the step, not the sequence"
        )
    values = {ref: _meta(small.values[ref], large.values[ref]) for ref in small.values}
    calls = [_joined(a, b) for a, b in zip(small.calls, large.calls, strict=True)]
    ends = (small.inputs, small.states, small.outputs, small.next_states)
    return Traced(values, _needed(calls, {*small.outputs, *small.next_states}), *ends)


# --- one run ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Value:
    shape: Shape
    dtype: torch.dtype
    constant: Tensor | None
    hint: str


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every call. A value that no input or state entered is constant, and kept as it was then."""

    def __init__(self, module: nn.Module, decomposed: Decomposed) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values: dict[Ref, _Value] = {}
        self.calls: list[Record] = []
        self.path: list[str] = []
        self._decomposed = decomposed
        self._within: list[str] = []
        self._numbers = count()
        self._current: dict[int, Ref] = {}
        self._tensors: list[Tensor] = []  # kept alive, so that identities stay unique
        self._names = {id(tensor): slot.path for slot, tensor in slots(module).items()}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch.compile is not part of this, and preparing for it would import all of it (two seconds)

    def enter(self, tensor: Tensor) -> Ref:
        """Declare an input or state."""
        return self._bind(tensor, constant=False)

    def value_of(self, tensor: Tensor) -> Ref:
        """The current value of a tensor; one that is seen for the first time is a constant."""
        ref = self._current.get(id(tensor))
        return self._bind(tensor, constant=True) if ref is None else ref

    def _bind(self, tensor: Tensor, *, constant: bool, hint: str = "") -> Ref:
        ref = Ref(next(self._numbers))
        if id(tensor) not in self._current:
            self._tensors.append(tensor)
        self._current[id(tensor)] = ref
        kept = tensor.detach().clone() if constant else None
        self.values[ref] = _Value(tuple(tensor.shape), tensor.dtype, kept, self._names.get(id(tensor), hint))
        return ref

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        refs, named = self._referred(args), self._referred(kwargs)
        constant = all(self.values[ref].constant is not None for ref in _leaves((refs, named), Ref))
        if not constant and (simpler := self._decomposed(func)) is not None:
            self._within.append(func._schema.name)
            try:
                with self:
                    return simpler(*args, **kwargs)
            finally:
                self._within.pop()
        result = func(*args, **kwargs)
        written = _written(func, args, kwargs)
        hint = next((h for ref in _leaves((refs, named), Ref) if (h := self.values[ref].hint)), "")
        results = tuple(self._bind(t, constant=constant, hint=hint) for t in (written or _leaves(result, Tensor)))
        self._record(func, refs, named, results, _fault(func, result, constant=constant))
        for tensor, ref in zip(written, results, strict=False):
            self._follow(tensor, ref)
        return result

    def _record(
        self, func: OpOverload, args: Any, kwargs: dict[str, Any], results: tuple[Ref, ...], fault: str
    ) -> None:
        source, part_of = (stack[-1] if stack else "" for stack in (self.path, self._within[:1]))
        self.calls.append(Record(func, args, kwargs, results, source, fault, part_of))

    def _referred(self, tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return self.value_of(tree)
        if isinstance(tree, (tuple, list)):
            return tuple(self._referred(item) for item in tree)
        if isinstance(tree, dict):
            return {key: self._referred(item) for key, item in tree.items()}
        return tree

    def _follow(self, written: Tensor, new: Ref) -> None:
        """Tensors that share memory with one that was written in place: the same elements follow, others are lost."""
        layout, elements = _layout(written), None
        for tensor in self._tensors:
            if tensor is written or _layout(tensor)[0] != layout[0] or not tensor.numel():
                continue
            elements = _elements(written) if elements is None else elements
            if _layout(tensor) == layout:
                self._current[id(tensor)] = new
            elif bool(torch.isin(_elements(tensor), elements).any()):
                lost = self._bind(tensor, constant=False)
                self._record(torch.ops.aten.alias.default, (), {}, (lost,), "is written in place through a view")


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    storage = tensor.untyped_storage().data_ptr()
    return storage, tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset()


def _elements(tensor: Tensor) -> Tensor:
    """Positions in its storage of the elements of a tensor."""
    size = tensor.untyped_storage().nbytes() // tensor.element_size()
    return torch.arange(size).as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).reshape(-1)


def _fault(func: OpOverload, result: Any, *, constant: bool) -> str:
    """Why a call cannot be part of a graph whatever its row, empty if it can."""
    if torch.Tag.nondeterministic_seeded in func.tags:
        return "draws random numbers; remove the noise for inference"
    if not constant and result is not None and not isinstance(result, (Tensor, tuple, list)):
        return "takes the value of a tensor into Python, to branch on it or to compute; use torch.where"
    return ""


def _written(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that a call writes in place."""
    schema = func._schema
    if not schema.is_mutable:
        return []
    given = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)} | kwargs
    return [given[a.name] for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]


def _leaves(tree: Any, kind: type) -> list[Any]:
    """Every item of a kind in nested tuples, lists and dicts, in order."""
    if isinstance(tree, (tuple, list)):
        return [leaf for item in tree for leaf in _leaves(item, kind)]
    if isinstance(tree, dict):
        return [leaf for item in tree.values() for leaf in _leaves(item, kind)]
    return [tree] if isinstance(tree, kind) else []


@dataclass(frozen=True)
class _Run:
    values: dict[Ref, _Value]
    calls: list[Record]
    inputs: tuple[Ref, ...]
    states: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    next_states: tuple[Ref, ...]


def _run(found: Discovered, size: int, decomposed: Decomposed) -> _Run:
    step = copy.deepcopy(found.step)
    inputs = tuple(x[:1].expand(size, *x.shape[1:]).clone() for x in found.subject.examples)
    states = found.initial_states(size)
    recorder = _Recorder(step.module, decomposed)
    entered = tuple(recorder.enter(x) for x in inputs), tuple(recorder.enter(s) for s in states)
    with torch.no_grad(), running(found.subject.thing), _paths(step.module, recorder.path), recorder:
        outputs, next_states = step(inputs, states)
    left = tuple(recorder.value_of(y) for y in outputs), tuple(recorder.value_of(s) for s in next_states)
    return _Run(recorder.values, recorder.calls, *entered, *left)


@contextmanager
def _paths(module: nn.Module, path: list[str]) -> Iterator[None]:
    """Keep the path of the submodule that is running on top of a stack."""
    hooks = []
    for name, submodule in module.named_modules():
        if name:
            hooks.append(submodule.register_forward_pre_hook(lambda *_, name=name: path.append(name)))
            hooks.append(submodule.register_forward_hook(lambda *_: _drop(path), always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _drop(path: list[str]) -> None:
    path.pop()


# --- two runs as one -------------------------------------------------------------------------------------------------


def _meta(small: _Value, large: _Value) -> Meta:
    """What two runs at different batch sizes tell about a value."""
    lost = Meta(small.shape, small.dtype, lead=-1, hint=small.hint)
    if len(small.shape) != len(large.shape) or small.shape[1:] != large.shape[1:]:
        return lost
    if small.shape == large.shape:
        if small.constant is None or large.constant is None:
            return Meta(small.shape, small.dtype, 0, None, small.hint)
        same = torch.equal(small.constant, large.constant) or bool(small.constant.isnan().any())
        return Meta(small.shape, small.dtype, 0, small.constant, small.hint) if same else lost
    times, rest = divmod(small.shape[0], SIZES[0])
    if rest or large.shape[0] != times * SIZES[1]:
        return lost
    shape = small.shape[1:] if times == 1 else (times, *small.shape[1:])
    if small.constant is None or large.constant is None:
        return Meta(shape, small.dtype, times, None, small.hint)
    samples = torch.cat([c.reshape(n, *shape) for c, n in zip((small.constant, large.constant), SIZES, strict=True)])
    uniform = bool((samples == samples[:1]).all())  # a constant that tells samples apart would mix them
    return Meta(shape, small.dtype, times, samples[0].clone(), small.hint) if uniform else lost


def _joined(small: Record, large: Record) -> Record:
    """The call of both runs, with what differs marked."""
    args, kwargs = _marked(small.args, large.args), _marked(small.kwargs, large.kwargs)
    return dataclasses.replace(small, args=args, kwargs=kwargs)


def _marked(small: Any, large: Any) -> Any:
    if isinstance(small, tuple):
        return tuple(_marked(a, b) for a, b in zip(small, large, strict=True))
    if isinstance(small, dict):
        return {key: _marked(value, large[key]) for key, value in small.items()}
    return Extent(small) if isinstance(small, (int, float)) and small != large else small


def _needed(calls: list[Record], wanted: set[Ref]) -> tuple[Record, ...]:
    """The calls that lead to the wanted values, and those that read a value into Python."""
    kept: list[Record] = []
    for call in reversed(calls):
        if wanted.intersection(call.results) or (call.fault and not call.results):
            kept.append(call)
            wanted.update(_leaves((call.args, call.kwargs), Ref))
    return tuple(reversed(kept))
