"""NIR graphs that several tests share: every neuron with parameters of its own, and random graphs."""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np
import numpy.typing as npt

from edgekit.frontends import Imported
from edgekit.reference import Interpreter

Array = npt.NDArray[Any]


def neuron(kind: str, n: int | tuple[int, ...], seed: int = 0, dt: float = 1e-3) -> nir.NIRNode:
    """A neuron of a kind whose parameters differ from element to element."""
    random = np.random.default_rng(seed)

    def between(low: float, high: float) -> Array:
        return random.uniform(low, high, n)

    tau = {"tau": between(5 * dt, 30 * dt)}
    cuba = {"tau_syn": between(3 * dt, 9 * dt), "tau_mem": between(5 * dt, 30 * dt), "w_in": between(2, 5)}
    leak = {"r": between(4, 12), "v_leak": between(-0.2, 0.2)}
    fire = {"v_threshold": between(0.5, 1.0), "v_reset": between(-0.3, 0.1)}
    fields = {
        "I": {"r": between(0.5, 2)},
        "IF": {"r": between(100, 300), **fire},
        "LI": {**tau, **leak},
        "LIF": {**tau, **leak, **fire},
        "CubaLI": {**cuba, **leak},
        "CubaLIF": {**cuba, **leak, **fire},
    }[kind]
    return getattr(nir, kind)(**fields)


def chain(*nodes: nir.NIRNode, shape: tuple[int, ...]) -> nir.NIRGraph:
    """Nodes in a row between an Input and an Output, without nir's own check of shapes."""
    names = [f"n{i}" for i in range(len(nodes))]
    inner = dict(zip(names, nodes, strict=True))
    path = ["input", *names, "output"]
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(out_shape(nodes, shape)))}
    return nir.NIRGraph({**ends, **inner}, list(itertools.pairwise(path)), type_check=False)


def out_shape(nodes: tuple[nir.NIRNode, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a chain gives, by what nir says of its last node; that of the input where it says nothing."""
    for node in nodes:
        told = node.output_type.get("output")
        shape = shape if told is None else tuple(int(n) for n in told)
    return shape


def run(imported: Imported, *streams: Array) -> list[Array]:
    """Outputs [T, ...] of the graph for one stream [T, ...] of each input."""
    graph = imported.graph
    names = graph.entries["step"].inputs
    fed = {n: np.asarray(x, np.float32)[None] for n, x in zip(names, streams, strict=True)}
    outputs, _ = Interpreter(graph).run(fed)
    return [np.asarray(outputs[n][0], np.float64) for n in graph.entries["step"].outputs]


def random_graph(seed: int, dt: float = 1e-3) -> nir.NIRGraph:
    """A graph of random neurons and matrices, some of them with edges back."""
    random = np.random.default_rng(seed)
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input(np.array([4]))}
    edges: list[tuple[str, str]] = []
    width, before = 4, "input"
    for layer in range(int(random.integers(1, 4))):
        n = int(random.integers(2, 7))
        kind = str(random.choice(["LIF", "IF", "CubaLIF", "LI", "CubaLI"]))
        nodes[f"fc{layer}"] = nir.Affine(random.normal(size=(n, width)), 0.3 * random.normal(size=n))
        nodes[f"cell{layer}"] = neuron(kind, n, seed * 10 + layer, dt)
        edges += [(before, f"fc{layer}"), (f"fc{layer}", f"cell{layer}")]
        way = random.integers(5)
        if way == 0:  # through a matrix
            nodes[f"rec{layer}"] = nir.Linear(random.normal(size=(n, n)) / n)
            edges += [(f"cell{layer}", f"rec{layer}"), (f"rec{layer}", f"cell{layer}")]
        elif way == 1:  # straight back
            edges.append((f"cell{layer}", f"cell{layer}"))
        elif way == 2:  # through a delay
            nodes[f"delay{layer}"] = nir.Delay(dt * random.integers(1, 4, n))
            nodes[f"rec{layer}"] = nir.Linear(random.normal(size=(n, n)) / n)
            edges += [
                (f"cell{layer}", f"delay{layer}"),
                (f"delay{layer}", f"rec{layer}"),
                (f"rec{layer}", f"cell{layer}"),
            ]
        elif way == 3 and layer:  # back to the layer before
            nodes[f"rec{layer}"] = nir.Affine(random.normal(size=(width, n)) / n, 0.1 * random.normal(size=width))
            edges += [(f"cell{layer}", f"rec{layer}"), (f"rec{layer}", f"cell{layer - 1}")]
        width, before = n, f"cell{layer}"
    nodes["output"] = nir.Output(np.array([width]))
    edges.append((before, "output"))
    return nir.NIRGraph(nodes, edges, type_check=False)
