"""What enters and leaves a program: names, shapes and the batch size."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from edgekit.errors import ModelError, UnsupportedError
from edgekit.frontends.pt2.schema import Input, Program
from edgekit.frontends.pt2.values import Meta, Name, Symbol

Shape = tuple[int, ...]

BATCH_REMEDY = "export it at batch 1, or with a dynamic batch: dynamic_shapes={'x': {0: torch.export.Dim('batch')}}"


@dataclass(frozen=True)
class Port:
    """A tensor that enters or leaves: its leaf, its name in the program, the names to call it by, its shape."""

    leaf: int
    value: str
    names: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class Ends:
    """The two ends of a program; `check` comes first."""

    thing: str
    program: Program

    @cached_property
    def leaves(self) -> tuple[Input, ...]:
        """The inputs behind the leaves of the arguments."""
        return tuple(item for item in self.program.inputs if item.kind in ("user", "value"))

    @cached_property
    def results(self) -> tuple[Any, ...]:
        """What stands behind the leaves of the result: names and plain values."""
        return tuple(item.value for item in self.program.outputs if item.kind == "user")

    @property
    def metas(self) -> dict[str, Meta]:
        """What the file says of the tensors that a caller gives."""
        return {i.name: self.program.graph.tensors[i.name] for i in self.leaves if i.kind == "user"}

    def check(self) -> None:
        """Raise ModelError where the ends do not fit the program, UnsupportedError where no tensor can be given."""
        tree = self.program.in_tree
        names = [i.name for i in self.program.inputs if i.name]
        fits = [
            all(name.isidentifier() and not keyword.iskeyword(name) and name != "self" for name in names),
            len(tree.children) == 2 and all(child.kind is not None for child in tree.children),
            len(list(tree.leaves())) == len(self.leaves),
            len(list(self.program.out_tree.leaves())) == len(self.results),
            len(set(names)) == len(names),
        ]
        if not all(fits):
            raise ModelError(self.thing, "does not say how the program is called", "export it again")
        numbers = [i.name for i in self.leaves if i.kind == "user" and i.name not in self.program.graph.tensors]
        if numbers:
            raise UnsupportedError(self.thing, "takes Python numbers that vary", "export it with them fixed", numbers)
        if not self.metas:
            raise ModelError(self.thing, "takes no tensor", "export a module that takes the input of one step")
        if unknown := sorted(name for name, meta in self.metas.items() if meta.shape() is None):
            raise UnsupportedError(self.thing, "has inputs of unknown size", "export it with fixed sizes", unknown)

    # --- the batch ----------------------------------------------------------------------------------------------------

    @cached_property
    def _led(self) -> tuple[dict[str, int], set[int]]:
        """Symbols and numbers that lead the shapes of the inputs."""
        led = [meta.sizes[0] for meta in self.metas.values() if meta.sizes]
        symbols = {size.name: size.hint or 1 for size in led if isinstance(size, Symbol)}
        return symbols, {size for size in led if isinstance(size, int)}

    @cached_property
    def single(self) -> bool:
        """Whether the program is taken as it is, for one stream: the batch is not in axis 0 of every input.

        Its first input begins with a one or with the open batch size; states such as [layers, batch, hidden] do not.
        """
        symbols, fixed = self._led
        first = next((meta.sizes[0] for meta in self.metas.values() if meta.sizes), None)
        one = first == 1 or (isinstance(first, Symbol) and first.name in symbols)
        return one and (bool(self._tied()) or len(fixed) > 1 or (bool(symbols) and fixed not in (set(), {1})))

    @property
    def open_single(self) -> bool:
        """Whether a program for one stream was exported with an open batch size: the file says another one."""
        return self.single and bool(self._led[0])

    def _tied(self) -> list[str]:
        return sorted({name for name, size in self._inner() if size.name in self._led[0]})

    @cached_property
    def batch(self) -> tuple[int, bool]:
        """Batch size of the example, and whether the program leaves it open; UnsupportedError without one in axis 0."""
        symbols, fixed = self._led
        if self.single:
            return 1, False
        if tied := self._tied():
            raise UnsupportedError(self.thing, "has the batch size in another axis than the first", BATCH_REMEDY, tied)
        if not fixed:
            return next(iter(symbols.values()), 1), True
        if len(fixed) > 1 or (symbols and fixed != {1}):
            shapes = [f"{name}: {list(meta.shape() or ())}" for name, meta in self.metas.items()]
            raise UnsupportedError(self.thing, "has inputs without one batch size in axis 0", BATCH_REMEDY, shapes)
        return fixed.pop(), False

    def _inner(self) -> list[tuple[str, Symbol]]:
        return [(n, s) for n, meta in self.metas.items() for s in meta.sizes[1:] if isinstance(s, Symbol)]

    def notes(self) -> list[str]:
        """What is taken otherwise than the file says: open axes and dtypes."""
        kinds = [(name, meta.dtype, self.dtype(name)) for name, meta in self.metas.items()]
        inner = [(name, s) for name, s in self._inner() if s.name not in self._led[0]]
        return [
            *(f"{name}: an axis of any length is taken as {s.hint}, that of the example" for name, s in inner),
            *(f"{n}: {given}, taken as {kind}".replace("torch.", "") for n, given, kind in kinds if given is not kind),
        ]

    def shape(self, name: str, batch: int) -> Shape:
        """Shape of an input at a batch size."""
        shape = self.metas[name].shape() or ()
        if self.single:  # the batch is one, wherever it is
            sizes = zip(self.metas[name].sizes, shape, strict=True)
            return tuple(1 if isinstance(s, Symbol) and s.name in self._led[0] else n for s, n in sizes)
        return (batch, *shape[1:]) if shape else ()

    def dtype(self, name: str) -> torch.dtype:
        """What an input is taken as: a step gets floats, or complex numbers."""
        return torch.complex64 if self.metas[name].dtype.is_complex else torch.float32

    # --- names --------------------------------------------------------------------------------------------------------

    @cached_property
    def called(self) -> tuple[str, ...]:
        """A name for each argument: as the file tells, after its only leaf, or by position."""
        positional, keywords = self.program.in_tree.children
        told = (*("" for _ in positional.children), *keywords.keys)
        names: list[str] = []
        for at, child in enumerate((*positional.children, *keywords.children)):
            single = self.leaves[child.leaf].name if child.kind is None else ""
            name = (*self.program.arguments, *told[len(self.program.arguments) :])[at] or single
            ok = name.isidentifier() and not keyword.iskeyword(name) and name not in ("self", *names)
            names.append(name if ok else f"argument{at}")
        return tuple(names)

    def entries(self) -> list[Port]:
        """The tensors that enter."""
        positional, keywords = self.program.in_tree.children
        ports = []
        for leaf, (side, key, *keys) in self.program.in_tree.leaves():
            item = self.leaves[leaf]
            if item.kind == "user":
                at = int(key) if side == "0" else len(positional.children) + keywords.keys.index(key)
                names = dict.fromkeys((".".join((self.called[at], *keys)), item.name))
                ports.append(Port(leaf, item.name, tuple(names), self.metas[item.name].shape() or ()))
        return ports

    def exits(self) -> list[Port]:
        """The tensors that leave."""
        tree, tensors = self.program.out_tree, self.program.graph.tensors
        ports = []
        for leaf, keys in tree.leaves():
            result = self.results[leaf]
            if isinstance(result, Name) and result.name in tensors:
                named = f"{'' if tree.kind is dict else 'y'}{'.'.join(keys)}"
                names = dict.fromkeys((named, result.name))
                ports.append(Port(leaf, result.name, tuple(names), tensors[result.name].shape() or ()))
        return ports

    def zeros(self, leaves: list[int], batch: int) -> dict[int, torch.Tensor]:
        """Zero inputs by leaf."""
        names = {leaf: self.leaves[leaf].name for leaf in leaves}
        return {leaf: torch.zeros(self.shape(n, batch), dtype=self.dtype(n)) for leaf, n in names.items()}
