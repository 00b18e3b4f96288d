"""Pools of spikes, transposes that go down, and convolutions as linears, before and expected in text form."""

from __future__ import annotations

import numpy as np
import pytest
from cases import check, read
from random_graphs import random_graph, random_inputs

from edgekit.errors import UnsupportedError
from edgekit.ir import OPS, Graph, GraphBuilder, to_text
from edgekit.passes.integer_convolutions import convolutions_as_linears
from edgekit.passes.legalize import legalize
from edgekit.passes.pipelines import FOR_INTEGERS, LOWER, OPTIMISE, run_passes
from edgekit.passes.pool_spikes import pool_spikes
from edgekit.passes.sink_transposes import sink_transposes
from edgekit.reference import Interpreter

SINK = {
    "two in a row, with a relu and a constant per channel between them": (
        """
        graph g
        const %k float32[2,1] = [2.0, 3.0]
        entry step
          in %x float32[3,2]
          %a float32[2,3] = transpose %x {"perm": [1, 0]}
          %b float32[2,3] = mul %a %k
          %c float32[2,3] = relu %b
          %d float32[3,2] = transpose %c {"perm": [1, 0]}
          out %d
        """,
        """
        graph g
        const %k.turned float32[1,2] = [2.0, 3.0]
        entry step
          in %x float32[3,2]
          %x.mul float32[3,2] = mul %x %k.turned
          %x.mul.relu float32[3,2] = relu %x.mul
          out %x.mul.relu
        """,
    ),
    "a pad turns its widths": (
        """
        graph g
        entry step
          in %x float32[3,2]
          %a float32[2,3] = transpose %x {"perm": [1, 0]}
          %b float32[2,6] = pad %a {"before": [0, 1], "after": [0, 2], "value": -1.0}
          out %b
        """,
        """
        graph g
        entry step
          in %x float32[3,2]
          %x.pad float32[6,2] = pad %x {"before": [1, 0], "after": [2, 0], "value": -1.0}
          %x.pad.transpose float32[2,6] = transpose %x.pad {"perm": [1, 0]}
          out %x.pad.transpose
        """,
    ),
    "a sum of two that were turned alike": (
        """
        graph g
        entry step
          in %x float32[3,2]
          in %y float32[3,2]
          %a float32[2,3] = transpose %x {"perm": [1, 0]}
          %b float32[2,3] = transpose %y {"perm": [1, 0]}
          %c float32[2,3] = add %a %b
          out %c
        """,
        """
        graph g
        entry step
          in %x float32[3,2]
          in %y float32[3,2]
          %x.add float32[3,2] = add %x %y
          %x.add.transpose float32[2,3] = transpose %x.add {"perm": [1, 0]}
          out %x.add.transpose
        """,
    ),
}
LEFT = {
    "something else reads it as it is": """
        graph g
        entry step
          in %x float32[3,2]
          %a float32[2,3] = transpose %x {"perm": [1, 0]}
          %b float32[2,3] = relu %a
          %c float32[2] = sum %a {"axis": 1}
          out %b %c
        """,
    "the other side was not turned": """
        graph g
        entry step
          in %x float32[3,2]
          in %y float32[2,3]
          %a float32[2,3] = transpose %x {"perm": [1, 0]}
          %b float32[2,3] = add %a %y
          out %b
        """,
    "it is spread by what it meets": """
        graph g
        const %k float32[2,2,2] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
        entry step
          in %x float32[2,2]
          %a float32[2,2] = transpose %x {"perm": [1, 0]}
          %b float32[2,2,2] = mul %a %k
          out %b
        """,
}


@pytest.mark.parametrize(("before", "expected"), SINK.values(), ids=SINK)
def test_transposes_sink(before: str, expected: str) -> None:
    check(sink_transposes, before, expected)


@pytest.mark.parametrize("text", LEFT.values(), ids=LEFT)
def test_transposes_stay(text: str) -> None:
    k = {"k": np.arange(1, 9).reshape(2, 2, 2)} if "%k" in text else None
    text = text.replace(" = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]", "")
    check(sink_transposes, text, text, k)


def test_a_pool_of_spikes_gives_spikes_to_the_next_convolution() -> None:
    check(
        pool_spikes,
        """
        graph g
        const %w float32[1,1,2] = [1.0, 2.0]
        entry step
          in %s spike[1,6]
          %v spike[1,3,2] = windows %s {"size": [2], "stride": [2], "dilation": [1]}
          %x float32[1,3,2] = cast %v {"to": "float32"}
          %p float32[1,3] = amax %x {"axis": 2}
          %y float32[1,2] = conv %p %w {"stride": [1], "dilation": [1]}
          out %y
        """,
        """
        graph g
        const %w float32[1,1,2] = [1.0, 2.0]
        entry step
          in %s spike[1,6]
          %v spike[1,3,2] = windows %s {"size": [2], "stride": [2], "dilation": [1]}
          %v.amax spike[1,3] = amax %v {"axis": 2}
          %v.amax.conv float32[1,2] = conv %v.amax %w {"stride": [1], "dilation": [1]}
          out %v.amax.conv
        """,
    )


def test_a_pool_of_numbers_stays() -> None:
    text = """
        graph g
        entry step
          in %x float32[2,3]
          %p float32[2] = amax %x {"axis": 1}
          out %p
        """
    check(pool_spikes, text, text)


def convolution(channels: int, out: int, *kernel: int, groups: int = 1, width: int = 9) -> Graph:
    rng, b = np.random.default_rng(0), GraphBuilder("g")
    x = b.input("x", (channels, *(width for _ in kernel)))
    w = b.const("w", rng.normal(size=(out, channels // groups, *kernel)))
    steps = {"stride": (2, *(1,) * (len(kernel) - 1)), "dilation": (1,) * len(kernel)}
    b.output(b.op("conv", x, w, b.const("b", rng.normal(size=out)), groups=groups, **steps))
    return b.build()


@pytest.mark.parametrize(
    ("graph", "inputs"),
    [
        (convolution(1, 12, 5, 5), 40),  # 25: rows of a kernel of 5 become 8
        (convolution(12, 64, 5, 5), 320),  # 300
        (convolution(3, 4, 7), 24),  # 21
        (convolution(8, 4, 3, 3), 72),  # a multiple of 8 already
        (convolution(1, 4, 3, 3), 9),  # 24 would be too many
        (convolution(3, 5, 7), 21),  # no multiple of 4 outputs
        (convolution(4, 8, 3, 3, groups=2), 18),
    ],
)
def test_rows_of_windows_are_of_a_length_that_kernels_like(graph: Graph, inputs: int) -> None:
    made = convolutions_as_linears(graph)
    assert {made.tensors[op.inputs[1]].shape[1] for _, op in made.ops() if op.kind == "linear"} == {inputs}
    x = {"x": np.random.default_rng(1).normal(size=(3, *graph.tensors["x"].shape)).astype(np.float32)}
    (a,), (b,) = (list(Interpreter(g, np.float64).execute(x, {})[0].values()) for g in (graph, made))
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_a_depthwise_convolution_is_products_and_their_sum() -> None:
    kinds = [op.kind for _, op in convolutions_as_linears(convolution(6, 6, 3, 3, groups=6)).ops()]
    assert kinds == ["transpose", "windows", "mul", "sum", "add", "transpose"]


def test_one_convolution_hands_the_next_its_places_with_channels_last() -> None:
    b, rng = GraphBuilder("g"), np.random.default_rng(0)
    y = b.input("x", (4, 9, 9))
    for at in range(3):
        w = b.const(f"w{at}", rng.normal(size=(4, 4, 3, 3)))
        y = b.op("relu", b.op("conv", y, w, stride=(1, 1), dilation=(1, 1)))
    b.output(y)
    kinds = [op.kind for _, op in run_passes(b.build(), (*OPTIMISE, *FOR_INTEGERS)).ops()]
    assert kinds.count("transpose") == 2, "one in front and one behind"


@pytest.mark.parametrize("seed", range(40))
def test_pipelines_keep_what_random_graphs_compute(seed: int) -> None:
    graph = random_graph(seed, 16)
    x = random_inputs(graph, seed, 2, 3)
    exact, _ = Interpreter(graph, np.float64).run(x)
    for passes in ((*OPTIMISE, *LOWER), (*OPTIMISE, *FOR_INTEGERS)):
        got, _ = Interpreter(run_passes(graph, passes), np.float64).run(x)
        for a, b in zip(exact.values(), got.values(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["conv", "pad", "windows"])
def test_a_backend_without_a_kernel_gets_simpler_ops(kind: str) -> None:
    graph = read(
        """
        graph g
        const %w float32[2,1,2] = [1.0, 2.0, 3.0, 4.0]
        entry step
          in %x float32[1,4]
          %p float32[1,6] = pad %x {"before": [0, 1], "after": [0, 1]}
          %y float32[2,5] = conv %p %w {"stride": [1], "dilation": [1]}
          %v float32[2,4,2] = windows %y {"size": [2], "stride": [1], "dilation": [1]}
          out %v
        """
    )
    simple = OPS.keys() - {"conv", "pad", "windows"}
    made = legalize(graph, simple, "small")
    assert kind not in {op.kind for _, op in made.ops()}
    x = {"x": np.array([[[1.0, -2.0, 3.0, 0.5]]], np.float32)}
    (a,), (b,) = (list(Interpreter(g).execute(x, {})[0].values()) for g in (graph, made))
    np.testing.assert_allclose(a, b, rtol=1e-6)
    with pytest.raises(UnsupportedError, match="no kernel"):
        legalize(graph, simple - {"linear"}, "small")
    assert "conv" in to_text(graph)
