"""Published LMUs through `edgekit convert` and `edgekit run`, here and on emulated cores, to the last step."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgekit  # noqa: E402
from edgekit import models  # noqa: E402
from edgekit.convert import Options, convert_file  # noqa: E402
from edgekit.reference import unpack_states  # noqa: E402
from edgekit.target import list_targets, load_target  # noqa: E402
from tools.golden import Golden, convert_and_run, read_golden  # noqa: E402

FILES = ("lmu_braille_ann_har6", "lmu_psmnist_dims", "lmu_small_multi")
CORES = ("raspberrypi4",)  # Cortex-A72
EVERY = [t.name for t in map(load_target, list_targets()) if t.emulated_core and not t.is_bare]  # that have the room
EMULATED = EVERY if "EDGEKIT_SWEEPS" in os.environ else CORES  # make test-all takes every core
FAST_STEPS = 60  # in the emulator; psMNIST has 784
PAIRS = [(1, 4), (2, 20), (4, 7), (6, 40), (7, 10), (8, 20), (12, 40), (32, 40)]


def golden_file(shared: Path, name: str) -> Golden:
    return read_golden(shared / "golden" / f"{name}.npz")


def check(golden: Golden, target: str, folder: Path) -> None:
    engine, y = convert_and_run(golden, target, folder)
    assert engine.startswith("native" if target == "host" else f"emulated {load_target(target).emulated_core}"), engine
    assert golden.error(y) <= golden.tolerance == 1e-5


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", FILES)
def test_outputs_are_those_of_the_file(shared, tmp_path, name):
    check(golden_file(shared, name), "host", tmp_path)


@pytest.mark.drawn(2)
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
def test_memory_and_hidden_state_end_as_in_the_file(shared, name):
    golden = golden_file(shared, name)
    artifact = convert_file(golden.path, Options()).artifact
    session = edgekit.load(artifact)
    with np.load(golden.path) as z:
        last = (z["m_last"], z["h_last"]) if "m_last" in z else (z["m"][-1], z["h"][-1])
    for sample, x in enumerate(golden.x):
        session.reset()
        session.run(x)
        states = unpack_states(artifact.graph, session.save_state())
        for name_, expected in zip("mh", last, strict=True):
            np.testing.assert_allclose(states[name_].reshape(-1), expected[sample], rtol=1e-5, atol=1e-5)


def kernels(artifact: edgekit.Artifact) -> set[str]:
    return {k["kernel"] for k in artifact.manifest["kernels"]}


@pytest.mark.drawn(6)
@pytest.mark.parametrize("method", ["zoh", "euler"])
@pytest.mark.parametrize(("order", "theta"), PAIRS, ids=str)
def test_the_tables_of_a_and_b_as_a_memory_of_two_channels(shared, tmp_path, order, theta, method):
    """A state dict with A and B of the table, against the equations in double precision."""
    rng = np.random.default_rng(order)
    with np.load(shared / "golden" / "lmu_AB_tables.npz") as z:
        a, b = (z[f"{method}_{letter}_d{order}_th{theta}"] for letter in "AB")
    shapes = {"e_x": (2, 3), "e_h": (2, 5), "e_m": (2, 2 * order), "W_x": (5, 3), "W_h": (5, 5), "W_m": (5, 2 * order)}
    weights = {n: rng.normal(scale=0.1, size=shape).astype(np.float32) for n, shape in shapes.items()}
    weights |= {"A": a.astype(np.float32), "B": b.astype(np.float32)}
    path = tmp_path / "table.npz"
    np.savez(path, **{f"{n}.weight": w for n, w in weights.items()})
    x = rng.normal(size=(1, 40, 3)).astype(np.float32)
    y = edgekit.load(convert_file(path, Options()).artifact).run(x)
    exact = {n: w.astype(np.float64) for n, w in weights.items()}
    m, h = np.zeros((2, order)), np.zeros(5)
    growth = 1.0
    for t in range(40):
        u = exact["e_x"] @ x[0, t] + exact["e_h"] @ h + exact["e_m"] @ m.reshape(-1)
        m = m @ exact["A"].T + u[:, None] * exact["B"][:, 0]
        h = np.tanh(exact["W_x"] @ x[0, t] + exact["W_h"] @ h + exact["W_m"] @ m.reshape(-1))
        growth = max(growth, float(np.abs(m).max()))
        assert np.abs(y[0, t] - h).max() <= 1e-5 * growth  # Euler is unstable where theta is small against the order


def lmu(order: int, theta: float, method: str) -> models.LMU:
    torch.manual_seed(0)
    return models.LMU(inputs=1, hidden=24, memory=1, order=order, theta=theta, discretisation=method).eval()


@pytest.mark.parametrize("target", ["host", "raspberrypi4"])
def test_an_euler_memory_of_order_256_runs_as_two_running_sums(tmp_path, target):
    module, folder = lmu(256, 16384.0, "euler"), tmp_path
    edgekit.save(module, folder / "lmu.pt")
    x = np.random.default_rng(0).normal(size=(1, 784 if target == "host" else 100, 1)).astype(np.float32)
    with torch.no_grad():
        expected = copy.deepcopy(module).double()(torch.from_numpy(x).double()).numpy()
    golden = Golden(folder / "lmu.pt", x, expected, np.arange(x.shape[1]), 1e-5)
    check(golden, target, folder)
    artifact = edgekit.load(folder / f"lmu.{target}.edge").artifact
    assert "cumsum_f32" in kernels(artifact)
    assert max(t.size for t in artifact.graph.consts.values()) < 256 * 256


def test_a_zero_order_hold_of_order_256_keeps_its_matrix():
    artifact = edgekit.convert(lmu(256, 784.0, "zoh"))
    assert "cumsum_f32" not in kernels(artifact)
    assert (256, 256) in {t.shape for t in artifact.graph.consts.values()}


def test_w8_keeps_the_memory_of_one_channel_in_float32():
    artifact = edgekit.convert(lmu(32, 64.0, "zoh"), precision="w8")
    matrices = {t.shape: t.dtype.name for t in artifact.graph.consts.values() if len(t.shape) == 2}
    assert matrices[32, 32] == "float32"
    assert matrices[24, 24] == matrices[24, 32] == "int8"
