"""Every op the C backend has a kernel for, against the numpy reference, for each compiler and instruction set."""

from __future__ import annotations

import os

import numpy as np
import pytest
from c_nets import everything, lowered
from c_runs import Emulated, Native

from edgekit.backends.c.select import FLOAT_OPS
from edgekit.ir import SPIKE, Graph
from edgekit.reference import Interpreter

PORTABLE = ("-DEK_FORCE_PORTABLE",)
SWEEPS = "EDGEKIT_SWEEPS" in os.environ  # make test-all takes every compiler, and a core that is slow to emulate
VARIANTS = [
    ("zig", ()),
    *(
        pytest.param(*v, marks=pytest.mark.slow)
        for v in (("gcc", PORTABLE), *((("gcc", ()), ("clang", ()), ("clang", PORTABLE)) if SWEEPS else ()))
    ),
]
EXACT = (
    "transpose",
    "expand",
    "slice",
    "gather",
    "concat",
    "gt",
    "ge",
    "lt",
    "le",
    "eq",
    "ne",
    "logical",
    "cast",
    "amax",
    "floor",
    "round",
    "pad",
    "windows",
)


def samples(rng: np.random.Generator) -> list[tuple[np.ndarray, np.ndarray]]:
    """Real and spike inputs at 0, 5, 50 and 100 % activity, with exact zeros and ties among the reals."""
    pairs = []
    for activity in (0.0, 0.05, 0.5, 1.0):
        x = rng.standard_normal(96).astype(np.float32)
        x[::7], x[20:24], x[23 + 13] = 0, x[4:8], -0.0
        pairs.append((x, (rng.random(77) < activity).astype(np.float32)))
    return pairs


def expect(graph: Graph, x: np.ndarray, s: np.ndarray) -> np.ndarray:
    outputs, _ = Interpreter(graph).execute({"x": x[None], "s": s[None] != 0}, {})
    return next(iter(outputs.values()))[0]


def compare(slices: list[tuple[str, slice]], got: np.ndarray, wanted: np.ndarray) -> None:
    for label, where in slices:
        if label.startswith(EXACT):
            np.testing.assert_array_equal(got[where], wanted[where], err_msg=label)
        else:
            np.testing.assert_allclose(got[where], wanted[where], rtol=3e-6, atol=3e-6, err_msg=label)


@pytest.mark.drawn(3)
@pytest.mark.parametrize(("compiler", "flags"), VARIANTS, ids=lambda v: v if isinstance(v, str) else "".join(v))
def test_every_op_equals_the_reference(compiler: str, flags: tuple[str, ...]) -> None:
    graph, slices = everything()
    graph = lowered(graph)
    assert {op.kind for _, op in graph.ops()} == FLOAT_OPS
    program = Native(graph, compiler, flags)
    for x, s in samples(np.random.default_rng(1)):
        code, (got,) = program.entry("step", x, s)
        assert code == 0
        compare(slices, got, expect(graph, x, s))


@pytest.mark.drawn(3)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "dot"), [("raspberrypi4", 0), ("raspberrypi5", 1), *([("stm32mp157", 0)] if SWEEPS else [])]
)
def test_every_op_on_an_emulated_core(device: str, dot: int) -> None:
    graph, slices = everything()
    graph = lowered(graph)
    program = Emulated(graph, device, dot=dot)
    try:
        for x, s in samples(np.random.default_rng(2)):
            code, (got,) = program.entry("step", x, s)
            assert code == 0
            compare(slices, got, expect(graph, x, s))
    finally:
        program.close()


def test_special_values_in_elementwise_ops() -> None:
    """NaN, infinities and signed zeros arise inside a program; every op treats them as numpy does."""
    from edgekit.ir import GraphBuilder
    from edgekit.ir.ops import SCALAR_OPS

    b = GraphBuilder("special")
    x, y = b.input("x", (64,)), b.input("y", (64,))
    # finite inputs make everything else: 0/0, 1/0, and what follows from them
    left, right = b.op("div", x, y), b.op("div", y, x)
    for kind, spec in SCALAR_OPS.items():
        if kind in ("cast", "where", "rescale") or kind.startswith("logical"):
            continue
        value = b.op(kind, *(left, right)[: spec.arity[0]])
        b.output(b.op("cast", value, to="float32") if b.tensor(value).dtype is SPIKE else value)
    graph = lowered(b.build())
    values = np.array([0.0, -0.0, 1.0, -1.0, 3e38, -3e38, 2e-38, -2e-38], np.float32)
    grid = [v.reshape(-1) for v in np.meshgrid(values, values)]
    outputs, _ = Interpreter(graph).execute({"x": grid[0][None], "y": grid[1][None]}, {})
    for flags in ((), PORTABLE):
        code, got = Native(graph, "gcc", flags).entry("step", *grid)
        assert code == 0
        for (name, wanted), result in zip(outputs.items(), got, strict=True):
            np.testing.assert_allclose(result, wanted[0], rtol=1e-6, atol=2e-38, err_msg=name)
