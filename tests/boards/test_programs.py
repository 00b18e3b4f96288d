"""Whole programs on every target that has an emulated core: the target's machine code against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from graph_samples import busy_graph
from images import second_emulator

from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.runtime.build import build_program
from edgekit.runtime.streams import MachineStream, ReferenceStream
from edgekit.target import list_targets, load_target
from edgekit.toolchain import emulator_for

EMULATED = [name for name in list_targets() if load_target(name).emulated_core]
STEPS = 120


@pytest.fixture(scope="module", params=EMULATED)
def target(request):
    return load_target(request.param)


@pytest.fixture(scope="module")
def graph():
    return run_passes(run_passes(busy_graph(), OPTIMISE), LOWER)


@pytest.fixture(scope="module")
def program(graph, target):
    return build_program(graph, target)


@pytest.fixture(scope="module")
def stimulus():
    return np.random.default_rng(0).normal(size=(STEPS, 3)).astype(np.float32)


@pytest.fixture(params=[emulator_for, second_emulator], ids=["emulator", "qemu"])
def machine(request, program, target):
    with request.param(target)(program.library, target) as machine:
        yield machine


@pytest.mark.drawn(3)
def test_outputs_and_states_are_those_of_the_reference(machine, graph, stimulus):
    stream, reference = MachineStream(graph, machine, "emulated"), ReferenceStream(graph)
    for got, expected in zip(stream.run([stimulus]), reference.run([stimulus]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert len(stream.save()) == len(reference.save())


@pytest.mark.drawn(2)
def test_one_run_is_many_steps_and_a_restored_state_goes_on(machine, graph, stimulus):
    stream = MachineStream(graph, machine, "emulated")
    whole = stream.run([stimulus])
    other = stream.fork()
    parts = [other.call("step", [x]) for x in stimulus[: STEPS // 2]]
    blob = other.save()
    other.reset()
    other.restore(blob)
    parts += [other.call("step", [x]) for x in stimulus[STEPS // 2 :]]
    for at, output in enumerate(whole):
        assert np.stack([part[at] for part in parts]).tobytes() == output.tobytes()
    assert other.save() == stream.save()


def test_every_instruction_of_a_step_belongs_to_an_op(graph, program, target):
    with emulator_for(target)(program.library, target) as emulator:
        struct = emulator.alloc(emulator.call("ek_tiny_sizeof").value)
        x, y, peak = (emulator.alloc(64) for _ in range(3))
        emulator.call("ek_tiny_init", [struct])
        result = emulator.call("ek_tiny_step", [struct, x, y, peak], watch="ek_tiny_step")
    assert result.value == 0
    called = [row.callee for row in result.by_call]
    for choice in program.kernels:
        assert any(choice.kernel in name for name in called), f"{choice.op}: no call of {choice.kernel}"
    inside = sum(row.instructions for row in result.by_call)
    assert result.instructions == inside + result.by_symbol["ek_tiny_step"]
