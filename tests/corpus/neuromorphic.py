"""NIR graphs with seeded random weights: every kind of neuron, recurrence, convolution, pooling, delays, nesting."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import nir
import numpy as np

DT = 1e-3
Graph = Callable[[np.random.Generator], nir.NIRGraph]


def _weights(random: np.random.Generator, *shape: int, gain: float = 1.0) -> Any:
    fan_in = int(np.prod(shape[1:]))
    return (gain * random.uniform(-1, 1, shape) / np.sqrt(fan_in)).astype(np.float32)


def _per_neuron(random: np.random.Generator, n: int, low: float, high: float) -> Any:
    return random.uniform(low, high, n).astype(np.float32)


def _chain(inputs: tuple[int, ...], outputs: tuple[int, ...], **nodes: Any) -> nir.NIRGraph:
    names = ["input", *nodes, "output"]
    every = {
        "input": nir.Input({"input": np.array(inputs)}),
        **nodes,
        "output": nir.Output({"output": np.array(outputs)}),
    }
    return nir.NIRGraph(nodes=every, edges=list(pairwise(names)))


def _lif(random: np.random.Generator, n: int, rest: float = 0.0) -> nir.LIF:
    return nir.LIF(
        tau=_per_neuron(random, n, 5e-3, 2e-2),
        r=_per_neuron(random, n, 0.8, 1.5),
        v_leak=np.full(n, rest, np.float32),
        v_threshold=_per_neuron(random, n, 0.3, 0.6),
        v_reset=np.full(n, 0.5 * rest, np.float32),
    )


def _cuba(random: np.random.Generator, n: int) -> nir.CubaLIF:
    return nir.CubaLIF(
        tau_syn=_per_neuron(random, n, 5e-3, 1e-2),
        tau_mem=_per_neuron(random, n, 1e-2, 2e-2),
        r=np.ones(n, np.float32),
        v_leak=np.zeros(n, np.float32),
        v_threshold=_per_neuron(random, n, 0.2, 0.5),
        v_reset=np.zeros(n, np.float32),
        w_in=_per_neuron(random, n, 1.0, 2.0),
    )


def feed_forward(random: np.random.Generator) -> nir.NIRGraph:
    return _chain(
        (6,),
        (4,),
        fc1=nir.Affine(_weights(random, 12, 6, gain=8), _weights(random, 12, gain=1)),
        lif1=_lif(random, 12, rest=0.1),
        fc2=nir.Linear(_weights(random, 4, 12, gain=8)),
        lif2=_lif(random, 4),
    )


def at_zero(random: np.random.Generator) -> nir.NIRGraph:
    return _chain((6,), (9,), fc=nir.Affine(_weights(random, 9, 6, gain=8), _weights(random, 9)), lif=_lif(random, 9))


def recurrent(random: np.random.Generator) -> nir.NIRGraph:
    graph = _chain(
        (6,),
        (3,),
        fc=nir.Affine(_weights(random, 10, 6, gain=8), _weights(random, 10)),
        lif=_cuba(random, 10),
        out=nir.Linear(_weights(random, 3, 10, gain=4)),
        li=nir.LI(tau=np.full(3, 1e-2, np.float32), r=np.ones(3, np.float32), v_leak=np.zeros(3, np.float32)),
    )
    nodes = {**graph.nodes, "back": nir.Linear(_weights(random, 10, 10, gain=3))}
    return nir.NIRGraph(nodes=nodes, edges=[*graph.edges, ("lif", "back"), ("back", "lif")])


def nested(random: np.random.Generator) -> nir.NIRGraph:
    inner = _chain((8,), (8,), fc=nir.Linear(_weights(random, 8, 8, gain=6)), lif=_lif(random, 8))
    return _chain(
        (6,),
        (8,),
        up=nir.Linear(_weights(random, 8, 6, gain=8)),
        first=_lif(random, 8),
        scale=nir.Scale(_per_neuron(random, 8, 0.5, 2.0)),
        block=inner,
    )


def convolutional(random: np.random.Generator) -> nir.NIRGraph:
    def lif(shape: tuple[int, ...]) -> nir.LIF:
        full = {"tau": 1e-2, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.2, "v_reset": 0.0}
        return nir.LIF(**{key: np.full(shape, value, np.float32) for key, value in full.items()})

    conv = nir.Conv2d((8, 8), _weights(random, 4, 2, 3, 3, gain=6), 1, 1, 1, 1, np.zeros(4, np.float32))
    return _chain(
        (2, 8, 8),
        (5,),
        conv=conv,
        lif1=lif((4, 8, 8)),
        pool=nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        conv2=nir.Conv2d((4, 4), _weights(random, 6, 4, 3, 3, gain=6), 1, 0, 1, 1, np.zeros(6, np.float32)),
        lif2=lif((6, 2, 2)),
        average=nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        flat=nir.Flatten({"input": np.array((6, 1, 1))}, 0, -1),
        fc=nir.Affine(_weights(random, 5, 6, gain=8), np.full(5, 0.2, np.float32)),
        lif3=lif((5,)),
    )


def filters(random: np.random.Generator) -> nir.NIRGraph:
    """Current-based neurons behind a delay, a convolution over a line in front of them."""
    return _chain(
        (2, 9),
        (4,),
        conv=nir.Conv1d(9, _weights(random, 3, 2, 3, gain=6), 2, 0, 1, 1, np.zeros(3, np.float32)),
        flat=nir.Flatten({"input": np.array((3, 4))}, 0, -1),
        delay=nir.Delay(np.array([0, 1, 2, 3] * 3, np.float32) * DT),
        fc=nir.Linear(_weights(random, 8, 12, gain=6)),
        cuba=_cuba(random, 8),
        out=nir.Linear(_weights(random, 4, 8, gain=4)),
        membrane=nir.CubaLI(
            tau_syn=np.full(4, 5e-3, np.float32),
            tau_mem=np.full(4, 1e-2, np.float32),
            r=np.ones(4, np.float32),
            v_leak=np.zeros(4, np.float32),
        ),
    )


def integrators(random: np.random.Generator) -> nir.NIRGraph:
    return _chain(
        (6,),
        (5,),
        fc=nir.Linear(_weights(random, 10, 6, gain=3)),
        fire=nir.IF(
            r=np.ones(10, np.float32), v_threshold=np.full(10, 0.7, np.float32), v_reset=np.zeros(10, np.float32)
        ),
        fc2=nir.Linear(_weights(random, 5, 10, gain=3)),
        threshold=nir.Threshold(np.full(5, 0.3, np.float32)),
    )


CASES: dict[str, tuple[Graph, dict[str, Any]]] = {
    "nir lif": (feed_forward, {}),
    "nir lif, exponential": (feed_forward, {"integrator": "exponential"}),
    "nir lif, subtractive reset": (at_zero, {"reset": "subtract"}),
    "nir cuba lif, recurrent": (recurrent, {}),
    "nir nested": (nested, {}),
    "nir convolutional": (convolutional, {}),
    "nir filters and delays": (filters, {}),
    "nir integrate and fire": (integrators, {"charge": "impulse"}),
}
