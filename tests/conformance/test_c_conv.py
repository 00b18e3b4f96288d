"""Convolutions against torch and the reference: any shape, both kinds of weights, and work that follows activity."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from c_nets import int8_weights, lowered, random_weights
from c_runs import Emulated, Native, compiled

import edgekit
from edgekit.errors import UnsupportedError
from edgekit.ir import SPIKE, Graph, GraphBuilder
from edgekit.reference import Interpreter
from edgekit.runtime.codec import real_outputs

torch = pytest.importorskip("torch")

SHAPES = 12  # random convolutions of each spatial rank
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
CONV = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}


def drawn(rng: np.random.Generator, rank: int) -> dict[str, tuple[int, ...]]:
    """Sizes of a convolution that fits: x, w, stride, dilation, groups."""
    groups = int(rng.choice([1, 1, 2, 3]))
    n_in, n_out = groups * int(rng.integers(1, 4)), groups * int(rng.choice([1, 2, 3, 5, 8, 13, 17, 65]))
    kernel = tuple(int(n) for n in rng.integers(1, 5, rank))
    dilation = tuple(int(n) for n in rng.integers(1, 3, rank))
    stride = tuple(int(n) for n in rng.integers(1, 4, rank))
    axes = tuple((k - 1) * d + int(rng.integers(1, 8)) for k, d in zip(kernel, dilation, strict=True))
    return {"x": (n_in, *axes), "w": (n_out, n_in // groups, *kernel), "stride": stride, "dilation": dilation,
            "groups": (groups,)}  # fmt: skip


@functools.cache
def cases() -> tuple[Graph, list[dict[str, tuple[int, ...]]]]:
    """One graph of random convolutions, each over reals and spikes, float32 and int8; x and s hold every image."""
    rng = np.random.default_rng(20)
    drawn_cases = [drawn(rng, rank) for rank in CONV for _ in range(SHAPES)]
    size = max(math.prod(c["x"]) for c in drawn_cases)
    b = GraphBuilder("convolutions")
    x, s, results = b.input("x", (size,)), b.input("s", (size,), SPIKE), list[str]()
    for at, case in enumerate(drawn_cases):
        weights = random_weights(rng, *case["w"])
        kernels = b.const(f"w{at}", weights), int8_weights(b, f"q{at}", weights)
        bias = b.const(f"b{at}", rng.standard_normal(case["w"][0]))
        attrs = {"stride": case["stride"], "dilation": case["dilation"], "groups": case["groups"][0]}
        for source in (x, s):
            image = b.op("slice", source, axis=0, start=0, stop=math.prod(case["x"]))
            image = b.op("reshape", image, shape=case["x"])
            parts = [b.op("conv", image, kernels[0], bias, **attrs), b.op("conv", image, kernels[1], **attrs)]
            results += [b.op("reshape", part, shape=(b.tensor(part).size,)) for part in parts]
    b.output(b.op("concat", *results, axis=0))
    return b.build(), drawn_cases


def images(seed: int, activity: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    size = cases()[0].tensors["x"].size
    return {"x": rng.standard_normal(size).astype(np.float32), "s": (rng.random(size) < activity).astype(np.float32)}


def by_torch(given: dict[str, np.ndarray]) -> np.ndarray:
    """The output in double precision."""
    graph, found = cases()[0], []
    for at, case in enumerate(cases()[1]):
        tensor = graph.tensors[f"q{at}"]
        quantised = tensor.data * tensor.quant.scale.reshape(-1, *(1,) * (tensor.data.ndim - 1)).astype(np.float64)
        for source in ("x", "s"):
            x = torch.tensor(given[source][: math.prod(case["x"])].reshape(1, *case["x"]), dtype=torch.float64)
            for weights, bias in ((graph.tensors[f"w{at}"].data, graph.tensors[f"b{at}"].data), (quantised, None)):
                y = CONV[len(case["stride"])](
                    x,
                    torch.tensor(weights, dtype=torch.float64),
                    None if bias is None else torch.tensor(bias, dtype=torch.float64),
                    case["stride"],
                    0,
                    case["dilation"],
                    case["groups"][0],
                )
                found.append(y.numpy().reshape(-1))
    return np.concatenate(found)


def test_the_reference_convolves_as_torch_does() -> None:
    for activity in (0.0, 0.3, 1.0):
        given = images(1, activity)
        outputs, _ = Interpreter(cases()[0]).execute({"x": given["x"][None], "s": given["s"][None] != 0}, {})
        np.testing.assert_allclose(next(iter(outputs.values()))[0], by_torch(given), **CLOSE)


@pytest.mark.drawn(3)
@pytest.mark.parametrize(
    ("flags", "pad"),
    [(("-O2",), 8), (("-O2",), 16), (("-O2", "-DEK_FORCE_PORTABLE"), 8)],
    ids=["native", "avx512", "portable"],  # AVX-512 where this computer has it
)
def test_random_convolutions_equal_torch(flags: tuple[str, ...], pad: int) -> None:
    program = Native(lowered(cases()[0]), "gcc", flags, pad=pad)
    for activity in (0.0, 0.1, 1.0):
        given = images(2, activity)
        code, (got,) = program.entry("step", given["x"], given["s"])
        assert code == 0
        np.testing.assert_allclose(got, by_torch(given), **CLOSE)


@pytest.mark.drawn(3)
@pytest.mark.slow
@pytest.mark.parametrize("device", ["raspberrypi4", "raspberrypi5", "stm32mp157"])
def test_random_convolutions_on_an_emulated_core(device: str) -> None:
    program = Emulated(lowered(cases()[0]), device)
    try:
        given = images(3, 0.1)
        code, (got,) = program.entry("step", given["x"], given["s"])
        assert code == 0
        np.testing.assert_allclose(got, by_torch(given), **CLOSE)
    finally:
        program.close()


def one(x: tuple[int, ...], w: tuple[int, ...], *, spikes: bool = False, int8: bool = False, groups: int = 1) -> Graph:
    """One convolution with stride and dilation 1."""
    rng, b = np.random.default_rng(0), GraphBuilder("one")
    image = b.input("x", x, *((SPIKE,) if spikes else ()))
    weights = random_weights(rng, *w)
    kernel = int8_weights(b, "w", weights) if int8 else b.const("w", weights)
    ones = (1,) * (len(x) - 1)
    b.output(b.op("conv", image, kernel, b.const("b", rng.standard_normal(w[0])), stride=ones, dilation=ones,
                  groups=groups))  # fmt: skip
    return lowered(b.build())


CHOSEN = {
    "conv_dense_f32": [((12, 12, 12), (64, 12, 5, 5), {}), ((16, 12, 12), (32, 2, 3, 3), {"groups": 8})],
    "conv_dense_i8": [((12, 12, 12), (64, 12, 5, 5), {"int8": True})],
    "conv_event_f32": [((12, 12, 12), (64, 12, 5, 5), {"spikes": True})],
    "conv_event_i8": [((12, 12, 12), (64, 12, 5, 5), {"spikes": True, "int8": True})],
    "conv_wide_f32": [((16, 12, 12), (16, 1, 3, 3), {"groups": 16}), ((3, 40), (3, 3, 9), {})],
    "conv_wide_i8": [((16, 12, 12), (16, 1, 3, 3), {"groups": 16, "int8": True})],
    "linear_event_f32": [((3, 40), (24, 3, 40), {"spikes": True})],  # one place
}


@pytest.mark.parametrize("kernel", CHOSEN)
def test_the_operands_choose_the_kernel(kernel: str) -> None:
    for x, w, options in CHOSEN[kernel]:
        assert [k.kernel for k in compiled(one(x, w, **options)).kernels] == [kernel]


# Instructions per product on the Cortex-A72 that may not be exceeded; NEON multiplies four at a time.
MOST = {
    "dense": (((12, 12, 12), (64, 12, 5, 5), 1, False), 0.46),
    "dense int8": (((12, 12, 12), (64, 12, 5, 5), 1, True), 0.56),
    "few inputs": (((1, 28, 28), (12, 1, 5, 5), 1, False), 0.58),
    "depthwise": (((16, 20, 20), (16, 1, 3, 3), 16, False), 1.6),
    "depthwise int8": (((16, 20, 20), (16, 1, 3, 3), 16, True), 1.9),
}


@pytest.mark.drawn(2)
@pytest.mark.parametrize("case", MOST)
def test_a_product_costs_a_fraction_of_an_instruction(case: str) -> None:
    (x, w, groups, int8), most = MOST[case]
    graph = one(x, w, int8=int8, groups=groups)
    program = Emulated(graph)
    try:
        code, (y,) = program.entry("step", np.random.default_rng(0).standard_normal(x))
        assert code == 0
        cost = sum(n for k, n in program.by_symbol.items() if "_op" in k) / (y.size * math.prod(w[1:]))
    finally:
        program.close()
    assert cost <= most, f"{cost:.3f} instructions per product"


@pytest.mark.parametrize("int8", [False, True])
def test_work_follows_the_activity_of_spikes(int8: bool) -> None:
    graph, cost = one((12, 12, 12), (64, 12, 5, 5), spikes=True, int8=int8), {}
    program = Emulated(graph)
    try:
        for activity in (0.0, 0.05, 0.5):
            x = (np.random.default_rng(0).random((12, 12, 12)) < activity).astype(np.float32)
            code, (y,) = program.entry("step", x)
            assert code == 0
            wanted, _ = Interpreter(graph).execute({"x": x[None] != 0}, {})
            np.testing.assert_allclose(y, next(iter(wanted.values()))[0], **CLOSE)
            cost[activity] = sum(n for k, n in program.by_symbol.items() if "_op" in k)
    finally:
        program.close()
    dense = MOST["dense"][1] * 64 * 64 * 300
    assert cost[0.0] < dense / 8
    assert cost[0.05] < dense / 3
    assert cost[0.0] < cost[0.05] < cost[0.5]


def test_windows_of_more_spikes_than_a_list_can_number_are_refused() -> None:
    b = GraphBuilder("huge")
    s = b.input("s", (2, 2**15 + 2), SPIKE)
    w = b.const("w", np.ones((1, 2, 2**15 + 1), np.float32))
    b.output(b.op("conv", s, w, stride=(1,), dilation=(1,)))
    with pytest.raises(UnsupportedError) as refused:
        compiled(lowered(b.build()))
    assert "65,536 spikes in one window" in refused.value.items[0]


class Network(torch.nn.Module):
    """Convolutions with batch norm, pools, groups and dilation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        conv = torch.nn.Conv2d
        self.first, self.norm = conv(1, 6, 3, padding=1), torch.nn.BatchNorm2d(6)
        self.second, self.depthwise = conv(6, 16, 3, stride=2), conv(16, 16, 3, groups=16, padding=1)
        self.last, self.read_out = conv(16, 8, 2, groups=2, dilation=2), torch.nn.Linear(8, 5)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.norm(self.first(x))), 2, padding=1)
        x = torch.nn.functional.gelu(self.depthwise(torch.relu(self.second(x))))
        return self.read_out(torch.nn.functional.adaptive_avg_pool2d(self.last(x), 1).flatten(1))


KERNELS = {
    "fp32": {"conv_dense_f32", "conv_wide_f32"},
    "w8": {"conv_dense_i8", "conv_wide_i8"},
    "int8": {"walk_i16"},
}


@pytest.mark.drawn(6)
@pytest.mark.parametrize("precision", KERNELS)
@pytest.mark.parametrize(
    "target", ["host", *(pytest.param(t, marks=pytest.mark.slow) for t in ("raspberrypi4", "smartwatch-m4"))]
)
def test_a_network_is_converted(target: str, precision: str) -> None:
    """The conversion replays its program against the reference; here it is compared with the module."""
    module, rng = Network().eval(), np.random.default_rng(0)
    windows = rng.normal(size=(48, 1, 12, 12)).astype(np.float32)
    made = edgekit.convert(
        module, torch.zeros(1, 1, 12, 12), target=target, precision=precision, calib=windows, name="network"
    )
    assert KERNELS[precision] <= {k["kernel"] for k in made.manifest["kernels"]}
    with torch.no_grad():
        exact = module(torch.from_numpy(windows)).numpy()
    got = real_outputs(made.graph, {made.graph.entries["step"].inputs[0]: windows[:, None]})[0][:, 0]
    off = np.abs(got.reshape(exact.shape) - exact).max() / np.abs(exact).max()
    assert off < {"fp32": 1e-5, "w8": 0.02, "int8": 0.02}[precision]
