"""Every width of a program on every kind of core: the reference's bytes, the same functions, and the C interface."""

from __future__ import annotations

import ctypes
import dataclasses
import re

import numpy as np
import pytest
from integer_engines import CORES, EMULATED
from nested_models import WIDTHS, converted, raw

from edgekit.ir import GraphBuilder
from edgekit.ir.plan import LANES, buffer_bytes
from edgekit.ir.widths import at_width
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime.build import build_program, emitted_for
from edgekit.runtime.codec import Codec
from edgekit.runtime.firmware import firmware_result, with_selftest
from edgekit.runtime.load import program_stream, rebuild
from edgekit.runtime.streams import NativeStream, ReferenceStream
from edgekit.target import load_target
from edgekit.toolchain import Emulator

TARGETS = {core: target for target, core in CORES.items()} | {"M55": "smartwatch-m55"}
ON = ("A72", "A7", "M4", "M33", "M55")
STEPS = 24


def stored(family: str) -> list[np.ndarray]:
    return Codec(converted(family).artifact.graph).quantize([raw(family, STEPS)])


@pytest.mark.drawn(5)
@pytest.mark.parametrize("core", ON)
@pytest.mark.parametrize("family", ["mlp", "lmu", "l2mu", "elm"])
def test_every_width_gives_the_bytes_of_the_reference(family: str, core: str) -> None:
    if not EMULATED[core].there:
        pytest.skip(f"the compiler or the emulator of {core} is not installed")
    graph, given, target = converted(family).artifact.graph, stored(family), load_target(TARGETS[core])
    program = build_program(graph, target)
    for width in WIDTHS:
        stream, wanted = program_stream(graph, program, target, width), ReferenceStream(graph, width)
        for part in (slice(0, 10), slice(10, None)):
            (got,), (expected,) = stream.run([given[0][part]]), wanted.run([given[0][part]])
            assert got.tobytes() == expected.tobytes()
        assert stream.save() == wanted.save()
        stream.reset()
        wanted.reset()
        assert stream.call("step", [given[0][0]])[0].tobytes() == wanted.call("step", [given[0][0]])[0].tobytes()
        assert stream.save() == wanted.save()


@pytest.mark.parametrize("family", ["lmu", "l2mu"])
def test_every_width_of_a_float_program(family: str) -> None:
    graph = converted(family, precision="fp32").artifact.graph
    program = rebuild(graph, "here")
    for width in WIDTHS:
        stream, wanted = NativeStream(program, width), ReferenceStream(graph, width)
        np.testing.assert_allclose(
            stream.run([raw(family, STEPS)])[0], wanted.run([raw(family, STEPS)])[0], rtol=1e-4, atol=1e-4
        )
        bad = raw(family, 2)
        bad[1, 0] = np.nan
        before = stream.save()
        with pytest.raises(Exception, match="NaN"):
            stream.run([bad])
        assert stream.save() == before


def test_the_width_is_chosen_when_a_model_is_initialised() -> None:
    graph = converted("lmu").artifact.graph
    program = rebuild(graph, "here")
    stream, given = NativeStream(program), stored("lmu")
    init_width, width = program.function("init_width"), ctypes.c_uint32
    assert init_width(stream.struct, width(30)) == 3  # it has no such width, and nothing has changed
    assert stream.run(given)[0].tobytes() == ReferenceStream(graph).run(given)[0].tobytes()
    assert init_width(stream.struct, width(25)) == 0
    narrow = ReferenceStream(graph, 25).run(given)[0].tobytes()
    assert stream.run(given)[0].tobytes() == narrow
    stream.reset()  # keeps the width
    assert stream.run(given)[0].tobytes() == narrow
    assert init_width(stream.struct, width(100)) == 0
    assert stream.run(given)[0].tobytes() == ReferenceStream(graph).run(given)[0].tobytes()
    assert init_width(stream.struct, width(50)) == 0
    assert program.function("init")(stream.struct) == 0  # the whole width
    assert stream.run(given)[0].tobytes() == ReferenceStream(graph).run(given)[0].tobytes()


@pytest.mark.drawn(3)
@pytest.mark.parametrize("target", ["smartwatch-m4", "smartwatch-m55", "raspberrypi4"])
@pytest.mark.parametrize("family", ["mlp", "lmu", "l2mu"])
def test_widths_share_weights_functions_and_memory(family: str, target: str) -> None:
    graph = converted(family).artifact.graph
    program, plan = emitted_for(graph, load_target(target))
    full, _ = emitted_for(at_width(graph, 100), load_target(target))
    corrected = sum(name.startswith("step_") for name in graph.consts)  # biases without what a width lacks
    assert full.const_bytes <= program.const_bytes <= 1.1 * full.const_bytes
    assert plan.arena_bytes == plan_memory(at_width(graph, 100), align=plan.align, lanes=plan.lanes).arena_bytes
    source = program.files[program.main]
    own = re.findall(r"^static EK_NOINLINE void \w+_step_(?:25|50)_(op\d+_\w+)", source, re.MULTILINE)
    shared = re.findall(r"^#define \w+_step_(?:25|50)_op\d+_\w+ \w+_step_op\d+_\w+", source, re.MULTILINE)
    assert len(own) <= corrected + 3
    assert len(shared) > 3 * len(own)


def test_a_plan_that_would_write_over_what_is_needed_is_not_shared() -> None:
    """A width that reads a value later than the full step does cannot have its places."""
    b = GraphBuilder("late")
    w = b.const("w", np.eye(4, dtype=np.float32))

    def entry(x: str, late: bool) -> None:
        other = () if late else (b.op("tanh", x),)
        a = b.op("linear", x, w)
        c = b.op("tanh", b.op("linear", a, w))
        b.output(*(other or (a,)), b.op("linear", c, w))

    entry(b.input("x", (4,)), late=False)
    b.entry("step_50")
    entry(b.input("x50", (4,)), late=True)
    graph = b.build()
    plan = plan_memory(graph)
    narrow = graph.entries["step_50"]
    places = [plan.buffers["step_50"][name] for name in narrow.outputs]
    size = buffer_bytes(graph.tensors[narrow.outputs[0]], LANES)
    assert abs(places[0].offset - places[1].offset) >= size


def test_firmware_tests_itself_at_every_width() -> None:
    target, artifact = load_target("smartwatch-m4"), converted("mlp").artifact
    graph, selftest = artifact.graph, artifact.selftest
    right = with_selftest(graph, build_program(graph, target), selftest, target)
    with Emulator(right.library, target) as emulator:
        assert emulator.call("main").value == 0
        assert firmware_result(emulator, graph).passed
    (name,) = [n for n in graph.consts if n.startswith("step_25.") and n.endswith("y/bias")]
    bias = graph.tensors[name]
    wrong = dataclasses.replace(bias, data=bias.data + 2**16)
    other = build_program(graph.replace(tensors={**graph.tensors, name: wrong}), target)
    with Emulator(with_selftest(graph, other, selftest, target).library, target) as emulator:
        assert emulator.call("main").value == 1
        found = firmware_result(emulator, graph)
    assert (found.passed, found.steps, found.output) == (False, 0, "y")
