"""Converted models on every target that has an emulated core: outputs of the reference, and counts that repeat."""

from __future__ import annotations

import numpy as np
import pytest
from converted import artifact, edgekit_main, stream
from images import second_emulator

import edgekit
from edgekit.artifact import Artifact
from edgekit.errors import UsageError
from edgekit.profile.counts import count_steps
from edgekit.target import list_targets, load_target

pytestmark = pytest.mark.drawn(2)
EMULATED = [name for name in list_targets() if load_target(name).emulated_core]
STEPS = 100


@pytest.fixture(scope="module", params=EMULATED)
def target(request):
    return load_target(request.param)


@pytest.fixture(scope="module", params=["mlp", "l2mu"])
def family(request):
    return request.param


@pytest.fixture(scope="module")
def converted(family, target):
    return artifact(family, target=target.name)


def run(converted: Artifact, engine: str) -> np.ndarray:
    return edgekit.load(converted, engine=engine).run(stream(STEPS))


@pytest.mark.drawn(3)
def test_the_emulated_core_and_the_reference_agree(converted, target, family):
    session = edgekit.load(converted, engine="emulator")
    assert target.emulated_core in session.engine
    outputs, expected = session.run(stream(STEPS)), run(converted, "reference")
    assert outputs.shape == expected.shape
    if family == "l2mu":
        assert np.array_equal(outputs, expected)  # spikes
        assert 0 < expected.mean() < 1
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.drawn(2)
def test_two_independent_emulators_agree_on_every_bit(converted, target):
    second_emulator(target)
    assert run(converted, "qemu").tobytes() == run(converted, "emulator").tobytes()


@pytest.mark.parametrize("name", ["raspberrypi5", "stm32mp157"])
def test_the_command_line_runs_either_emulator(name, tmp_path):
    target = load_target(name)
    second_emulator(target)
    np.save(tmp_path / "x.npy", stream(3))
    file = artifact("mlp", target=name).save(tmp_path / "m.edge")
    for engine, options in {"unicorn": ["--on", "emulator"], "qemu-user": ["--engine", "qemu"]}.items():
        answer = edgekit_main("run", file, "-i", tmp_path / "x.npy", "-o", tmp_path / f"{engine}.npy", *options)
        assert answer.returncode == 0, answer.stderr
        assert f"emulated {target.emulated_core}" in answer.stdout
        assert engine in answer.stdout
        assert ("per step (emulated, exact)" in answer.stdout) == (engine == "unicorn")
    assert (tmp_path / "unicorn.npy").read_bytes() == (tmp_path / "qemu-user.npy").read_bytes()


@pytest.mark.drawn(3)
def test_instructions_are_counted_and_repeat(converted, target):
    costs = count_steps(converted)
    assert costs == count_steps(converted)
    assert target.emulated_core in costs.core
    assert costs.total == pytest.approx(sum(op.instructions for op in costs.ops), rel=0.1)
    assert costs.total > sum(op.instructions for op in costs.ops) > 0


def test_an_artifact_of_a_board_does_not_run_natively_here(converted, target):
    if load_target("host").arch == target.arch:
        pytest.skip("this computer has the architecture of the board")
    with pytest.raises(UsageError, match=f"its library is for {target.arch}, this computer is"):
        edgekit.load(converted, engine="native")
