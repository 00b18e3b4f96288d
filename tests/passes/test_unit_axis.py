"""The batch axis of length one goes from every op that has a rule; what leaves the graph stays as it was."""

from __future__ import annotations

import numpy as np
import pytest
from cases import check, read

from edgekit.ir import to_text
from edgekit.passes.unit_axis import strip_unit_axis
from edgekit.reference import Interpreter

CASES = {
    "elementwise, constants with and without the axis": (
        """
        graph g
        const %a float32[1,3] = [1.0, 2.0, 3.0]
        const %b float32[3] = [4.0, 5.0, 6.0]
        const %c float32[] = [7.0]
        state %s float32[3] reset zero
        entry step
          in %x float32[3]
          %x1 float32[1,3] = reshape %x {"shape": [1, 3]}
          %s1 float32[1,3] = reshape %s {"shape": [1, 3]}
          %p float32[1,3] = mul %x1 %a
          %q float32[1,3] = add %p %b
          %r float32[1,3] = sub %q %s1
          %t float32[1,3] = mul %r %c
          %n float32[3] = reshape %t {"shape": [3]}
          %y float32[3] = reshape %r {"shape": [3]}
          update %s %n
          out %y
        """,
        """
        graph g
        const %b float32[3] = [4.0, 5.0, 6.0]
        const %c float32[] = [7.0]
        const %a float32[3] = [1.0, 2.0, 3.0]
        state %s float32[3] reset zero
        entry step
          in %x float32[3]
          %p float32[3] = mul %x %a
          %q float32[3] = add %p %b
          %y float32[3] = sub %q %s
          %t float32[3] = mul %y %c
          update %s %t
          out %y
        """,
    ),
    "linear, sums and movement": (
        """
        graph g
        const %w float32[2,3]
        entry step
          in %x float32[4,3]
          %x1 float32[1,4,3] = reshape %x {"shape": [1, 4, 3]}
          %l float32[1,4,2] = linear %x1 %w
          %t float32[1,2,4] = transpose %l {"perm": [0, 2, 1]}
          %a float32[1,2,2] = slice %t {"axis": 2, "start": 0, "stop": 2}
          %b float32[1,2,4] = concat %a %a {"axis": 2}
          %c float32[1,2] = sum %b {"axis": 2, "keepdims": false}
          %y float32[2] = reshape %c {"shape": [2]}
          out %y
        """,
        """
        graph g
        const %w float32[2,3]
        entry step
          in %x float32[4,3]
          %l float32[4,2] = linear %x %w
          %t float32[2,4] = transpose %l {"perm": [1, 0]}
          %a float32[2,2] = slice %t {"axis": 1, "start": 0, "stop": 2}
          %b float32[2,4] = concat %a %a {"axis": 1}
          %y float32[2] = sum %b {"axis": 1, "keepdims": false}
          out %y
        """,
    ),
    "an axis that moves": (
        """
        graph g
        entry step
          in %x float32[2,3]
          %x1 float32[1,2,3] = reshape %x {"shape": [1, 2, 3]}
          %t float32[2,1,3] = transpose %x1 {"perm": [1, 0, 2]}
          %a float32[2,3,1] = transpose %t {"perm": [0, 2, 1]}
          %n float32[2,3,1] = neg %a
          %y float32[2,3] = reshape %n {"shape": [2, 3]}
          out %y
        """,
        """
        graph g
        entry step
          in %x float32[2,3]
          %y float32[2,3] = neg %x
          out %y
        """,
    ),
    "an op that needs the axis keeps it": (
        """
        graph g
        entry step
          in %x float32[3]
          %x1 float32[1,3] = reshape %x {"shape": [1, 3]}
          %two float32[2,3] = concat %x1 %x1 {"axis": 0}
          %y float32[2,3] = neg %two
          out %y
        """,
        """
        graph g
        entry step
          in %x float32[3]
          %x1 float32[1,3] = reshape %x {"shape": [1, 3]}
          %two float32[2,3] = concat %x1 %x1 {"axis": 0}
          %y float32[2,3] = neg %two
          out %y
        """,
    ),
    "a constant that is wide along the axis widens the value": (
        """
        graph g
        const %c float32[2,1] = [1.0, 2.0]
        entry step
          in %x float32[3]
          %x1 float32[1,3] = reshape %x {"shape": [1, 3]}
          %y float32[2,3] = mul %x1 %c
          out %y
        """,
        """
        graph g
        const %c float32[2,1] = [1.0, 2.0]
        entry step
          in %x float32[3]
          %x1 float32[1,3] = reshape %x {"shape": [1, 3]}
          %y float32[2,3] = mul %x1 %c
          out %y
        """,
    ),
    "sums over the axis itself, and what runs over it": (
        """
        graph g
        entry step
          in %x float32[3]
          %x1 float32[1,3] = reshape %x {"shape": [1, 3]}
          %a float32[1,3] = sum %x1 {"axis": 0, "keepdims": true}
          %b float32[1,3] = cumsum %a {"axis": 0}
          %c float32[1,3] = gather %b {"axis": 0, "indices": [0]}
          %d float32[3] = amax %c {"axis": 0, "keepdims": false}
          %y float32[3] = neg %d
          out %y
        """,
        """
        graph g
        entry step
          in %x float32[3]
          %y float32[3] = neg %x
          out %y
        """,
    ),
}


def _weights(case: str) -> dict[str, list[list[int]]]:
    return {"w": [[1, 0, 2], [0, 1, -1]]} if "const %w" in CASES[case][0] else {}


@pytest.mark.parametrize("case", CASES)
def test_the_axis_goes(case: str) -> None:
    check(strip_unit_axis, *CASES[case], _weights(case))


@pytest.mark.parametrize("case", CASES)
def test_the_results_stay(case: str) -> None:
    graph = read(CASES[case][0], _weights(case))
    shape = graph.tensors["x"].shape
    x = {"x": np.random.default_rng(1).standard_normal((2, 4, *shape)).astype(np.float32)}
    before, after = (Interpreter(g).run(x)[0]["y"] for g in (graph, strip_unit_axis(graph)))
    assert before.tobytes() == after.tobytes()
    assert to_text(strip_unit_axis(graph)) == to_text(strip_unit_axis(read(CASES[case][0], _weights(case))))
