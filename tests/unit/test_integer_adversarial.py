"""What nobody should send, and what is sent for too long: NaN and Inf into `quantize`, full waves, endless silence.

All of it is defined (docs: the op table, the residue of a decay below, the certificate) and the same on every engine.

A decay `s <- floor(s·k/2^q + 1/2)` comes to rest where one step changes nothing: for a factor κ = k/2^q from above at
the largest s with s·(1-κ) <= 1/2, from below at the largest |s| with |s|·(1-κ) < 1/2. That is the residue of silence.
"""

from __future__ import annotations

import ctypes
from fractions import Fraction
from functools import lru_cache
from math import ceil, floor

import numpy as np
import pytest
from integer_engines import EMULATED, HOST, Library, build, machine_of
from integer_equality import same
from integer_families import family

from edgekit.errors import DataError
from edgekit.ir import INT8, INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.ranges import analyse, certificate
from edgekit.reference import unpack_states
from edgekit.runtime.streams import MachineStream, NativeStream, ReferenceStream, Stream

ENGINES = ("x86 simd", "x86 portable")
LONG, SHORT = 10**6, 10**4  # steps of silence: of C, and of the reference
CHUNK = 50_000
LIVELY = 300  # steps of full-scale input before the silence

# --- the programs ----------------------------------------------------------------------------------------------------

FACTORS = {
    INT8: (7, (0, 1, 64, 100, 120, 126, 127)),
    INT16: (15, (0, 1, 16384, 29491, 32440, 32700, 32735, 32750)),
    INT32: (31, (0, 1, 2**30, 2**31 - 2**28, 2**31 - 2**24, 2**31 - 2**23)),
}


def decays(dtype: DType) -> Graph:
    """One state for each factor, all driven by one input: s <- rescale(s, k) + x, saturating."""
    bits, factors = FACTORS[dtype]
    b = GraphBuilder(f"decay_{dtype}")
    x = b.input("x", (1,), INT8)
    s = b.state("s", np.zeros(len(factors)), dtype)
    drive = b.op("expand", b.op("cast", x, to=dtype.name), shape=(len(factors),))
    loud = b.const("loud", 2 ** (dtype.bits - 8), INT32)
    amplified = b.op("rescale", drive, loud, shift=0, to=dtype.name)
    decayed = b.op("rescale", s, b.const("k", factors, dtype), shift=bits, to=dtype.name)
    new = b.op("add", decayed, amplified, saturate=True)
    b.update("s", new)
    b.output(new)
    return run_passes(b.build(), LOWER)


def spiking(n: int = 33) -> Graph:
    """Leaky neurons with subtractive reset that excite and inhibit one another, and one that keeps all it gets."""
    rng, b = np.random.default_rng(3), GraphBuilder("spiking")
    x = b.input("x", (6,), INT16)
    v, last = b.state("v", np.zeros(n), INT16), b.state("last", np.zeros(n, bool), SPIKE)
    total = b.state("total", np.zeros(n), INT16)
    weights = b.const("w", rng.integers(-127, 128, (n, 6)), INT8)
    direct = b.op(
        "rescale", b.op("linear", x, weights, accumulate="int32"), b.const("q", 2**28, INT32), shift=36, to="int16"
    )
    recurrent = b.op("linear", last, b.const("r", rng.integers(-100, 90, (n, n)), INT8), accumulate="int16")
    kept = b.op("rescale", v, b.const("beta", rng.integers(20000, 32700, n), INT16), shift=15, to="int16")
    threshold = b.const("thr", 4000, INT16)
    back = b.op("where", last, threshold, b.const("nothing", 0, INT16))
    driven = b.op("add", b.op("add", kept, direct, saturate=True), recurrent, saturate=True)
    new = b.op("sub", driven, back, saturate=True)
    fired = b.op("gt", new, threshold)
    b.update("v", new)
    b.update("last", fired)
    much = b.op("where", fired, b.const("much", 1000, INT16), b.const("none", 0, INT16))
    b.update("total", b.op("add", total, much, saturate=True))  # beta = 1: saturates
    b.output(fired, new, total)
    return run_passes(b.build(), LOWER)


def memory(order: int = 6, theta: float = 60.0) -> Graph:
    """A Legendre memory in int16 with A and B in 16 bits, tanh by table."""
    i, j = np.meshgrid(np.arange(order), np.arange(order), indexing="ij")
    a = (2 * i + 1) / theta * np.where(i < j, -1.0, (-1.0) ** (i - j + 1))
    drive = (2 * i[:, 0] + 1) / theta * (-1.0) ** i[:, 0]
    discrete = np.linalg.matrix_power(np.eye(order) + a / 64, 64)
    step = np.linalg.solve(a, (discrete - np.eye(order)) @ drive)
    b = GraphBuilder("memory")
    x = b.input("x", (4,), INT16)
    m = b.state("m", np.zeros((4, order)), INT16)
    weights = b.const("a", np.round(discrete * 2**14), INT16), b.const("b", np.round(step[:, None] * 2**12), INT16)
    total = b.op("memory_update", m, weights[0], b.op("reshape", x, shape=(4, 1)), weights[1], accumulate="int32")
    new = b.op("rescale", total, b.const("q", 2**17, INT32), shift=31, to="int16")
    b.update("m", new)
    table = np.round(np.tanh(np.linspace(-4, 4, 257)) * 32767)
    b.output(b.op("lookup", new, b.const("tanh", table, INT16)), new)
    return run_passes(b.build(), LOWER)


NETS = {**{str(d): lambda d=d: decays(d) for d in FACTORS}, "spiking": spiking, "memory": memory}


def waves(graph: Graph, steps: int, period: int) -> list[np.ndarray]:
    """Full-scale square waves at both extremes."""
    arrays = []
    for name in graph.entries["step"].inputs:
        tensor = graph.tensors[name]
        low, high = tensor.dtype.limits
        up = (np.arange(steps) // period) % 2 == 0
        wave = np.where(up, high, low).reshape(-1, *(1 for _ in tensor.shape))
        arrays.append(np.broadcast_to(wave, (steps, *tensor.shape)).astype(graph.port_dtype(name)))
    return arrays


def silence(graph: Graph, steps: int) -> list[np.ndarray]:
    inputs = graph.entries["step"].inputs
    return [np.zeros((steps, *graph.tensors[n].shape), graph.port_dtype(n)) for n in inputs]


@pytest.fixture(scope="module")
def graphs() -> dict[str, Graph]:
    return {name: make() for name, make in NETS.items()}


@pytest.fixture(scope="module", params=ENGINES)
def library(request: pytest.FixtureRequest, graphs: dict[str, Graph]) -> Library:
    return Library(build(HOST[request.param], [*graphs.values(), *BORDERS.values()]))


# --- silence ---------------------------------------------------------------------------------------------------------


def rest(start: int, factor: int, bits: int) -> int:
    """Where a decay comes to rest, from the sentence at the top of this file."""
    gap = 1 - Fraction(factor, 2**bits)
    most = Fraction(1, 2) / gap
    return min(start, floor(most)) if start >= 0 else max(start, -(ceil(most) - 1))


@pytest.mark.drawn(2)
@pytest.mark.parametrize("dtype", FACTORS)
@pytest.mark.parametrize("positive", [True, False])
def test_a_decay_ends_at_the_documented_residue(dtype: DType, positive: bool) -> None:
    bits, factors = FACTORS[dtype]
    graph = decays(dtype)
    stream = ReferenceStream(graph)
    low, high = INT8.limits
    (driven,) = stream.run([np.full((40, 1), high if positive else low, np.int8)])
    (silent,) = stream.run(silence(graph, SHORT))
    assert (np.abs(driven[-1][1:].astype(np.int64)) > 2 ** (dtype.bits - 2)).all()
    assert silent[-1].tolist() == [rest(int(s), k, bits) for s, k in zip(driven[-1], factors, strict=True)]


def silent_end(stream: Stream, graph: Graph, period: int, steps: int) -> tuple[bytes, list[np.ndarray], np.ndarray]:
    """State before the silence's last chunk, its outputs, and the largest element of any output in the second half."""
    stream.run(waves(graph, LIVELY, period))
    largest = np.zeros(len(graph.entries["step"].outputs), np.int64)
    done, quiet = 0, silence(graph, min(CHUNK, steps))
    last: list[np.ndarray] = []
    while done < steps:
        last = stream.run([a[: steps - done] for a in quiet])
        done += len(last[0])
        if done > steps // 2:
            largest = np.maximum(largest, [int(np.abs(a.astype(np.int64)).max()) for a in last])
    return stream.save(), last, largest


@lru_cache
def short_end(name: str) -> bytes:
    """The reference's state after 10^4 steps of silence."""
    graph = NETS[name]()
    return silent_end(ReferenceStream(graph), graph, 7, SHORT)[0]


@pytest.mark.drawn(2)
@pytest.mark.parametrize("period", [1, 7, LIVELY])
@pytest.mark.parametrize("name", NETS)
def test_full_scale_waves_and_then_silence_are_byte_equal(
    name: str, period: int, graphs: dict[str, Graph], library: Library
) -> None:
    graph = graphs[name]
    reference, native = ReferenceStream(graph), library.stream(graph)
    for inputs in (waves(graph, LIVELY, period), silence(graph, 400), waves(graph, 60, period)):
        same(native.run(inputs), reference.run(inputs), graph.entries["step"].outputs, name)
        assert native.save() == reference.save()


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", NETS)
def test_a_million_silent_steps_end_where_ten_thousand_do(
    name: str, graphs: dict[str, Graph], library: Library
) -> None:
    graph = graphs[name]
    native, short = library.stream(graph), short_end(name)
    blob, outputs, largest = silent_end(native, graph, 7, LONG)
    assert blob == short, "the state drifts"
    for output, most in zip(outputs, largest, strict=True):
        assert (output == output[-1]).all(), "does not come to rest"
        assert most == np.abs(output[-1].astype(np.int64)).max()
    native.reset()
    assert native.save() == ReferenceStream(graph).save()


@pytest.mark.parametrize("name", [*map(str, FACTORS), "memory"])
def test_what_silence_leaves_is_in_the_certificate(name: str, graphs: dict[str, Graph], library: Library) -> None:
    """No state ends further from zero than its residue; the decays end at it."""
    graph = graphs[name]
    (row,) = certificate(analyse(graph), graph)["states"]
    blob, _, _ = silent_end(library.stream(graph), graph, LIVELY, LONG)
    most = int(np.abs(unpack_states(graph, blob)[row["tensor"]].astype(np.int64)).max())
    assert most <= row["residue"]
    if name != "memory":
        assert most == row["residue"]


SHIPPED = ("l2mu", "lmu", "elm")


@pytest.fixture(scope="module")
def shipped() -> dict[str, Library]:
    pytest.importorskip("torch")
    return {engine: Library(build(HOST[engine], [family(n).graph for n in SHIPPED])) for engine in ENGINES}


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_models_take_waves_and_a_million_silent_steps_alike(name: str, shipped: dict[str, Library]) -> None:
    """As the reference says, as far as it is asked; to the last step in the same state on either engine; in bounds."""
    graph = family(name).graph
    reference, streams = ReferenceStream(graph), [library.stream(graph) for library in shipped.values()]
    for inputs in (waves(graph, 100, 7), silence(graph, 200), waves(graph, 60, 1), silence(graph, 100)):
        wanted = reference.run(inputs)
        for stream in streams:
            same(stream.run(inputs), wanted, graph.entries["step"].outputs, name)
            assert stream.save() == reference.save()
    for stream in streams:
        for _ in range(LONG // CHUNK):
            stream.run(silence(graph, CHUNK))
    blobs = {stream.save() for stream in streams}
    assert len(blobs) == 1
    ranges, states = analyse(graph), unpack_states(graph, blobs.pop())
    for state, proof in ranges.states.items():
        assert (proof.lo <= states[state]).all()
        assert (states[state] <= proof.hi).all()


# --- every core ------------------------------------------------------------------------------------------------------


@pytest.mark.drawn(4)
@pytest.mark.parametrize("core", EMULATED)
def test_waves_silence_and_the_border_are_byte_equal_on_emulated_cores(core: str, graphs: dict[str, Graph]) -> None:
    if not EMULATED[core].there:
        pytest.skip(f"the compiler or the emulator of {core} is not installed")
    with machine_of(EMULATED[core], [*graphs.values(), *BORDERS.values()]) as machine:
        for name, graph in graphs.items():
            stream, reference = MachineStream(graph, machine, core), ReferenceStream(graph)
            for inputs in (waves(graph, 100, 7), silence(graph, 300), waves(graph, 40, 1)):
                same(stream.run(inputs), reference.run(inputs), graph.entries["step"].outputs, f"{name} on {core}")
                assert stream.save() == reference.save(), f"{name} on {core}"
        for graph in BORDERS.values():
            stream, reference = MachineStream(graph, machine, core), ReferenceStream(graph)
            for shift in range(3):
                raw = np.roll(BATTERY, 7 * shift)
                (stored,) = reference.call("quantize", [raw])
                same(stream.call("quantize", [raw]), [stored], ("quantize",), core)
                same(stream.call("dequantize", [stored]), reference.call("dequantize", [stored]), ("back",), core)
                counted = machine.call(f"ek_{graph.name}_nonfinite", [stream._struct], count=False).value
                assert counted == 4 * (shift + 1)


# --- the border ------------------------------------------------------------------------------------------------------

NOT_FINITE = np.array([np.nan, -np.nan, np.inf, -np.inf], np.float32)
TINY = np.array([1e-45, -1e-45, 1.1754942e-38, -1.1754942e-38, 1e-39, -0.0, 0.0], np.float32)
HUGE = np.array([3.4028235e38, -3.4028235e38, 1e20, -1e20, 65536.0, -65536.0], np.float32)
HALVES = np.array([0.5, -0.5, 1.5, -1.5, 126.5, 127.49, 127.5, -128.5, -128.51, 32766.5, 32767.5, -32768.5], np.float32)
BATTERY = np.concatenate([NOT_FINITE, TINY, HUGE, HALVES])


def border(dtype: DType, offset: float, gain: float) -> Graph:
    """A program that hands its input on; `quantize` and `dequantize` around it."""
    b = GraphBuilder(f"border_{dtype}_{'plain' if gain == 1 else 'scaled'}")
    x = b.input("x", (BATTERY.size,), dtype)
    b.output(b.op("maximum", x, b.const("low", dtype.limits[0], dtype)))
    b.entry("quantize")
    raw = b.input("x.raw", (BATTERY.size,))
    b.output(b.op("quantize", raw, b.const("offset", offset), b.const("gain", gain), to=dtype.name))
    b.entry("dequantize")
    stored = b.input("y.stored", (BATTERY.size,), dtype)
    b.output(b.op("dequantize", stored, b.const("scale", np.float32(1 / gain))))
    return run_passes(b.build(), LOWER)


BORDERS = {
    (d, style): border(d, *values)
    for d in (INT8, INT16)
    for style, values in {"plain": (0.0, 1.0), "scaled": (1.25, 3.0e3)}.items()
}


@pytest.mark.parametrize("dtype", [INT8, INT16])
def test_what_is_no_number_becomes_zero_and_what_is_too_large_the_end(dtype: DType) -> None:
    low, high = dtype.limits
    stream = ReferenceStream(BORDERS[dtype, "plain"])
    (stored,) = stream.call("quantize", [BATTERY])
    assert stored.dtype == dtype.numpy
    assert stored[:4].tolist() == [0, 0, high, low]
    assert stored[4 : 4 + TINY.size].tolist() == [0] * TINY.size
    assert stored[11 : 11 + HUGE.size].tolist() == [high, low] * 3
    exact = [min(max(floor(Fraction(float(v)) + Fraction(1, 2)), low), high) for v in HALVES]
    assert stored[17:].tolist() == exact
    (back,) = stream.call("dequantize", [stored])
    assert np.isfinite(back).all()


@pytest.mark.parametrize("style", ["plain", "scaled"])
@pytest.mark.parametrize("dtype", [INT8, INT16])
def test_the_border_is_byte_equal_and_counts_what_is_not_finite(dtype: DType, style: str, library: Library) -> None:
    graph = BORDERS[dtype, style]
    native, reference = library.stream(graph), ReferenceStream(graph)
    before = native.save()
    for shift in range(5):
        raw = np.roll(BATTERY, 7 * shift)
        (stored,) = reference.call("quantize", [raw])
        same(native.call("quantize", [raw]), [stored], ("quantize",), style)
        same(native.call("dequantize", [stored]), reference.call("dequantize", [stored]), ("dequantize",), style)
        assert nonfinite(native, graph, library) == 4 * (shift + 1)
    assert native.save() == before


def nonfinite(stream: NativeStream, graph: Graph, library: Library) -> int:
    """How many NaN and Inf a stream's program has seen."""
    function = library.handle[f"ek_{graph.name}_nonfinite"]
    function.restype = ctypes.c_uint32
    return int(function(stream._struct))


def test_a_step_takes_no_value_that_its_dtype_cannot_hold() -> None:
    graph = BORDERS[INT8, "plain"]
    stream = ReferenceStream(graph)
    for wrong in (128.0, -129.0, 0.5, np.nan, np.inf):
        with pytest.raises(DataError, match="takes stored integers"):
            stream.call("step", [np.full(BATTERY.size, wrong)])
