"""Every ATen call that torch makes while something runs, with every tensor numbered.

In-place calls are written down as the calls that make a new value; what else shares the written memory gets a new value
too.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from edgekit.errors import UnsupportedError
from edgekit.frontends.slots import slots

OVERWRITE = "edgekit::overwrite"
"""The call that gives a tensor its new value where another one was written that shares memory with it.

`index` tells for each element of `base`, row-major, which element of `values` it is now, or -1 where it stays.
"""

_KINDS = ("zeros", "ones", "full", "empty")
SHAPED = frozenset(
    [*(f"aten::{k}_like" for k in _KINDS), *(f"aten::new_{k}" for k in _KINDS), "aten::new_empty_strided"]
)
"""Calls that read the shape of a tensor, and no value."""

MAX_CALLS = 20_000
"""A step has a few hundred calls; more is a sequence that Python has unrolled."""

AUTHOR_LINE = ContextVar("AUTHOR_LINE", default="")
"""The author's line of what we run ourselves, set by what carries out a program of a file."""

DRAWS = "draws random numbers; remove the noise for inference"
LEAVES = "takes the value of a tensor into Python, to branch on it or to compute; use torch.where"
BLANK = frozenset(
    f"aten::{name}" for name in ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")
)
"""Calls that give memory as it is; here it is zero, so that nothing of this process gets into a program."""

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]
Decomposed = Callable[[OpOverload], "Callable[..., Any] | None"]


@dataclass(frozen=True)
class Ref:
    """One value of a trace, by number."""

    number: int


@dataclass(frozen=True)
class Value:
    """What is known of a value: its shape and dtype, the tensor if it is constant, and what to call it."""

    shape: Shape
    dtype: torch.dtype
    constant: Tensor | None
    hint: str


@dataclass(frozen=True)
class Record:
    """One ATen call: name, arguments by name with Ref for tensors, results, path of the submodule, line of its author.

    `fault` says why it cannot be part of a graph; `part_of` names the operator that torch decomposed into this one.
    """

    name: str
    args: Mapping[str, Any]
    results: tuple[Ref, ...]
    source: str
    fault: str = ""
    part_of: str = ""
    line: str = ""


class OverlongError(UnsupportedError):
    """More calls than a step has."""


class _Plain(TorchFunctionMode):
    """Functions that a trace would not see, or that look at values only to check them."""

    def __init__(self, recorder: Recorder | None) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.one_hot and _classes(*args, **(kwargs or {})) > 0:
            index, classes = args[0], _classes(*args, **(kwargs or {}))
            return (index.unsqueeze(-1) == torch.arange(classes)).to(torch.int64)
        if func in LEAVING and self._recorder is not None:
            self._recorder.leave(args[0], func.__name__)
        name = getattr(func, "__name__", "")
        if name in ("__getitem__", "__setitem__") and self._recorder is not None:
            place = _scalar_index(self._recorder, args[0], args[1])
            if place is not None:
                return _at_scalar(name, args, *place)
        return func(*args, **(kwargs or {}))


LEAVING = (Tensor.numpy, Tensor.tolist, Tensor.__array__)
"""Ways out of torch, beside those that torch itself records."""


def _scalar_index(recorder: Recorder, tensor: Tensor, index: Any) -> tuple[tuple[Any, ...], int, int] | None:
    """An index with a single number that is computed: as a tuple, where in it the number is, and the axis it takes.

    torch would take its value into Python.
    """
    items = index if isinstance(index, tuple) else (index,)
    found = [k for k, item in enumerate(items) if isinstance(item, Tensor)]
    plain = all(isinstance(item, (Tensor, slice, int)) for item in items)
    if not plain or len(found) != 1 or len(items) > tensor.ndim:
        return None
    number = items[found[0]]
    if number.ndim or number.is_floating_point() or number.dtype is torch.bool or not recorder.is_live(number):
        return None
    return items, found[0], sum(not isinstance(item, int) for item in items[: found[0]])


def _at_scalar(name: str, args: Any, items: tuple[Any, ...], at: int, axis: int) -> Any:
    """The same through an index of one element, whose axis goes afterwards."""
    tensor, wide = args[0], (*items[:at], items[at].reshape(1), *items[at + 1 :])
    if name == "__getitem__":
        return tensor[wide].squeeze(axis)
    value = args[2]
    behind = tensor.ndim - len(items) + sum(not isinstance(item, int) for item in items[at + 1 :])
    if isinstance(value, Tensor) and value.ndim > behind:
        value = value.unsqueeze(value.ndim - behind)
    tensor[wide] = value
    return None


def _classes(_: Tensor, num_classes: int = -1) -> int:
    return num_classes


@contextmanager
def plain_kernels(recorder: Recorder | None = None) -> Iterator[None]:
    """Without the fused CPU kernels of whole layers, which hide what a layer computes."""
    enabled = torch._C._get_mkldnn_enabled()  # torch.backends.mkldnn.flags also sets TF32, and warns of it
    fast = torch.backends.mha.get_fastpath_enabled()
    torch._C._set_mkldnn_enabled(False)
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _Plain(recorder), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch._C._set_mkldnn_enabled(enabled)
        torch.backends.mha.set_fastpath_enabled(fast)


def key_of(target: OpOverload) -> str:
    """`aten::add` of an operator overload, and of its in-place form: the trace has made values of what that writes."""
    name: str = target._schema.name
    return name.removesuffix("_") if target._schema.is_mutable else name


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every call. A value that no input or state entered is constant, and kept as it was then."""

    def __init__(self, module: nn.Module, decomposed: Decomposed) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.values: dict[Ref, Value] = {}
        self.calls: list[Record] = []
        self.path: list[str] = []
        self._decomposed = decomposed
        self._within: list[str] = []
        self._numbers = count()
        self._current: dict[int, Ref] = {}
        self._tensors: dict[int, list[Tensor]] = {}  # by memory; kept alive, so that identities stay unique
        self._held = slots(module)  # kept alive: one that a step replaces would leave its identity to another tensor
        self._names = {id(tensor): slot.path for slot, tensor in self._held.items()}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch.compile is not part of this, and preparing for it would import all of it (two seconds)

    def enter(self, tensor: Tensor) -> Ref:
        """Declare an input or state."""
        return self._bind(tensor, constant=False)

    def is_live(self, tensor: Tensor) -> bool:
        """Whether a tensor holds what is computed from inputs or states."""
        ref = self._current.get(id(tensor))
        return ref is not None and self.values[ref].constant is None

    def leave(self, tensor: Tensor, how: str) -> None:
        """Note that a value is taken out of torch, where it can steer what no trace sees."""
        if self.is_live(tensor):
            self._note(f"torch.Tensor.{how}", {}, (), LEAVES)

    def value_of(self, tensor: Tensor) -> Ref:
        """The current value of a tensor; one that is seen for the first time is a constant."""
        ref = self._current.get(id(tensor))
        return self._bind(tensor, constant=True) if ref is None else ref

    def _bind(self, tensor: Tensor, *, constant: bool, hint: str = "") -> Ref:
        ref = Ref(next(self._numbers))
        if id(tensor) not in self._current:
            self._tensors.setdefault(_memory(tensor), []).append(tensor)
        self._current[id(tensor)] = ref
        kept = tensor.detach().clone() if constant else None
        self.values[ref] = Value(tuple(tensor.shape), tensor.dtype, kept, self._names.get(id(tensor), hint))
        return ref

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        refs, named = self._referred(args), self._referred(kwargs)
        constant = all(self.values[ref].constant is not None for ref in refs_in((refs, named), Ref))
        constant = constant or key_of(func) in SHAPED
        if not constant and (simpler := self._decomposed(func)) is not None:
            self._within.append(func._schema.name)
            try:
                with self:
                    return simpler(*args, **kwargs)
            finally:
                self._within.pop()
        result = func(*args, **kwargs)
        if key_of(func) in BLANK and isinstance(result, Tensor):
            result.zero_()
        written = _written(func, args, kwargs)
        hint = next((h for ref in refs_in((refs, named), Ref) if (h := self.values[ref].hint)), "")
        results = tuple(self._bind(t, constant=constant, hint=hint) for t in (written or refs_in(result, Tensor)))
        self._record(func, refs, named, results, _fault(func, result, constant=constant))
        for tensor, ref in zip(written, results, strict=False):
            self._follow(tensor, ref)
        return result

    def _record(
        self, func: OpOverload, args: Any, kwargs: dict[str, Any], results: tuple[Ref, ...], fault: str
    ) -> None:
        self._note(key_of(func), _named(func, args, kwargs), results, fault)

    def _note(self, name: str, args: Mapping[str, Any], results: tuple[Ref, ...], fault: str = "") -> None:
        if len(self.calls) >= MAX_CALLS:
            cause = f"makes more than {MAX_CALLS:,} calls in one step"
            raise OverlongError("module", cause, "convert the step, not the sequence")
        source, part_of = (stack[-1] if stack else "" for stack in (self.path, self._within[:1]))
        self.calls.append(Record(name, args, results, source, fault, part_of, _author_line()))

    def _referred(self, tree: Any) -> Any:
        if isinstance(tree, Tensor):
            return self.value_of(tree)
        if isinstance(tree, (tuple, list)):
            return tuple(self._referred(item) for item in tree)
        if isinstance(tree, dict):
            return {key: self._referred(item) for key, item in tree.items()}
        return tree

    def _follow(self, written: Tensor, new: Ref) -> None:
        """Tensors that share memory with one that was written in place hold its elements now."""
        where: Array | None = None
        for tensor in [*self._tensors.get(_memory(written), ())]:
            if tensor is written or not tensor.numel():
                continue
            if _layout(tensor) == _layout(written):
                self._current[id(tensor)] = new
                continue
            if where is None:
                where = np.full(written.untyped_storage().nbytes(), -1, np.int64)
                where[_places(written)] = np.arange(written.numel())
            index = where[_places(tensor)]
            if (index >= 0).any():
                base = self.value_of(tensor)
                constant = all(self.values[ref].constant is not None for ref in (base, new))
                if constant:
                    self._bind(tensor, constant=True, hint=self.values[base].hint)
                    continue
                fault = "" if tensor.dtype is written.dtype else "writes memory that another dtype reads"
                merged = self._bind(tensor, constant=False, hint=self.values[base].hint)
                self._note(OVERWRITE, {"base": base, "values": new, "index": index}, (merged,), fault)


_TORCH, _OURS = (str(folder) + os.sep for folder in (Path(torch.__file__).parent, Path(__file__).parents[1]))


def _author_line() -> str:
    """`file.py:12` of the innermost frame of the module's author; empty where torch's own layers were called by us."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(_OURS) and path != __file__:
            return AUTHOR_LINE.get()
        if not path.startswith((_TORCH, "<")) and path != __file__:
            return f"{os.path.basename(path)}:{frame.f_lineno}"  # noqa: PTH119  (many times a trace)
        frame = frame.f_back
    return ""


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _layout(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset()


def _places(tensor: Tensor) -> Array:
    """The first byte of each element in its memory, row-major."""
    places = np.full(tuple(tensor.shape), tensor.storage_offset(), np.int64)
    for axis, (n, step) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        places += (np.arange(n) * step).reshape(-1, *(1,) * (tensor.ndim - 1 - axis))
    return places.reshape(-1) * tensor.element_size()


def _named(func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, defaults filled in."""
    named = {}
    for at, argument in enumerate(func._schema.arguments):
        default = argument.default_value if argument.has_default_value() else None
        default = tuple(default) if isinstance(default, list) else default
        named[argument.name] = args[at] if at < len(args) else kwargs.get(argument.name, default)
    return named


def _fault(func: OpOverload, result: Any, *, constant: bool) -> str:
    """Why a call cannot be part of a graph whatever its row, empty if it can."""
    if torch.Tag.nondeterministic_seeded in func.tags:
        return DRAWS
    if not constant and result is not None and not isinstance(result, (Tensor, tuple, list)):
        return LEAVES
    return ""


def _written(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """The tensors that a call writes in place."""
    schema = func._schema
    if not schema.is_mutable:
        return []
    given = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)} | kwargs
    return [given[a.name] for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]


def refs_in(tree: Any, kind: type) -> list[Any]:
    """Every item of a kind in nested tuples, lists and dicts, in order."""
    if isinstance(tree, (tuple, list)):
        return [leaf for item in tree for leaf in refs_in(item, kind)]
    if isinstance(tree, dict):
        return [leaf for item in tree.values() for leaf in refs_in(item, kind)]
    return [tree] if isinstance(tree, kind) else []


@contextmanager
def paths(module: nn.Module, path: list[str], visits: Counter[str]) -> Iterator[None]:
    """Keep the path of the submodule that is running on top of a stack, and count how often each one runs."""

    def enter(name: str) -> None:
        path.append(name)
        visits[name] += 1

    hooks = []
    for name, submodule in module.named_modules():
        if name:
            hooks.append(submodule.register_forward_pre_hook(lambda *_, name=name: enter(name)))
            hooks.append(submodule.register_forward_hook(lambda *_: _drop(path), always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _drop(path: list[str]) -> None:
    path.pop()
