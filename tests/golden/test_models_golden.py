"""The authors' L2MU, weight for weight: spikes exactly equal, membranes within 1e-4."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgekit import models  # noqa: E402

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
    from edgekit.models.l2mu import discretise

    weights = models.read_state_dict(shared / "golden" / f"{name}.npz")
    with np.load(shared / "golden" / f"{name}.npz", allow_pickle=False) as golden:
        theta = float(str(golden["meta"]).split('"theta": ')[1].split(",")[0].rstrip("}"))
    a, b = discretise(len(weights["A.weight"]), theta)
    torch.testing.assert_close(a, weights["A.weight"], rtol=0, atol=1e-6)
    torch.testing.assert_close(b, weights["B.weight"], rtol=0, atol=1e-6)
