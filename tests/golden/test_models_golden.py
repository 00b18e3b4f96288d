"""The authors' L2MU, LMU and ELM, weight for weight: spikes exactly equal, float values within a stated tolerance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgekit import models  # noqa: E402
from edgekit.errors import ModelError  # noqa: E402
from edgekit.models.legendre import discretise  # noqa: E402

STREAMS = (
    "l2mu_leaky_braille7_dims",
    "l2mu_leaky_har6",
    "l2mu_leaky_perneuron",
    "l2mu_leaky_small",
    "l2mu_synaptic_har6",
    "l2mu_synaptic_small",
)
LETTERS = {"u": "u", "m": "m", "h": "h", "output": "o"}
MEMBRANE_TOLERANCE = 1e-4


def _trace(path: Path, x: np.ndarray[Any, Any]) -> tuple[Any, dict[str, np.ndarray[Any, Any]]]:
    model, assumed = models.open_model(path)
    assert assumed["readout"] == "spike_count"
    with torch.no_grad():
        trace = model.trace(torch.from_numpy(x.astype(np.float32)))
    return model, {name: value.numpy() for name, value in trace.items()}


@pytest.mark.parametrize("name", STREAMS)
def test_every_population_fires_as_the_authors_code(shared: Path, name: str) -> None:
    path = shared / "golden" / f"{name}.npz"
    with np.load(path, allow_pickle=False) as golden:
        model, trace = _trace(path, golden["X"].swapaxes(0, 1))
        for population, letter in LETTERS.items():
            spikes = trace[f"{letter}.spikes"].swapaxes(0, 1)
            np.testing.assert_array_equal(spikes, golden[f"spk_{population}"], err_msg=population)
            for kind, state in (("mem", "membrane"), ("syn", "synapse")):
                if f"{kind}_{population}" in golden.files:
                    value = trace[f"{letter}.{state}"].swapaxes(0, 1)
                    np.testing.assert_allclose(value, golden[f"{kind}_{population}"], rtol=0, atol=MEMBRANE_TOLERANCE)
        counts = model.scores(torch.from_numpy(trace["y"])).numpy()
        np.testing.assert_array_equal(counts, golden["out_spike_count"])
        assert ("u.synapse" in model.names) == ("synaptic" in name)


def test_trained_checkpoint_decides_as_the_authors_code(shared: Path) -> None:
    path = shared / "golden" / "l2mu_trained_braille7.npz"
    with np.load(path, allow_pickle=False) as golden:
        model, trace = _trace(path, golden["X"])
        ys = torch.from_numpy(trace["y"])
        np.testing.assert_array_equal(model.scores(ys).numpy(), golden["out_spike_count"])
        np.testing.assert_array_equal(model.decide(ys).numpy(), golden["pred"])
        for population, letter in LETTERS.items():
            np.testing.assert_array_equal(trace[f"{letter}.spikes"][0], golden[f"spk_{population}_sample0"])
            membrane = trace[f"{letter}.membrane"][0]
            stored = "mem_m_sample0_every8" if letter == "m" else f"mem_{population}_sample0"
            stride = 8 if letter == "m" else 1
            np.testing.assert_allclose(membrane[::stride], golden[stored], rtol=0, atol=MEMBRANE_TOLERANCE)


@pytest.mark.parametrize("name", STREAMS)
def test_memory_matrices_are_made_as_the_authors_make_them(shared: Path, name: str) -> None:
    """`theta` gives the stored W_A = Ad^T and W_B, up to float32 rounding of the authors' matrix exponential."""
    weights = models.read_state_dict(shared / "golden" / f"{name}.npz")
    with np.load(shared / "golden" / f"{name}.npz", allow_pickle=False) as golden:
        theta = float(str(golden["meta"]).split('"theta": ')[1].split(",")[0].rstrip("}"))
    a, b = discretise(len(weights["A.weight"]), theta)
    torch.testing.assert_close(a.T, weights["A.weight"], rtol=0, atol=1e-6)
    torch.testing.assert_close(b, weights["B.weight"], rtol=0, atol=1e-6)


TABLES = ((1, 4), (2, 20), (4, 7), (6, 40), (7, 10), (8, 20), (12, 40), (32, 40))


@pytest.mark.parametrize("method", ["zoh", "euler"])
@pytest.mark.parametrize(("order", "theta"), TABLES)
def test_memory_matrices_are_those_of_the_tables(shared: Path, method: str, order: int, theta: int) -> None:
    with np.load(shared / "golden" / "lmu_AB_tables.npz") as tables:
        for name, ours in zip("AB", discretise(order, theta, method), strict=True):
            expected = tables[f"{method}_{name}_d{order}_th{theta}"]
            np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=1e-6)


LMU_CELLS = {"lmu_braille_ann_har6": "mean", "lmu_psmnist_dims": "last", "lmu_small_multi": "last"}
LMU_TOLERANCE = 1e-5


@pytest.mark.parametrize("name", LMU_CELLS)
def test_lmu_remembers_as_the_authors_code(shared: Path, name: str) -> None:
    """Both key layouts; A as stored, once Ad and once Ad^T; every kept step of h, m and the read-out."""
    path = shared / "golden" / f"{name}.npz"
    model, assumed = models.open_model(path)
    assert assumed == {"activation": "tanh", "readout": LMU_CELLS[name]}
    with np.load(path) as golden:
        axes = (1, 0, 2) if json.loads(str(golden["meta"]))["layout"].startswith("[T") else (0, 1, 2)
        stored = {key: golden[key].transpose(axes) for key in ("x", "h", "m")}
        kept = golden["keep_t"] if "keep_t" in golden.files else slice(None)
        x = torch.from_numpy(stored["x"])
        with torch.no_grad():
            trace, sequence = model.trace(x), model(x)
        for state in ("h", "m"):
            value = trace[state].flatten(2)[:, kept].numpy()
            np.testing.assert_allclose(value, stored[state], rtol=0, atol=LMU_TOLERANCE, err_msg=state)
            if f"{state}_last_f64ref" in golden.files:
                last = trace[state].flatten(2)[:, -1].numpy()
                np.testing.assert_allclose(last, golden[f"{state}_last_f64ref"], rtol=0, atol=LMU_TOLERANCE)
        expected = golden["out"].transpose(axes) if "out" in golden.files else trace["h"].numpy()
        for y in (trace["y"], sequence):
            np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=LMU_TOLERANCE)


def test_theta_makes_the_stored_memory_of_order_256(shared: Path) -> None:
    weights = models.read_state_dict(shared / "golden" / "lmu_psmnist_dims.npz")
    a, b = discretise(256, 784)
    torch.testing.assert_close(a, weights["A"], rtol=0, atol=1e-6)
    torch.testing.assert_close(b, weights["B"], rtol=0, atol=1e-6)


ELM_NEURONS = {
    "v1_branch_random_routing_2layer": "random",
    "v1_neuronio_best_elm_neuron": "neuronio",
    "v1_neuronio_num_memory_1": "neuronio",
    "v1_neuronio_num_memory_100": "neuronio",
    "v1_neuronio_num_memory_15": "neuronio",
    "v1_plain_har6": "none",
    "v2_branch_neuronio_routing": "neuronio",
    "v2_plain_har6": "none",
}
ELM_TOLERANCE = 2e-5


@pytest.mark.parametrize("name", ELM_NEURONS)
def test_elm_computes_as_the_authors_code(shared: Path, name: str) -> None:
    """The published configuration as it is; error relative to max(1, |value|) in branches, memories and outputs."""
    path = shared / "golden" / f"elm_{name}.npz"
    with np.load(path) as golden:
        config = json.loads(str(golden["meta"]))["config"]
        model, assumed = models.open_model(path, config)
        assert model.config["version"] == name[:2]
        assert model.config["routing"] == ELM_NEURONS[name]
        assert assumed["readout"] == "last"
        assert ("memory_tau_max" in assumed) == ("memory_tau_max" not in config)
        x = torch.from_numpy(golden["X"].astype(np.float32))
        with torch.no_grad():
            trace, sequence = model.trace(x), model(x)
        for ours, key in (
            (trace["b"], "branch"),
            (trace["m"], "memory"),
            (trace["y"], "out_raw"),
            (sequence, "out_raw"),
        ):
            error = np.abs(ours.numpy() - golden[key]) / np.maximum(1, np.abs(golden[key]))
            assert error.max() <= ELM_TOLERANCE, key
        np.testing.assert_allclose(model.tau_m.detach().numpy(), golden["tau_m"], rtol=1e-6)
        if "syn_t" in golden.files:
            synapses = trace["s"][:, golden["syn_t"]].numpy()
            np.testing.assert_allclose(synapses, golden["syn_at_t"], rtol=0, atol=ELM_TOLERANCE)


def test_released_neurons_tell_how_many_inputs_they_have(shared: Path) -> None:
    """The NeuronIO routing is recognised from its table; a random one needs to be told."""
    model, assumed = models.open_model(shared / "golden" / "elm_v1_neuronio_num_memory_15.npz")
    assert (model.config["inputs"], model.config["routing"]) == (1278, "neuronio")
    assert assumed["memory_tau_max"] == 1000.0
    with pytest.raises(ModelError, match="inputs"):
        models.open_model(shared / "golden" / "elm_v1_branch_random_routing_2layer.npz")
