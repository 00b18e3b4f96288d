"""Nested arguments and results, from torch's description of them (a JSON string), without importing what it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.errors import ModelError
from edgekit.frontends.pt2.document import Doc, parse
from edgekit.frontends.slots import MAX_NESTING

KINDS = {
    "builtins.tuple": tuple,
    "builtins.list": list,
    "builtins.dict": dict,
    "collections.OrderedDict": dict,
    "collections.namedtuple": tuple,
}
"""Containers that are understood, and what they become here."""

MAX_LEAVES = 10_000
PROTOCOL = 1


@dataclass(frozen=True)
class Tree:
    """A container of a kind with its keys and children, or the leaf of a number."""

    kind: type | None
    keys: tuple[str, ...] = ()
    children: tuple[Tree, ...] = ()
    leaf: int = -1

    def leaves(self, place: tuple[str, ...] = ()) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Number of every leaf and the keys that lead to it, in order."""
        if self.kind is None:
            yield self.leaf, place
        for key, child in zip(self.keys, self.children, strict=True):
            yield from child.leaves((*place, key))

    def build(self, values: Mapping[int, Any]) -> Any:
        """The nested containers with `values` in place of the leaves."""
        if self.kind is None:
            return values[self.leaf]
        built = [child.build(values) for child in self.children]
        return dict(zip(self.keys, built, strict=True)) if self.kind is dict else self.kind(built)

    def flatten(self, tree: Any) -> dict[int, Any]:
        """The values that stand where the leaves are; TypeError where `tree` is nested in another way."""
        if self.kind is None:
            return {self.leaf: tree}
        if self.kind is dict:
            if not isinstance(tree, Mapping) or set(tree) != set(self.keys):
                raise TypeError(f"a dict with the keys {', '.join(self.keys)} is expected")
            items = [tree[key] for key in self.keys]
        else:
            if not isinstance(tree, (tuple, list)) or len(tree) != len(self.children):
                raise TypeError(f"a {self.kind.__name__} of {len(self.children)} is expected")
            items = list(tree)
        found: dict[int, Any] = {}
        for child, item in zip(self.children, items, strict=True):
            found.update(child.flatten(item))
        return found

    def without(self, leaves: frozenset[int]) -> Tree | None:
        """The tree without some leaves, and without the containers that this empties; None when nothing is left."""
        if self.kind is None:
            return None if self.leaf in leaves else self
        kept = [(key, child.without(leaves)) for key, child in zip(self.keys, self.children, strict=True)]
        left = [(key, child) for key, child in kept if child is not None]
        if not left and self.children:
            return None
        keys = tuple(key for key, _ in left) if self.kind is dict else tuple(str(at) for at in range(len(left)))
        return Tree(self.kind, keys, tuple(child for _, child in left))


def read_tree(thing: str, place: str, text: str) -> Tree:
    """The tree that a serialised TreeSpec describes, its leaves numbered in order."""
    document = parse(thing, place, text)
    protocol, root = (*document, None, None)[:2]
    if protocol is None or root is None or protocol.integer() != PROTOCOL:
        raise document.fault(f"is not a TreeSpec of protocol {PROTOCOL}")
    return _tree(root, [0], 0)


def _tree(doc: Doc, count: list[int], depth: int) -> Tree:
    children = list(doc["children_spec"])
    if doc["type"].missing:
        count[0] += 1
        if children or count[0] > MAX_LEAVES:
            raise doc.fault("is no leaf, or one of too many")
        return Tree(None, leaf=count[0] - 1)
    name = doc["type"].text()
    if name not in KINDS:
        raise ModelError(doc.thing, f"takes or returns a {name[:80]}", "use tuples, lists and dicts")
    if depth > MAX_NESTING + 2:  # the arguments themselves are a tuple in a tuple
        raise ModelError(doc.thing, f"nests its arguments or results deeper than {MAX_NESTING}")
    kind = KINDS[name]
    keys = _keys(doc["context"], len(children)) if kind is dict else tuple(str(at) for at in range(len(children)))
    return Tree(kind, keys, tuple(_tree(child, count, depth + 1) for child in children))


def _keys(doc: Doc, count: int) -> tuple[str, ...]:
    keys = [key.value for key in parse(doc.thing, doc.place, doc.text())]
    if len(keys) != count or not all(isinstance(key, (str, int)) for key in keys) or len({*map(str, keys)}) != count:
        raise doc.fault("does not name the items of a dict by strings")
    return tuple(str(key) for key in keys)
