"""The export as a whole: recognise, connect, choose the conventions, check against the graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgekit.backends.nir.build import Builder, Network
from edgekit.backends.nir.check import Difference, compare
from edgekit.backends.nir.join import join
from edgekit.backends.nir.objects import PORTS, raw_of, to_bytes, to_nir
from edgekit.backends.nir.rows import ROWS
from edgekit.backends.nir.vectors import as_vectors
from edgekit.errors import UnsupportedError, UsageError
from edgekit.ir import OPS, Graph
from edgekit.nir.conventions import Conventions
from edgekit.nir.nodes import SPIKING
from edgekit.nir.program import Program, make_program
from edgekit.nir.raw import GRAPH, RawNode
from edgekit.nir.retime import kept_edges, retimed
from edgekit.passes.fold import fold_constants
from edgekit.passes.legalize import legalize
from edgekit.passes.state_cleanup import clean_states

SUBTRACT = (
    "its neurons subtract the threshold, which no field of NIR says: name it where the file is read "
    "(edgekit: --reset subtract, or the metadata of this file; Norse: reset_method=reset_subtract)"
)
OTHER = (
    "the graph is not what its NIR file holds any more (it is normalised, say), or rounding decides too many spikes to "
    "tell: all parameters are computed anew"
)


@dataclass(frozen=True, eq=False)
class NirExport:
    """A graph as NIR: the `nir.NIRGraph`, how its equations are meant to be stepped, and what a reader should know.

    `difference` is what noise shows of an approximation (None: there is none), `inexact` in what it is one.
    """

    graph: Any
    conventions: Conventions
    notes: tuple[str, ...] = ()
    inexact: tuple[str, ...] = ()
    difference: Difference | None = field(default=None)

    def to_bytes(self) -> bytes:
        """The `.nir` file."""
        return to_bytes(self.graph)


def export_nir(
    graph: Graph, *, dt: float | None = None, approximate: bool = False, program: Program | None = None
) -> NirExport:
    """The NIR graph of a step: neurons, matrices, convolutions and pools as NIR nodes, checked against the graph.

    `dt` is the seconds of a step that time constants are given for (default: the graph's). `program` is what an
    imported NIR graph came as (`imported.original.program`): its own parameters leave again. What NIR cannot say
    exactly, such as a reset a step after the spike, is refused, or with `approximate` said as nearly as possible.

    Raises UnsupportedError with everything that NIR cannot say, UsageError without a time step or the nir package.
    """
    seconds = dt if dt is not None else graph.dt
    returned = None if program is None else _returned(graph, program, seconds)
    if returned is not None:
        return returned
    other = () if program is None else (OTHER,)
    stateful = bool(graph.states)
    if stateful and (seconds is None or not np.isfinite(seconds) or seconds <= 0):
        raise UsageError("NIR export", "needs the seconds of a step", "give --dt: NIR states time constants in seconds")
    plain = legalize(fold_constants(clean_states(graph)), OPS.keys() - {"memory_update"}, "NIR")
    network = _network(plain, seconds or 1.0)
    _refuse(graph, network, approximate)
    conventions = _conventions(network, seconds if stateful else None)
    raw, made = _settled(graph, network, conventions)
    difference = compare(graph, made, exact=not network.inexact)
    if not network.inexact and not difference.equal:
        raise UnsupportedError(
            f"graph {graph.name!r}", "is not what its NIR form computes", "report it", [str(difference)]
        )
    notes = (*other, SUBTRACT) if conventions.reset == "subtract" else other
    return NirExport(
        to_nir(raw, made), conventions, notes, tuple(network.inexact), difference if network.inexact else None
    )


def _network(graph: Graph, dt: float) -> Network:
    """The nodes and edges of a graph, and what has none."""
    faults: list[str] = []
    try:
        network = join(Builder(as_vectors(graph, faults), dt, ROWS).run())
    except RecursionError as error:
        raise UnsupportedError(f"graph {graph.name!r}", "chains too many ops without a state between them") from error
    network.faults[:0] = faults
    return network


def _returned(graph: Graph, program: Program, seconds: float | None) -> NirExport | None:
    """What an imported NIR graph came as; None where the graph is another one now."""
    if seconds is not None and program.conventions.dt not in (None, seconds):
        raise UsageError(f"--dt {seconds:g}", f"is not that of the graph, {program.conventions.dt:g} s", "leave it out")
    if not _same_ports(graph, program) or not compare(graph, program, exact=True).equal:
        return None
    notes = (SUBTRACT,) if program.conventions.reset == "subtract" else ()
    return NirExport(to_nir(raw_of(program), program), program.conventions, notes)


def _same_ports(graph: Graph, program: Program) -> bool:
    """Whether inputs and outputs have the shapes that the program knows."""
    step, flat = graph.entries["step"], program.flat
    ports = {kind: [program.given[n] for n, node in flat.nodes.items() if node.kind == kind] for kind in PORTS}
    mine = {"Input": step.inputs, "Output": step.outputs}
    return all([graph.tensor(n).shape for n in mine[kind]] == ports[kind] for kind in PORTS)


def _refuse(graph: Graph, network: Network, approximate: bool) -> None:
    thing, items = f"graph {graph.name!r}", list(network.faults)
    if network.subtracts == {True, False}:
        items.append("neurons: some subtract their threshold and some are reset to a value; readers step all alike")
    if len(network.starts) > 1:
        items.append("neurons: some start at their leak and some at 0; readers start all alike")
    if items:
        raise UnsupportedError(thing, "holds what NIR cannot say", items=[*items, *network.inexact])
    if network.inexact and not approximate:
        raise UnsupportedError(
            thing, "holds what NIR cannot say exactly", "allow that with --approximate", items=network.inexact
        )


def _conventions(network: Network, dt: float | None) -> Conventions:
    return Conventions(
        dt=dt,
        reset="subtract" if network.subtracts == {True} else "v_reset",
        initial="zero" if network.starts == {"zero"} else "leak",
        charge="impulse",  # as importers read it, all of them
    )


def _settled(graph: Graph, network: Network, conventions: Conventions) -> tuple[RawNode, Program]:
    """The raw graph in which every late edge is late for its readers too.

    A reader enters a cycle at an edge of its own choice. Where that is another one than meant, a Delay of one step
    says it.
    """
    nodes, edges, late = dict(network.nodes), list(network.edges), set(network.late)
    delays: dict[str, str] = {}
    while True:
        raw = RawNode(GRAPH, nodes=dict(nodes), edges=tuple(edges), metadata=conventions.to_metadata())
        program, _, _ = make_program(f"graph {graph.name!r}", raw, {})
        meant, chosen = retimed(program.flat, frozenset(late)), kept_edges(program.flat, program.order)
        if meant == chosen:
            return raw, program
        missed = [edge for edge in late if edge in meant - chosen] or late
        if not missed:
            items = [f"{source} -> {reader}" for source, reader in sorted(chosen)]
            raise UnsupportedError(f"graph {graph.name!r}", "needs what a neuron gives in the same step", items=items)
        edge = min(missed, key=lambda e: (nodes[e[0]].kind in SPIKING, e))
        _refuse_early(graph, program, edge)
        if edge[0] not in delays:
            delays[edge[0]] = _delay(nodes, edges, edge[0], program.given[edge[0]], conventions.seconds)
        edges[edges.index(edge)] = (delays[edge[0]], edge[1])
        late.discard(edge)


def _refuse_early(graph: Graph, program: Program, edge: tuple[str, str]) -> None:
    """A Delay gives 0 in the first step; a membrane that starts elsewhere would have given itself."""
    node = program.node(edge[0])
    if node.kind not in SPIKING and program.first(node).any():
        how = f"{edge[0]} -> {edge[1]} is a step late, and {edge[0]} does not start at 0 as a Delay does"
        raise UnsupportedError(f"graph {graph.name!r}", "holds what NIR cannot say", items=[how])


def _delay(
    nodes: dict[str, RawNode], edges: list[tuple[str, str]], source: str, shape: tuple[int, ...], dt: float
) -> str:
    """Add a Delay of one step behind a node, and give its name."""
    name = f"{source}_before"
    while name in nodes:
        name = f"{name}_step"
    nodes[name] = RawNode("Delay", {"delay": np.full(shape, dt)})
    edges.append((source, name))
    return name
