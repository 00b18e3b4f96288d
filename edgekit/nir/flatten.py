"""Nested graphs as one graph: a node `lif` inside `layer` is called `layer.lif`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from edgekit.nir.nodes import PARAMETERS, Fault, Node, check_node, listed
from edgekit.nir.raw import GRAPH, RawNode

PASS = "Pass"
"""The kind of what was an Input or Output of an inner graph: a value goes through it as it is."""


@dataclass(frozen=True, eq=False)
class Flat:
    """All nodes by dotted name in the order of the graph, and the edges between them in order."""

    nodes: Mapping[str, Node]
    edges: tuple[tuple[str, str], ...]

    @cached_property
    def sources(self) -> Mapping[str, tuple[str, ...]]:
        """For each node those whose values it adds up, in the order of the edges."""
        return self._neighbours(1, 0)

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """For each node those that its value goes to, in the order of the edges."""
        return self._neighbours(0, 1)

    def _neighbours(self, own: int, other: int) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for edge in self.edges:
            found[edge[own]].append(edge[other])
        return {name: tuple(others) for name, others in found.items()}


class _Flattener:
    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        self.nodes: dict[str, Node] = {}
        self.edges: list[tuple[str, str]] = []

    def graph(self, raw: RawNode, prefix: str) -> None:
        """Add the nodes and edges of a graph, and those inside it."""
        for name, node in raw.nodes.items():
            full = f"{prefix}{name}"
            if node.kind == GRAPH:
                self.graph(node, f"{full}.")
                continue
            if full in self.nodes:
                self.faults.append(f"{full} ({node.kind}): a node of an inner graph gets the same name; rename one")
                continue
            try:
                checked = check_node(full, node)
            except Fault as fault:
                self.faults.append(f"{full} ({node.kind}): {fault}")
                continue
            if prefix and checked.kind in ("Input", "Output"):
                checked = Node(full, PASS, stated=checked.stated)
            self.nodes[full] = checked
        known = set(raw.nodes)
        seen: set[tuple[str, str]] = set()
        for edge in raw.edges:
            missing = [name for name in edge if name not in known]
            if missing:
                self.faults.append(f"edge {prefix}{edge[0]} -> {edge[1]}: there is no node {missing[0]!r}")
            elif edge in seen:
                self.faults.append(
                    f"edge {prefix}{edge[0]} -> {edge[1]}: is there twice; add a Scale node to count double"
                )
            else:
                seen.add(edge)
                self._edge(raw, prefix, edge)

    def _edge(self, raw: RawNode, prefix: str, edge: tuple[str, str]) -> None:
        ends = []
        for name, port in zip(edge, ("Output", "Input"), strict=True):
            node = raw.nodes[name]
            if node.kind != GRAPH:
                ends.append(f"{prefix}{name}")
                continue
            ports = [inner for inner, n in node.nodes.items() if n.kind == port]
            if len(ports) != 1:
                how = f"has {len(ports)} {port} nodes, so that it is not clear which one is meant"
                self.faults.append(f"edge {prefix}{edge[0]} -> {edge[1]}: graph {name!r} {how}; give it one")
                return
            ends.append(f"{prefix}{name}.{ports[0]}")
        self.edges.append((ends[0], ends[1]))


def flatten(raw: RawNode, faults: list[str], notes: list[str]) -> Flat:
    """One graph without graphs inside. What is wrong is added to `faults`, what a reader should know to `notes`."""
    work = _Flattener(faults)
    work.graph(raw, "")
    nodes, edges = work.nodes, work.edges
    if faults:
        return Flat(nodes, tuple(edges))
    _check_ends(nodes, edges, faults)
    nodes, edges = _leading_out(nodes, edges, notes)
    _note_outputs(nodes, edges, notes)
    ended = {"Input": {b for _, b in edges}, "Output": {a for a, _ in edges}}
    for kind, done in ended.items():
        for name in [n for n in nodes if nodes[n].kind in PARAMETERS]:
            if name in done or nodes[name].kind in ("Input", "Output"):
                continue
            port = _free(f"{kind.lower()}_{name}", nodes)
            notes.append(f"node {name} has no {kind.lower()}: {kind} node {port} was added, as nir does")
            nodes[port] = Node(port, kind)
            edges.append((port, name) if kind == "Input" else (name, port))
    for kind in ("Input", "Output"):
        if not any(node.kind == kind for node in nodes.values()):
            faults.append(f"the graph: has no {kind} node and no node that could have one; add one")
    return Flat(nodes, tuple(edges))


def _leading_out(
    nodes: dict[str, Node], edges: list[tuple[str, str]], notes: list[str]
) -> tuple[dict[str, Node], list[tuple[str, str]]]:
    """What leads to an Output node, and all inputs; a graph without Output nodes stays as it is."""
    kept = {name for name, node in nodes.items() if node.kind == "Output"}
    if not kept:
        return nodes, edges
    flat, ahead = Flat(nodes, tuple(edges)), list(kept)
    while ahead:
        new = set(flat.sources[ahead.pop()]) - kept
        kept |= new
        ahead += new
    gone = [n for n, node in nodes.items() if n not in kept and node.kind not in ("Input", PASS)]
    if gone:
        how = "lead to no Output node, and are" if len(gone) > 1 else "leads to no Output node, and is"
        notes.append(f"{listed(gone)}: {how} left out")
    left = {n: node for n, node in nodes.items() if n in kept or node.kind == "Input"}
    return left, [edge for edge in edges if edge[1] in kept]


def _note_outputs(nodes: Mapping[str, Node], edges: list[tuple[str, str]], notes: list[str]) -> None:
    """nir gives every node that nothing reads an Output node: say so where there are others."""
    flat = Flat(nodes, tuple(edges))
    read = {name: flat.sources[name] for name, node in nodes.items() if node.kind == "Output"}
    added = {o: s[0] for o, s in read.items() if s and re.fullmatch(rf"output_{re.escape(s[0])}(_\d+)?", o)}
    for output, source in added.items():
        if len(added) < len(read) and flat.readers[source] == (output,):
            notes.append(
                f"{output}: is named like the Output nodes that nir adds, and nothing else reads {source}; where "
                f"{source} is no output, drop it before writing the graph"
            )


def _check_ends(nodes: Mapping[str, Node], edges: list[tuple[str, str]], faults: list[str]) -> None:
    read, written = {a for a, _ in edges}, {b for _, b in edges}
    for name, node in nodes.items():
        if node.kind == "Output" and name not in written:
            faults.append(f"{node}: nothing leads to it; add an edge")
        if node.kind == PASS and name not in written:
            faults.append(f"{name} (a port of an inner graph): nothing leads to it; add an edge")
        if node.kind == "Input" and name in written:
            faults.append(f"{node}: an edge leads to it; inputs come from outside")
        if node.kind == "Output" and name in read:
            faults.append(f"{node}: an edge leads away from it; take it from the node before")


def _free(stem: str, nodes: Mapping[str, Node]) -> str:
    at, name = 0, stem
    while name in nodes:
        name, at = f"{stem}_{at}", at + 1
    return name
