"""Constants in entropy-coded form: what init decodes is what the kernels would have found in flash, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from images import build_image
from integer_engines import EMULATED, HOST, MAIN, Engine, Library, merged
from integer_equality import check, reference_of
from integer_forms import spiking

from edgekit.artifact.entropy import coded as coded_bytes
from edgekit.backends.c import emit
from edgekit.backends.c.coding import LEAST
from edgekit.compress.quantize import quantize_weights_int8
from edgekit.convert.capacity import check_capacity, coding_note
from edgekit.convert.options import Options, check_options
from edgekit.errors import CapacityError, UsageError
from edgekit.ir import INT4, INT8, INT16, DType, Graph, GraphBuilder
from edgekit.ir.plan import LANES
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime import program_stream
from edgekit.runtime.build import build_program, emitted_for
from edgekit.runtime.streams import MachineStream, Stream
from edgekit.target import load_target

ENGINES = {**HOST, **EMULATED}
TIMEOUT_S = 120.0
ARRAY = 4096


def skewed(rng: np.random.Generator, shape: tuple[int, int], spread: float, dtype: DType) -> np.ndarray:
    """Weights that are small more often than large."""
    return np.clip(np.round(rng.normal(0, spread, shape)), *dtype.limits).astype(dtype.numpy)


def dense() -> Graph:
    """Matrices of every width: small weights, nibbles, int16, one of runs of zeros, one of two kinds of rows."""
    rng, b = np.random.default_rng(7), GraphBuilder("coded_dense")
    x = b.input("x", (96,), INT16)
    mostly = skewed(rng, (40, 96), 20, INT8) * (np.arange(96) // 12 % 4 == 0).astype(np.int8)
    kinds = skewed(rng, (40, 96), 1, INT8) * np.where(np.arange(40) // 8 % 2, 1, 31)[:, None].astype(np.int8)
    for name, weights, dtype in (
        ("small", skewed(rng, (40, 96), 4, INT8), INT8),
        ("nibbles", skewed(rng, (40, 96), 1.5, INT4), INT4),
        ("wide", skewed(rng, (40, 96), 300, INT16), INT16),
        ("zeros", mostly, INT8),
        ("kinds", kinds, INT8),
    ):
        b.output(b.op("linear", x, b.const(name, weights, dtype), accumulate="int32"))
    return run_passes(b.build(), LOWER)


def arrays() -> Graph:
    """Constants that every layout takes as they are, each for a form of its own."""
    rng, b = np.random.default_rng(8), GraphBuilder("coded_arrays")
    inputs = {dtype: b.input(f"x_{dtype}", (ARRAY,), dtype) for dtype in (INT8, INT16)}
    flat = (1, ARRAY)
    halves = skewed(rng, flat, 1.5, INT4) & 15 | skewed(rng, flat, 1.5, INT4) << 4
    wide = np.repeat(rng.random(ARRAY // 16) < 0.5, 16)
    for name, values, dtype in (
        ("small", skewed(rng, flat, 4, INT8), INT8),
        ("halves", halves.astype(np.int8), INT8),
        ("runs", skewed(rng, flat, 20, INT8) * (np.arange(ARRAY) // 12 % 4 == 0), INT8),
        ("kinds", np.where(wide, skewed(rng, flat, 30, INT8), skewed(rng, flat, 1, INT8)), INT8),
        ("wide", skewed(rng, flat, 300, INT16), INT16),
    ):
        constant = b.const(name, values[0].astype(dtype.numpy), dtype)
        b.output(b.op("add", inputs[dtype], constant, saturate=True))
    return run_passes(b.build(), LOWER)


@contextmanager
def streams(engine: Engine, graphs: Sequence[Graph]) -> Iterator[Callable[[Graph], Stream]]:
    """A function that gives a fresh stream of any of the graphs, whose constants are coded."""
    target = load_target(engine.target)
    files = merged([emitted_for(g, target, coded=True)[0] for g in graphs])
    image = build_image(files, MAIN, target, compiler=engine.compiler, extra_flags=engine.flags)
    if engine.name in HOST:
        yield Library(image).stream
        return
    with engine.machine(image, target, timeout_s=TIMEOUT_S) as machine:
        yield lambda graph: MachineStream(graph, machine, engine.name)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", ["x86 simd", "A72", "M4", "M33", "M55"])
def test_decoded_programs_are_byte_equal(name: str) -> None:
    engine = ENGINES[name]
    if not engine.there:
        pytest.skip(f"the compiler or the emulator of {name} is not installed")
    graphs = [arrays(), dense(), spiking(72, 40, INT8), spiking(33, 64, INT16)]
    for graph in graphs:
        made, _ = emitted_for(graph, load_target(engine.target), coded=True)
        plain, _ = emitted_for(graph, load_target(engine.target))
        assert 0 < made.coded_bytes <= made.const_bytes < plain.const_bytes
        assert made.struct_bytes == plain.struct_bytes + made.decoded_bytes
        assert made.decoded_bytes > made.coded_bytes
        assert made.blob_bytes == plain.blob_bytes
    with streams(engine, graphs) as stream:
        for at, graph in enumerate(graphs):
            check(stream(graph), reference_of(graph, at, 26), f"{graph.name} on {name}")


@pytest.mark.parametrize("name", ["host", "smartwatch-m4", "smartwatch-m55"])
def test_every_form_of_the_code_is_decoded(name: str) -> None:
    """Bytes and half bytes, elements of one and of two bytes, tables of their own after zeros, in spans, or none."""
    program = emitted_for(arrays(), load_target(name), coded=True)[0]
    pattern = r"ek_decode\(\(uint8_t \*\)m->decoded\d+, \d+u, \w+, \d+u, (\d)u, (\d)u, (\d+)u, (\d+)u\)"
    calls = re.findall(pattern, program.files[program.main])
    planes, zeros, middle, spans = (set(column) for column in zip(*calls, strict=True))
    assert planes == {"1", "2"}
    assert zeros == {"0", "1"}
    assert middle == {"8", "128"}
    assert len(spans) > 1


def test_int8_weights_of_float_programs_are_coded_too() -> None:
    rng, b = np.random.default_rng(3), GraphBuilder("coded_w8")
    weights = rng.standard_normal((64, 80)).astype(np.float32) ** 3
    b.output(b.op("linear", b.input("x", (80,)), b.const("w", weights), b.const("c", np.ones(64, np.float32))))
    graph = run_passes(quantize_weights_int8(b.build()), LOWER)
    target, inputs = load_target("host"), [rng.standard_normal((9, 80)).astype(np.float32)]
    outputs = []
    for coded in (False, True):
        built = build_program(graph, target, coded=coded)
        assert (built.coded_bytes > 0) == (built.decoded_bytes > 0) == coded
        outputs.append(program_stream(graph, built, target).run(inputs)[0])
    assert outputs[0].tobytes() == outputs[1].tobytes()


def test_floats_and_short_arrays_stay_as_they_are() -> None:
    b = GraphBuilder("coded_none")
    b.output(b.op("linear", b.input("x", (80,)), b.const("w", np.zeros((64, 80), np.float32))))
    made = emit(graph := run_passes(b.build(), LOWER), plan_memory(graph), coded=True)
    assert (made.coded_bytes, made.decoded_bytes) == (0, 0)
    b = GraphBuilder("coded_one")
    large, short = ((np.arange(size) % 64 == 0).astype(np.int8) for size in (ARRAY, LEAST - LANES))
    for name, values in (("large", large), ("short", short)):
        x = b.input(f"x_{name}", values.shape, INT8)
        b.output(b.op("add", x, b.const(name, values, INT8), saturate=True))
    made = emit(graph := run_passes(b.build(), LOWER), plan_memory(graph), coded=True)
    assert made.decoded_bytes == large.nbytes
    assert 0 < made.coded_bytes < ARRAY / 4


def test_what_saves_less_than_its_code_takes_is_not_coded() -> None:
    rng, b = np.random.default_rng(5), GraphBuilder("coded_little")
    weights = skewed(rng, (30, 100), 20, INT8)
    block = coded_bytes(weights.view(np.uint8).reshape(-1))
    assert block is not None
    assert 100 < weights.size - 2 * block.words.size < 650  # of which the tables take some
    b.output(b.op("linear", b.input("x", (100,), INT8), b.const("w", weights, INT8), accumulate="int32"))
    graph = run_passes(b.build(), LOWER)
    coded, plain = (emitted_for(graph, load_target("smartwatch-m33"), coded=coded)[0] for coded in (True, False))
    assert (coded.coded_bytes, coded.decoded_bytes) == (0, 0)
    assert coded.files == plain.files


def test_what_does_not_fit_the_ram_of_a_target_is_refused() -> None:
    target = load_target("smartwatch-m33")
    built = build_program(dense(), target, coded=True)
    small = replace(target, ram_bytes=built.struct_bytes - 4)
    with pytest.raises(CapacityError, match=r"RAM: .*required.*available") as refused:
        check_capacity(small, built)
    assert "no --flash-coding" in str(refused.value)
    check_capacity(replace(small, ram_bytes=built.struct_bytes), built)
    assert f"{built.decoded_bytes:,} of RAM" in coding_note(built, None)


def test_floats_have_nothing_to_code() -> None:
    with pytest.raises(UsageError, match="--flash-coding"):
        check_options(Options(precision="fp32", flash_coding=True))
