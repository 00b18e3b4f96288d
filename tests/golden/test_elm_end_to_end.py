"""Published ELM neurons through `edgekit convert` and `edgekit run`, here and on emulated cores."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit.convert import Options, convert_file
from edgekit.reference import unpack_states
from edgekit.target import list_targets, load_target
from tools.golden import Golden, convert_and_run, read_golden

pytest.importorskip("torch")

FILES = (
    "elm_v1_branch_random_routing_2layer",
    "elm_v1_neuronio_best_elm_neuron",
    "elm_v1_neuronio_num_memory_1",
    "elm_v1_neuronio_num_memory_100",
    "elm_v1_neuronio_num_memory_15",
    "elm_v1_plain_har6",
    "elm_v2_branch_neuronio_routing",
    "elm_v2_plain_har6",
)
CORES = ("raspberrypi4",)  # Cortex-A72
EVERY = [t.name for t in map(load_target, list_targets()) if t.emulated_core and not t.is_bare]  # that have the room
EMULATED = EVERY if "EDGEKIT_SWEEPS" in os.environ else CORES  # make test-all takes every core
FAST_STEPS = 60  # in the emulator; a released neuron has 300
RELEASED = "elm_v1_neuronio_num_memory_100"


def golden_file(shared: Path, name: str) -> Golden:
    return read_golden(shared / "golden" / f"{name}.npz")


def converted(golden: Golden, **options: str) -> edgekit.Artifact:
    return convert_file(golden.path, Options(**options), config=golden.config).artifact


def check(golden: Golden, target: str, folder: Path) -> None:
    engine, y = convert_and_run(golden, target, folder)
    assert engine.startswith("native" if target == "host" else f"emulated {load_target(target).emulated_core}"), engine
    assert y.shape[:2] == golden.x.shape[:2]
    assert golden.error(y) <= golden.tolerance == 2e-5


@pytest.mark.drawn(3)
@pytest.mark.parametrize("name", FILES)
def test_outputs_are_those_of_the_file(shared, tmp_path, name):
    check(golden_file(shared, name), "host", tmp_path)


@pytest.mark.drawn(4)
@pytest.mark.parametrize("name", FILES)
def test_outputs_are_those_of_the_file_on_an_emulated_core(shared, tmp_path, name):
    check(golden_file(shared, name).part(1, FAST_STEPS), "raspberrypi4", tmp_path)


@pytest.mark.drawn(3)
@pytest.mark.slow
@pytest.mark.parametrize("target", EMULATED)
@pytest.mark.parametrize("name", FILES)
def test_every_step_of_every_file_on_emulated_cores(shared, tmp_path, name, target):
    check(golden_file(shared, name), target, tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_memories_and_branches_end_as_in_the_file(shared, name):
    golden = golden_file(shared, name)
    artifact = converted(golden)
    session = edgekit.load(artifact)
    with np.load(golden.path) as z:
        for sample, x in enumerate(golden.x):
            session.reset()
            session.run(x)
            states = unpack_states(artifact.graph, session.save_state())
            np.testing.assert_allclose(states["m"], z["memory"][sample, -1], rtol=2e-5, atol=2e-5)
            branch = z["branch"][sample, -1]
            filtered = states["b" if "b" in states else "s.sum" if "s.sum" in states else "s"]
            np.testing.assert_allclose(filtered.reshape(branch.size, -1).sum(1), branch, rtol=2e-5, atol=2e-5)


def test_a_released_neuron_has_a_filter_per_branch_and_a_sparse_matrix(shared):
    """4,500 synapse filters of one time constant: 45 branch filters, fed by the weights that are not zero."""
    golden = golden_file(shared, RELEASED)
    artifact = converted(golden)
    assert {s.tensor: s.init.shape for s in artifact.graph.states} == {"m": (100,), "s.sum": (45,)}
    sparse = [op for _, op in artifact.graph.ops() if op.attrs.get("form") == "sparse"]
    (weights,) = (artifact.graph.tensors[op.inputs[1]] for op in sparse)
    with np.load(golden.path) as z:
        connected = np.count_nonzero(z["sd.valid_indices_mask"] & (z["sd._proto_w_s"] > 0))
    assert np.count_nonzero(weights.data) == connected == 4096
    assert (weights.data >= 0).all()
    assert "concat" not in {op.kind for _, op in artifact.graph.ops()}
    assert any(k["kernel"].startswith("linear_sparse") for k in artifact.manifest["kernels"])


def test_unlike_time_constants_in_a_branch_keep_a_filter_per_synapse(shared):
    golden = golden_file(shared, "elm_v1_branch_random_routing_2layer")
    artifact = converted(golden)
    assert "s" in {s.tensor for s in artifact.graph.states}


def test_w8_of_a_released_neuron_stays_near_and_keeps_its_decays(shared):
    golden = golden_file(shared, RELEASED)
    artifact = converted(golden, precision="w8")
    y = edgekit.load(artifact).run(golden.x)
    assert np.abs(y - golden.expected).max() < 0.05 * np.abs(golden.expected).max()
    with np.load(golden.path) as z:
        kappa = z["kappa_m"].astype(np.float32)
    floats = [t.data for t in artifact.graph.consts.values() if t.dtype.is_float and t.shape == kappa.shape]
    # The last bit of torch's exp is another one on other processors; int8 would be a thousand times as coarse.
    assert any((np.abs(data - kappa) <= np.spacing(kappa)).all() for data in floats)
    stored = [t for t in artifact.graph.consts.values() if t.dtype.name == "int8"]
    assert {t.shape for t in stored} == {(45, 1278), (200, 45), (200, 100), (100, 200), (2, 100)}


@pytest.mark.slow
def test_released_weights_convert_in_five_seconds(shared, tmp_path):
    """In CPU time with all child processes, which other work on the machine does not lengthen as it does wall time.

    Torch and the compiler are warm; the weights are new, so that no finished build is found.
    """
    golden = golden_file(shared, RELEASED)
    converted(golden, target="raspberrypi4")
    with np.load(golden.path) as z:
        arrays = {name: z[name] for name in z.files}
    arrays["sd.w_y.bias"] = np.random.default_rng().normal(size=2).astype(np.float32)
    np.savez(tmp_path / "new.npz", **arrays)
    started = sum(os.times()[:4])
    converted(dataclasses.replace(golden, path=tmp_path / "new.npz"), target="raspberrypi4")
    assert sum(os.times()[:4]) - started < 5
