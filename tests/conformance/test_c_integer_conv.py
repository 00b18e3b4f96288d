"""Integer programs with convolutions, pools, pads and the new functions: near the original, and byte for byte in C."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from c_nets import random_weights
from integer_engines import EMULATED, HOST, opened
from integer_equality import Expected, check, reference_of

from edgekit.compress.calibrate import calibrate
from edgekit.compress.integer import quantise_program
from edgekit.compress.recipes import RECIPES
from edgekit.errors import UnsupportedError
from edgekit.ir import SPIKE, Graph, GraphBuilder
from edgekit.passes.pipelines import FOR_INTEGERS, LOWER, OPTIMISE, run_passes
from edgekit.passes.ranges import analyse
from edgekit.runtime.codec import real_outputs

LOWEST = float(np.finfo(np.float32).min)
WINDOWS, STEPS = 12, 10
NEAR = {"int8": 0.06, "int8s8": 0.15, "int4": 0.6}  # of the spread of an output: how far a program may be off


def _conv(b: GraphBuilder, x: str, out: int, *kernel: int, groups: int = 1, stride: int = 1, bias: bool = True) -> str:
    rng, channels = np.random.default_rng(len(kernel) + out), b.tensor(x).shape[0]
    w = b.const(b.fresh("w"), 2 * random_weights(rng, out, channels // groups, *kernel) / np.sqrt(np.prod(kernel[1:])))
    extra = [b.const(b.fresh("b"), 0.3 * rng.standard_normal(out))] if bias else []
    steps = {"stride": (stride,) * len(kernel), "dilation": (1,) * len(kernel)}
    return b.op("conv", x, w, *extra, groups=groups, **steps)


def _max_pool(b: GraphBuilder, x: str, size: int, *, pad: bool = False) -> str:
    axes = len(b.tensor(x).shape) - 1
    if pad:
        sides = (0, *(1,) * axes)
        x = b.op("pad", x, before=sides, after=sides, value=LOWEST)
    seen = b.op("windows", x, size=(size,) * axes, stride=(size,) * axes, dilation=(1,) * axes)
    return b.op("amax", seen, axis=axes + 1)


def _leaky(b: GraphBuilder, name: str, current: str, beta: float = 0.8) -> str:
    u = b.state(name, np.zeros(b.tensor(current).shape))
    threshold = b.const(f"{name}.threshold", 1.0)
    fired = b.op("cast", b.op("gt", u, threshold), to="float32")
    kept = b.op("sub", b.op("mul", u, b.const(f"{name}.beta", beta)), b.op("mul", fired, threshold))
    new = b.op("add", kept, current)
    b.update(name, new)
    return b.op("cast", b.op("gt", new, threshold), to="float32")


def images(b: GraphBuilder) -> None:
    """conv, relu, padded max pool, strided conv, depthwise conv in a padded image, gelu, average pool, linear."""
    x = b.input("x", (2, 9, 9))
    y = _max_pool(b, b.op("relu", _conv(b, x, 8, 3, 3)), 2, pad=True)
    y = b.op("relu", _conv(b, y, 6, 2, 2))
    y = _conv(b, b.op("pad", y, before=(0, 1, 1), after=(0, 1, 1)), 6, 3, 3, groups=6)
    half, one, root = b.const("half", 0.5), b.const("one", 1.0), b.const("root", np.sqrt(0.5))
    y = b.op("mul", b.op("mul", y, half), b.op("add", b.op("erf", b.op("mul", y, root)), one))
    seen = b.op("windows", y, size=(2, 2), stride=(1, 1), dilation=(1, 1))
    y = b.op("mul", b.op("sum", seen, axis=3), b.const("quarter", 0.25))
    flat = b.op("reshape", y, shape=(b.tensor(y).size,))
    b.output(b.op("linear", flat, b.const("v", random_weights(np.random.default_rng(1), 5, b.tensor(flat).size))))


def spikes(b: GraphBuilder) -> None:
    """Two layers of spiking convolutions with a pool of spikes between them."""
    x = b.input("x", (1, 10, 10))
    fired = _max_pool(b, _leaky(b, "u", _conv(b, x, 8, 3, 3, bias=False)), 2)
    fired = _leaky(b, "v", _conv(b, fired, 12, 3, 3))
    flat = b.op("reshape", fired, shape=(b.tensor(fired).size,))
    b.output(b.op("linear", flat, b.const("v.out", random_weights(np.random.default_rng(1), 4, b.tensor(flat).size))))


def stream(b: GraphBuilder) -> None:
    """A window of the last samples in a state, grouped convolutions over it, and waves of what they make."""
    x = b.input("x", (4, 1))
    old = b.state("last", np.zeros((4, 15)))
    window = b.op("concat", old, x, axis=1)
    b.update("last", b.op("slice", window, axis=1, start=1, stop=16))
    y = b.op("tanh", _conv(b, window, 8, 5, groups=2, stride=2))
    y = _conv(b, y, 5, 3)
    b.output(b.op("sin", y), b.op("cos", y), b.op("floor", b.op("mul", y, b.const("two", 2.0))), b.op("round", y))


NETS = {f.__name__: f for f in (images, spikes, stream)}


@functools.cache
def original(net: str) -> tuple[Graph, dict[str, np.ndarray]]:
    """The optimised float graph, its convolutions written as linears, and windows to calibrate on."""
    b = GraphBuilder(net)
    NETS[net](b)
    shape = b.tensor("x").shape
    x = np.random.default_rng(3).normal(size=(WINDOWS, STEPS, *shape)).astype(np.float32)
    return run_passes(b.build(), (*OPTIMISE, *FOR_INTEGERS)), {"x": x}


@functools.cache
def program(net: str, precision: str) -> Graph:
    graph, x = original(net)
    made = quantise_program(graph, calibrate(graph, x), RECIPES[precision]).graph
    return made.replace(name=f"{net}_{precision}")


@functools.cache
def wanted(net: str, precision: str) -> Expected:
    return reference_of(run_passes(program(net, precision), LOWER), 5, 24)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("precision", RECIPES)
@pytest.mark.parametrize("net", ["images", "stream"])
def test_integers_stay_near_the_original(net: str, precision: str) -> None:
    graph, x = original(net)
    exact, got = real_outputs(graph, x), real_outputs(program(net, precision), x)
    for at, (a, b) in enumerate(zip(exact, got, strict=True)):
        off = np.abs(np.asarray(a, np.float64) - b)
        if net == "stream" and at >= 2:  # whole numbers, which only differ where a step was near
            assert (b == np.rint(b)).all()
            assert (off > 0.5).mean() < 2 * NEAR[precision]
        else:
            assert np.sqrt(np.mean(off**2)) <= NEAR[precision] * np.std(a)


def test_spikes_of_the_integer_program_are_those_of_the_original() -> None:
    graph, x = original("spikes")
    exact, got = real_outputs(graph, x), real_outputs(program("spikes", "int8"), x)
    corr = np.corrcoef(np.asarray(exact[0]).reshape(-1), np.asarray(got[0]).reshape(-1))[0, 1]
    assert corr > 0.95


def test_pools_of_spikes_and_what_reads_them_stay_spikes() -> None:
    made = program("spikes", "int8")
    pools = [op for op in made.entries["step"].ops if op.kind in ("amax", "windows")]
    dtypes = {made.tensors[op.outputs[0]].dtype for op in pools if "u" not in op.inputs}
    assert SPIKE in dtypes
    assert any(made.tensors[op.inputs[0]].dtype is SPIKE for op in made.entries["step"].ops if op.kind == "linear")


@pytest.mark.parametrize("net", NETS)
def test_nothing_wraps(net: str) -> None:
    assert not analyse(run_passes(program(net, "int8"), LOWER)).overflows


@pytest.mark.parametrize("engine", ["x86 simd", "x86 portable"])
def test_programs_are_byte_equal_here(engine: str) -> None:
    _byte_equal(engine, HOST[engine], tuple(RECIPES))


@pytest.mark.drawn(4)
@pytest.mark.slow
@pytest.mark.parametrize("core", EMULATED)
def test_programs_are_byte_equal_on_every_core(core: str) -> None:
    _byte_equal(core, EMULATED[core], ("int8", "int8s8"))


def _byte_equal(name: str, engine: object, precisions: tuple[str, ...]) -> None:
    if not engine.there:
        pytest.skip(f"what {name} needs is not installed")
    cases = [wanted(net, precision) for net in NETS for precision in precisions]
    with opened(engine, [case.graph for case in cases]) as fresh:
        for case in cases:
            check(fresh(case.graph), case, f"{case.graph.name} on {name}")


def test_what_has_no_integer_form_is_named_all_at_once() -> None:
    """A convolution that was not written as linears is one of them."""
    b = GraphBuilder("g")
    y = _conv(b, b.input("x", (1, 8)), 2, 3)
    b.output(b.op("sign", y))
    graph = b.build()
    with pytest.raises(UnsupportedError) as refused:
        quantise_program(graph, calibrate(graph, {"x": np.ones((2, 2, 1, 8), np.float32)}), RECIPES["int8"])
    assert len(refused.value.items) == 2
    assert "conv" in refused.value.items[0]
    assert "sign" in refused.value.items[1]
