"""Elementwise fusion: chains of elementwise ops of one shape become one `fused` op, one loop over the elements."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgekit.ir.graph import Entry, Graph, Op
from edgekit.ir.ops import SCALAR_OPS
from edgekit.ir.verify import verify
from edgekit.passes.rewrite import sweep


@dataclass
class _Cluster:
    """Ops that run in one loop; `None` ops are single ops of another kind, kept to know what lies between."""

    shape: tuple[int, ...]
    ops: list[Op] = field(default_factory=list)
    fusible: bool = True

    @property
    def made(self) -> set[str]:
        return {name for op in self.ops for name in op.outputs}

    @property
    def read(self) -> set[str]:
        return {name for op in self.ops for name in op.inputs}


def _joinable(clusters: list[_Cluster], at: int, new: _Cluster) -> bool:
    """Whether cluster `at` may run later, together with `new` at the end: nothing in between may need its values."""
    candidate = clusters[at]
    if not candidate.fusible or candidate.shape != new.shape or not candidate.made & new.read:
        return False
    return not any(c.read & candidate.made for c in clusters[at + 1 :])


def _clusters(graph: Graph, entry: Entry) -> list[_Cluster]:
    clusters: list[_Cluster] = []
    for op in entry.ops:
        shape = graph.tensors[op.outputs[0]].shape
        if op.kind not in SCALAR_OPS:
            clusters.append(_Cluster(shape, [op], fusible=False))
            continue
        new = _Cluster(shape, [op])
        for at in range(len(clusters) - 1, -1, -1):
            if _joinable(clusters, at, new):
                new.ops = clusters.pop(at).ops + new.ops
        clusters.append(new)
    return clusters


def _fused(cluster: _Cluster, needed: set[str]) -> Op:
    """The one op of a cluster: its outside inputs in order of first use, one line per op, the values needed later."""
    inside = cluster.made
    inputs = list(dict.fromkeys(n for op in cluster.ops for n in op.inputs if n not in inside))
    number = {name: at for at, name in enumerate(inputs)}
    body = []
    for op in cluster.ops:
        body.append((op.kind, tuple(number[n] for n in op.inputs), tuple(sorted(op.attrs.items()))))
        number[op.outputs[0]] = len(number)
    outputs = tuple(op.outputs[0] for op in cluster.ops if op.outputs[0] in needed)
    attrs = {"body": tuple(body), "results": tuple(number[n] for n in outputs)}
    sources = dict.fromkeys(op.source for op in cluster.ops if op.source)
    return Op("fused", tuple(inputs), outputs, attrs, " ".join(sources))


def fuse_elementwise(graph: Graph) -> Graph:
    """Fuse elementwise ops into `fused` ops; a lone one becomes a chain of one, so that backends know one form only."""
    graph = sweep(graph)  # a chain that nothing reads would have no results
    entries: list[Entry] = []
    for entry in graph.entries.values():
        clusters = _clusters(graph, entry)
        ops: list[Op] = []
        for at, cluster in enumerate(clusters):
            if not cluster.fusible:
                ops += cluster.ops
                continue
            needed = {*entry.outputs, *entry.updates.values()}
            for other in clusters[:at] + clusters[at + 1 :]:
                needed |= other.read
            ops.append(_fused(cluster, needed))
        entries.append(Entry(entry.name, entry.inputs, entry.outputs, tuple(ops), entry.updates))
    mentioned = {n for e in entries for op in e.ops for n in (*op.inputs, *op.outputs)}
    mentioned |= graph.state_names | {n for e in entries for n in (*e.inputs, *e.outputs, *e.updates.values())}
    tensors = {n: t for n, t in graph.tensors.items() if n in mentioned}
    return sweep(verify(graph.replace(tensors=tensors).with_entries(*entries)))
