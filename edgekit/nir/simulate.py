"""A NIR graph stepped in plain numpy from the equations of its nodes, in float64: what the import is compared with.

Nothing here goes through the IR. Values have the samples of a batch as their first axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.nir.nodes import SPIKING, STATEFUL, Node, Real
from edgekit.nir.program import Program
from edgekit.nir.shapes import conv_padding

Array = npt.NDArray[Any]


class Simulation:
    """All nodes of a program and what they remember; `step` takes one input for each Input node."""

    def __init__(self, program: Program, batch: int = 1) -> None:
        self.program, self.batch = program, batch
        self.membrane: dict[str, Real] = {}
        self.current: dict[str, Real] = {}
        self.history: dict[str, list[Real]] = {}
        self.margin = np.full(batch, np.inf)
        """Per sample, how close any membrane came to its threshold in the last step, over the largest membrane or 1."""
        self.values: dict[str, Real] = {}
        self._silence()

    def _silence(self) -> None:
        """What every node gives before the first step: neurons are silent, the others compute from that."""
        p = self.program
        for name in p.flat.nodes:
            node, shape = p.node(name), (self.batch, *p.taken[name])
            if node.kind in STATEFUL:
                self.membrane[name] = np.broadcast_to(p.first(node), shape).copy()
                self.current[name] = np.zeros(shape)
            if node.kind == "Delay":
                self.history[name] = [np.zeros(shape)] * int(p.delays[name].max())
        for name in self._from_neurons():
            node, given = p.node(name), (self.batch, *p.given[name])
            if node.kind in SPIKING or node.kind in ("Input", "Delay"):
                self.values[name] = np.zeros(given)
            elif node.kind in STATEFUL:
                self.values[name] = self.membrane[name].copy()
            else:
                self.values[name] = self._stateless(node, self._sum([self.values[s] for s in p.flat.sources[name]]))

    def _from_neurons(self) -> list[str]:
        """Nodes so that those without a state follow what they read."""
        flat = self.program.flat
        free = {n for n, node in flat.nodes.items() if node.kind in (*STATEFUL, "Input", "Delay")}
        order, open_ = [*free], {n: len(flat.sources[n]) for n in flat.nodes if n not in free}
        for name in order:  # grows while it is read
            for reader in flat.readers[name]:
                if reader in open_:
                    open_[reader] -= 1
                    if not open_[reader]:
                        order.append(reader)
        return order

    @staticmethod
    def _sum(parts: list[Real]) -> Real:
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total

    def step(self, inputs: Mapping[str, Array]) -> dict[str, Real]:
        """One step: what arrives at each Output node, from what each Input node is given [N, *shape]."""
        p, before, now = self.program, self.values, dict[str, Real]()
        self.margin = np.full(self.batch, np.inf)
        for name in p.order.nodes:
            node = p.node(name)
            if node.kind == "Input":
                now[name] = np.asarray(inputs[name], dtype=np.float64)
            elif name in p.order.late:
                now[name] = self._delayed(name, None)
            else:
                parts = [before[s] if (s, name) in p.order.recurrent else now[s] for s in p.flat.sources[name]]
                now[name] = self._node(node, self._sum(parts))
        for name in p.order.late:
            self._remember(name, self._sum([now[s] for s in p.flat.sources[name]]))
        self.values = now
        return {name: now[name] for name in p.flat.nodes if p.node(name).kind == "Output"}

    def _node(self, node: Node, x: Real) -> Real:
        if node.kind in STATEFUL:
            return self._neuron(node, x)
        if node.kind == "Delay":
            y = self._delayed(node.name, x)
            self._remember(node.name, x)
            return y
        return self._stateless(node, x)

    # --- nodes with a state ------------------------------------------------------------------------------------------

    def _neuron(self, node: Node, x: Real) -> Real:
        name, p = node.name, self.program
        rule = p.conventions

        def given(parameter: str) -> Real:
            return p.parameter(node, parameter)

        v = self.membrane[name]
        if node.kind in ("I", "IF"):
            v = v + (rule.seconds if rule.charge == "current" else 1.0) * given("r") * x
        else:
            drive = x
            if node.kind in ("CubaLI", "CubaLIF"):
                i = self.current[name]
                after = i + rule.share(given("tau_syn")) * (given("w_in") * x - i)
                drive = after if rule.synapse == "updated" else i
                self.current[name] = after
            tau = given("tau_mem" if node.kind.startswith("Cuba") else "tau")
            v = v + rule.share(tau) * (given("v_leak") - v + given("r") * drive)
        if node.kind not in SPIKING:
            self.membrane[name] = v
            return v
        threshold = given("v_threshold")
        self._note_margin(v, threshold)
        fired = v > threshold
        after_reset = v - threshold if rule.reset == "subtract" else p.reset_value(node)
        self.membrane[name] = np.where(fired, after_reset, v)
        return fired.astype(np.float64)

    def _note_margin(self, v: Real, threshold: Real) -> None:
        gap, size = (np.abs(x).reshape(self.batch, -1) for x in (v - threshold, v))
        scale = np.maximum(1.0, size.max(axis=1, initial=0.0))
        self.margin = np.minimum(self.margin, gap.min(axis=1, initial=np.inf) / scale)

    def _delayed(self, name: str, x: Real | None) -> Real:
        """Each element as it was so many steps ago; x is that of now."""
        steps, past = self.program.delays[name], self.history[name]
        y = np.zeros((self.batch, *steps.shape))
        for count in np.unique(steps):
            source = x if count == 0 else past[-count]
            if source is not None:
                y[:, steps == count] = source[:, steps == count]
        return y

    def _remember(self, name: str, x: Real) -> None:
        if self.history[name]:
            self.history[name] = [*self.history[name][1:], x]

    # --- nodes without ------------------------------------------------------------------------------------------------

    def _stateless(self, node: Node, x: Real) -> Real:
        kind, p = node.kind, self.program
        if kind in ("Linear", "Affine"):
            y: Real = np.matmul(node["weight"], x[..., None])[..., 0]
            return y + node["bias"] if kind == "Affine" else y
        if kind == "Scale":
            return x * p.parameter(node, "scale")
        if kind == "Threshold":
            threshold = p.parameter(node, "threshold")
            self._note_margin(x, threshold)
            return (x > threshold).astype(np.float64)
        if kind == "Flatten":
            return x.reshape(self.batch, *p.given[node.name])
        if kind in ("Conv1d", "Conv2d"):
            return self._conv(node, x)
        if kind in ("SumPool2d", "AvgPool2d"):
            return self._pool(node, x)
        return x

    def _conv(self, node: Node, x: Real) -> Real:
        """The patch under the kernel at every place, times the kernel, group by group."""
        weight, (groups,) = node["weight"], node.ints("groups")
        before, after = conv_padding(node)
        x = np.pad(x, [(0, 0), (0, 0), *zip(before, after, strict=True)])
        kernel, dilation = weight.shape[2:], node.ints("dilation")
        axes = tuple(range(2, 2 + len(kernel)))
        patches = _windows(x, kernel, node.ints("stride"), dilation)  # [N, C, *places, *kernel]
        inner = tuple(range(2 + len(kernel), 2 + 2 * len(kernel)))
        per_in, per_out, parts = weight.shape[1], weight.shape[0] // groups, list[Real]()
        for g in range(groups):
            seen, rows = patches[:, g * per_in : (g + 1) * per_in], weight[g * per_out : (g + 1) * per_out]
            parts.append(np.moveaxis(np.tensordot(seen, rows, ((1, *inner), (1, *axes))), -1, 1))
        y = np.concatenate(parts, axis=1)
        if "bias" in node.values:
            y = y + node["bias"].reshape(-1, *(1,) * len(kernel))
        return y

    @staticmethod
    def _pool(node: Node, x: Real) -> Real:
        """The sum of each window, zeros around; the average divides by the size of the window, padding included."""
        kernel = node.ints("kernel_size")
        x = np.pad(x, [(0, 0), (0, 0), *((n, n) for n in node.ints("padding"))])
        y: Real = _windows(x, kernel, node.ints("stride"), (1, 1)).sum(axis=(-2, -1))
        return y / prod(kernel) if node.kind == "AvgPool2d" else y


def _windows(x: Real, size: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]) -> Real:
    """A view of all windows over the axes behind [N, C]: first the places, then what is seen from there."""
    spans = [(k - 1) * d + 1 for k, d in zip(size, dilation, strict=True)]
    axes = tuple(range(2, 2 + len(size)))
    seen = np.lib.stride_tricks.sliding_window_view(x, spans, axis=axes)
    places, taps = ([slice(None, None, n) for n in steps] for steps in (stride, dilation))
    view: Real = seen[(slice(None), slice(None), *places, *taps)]
    return view
