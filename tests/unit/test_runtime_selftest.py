"""How a self-test compares: numbers by their error, NaN and infinities by what they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from onnx_models import model, node, port

from edgekit.errors import ReplayError
from edgekit.frontends.onnx import import_onnx
from edgekit.ir import Graph
from edgekit.reference import Interpreter, pack_states
from edgekit.runtime.selftest import make_selftest, relative_error, replay_selftest


@pytest.mark.parametrize(
    ("got", "expected", "error"),
    [
        (math.nan, math.nan, 0.0),
        (math.inf, math.inf, 0.0),
        (-math.inf, -math.inf, 0.0),
        (math.inf, -math.inf, math.inf),
        (math.nan, 1.0, math.inf),
        (1.0, math.nan, math.inf),
        (1.0, math.inf, math.inf),
        (math.inf, 1.0, math.inf),
        (3.0, 2.0, 0.5),
        (0.5, 0.25, 0.25),
    ],
)
def test_what_is_not_finite_must_be_the_same(got: float, expected: float, error: float) -> None:
    pair = [np.array([1.0, value], np.float32) for value in (got, expected)]
    assert relative_error(pair[0], pair[1]) == error


class Stream:
    """The interpreter as a stream, with one element of an output that may be changed."""

    engine = "test"

    def __init__(self, graph: Graph, wrong: float | None = None) -> None:
        self._graph, self._wrong = graph, wrong

    def reset(self) -> None:
        pass

    def run(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        names = self._graph.entries["step"].inputs
        outputs, _ = Interpreter(self._graph).run({n: x[None] for n, x in zip(names, inputs, strict=True)})
        found = [np.array(y[0]) for y in outputs.values()]
        if self._wrong is not None:
            found[0][0, 0] = self._wrong
        return found

    def save(self) -> bytes:
        return pack_states(self._graph, {})


def test_a_program_may_give_nan_where_the_reference_does() -> None:
    built = model([node("Log", ["x"], ["y"])], [port("x", 1, 3)], [port("y", 1, 3)])
    graph = import_onnx(built).graph
    selftest = make_selftest(graph, {"x": np.array([[[-1.0, 0.0, 2.0], [1.0, 1.0, 1.0]]], np.float32)})
    assert np.isnan(selftest.outputs["y"][0, 0])
    assert replay_selftest(graph, selftest, Stream(graph)).worst_error == 0.0  # type: ignore[arg-type]
    with pytest.raises(ReplayError, match="output 'y' is 0 where the reference says nan"):
        replay_selftest(graph, selftest, Stream(graph, 0.0))  # type: ignore[arg-type]
