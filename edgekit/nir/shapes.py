"""The shape of every value of a flat NIR graph, from the inputs on, and around cycles from what nodes state."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from edgekit.nir.flatten import PASS, Flat
from edgekit.nir.nodes import STATEFUL, Fault, Node, parameter

Shape = tuple[int, ...]
MAX_ELEMENTS = 2**24
"""Of one value."""


@dataclass(frozen=True, eq=False)
class Shaped:
    """A flat graph with the shape that each node takes and the one that it gives."""

    flat: Flat
    taken: Mapping[str, Shape]
    given: Mapping[str, Shape]


def infer_shapes(flat: Flat, faults: list[str], notes: list[str]) -> Shaped:
    """All shapes; every node that does not fit what comes in is added to `faults`."""
    work = _Inference(flat, notes)
    work.run()
    for name, why in work.wrong.items():
        faults.append(f"{flat.nodes[name]}: {why}")
    for name, node in flat.nodes.items():
        if name not in work.given and name not in work.wrong and not work.blocked(name):
            faults.append(f"{node}: the shape of its input is not known; state the shape of the Input nodes")
    return Shaped(work.flat, work.taken, work.given)


class _Inference:
    def __init__(self, flat: Flat, notes: list[str]) -> None:
        self.flat, self.notes = flat, notes
        self.taken: dict[str, Shape] = {}
        self.given: dict[str, Shape] = {}
        self.wrong: dict[str, str] = {}

    def run(self) -> None:
        """Go on from node to node; what is left in cycles starts at the first node whose parameters state a shape."""
        queue = deque(name for name, node in self.flat.nodes.items() if node.kind == "Input")
        rest = deque(self.flat.nodes)
        while queue or rest:
            name = queue.popleft() if queue else rest.popleft()
            if name in self.given or name in self.wrong:
                continue
            if any(s in self.given for s in self.flat.sources[name]) or self._may_start(name):
                self._settle(name)
                queue.extend(self.flat.readers[name] if name in self.given else ())
        for name in self.flat.nodes:  # every edge, those around cycles too
            self._check_sources(name)

    def blocked(self, name: str) -> bool:
        """Whether a node before this one is already reported."""
        seen, stack = {name}, [name]
        while stack:
            for source in self.flat.sources[stack.pop()]:
                if source in self.wrong:
                    return True
                if source not in seen:
                    seen.add(source)
                    stack.append(source)
        return False

    def _may_start(self, name: str) -> bool:
        node = self.flat.nodes[name]
        return node.kind == "Input" or demanded(node) is not None

    def _settle(self, name: str) -> None:
        node = self.flat.nodes[name]
        try:
            known = [self.given[s] for s in self.flat.sources[name] if s in self.given]
            shape = known[0] if known else self._stated(node)
            self.taken[name] = shape
            node = self._fitted(node, shape)
            if node.kind == "Input" and node.stated not in (None, shape):
                self.notes.append(f"{node}: states shape {node.stated}; its readers take {shape}, which counts")
                node = replace(node, stated=None)
            given = result_shape(node, shape)
            if max(prod(given), prod(shape)) > MAX_ELEMENTS:
                raise Fault(f"gives values of {prod(given):,} elements; up to {MAX_ELEMENTS:,} are possible")
            self.given[name] = given
        except Fault as fault:
            self.wrong[name] = str(fault)

    def _stated(self, node: Node) -> Shape:
        wants = demanded(node)
        if wants is None or (node.kind == "Input" and vague(wants)):
            demands = (demanded(self.flat.nodes[reader]) for reader in self.flat.readers[node.name])
            wants = next((d for d in demands if d is not None), wants)
        if wants is None:
            raise Fault("has no shape; state it when writing the graph")
        return wants

    def _fitted(self, node: Node, shape: Shape) -> Node:
        """A Flatten whose dimensions count a batch that NIR shapes do not have, if only so its readers fit."""
        if node.kind != "Flatten" or node.ints("start_dim")[0] < 1:
            return node
        wants = {demanded(self.flat.nodes[r]) for r in self.flat.readers[node.name]} - {None}
        (start,), (end,) = node.ints("start_dim"), node.ints("end_dim")
        shifted = replace(node, sizes={"start_dim": (start - 1,), "end_dim": (end - 1 if end > 0 else end,)})
        try:
            literal: Shape | None = result_shape(node, shape)
        except Fault:
            literal = None
        try:
            other: Shape | None = result_shape(shifted, shape)
        except Fault:
            other = None
        if len(wants) != 1 or literal in wants or other not in wants:
            return node
        self.notes.append(f"{node}: its dimensions count the batch axis: only so does it give what its readers take")
        self.flat = Flat({**self.flat.nodes, node.name: shifted}, self.flat.edges)
        return shifted

    def _check_sources(self, name: str) -> None:
        if name in self.wrong or name not in self.taken:
            return
        for source in self.flat.sources[name]:
            shape = self.given.get(source)
            if shape is not None and shape != self.taken[name]:
                self.wrong[name] = f"takes {self.taken[name]} and {source} gives {shape}; what meets at a node adds up"


def vague(shape: Shape) -> bool:
    """Whether a stated shape is that of one number: exporters write it where one parameter serves all neurons."""
    return prod(shape) == 1


def demanded(node: Node) -> Shape | None:
    """The one shape that a node can take by its parameters, None where several fit."""
    if node.kind in ("Linear", "Affine"):
        shape = node["weight"].shape
        return (*shape[:-2], shape[-1])
    if node.kind in ("Input", "Output", PASS):
        return node.stated
    if node.kind in (*STATEFUL, "Scale", "Threshold", "Delay"):
        largest = max(node.values.values(), key=lambda v: v.size)
        return largest.shape if largest.size > 1 else None
    return None


def result_shape(node: Node, shape: Shape) -> Shape:
    """The shape that a node gives for the one it takes; Fault where it cannot take that."""
    kind = node.kind
    states = node.stated is not None and not (kind in ("Output", PASS) and vague(node.stated))
    if kind in ("Input", "Output", PASS, "Flatten") and states and node.stated != shape:
        raise Fault(f"states shape {node.stated} where {shape} comes in")
    if kind in ("Linear", "Affine"):
        return _linear(node, shape)
    if kind in ("Conv1d", "Conv2d"):
        return _conv(node, shape)
    if kind in ("SumPool2d", "AvgPool2d"):
        return _pool(node, shape)
    if kind == "Flatten":
        return _flatten(node, shape)
    for name in node.values:
        parameter(node, name, shape)
    return shape


def _linear(node: Node, shape: Shape) -> Shape:
    weight = node["weight"]
    lead, (rows, columns) = weight.shape[:-2], weight.shape[-2:]
    if not shape or shape[-1] != columns or (lead and shape[:-1] != lead):
        raise Fault(f"has weights of shape {weight.shape}, which do not fit an input of shape {shape}")
    given = (*shape[:-1], rows)
    if node.kind == "Affine":
        bias = node["bias"]
        if bias.size != 1 and bias.shape not in (given, (rows,)):
            raise Fault(f"has a bias of shape {bias.shape} for an output of shape {given}")
    return given


def _conv(node: Node, shape: Shape) -> Shape:
    weight, (groups,) = node["weight"], node.ints("groups")
    spatial = shape[1:]
    if len(shape) != weight.ndim - 1:
        raise Fault(f"takes [channels, {weight.ndim - 2} axes], and {shape} comes in")
    if shape[0] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise Fault(f"has weights of shape {weight.shape} in {groups} groups, which do not fit {shape[0]} channels")
    if node.stated is not None and node.stated != spatial:
        raise Fault(f"states input_shape {node.stated} where {spatial} comes in")
    if "bias" in node.values and node["bias"].size not in (1, weight.shape[0]):
        raise Fault(f"has a bias of shape {node['bias'].shape} for {weight.shape[0]} channels")
    before, after = conv_padding(node)
    widths = [low + n + high for low, n, high in zip(before, spatial, after, strict=True)]
    return (weight.shape[0], *_places(widths, weight.shape[2:], node.ints("stride"), node.ints("dilation")))


def conv_padding(node: Node) -> tuple[Shape, Shape]:
    """Zeros before and after each axis; `same` puts the odd one after, as torch does."""
    kernel, dilation = node["weight"].shape[2:], node.ints("dilation")
    padding = node.sizes["padding"]
    if padding == "valid":
        return (0,) * len(kernel), (0,) * len(kernel)
    if padding == "same":
        if any(s != 1 for s in node.ints("stride")):
            raise Fault(f"has padding 'same' with stride {node.ints('stride')}; 'same' is defined for stride 1")
        total = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
        return tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
    return node.ints("padding"), node.ints("padding")


def _pool(node: Node, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise Fault(f"takes [channels, height, width], and {shape} comes in")
    widths = [n + 2 * p for n, p in zip(shape[1:], node.ints("padding"), strict=True)]
    return (shape[0], *_places(widths, node.ints("kernel_size"), node.ints("stride"), (1, 1)))


def _places(widths: list[int], kernel: Shape, stride: Shape, dilation: Shape) -> Shape:
    places = [(w - (k - 1) * d - 1) // s + 1 for w, k, s, d in zip(widths, kernel, stride, dilation, strict=True)]
    if min(places) < 1:
        raise Fault(f"has a kernel {tuple(kernel)} (dilation {tuple(dilation)}) that is larger than its input {widths}")
    return tuple(places)


def _flatten(node: Node, shape: Shape) -> Shape:
    (start,), (end,) = node.ints("start_dim"), node.ints("end_dim")
    rank = len(shape)
    first, last = (n + rank if n < 0 else n for n in (start, end))
    if not 0 <= first <= last < rank:
        raise Fault(f"flattens dimensions {start} to {end} of an input of shape {shape}")
    return (*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])
