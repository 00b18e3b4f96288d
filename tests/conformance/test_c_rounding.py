"""How much rounding costs long sums, and recurrences that never forget it."""

from __future__ import annotations

import os

import numpy as np
import pytest
from c_nets import int8_weights, lowered
from c_runs import Emulated, Native

from edgekit.ir import Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes

INPUTS, OUTPUTS = 4099, (1, 8, 40, 100)  # a panel of one vector, of several, of more than fit the registers, and two
STEPS = 784


def long_sums() -> Graph:
    """Linears of every dense form over so many positive terms that a plain float32 sum loses its last digits."""
    rng, b = np.random.default_rng(0), GraphBuilder("sums")
    x = b.input("x", (INPUTS,))
    for n_out in OUTPUTS:
        weights = rng.uniform(0, 1, (n_out, INPUTS))
        bias = b.const(f"c{n_out}", rng.uniform(-1, 1, n_out))
        b.output(b.op("linear", x, b.const(f"w{n_out}", weights), bias))
        b.output(b.op("linear", x, int8_weights(b, f"q{n_out}", weights), bias))
    b.output(b.op("linear", x, b.state("plastic", rng.uniform(0, 1, (2, INPUTS)), reset="keep")))
    return lowered(b.build())


def relative_error(program: Native | Emulated) -> float:
    graph = program.graph
    x = np.random.default_rng(1).uniform(0, 1, INPUTS).astype(np.float32)
    code, got = program.entry("step", x)
    assert code == 0
    worst = 0.0
    for y, op in zip(got, graph.entries["step"].ops, strict=True):
        w = graph.tensors[op.inputs[1]]
        data = graph.states[0].init if w.data is None else w.data if w.quant is None else w.quant.dequantize(w.data)
        c = graph.tensors[op.inputs[2]].data if len(op.inputs) > 2 else 0.0
        wanted = data.astype(np.float64) @ x + c
        worst = max(worst, float((np.abs(y - wanted) / wanted).max()))
    return worst


@pytest.mark.parametrize(
    "flags", [(), *([("-DEK_FORCE_PORTABLE",)] if "EDGEKIT_SWEEPS" in os.environ else [])], ids=str
)
def test_long_sums_keep_their_digits(flags: tuple[str, ...]) -> None:
    assert relative_error(Native(long_sums(), "gcc", flags)) < 6e-7


def test_long_sums_keep_their_digits_on_the_emulated_core() -> None:
    program = Emulated(long_sums())
    try:
        assert relative_error(program) < 6e-7
    finally:
        program.close()


def rotation(n: int, seed: int = 0) -> np.ndarray:
    """An orthogonal matrix near the identity: what rounding does to a state stays in it."""
    a = np.random.default_rng(seed).standard_normal((n, n)) / np.sqrt(n)
    a = (a - a.T) / 4
    return (np.linalg.inv(np.eye(n) - a) @ (np.eye(n) + a)).astype(np.float32)


def recurrence(n: int, channels: int = 1) -> Graph:
    """s' = W s + c u for some channels, which leaves as it is."""
    rng, b = np.random.default_rng(1), GraphBuilder("recurrence")
    shape = (n,) if channels == 1 else (channels, n)
    s = b.state("s", np.zeros(shape))
    u = b.input("u", (channels, 1) if channels > 1 else (1,))
    drive = b.op("linear", u, b.const("c", rng.standard_normal((n, 1))))
    s_next = b.op("add", b.op("linear", s, b.const("w", rotation(n))), drive)
    b.update("s", s_next)
    b.output(s_next)
    return run_passes(b.build(), (*OPTIMISE, *LOWER))


@pytest.mark.drawn(2)
@pytest.mark.parametrize(
    ("channels", "kernel"), [(1, "linear_compensated_f32"), (3, "memory_compensated_f32")], ids=["one", "several"]
)
@pytest.mark.parametrize("flags", [(), ("-DEK_FORCE_PORTABLE",)], ids=["native", "portable"])
def test_a_recurrence_is_compensated(channels: int, kernel: str, flags: tuple[str, ...]) -> None:
    graph = recurrence(203, channels)
    program = Native(graph, "gcc", flags)
    assert kernel in {k.kernel for k in program.program.kernels}
    drive = np.random.default_rng(2).standard_normal((STEPS, channels, 1)).astype(np.float32)
    w, c = (graph.tensors[n].data.astype(np.float64) for n in ("w", "c"))
    code, (got,) = program.entry("step", drive if channels > 1 else drive[:, 0], steps=STEPS)
    s, worst = np.zeros((channels, 203)), 0.0
    for u, y in zip(drive, got, strict=True):
        s = s @ w.T + u @ c.T
        worst = max(worst, float(np.abs(y - s).max() / np.abs(s).max()))
    assert code == 0
    assert worst < 2.2e-6, "runs alone leave 3e-6, a plain sum 7e-6"


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_psmnist_lmu_stays_with_double_precision(seed: int) -> None:
    """Order 256 over 784 steps, with the weights that PyTorch would give a new one."""
    torch = pytest.importorskip("torch")
    from edgekit.frontends import import_module
    from edgekit.models import LMU
    from edgekit.reference import Interpreter

    torch.manual_seed(seed)
    module = LMU(inputs=1, hidden=212, memory=1, order=256, theta=784.0).eval()
    graph = lowered(import_module(module, None, name="lmu").graph)
    x = np.random.default_rng(seed).random((STEPS, 1)).astype(np.float32)
    code, (got,) = Native(graph, "gcc").entry("step", x, steps=STEPS)
    wanted, _ = Interpreter(graph, np.float64).run({"x": x[None].astype(np.float64)})
    assert code == 0
    assert np.abs(got - next(iter(wanted.values()))[0]).max() < 7e-6
