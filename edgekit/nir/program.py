"""A NIR graph ready to be stepped: nodes with shapes, their order, and the conventions. Both sides start from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit.errors import UnsupportedError
from edgekit.nir.conventions import Conventions, choose, stored_choices
from edgekit.nir.flatten import Flat, flatten
from edgekit.nir.nodes import Fault, Node, Real, parameter
from edgekit.nir.order import Order, step_order
from edgekit.nir.peers import snntorch_notes
from edgekit.nir.raw import RawNode
from edgekit.nir.shapes import Shape, infer_shapes

MAX_DELAYED = 2**22
"""Values that the Delay nodes of a graph may hold."""
TAUS = ("tau", "tau_mem", "tau_syn")
LONG = 1.0
"""Seconds that are a long time constant."""
UNSTABLE = (
    "choose a smaller --dt, or --convention integrator=exponential (Norse's export writes τ·dt instead of τ, norse#411)"
)
WHOLE = 1e-3
"""A delay this close to a whole number of steps, in steps, is that number: files hold float32."""


@dataclass(frozen=True, eq=False)
class Program:
    """What a step computes: `taken` and `given` are shapes, `delays` the steps of each element of a Delay.

    `chosen` are the conventions that matter for this graph.
    """

    flat: Flat
    taken: Mapping[str, Shape]
    given: Mapping[str, Shape]
    order: Order
    conventions: Conventions
    chosen: Mapping[str, str]
    delays: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]

    def node(self, name: str) -> Node:
        """The node of that name."""
        return self.flat.nodes[name]

    def parameter(self, node: Node, name: str) -> Real:
        """A parameter as it meets the values of its node; an absent v_reset is 0 and w_in 1, as nir reads them."""
        if name not in node.values:
            return np.asarray(1.0 if name == "w_in" else 0.0)
        return parameter(node, name, self.taken[node.name])

    def reset_value(self, node: Node) -> Real:
        """What the membrane of a spiking node becomes after a spike, unless the threshold is subtracted."""
        return np.asarray(0.0) if self.conventions.reset == "zero" else self.parameter(node, "v_reset")

    def first(self, node: Node) -> Real:
        """The membrane before the first step."""
        leaks = "v_leak" in node.values and self.conventions.initial == "leak"
        value = self.parameter(node, "v_leak") if leaks else np.asarray(0.0)
        return np.broadcast_to(value, self.taken[node.name])


def make_program(
    thing: str, raw: RawNode, asked: Mapping[str, object], *, round_delays: bool = False
) -> tuple[Program, dict[str, object], list[str]]:
    """(program, what was assumed, notes) of a raw graph.

    Raises UnsupportedError with every node and edge that cannot be stepped, ModelError with every choice left open.
    """
    faults: list[str] = []
    notes: list[str] = []
    flat = flatten(raw, faults, notes)
    _refuse(thing, faults)
    conventions, picked, assumed = choose(thing, flat, raw.metadata, asked)
    shaped = infer_shapes(flat, faults, notes)
    flat = shaped.flat
    _refuse(thing, faults)
    delays = _delays(flat, shaped.taken, conventions, faults, notes if round_delays else None)
    _check_stability(flat, conventions, faults, notes)
    _note_units(flat, conventions, notes)
    if "reset" not in stored_choices(raw.metadata):  # written by edgekit, which knew
        notes += snntorch_notes(flat, conventions, asked.get("reset"))
    late = {name for name, steps in delays.items() if steps.min() >= 1}
    order = step_order(flat, late, faults)
    _refuse(thing, faults)
    for source, reader in sorted(order.recurrent):
        notes.append(f"recurrent edge {source} -> {reader}: carries the value of the previous step")
    return Program(flat, shaped.taken, shaped.given, order, conventions, picked, delays), assumed, notes


def _refuse(thing: str, faults: list[str]) -> None:
    if faults:
        count = f"{len(faults)} things" if len(faults) > 1 else "something"
        raise UnsupportedError(thing, f"holds {count} that cannot be imported", items=faults)


def _delays(
    flat: Flat, taken: Mapping[str, Shape], conventions: Conventions, faults: list[str], rounded: list[str] | None
) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Whole steps of every Delay; where `rounded` is given, others are rounded and noted there."""
    found = {}
    held = 0
    for name, node in flat.nodes.items():
        if node.kind != "Delay":
            continue
        try:
            exact = np.broadcast_to(parameter(node, "delay", taken[name]), taken[name]) / conventions.seconds
        except Fault as fault:
            faults.append(f"{node}: {fault}")
            continue
        steps = np.rint(exact)
        held += int(steps.max()) * steps.size
        off = np.abs(exact - steps)
        if off.max() > WHOLE:
            worst = float(exact.reshape(-1)[off.argmax()])
            how = f"delays by {worst:.6g} steps of {conventions.seconds:g} s"
            if rounded is None:
                faults.append(f"{node}: {how}, which is no whole number; choose another --dt, or --round-delays")
                continue
            rounded.append(f"{node}: {how}; rounded to {float(np.rint(worst)):g}")
        found[name] = steps.astype(np.int64)
    if held > MAX_DELAYED:
        faults.append(f"Delay nodes: hold {held:,} values; up to {MAX_DELAYED:,} are possible; choose a larger --dt")
    return found


def _note_units(flat: Flat, conventions: Conventions, notes: list[str]) -> None:
    """NIR's documentation writes ms beside time constants, its tools store seconds: say where it looks like ms."""
    taus = [node[name] for node in flat.nodes.values() for name in TAUS if name in node.values]
    if not taus or conventions.dt is None:
        return
    least = min(float(tau.min()) for tau in taus)
    if least >= LONG and conventions.dt <= LONG / 10:
        notes.append(f"all time constants are {least:g} s or more; if the file counts in ms, give --dt in ms too")


def _check_stability(flat: Flat, conventions: Conventions, faults: list[str], notes: list[str]) -> None:
    """Forward Euler grows without bound from dt = 2 tau on, and overshoots from dt = tau on."""
    if conventions.integrator != "euler" or conventions.dt is None:
        return
    for node in flat.nodes.values():
        for name in TAUS:
            if name not in node.values:
                continue
            least = float(node[name].min())
            if conventions.dt >= 2 * least:
                how = f"forward Euler with dt = {conventions.dt:g} s is unstable for {name} = {least:g} s"
                faults.append(f"{node}: {how}; {UNSTABLE}")
            elif conventions.dt > least * (1 + WHOLE):
                notes.append(f"{node}: dt = {conventions.dt:g} s is longer than {name} = {least:g} s: it overshoots")
