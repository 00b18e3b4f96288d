"""Where a module keeps tensors: attributes of its submodules, also inside containers and helper objects."""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgekit.errors import ModelError

Keys = tuple[Any, ...]

MAX_NESTING = 3
_MACHINERY = frozenset(nn.Module().__dict__)
"""Attributes that nn.Module itself uses; everything else in a module's `__dict__` is its author's."""


def items_of(tree: Any) -> list[tuple[Any, Any]]:
    """What a container holds, by key: sequences, mappings, dataclasses, and helper objects of the module's author."""
    if isinstance(tree, (tuple, list, deque)):
        return list(enumerate(tree))
    if isinstance(tree, dict):
        return list(tree.items())
    if _is_helper(tree):
        slotted = [n for c in type(tree).__mro__ for n in _names(getattr(c, "__slots__", ()))]
        named = {**{n: getattr(tree, n) for n in slotted if hasattr(tree, n)}, **getattr(tree, "__dict__", {})}
        return list(named.items())
    return []


def _names(slots: Any) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _is_helper(tree: Any) -> bool:
    """Whether something is an object with attributes of its own, and no part of torch, numpy or Python itself."""
    home = type(tree).__module__.partition(".")[0]
    if isinstance(tree, (nn.Module, type)) or callable(tree) or home in _FOREIGN:
        return False
    return dataclasses.is_dataclass(tree) or hasattr(tree, "__dict__") or hasattr(type(tree), "__slots__")


_FOREIGN = frozenset({"torch", "numpy", "builtins", "collections", "weakref", "threading", "_thread", "logging"})


def at(tree: Any, key: Any) -> Any:
    """What a container holds behind a key; LookupError or AttributeError if it holds nothing there."""
    return tree[key] if isinstance(tree, (tuple, list, deque, dict)) else getattr(tree, str(key))


def leaves(tree: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Tensor]]:
    """Every tensor in nested sequences, mappings and helper objects, with the keys that lead to it, in order."""
    if isinstance(tree, Tensor):
        yield keys, tree
    elif len(keys) < MAX_NESTING:
        for key, item in items_of(tree):
            yield from leaves(item, (*keys, key))


def replaced(tree: Any, keys: Keys, tensor: Tensor) -> Any:
    """The same tree with another tensor behind `keys`; the containers on the way are copied.

    Helper objects that are no dataclasses are changed in place: others may hold them too.
    """
    if not keys:
        return tensor
    head, rest = keys[0], keys[1:]
    new = replaced(at(tree, head), rest, tensor)
    if isinstance(tree, tuple):
        items = [*tree]
        items[int(head)] = new
        return type(tree)._make(items) if hasattr(tree, "_make") else tuple(items)
    if isinstance(tree, (list, deque, dict)):
        changed = copy.copy(tree)
        changed[head] = new
        return changed
    holder: Any = copy.copy(tree) if dataclasses.is_dataclass(tree) else tree
    object.__setattr__(holder, str(head), new)  # frozen ones too
    return holder


def refilled(tree: Any, tensors: tuple[Tensor, ...]) -> Any:
    """The same tree with its tensors replaced one by one, in order."""
    for (keys, _), tensor in zip(list(leaves(tree)), tensors, strict=True):
        tree = replaced(tree, keys, tensor)
    return tree


@dataclass(frozen=True)
class Slot:
    """One place for a tensor: submodule, the table of it that holds the attribute, the attribute, keys inside it."""

    owner: str
    table: str
    attribute: str
    keys: Keys = ()

    @property
    def path(self) -> str:
        """Dotted path from the root module: `encoder.lif.mem`, `cell.hidden.0`."""
        return ".".join(part for part in (self.owner, self.attribute, *map(str, self.keys)) if part)

    def _held(self, module: nn.Module) -> dict[str, Any]:
        table: dict[str, Any] = getattr(module.get_submodule(self.owner), self.table)
        return table

    def read(self, module: nn.Module) -> Tensor | None:
        """The tensor that the module holds here, None if it holds none (yet)."""
        value = self._held(module).get(self.attribute)
        for key in self.keys:
            try:
                value = at(value, key)
            except (LookupError, TypeError, AttributeError):
                return None
        return value if isinstance(value, Tensor) else None

    def tensor(self, module: nn.Module) -> Tensor:
        """The tensor that the module holds here; TypeError if it holds something else."""
        value = self.read(module)
        if value is None:
            raise TypeError(f"{self.path} is not a tensor any more")
        return value

    def write(self, module: nn.Module, tensor: Tensor) -> None:
        """Put a tensor here, past any property or `__setattr__` of the module."""
        held = self._held(module)
        held[self.attribute] = replaced(held.get(self.attribute), self.keys, tensor)


def own_attributes(module: nn.Module) -> dict[str, Any]:
    """What a module's author keeps in it beside parameters, buffers and submodules."""
    return {k: v for k, v in module.__dict__.items() if k not in _MACHINERY}


def slots(module: nn.Module) -> dict[Slot, Tensor]:
    """Every tensor that a module and its submodules hold as buffer, parameter or plain attribute."""
    found: dict[Slot, Tensor] = {}
    for owner, submodule in module.named_modules():
        attributes = own_attributes(submodule)
        tables = {"_parameters": submodule._parameters, "_buffers": submodule._buffers, "__dict__": attributes}
        for table, held in tables.items():
            for attribute, value in held.items():
                for keys, tensor in leaves(value):
                    found[Slot(owner, table, attribute, keys)] = tensor
    return found


def copied(value: Any, thing: str, history: dict[int, Any] | None = None) -> Any:
    """A deep copy; ModelError where something in it cannot be copied."""
    try:
        return copy.deepcopy(value, history or {})
    except Exception as error:  # whatever the attributes of a foreign class raise
        raise ModelError(thing, f"cannot be copied ({line(error)})", "remove what cannot be deep-copied") from error


def clone(module: nn.Module) -> nn.Module:
    """A copy to work on, in eval mode and float32, that shares nothing with the user's module.

    ModelError when the module cannot be copied or holds what float32 cannot stand for.
    """
    thing = f"module {type(module).__name__}"
    if any(isinstance(m, torch.jit.ScriptModule) for m in module.modules()):
        raise ModelError(thing, "is TorchScript", "convert the Python module (PYTORCH_JIT=0 before importing torch)")
    # deepcopy refuses tensors with a gradient history, such as the membrane left over from training
    history = {id(t): t.detach().clone() for t in slots(module).values() if not t.is_leaf or t.is_inference()}
    fresh: nn.Module = copied(module, thing, history)
    for slot, tensor in slots(fresh).items():
        if tensor.is_quantized or tensor.layout is not torch.strided:
            kind = tensor.dtype if tensor.is_quantized else tensor.layout
            raise ModelError(
                f"{thing}, {slot.path}",
                f"holds {kind}".replace("torch.", ""),
                "only plain dense tensors can be converted",
            )
        if tensor.is_complex() and tensor.dtype is not torch.complex64:
            narrow = tensor.detach().to(torch.complex64)
            slot.write(fresh, nn.Parameter(narrow, requires_grad=False) if slot.table == "_parameters" else narrow)
        if slot.table == "__dict__" and tensor.is_floating_point() and tensor.dtype is not torch.float32:
            slot.write(fresh, tensor.float())
    return fresh.float().cpu().eval()


def narrowed(module: nn.Module) -> list[str]:
    """Floating dtypes other than float32 in a module, by name: what `clone` changes."""
    kept = (torch.float32, torch.complex64)
    tensors = slots(module).values()
    kinds = {t.dtype for t in tensors if (t.is_floating_point() or t.is_complex()) and t.dtype not in kept}
    return sorted(str(k).removeprefix("torch.") for k in kinds)


def line(error: BaseException) -> str:
    """A foreign exception in one line."""
    return f"{type(error).__name__}: " + (str(error).strip().splitlines() or [""])[0][:200]
