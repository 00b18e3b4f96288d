"""A layer of LIF neurons with the presynaptic traces of online training through time (OTTT).

Xiao et al., Online training through time for spiking neural networks, NeurIPS 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekit.errors import UsageError
from edgekit.ir.build import GraphBuilder
from edgekit.ir.graph import Graph


@dataclass(frozen=True)
class TracedLif:
    """B rows of N neurons: v = (1 - 1/tau) v + x, s = [v >= threshold], v = v - threshold · s, a = (1 - 1/tau) a + s.

    tau is in steps, at least 1; v is that of snn libraries that reset softly and do not scale their input.
    """

    batch: int
    size: int
    tau: float = 2.0
    threshold: float = 1.0

    def graph(self, name: str = "traced_lif") -> Graph:
        """The program: a step takes x [B, N], and gives s, v after the reset, and the trace a.

        Raises UsageError for numbers that make no neuron.
        """
        faults = [f"{n} {v!r}" for n, v in (("batch", self.batch), ("size", self.size)) if v < 1]
        faults += [f"tau {self.tau!r}"] if not 1 <= self.tau < np.inf else []
        faults += [f"threshold {self.threshold!r}"] if not 0 < self.threshold < np.inf else []
        if faults:
            raise UsageError("LIF neurons", f"cannot have {', '.join(faults)}", "tau is at least 1, the rest positive")
        b, shape = GraphBuilder(name), (self.batch, self.size)
        x = b.input("x", shape)
        v, a = (b.state(state, np.zeros(shape)) for state in ("v", "trace"))
        kept, threshold = b.const("kept", 1 - 1 / self.tau), b.const("threshold", self.threshold)
        charged = b.op("add", b.op("mul", v, kept), x)
        fired = b.op("cast", b.op("ge", charged, threshold), to="float32")
        left = b.op("sub", charged, b.op("mul", fired, threshold))
        traced = b.op("add", b.op("mul", a, kept), fired)
        b.update(v, left)
        b.update(a, traced)
        b.output(fired, left, traced)
        return b.build()
