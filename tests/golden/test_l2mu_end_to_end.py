"""Published L2MU checkpoints and bare MLPs through `edgekit convert` and `edgekit run`: exactly the authors' spikes."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from converted import edgekit_main

import edgekit
from edgekit.reference import unpack_states

STREAMS = ("leaky_braille7_dims", "leaky_har6", "leaky_perneuron", "leaky_small", "synaptic_har6", "synaptic_small")
PLACES = {"host": "host", "raspberrypi4": "emulator"}
FAST, SAMPLES = 4, 40  # of the trained model, in the emulator


def convert(model: Path, target: str, folder: Path) -> Path:
    out = folder / f"{model.stem}.{target}.edge"
    answer = edgekit_main("convert", model, "--target", target, "-o", out, "--json")
    assert answer.returncode == 0, answer.stderr
    return out


def run(edge: Path, x: np.ndarray, target: str, folder: Path, *options: str) -> np.ndarray:
    np.save(folder / "x.npy", x.astype(np.float32))
    arguments = ("--input", folder / "x.npy", "-o", folder / "y.npy", "--on", PLACES[target], "--json", *options)
    answer = edgekit_main("run", edge, *arguments)
    assert answer.returncode == 0, answer.stderr
    engine = json.loads(answer.stdout)["engine"]
    assert engine.startswith("native" if target == "host" else "emulated cortex-a72"), engine
    return np.load(folder / "y.npy")


@pytest.mark.drawn(4)
@pytest.mark.parametrize("target", PLACES)
@pytest.mark.parametrize("case", STREAMS)
def test_output_spikes_are_those_of_the_file(shared, tmp_path, case, target):
    model = shared / "golden" / f"l2mu_{case}.npz"
    with np.load(model) as golden:  # [T, B, …] in the file
        x, spikes, counts = golden["X"].swapaxes(0, 1), golden["spk_output"].swapaxes(0, 1), golden["out_spike_count"]
    y = run(convert(model, target, tmp_path), x, target, tmp_path)
    np.testing.assert_array_equal(y, spikes.astype(np.float32))
    np.testing.assert_array_equal(y.sum(axis=1), counts)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("case", STREAMS)
def test_every_population_ends_as_in_the_file(shared, tmp_path, case):
    """Spikes and membranes inside, read from the saved state of the native program."""
    model = shared / "golden" / f"l2mu_{case}.npz"
    session = edgekit.load(convert(model, "host", tmp_path))
    assert session.engine.startswith("native")
    with np.load(model) as golden:
        for b in range(golden["X"].shape[1]):
            session.reset()
            session.run(golden["X"][:, b].astype(np.float32))
            states = unpack_states(session.artifact.graph, session.save_state())
            for population in "mh":
                np.testing.assert_array_equal(states[f"{population}.spikes"], golden[f"spk_{population}"][-1, b] != 0)
            for letter, population in {"u": "u", "m": "m", "h": "h", "o": "output"}.items():
                for state, kind in (("membrane", "mem"), ("synapse", "syn")):
                    if f"{letter}.{state}" in states:
                        stored = golden[f"{kind}_{population}"][-1, b]
                        np.testing.assert_allclose(states[f"{letter}.{state}"], stored, rtol=0, atol=1e-4)


def trained(shared: Path, folder: Path, target: str, samples: int) -> None:
    model = shared / "golden" / "l2mu_trained_braille7.npz"
    edge = convert(model, target, folder)
    with np.load(model) as golden:
        x, counts, decided = golden["X"][:samples], golden["out_spike_count"][:samples], golden["pred"][:samples]
        first = golden["spk_output_sample0"].astype(np.float32)
    y = run(edge, x, target, folder, "--no-count")
    np.testing.assert_array_equal(y.sum(axis=1), counts)
    np.testing.assert_array_equal(y[0], first)
    np.testing.assert_array_equal(run(edge, x, target, folder, "--no-count", "--decide"), decided)


@pytest.mark.parametrize(("target", "samples"), [("host", SAMPLES), ("raspberrypi4", FAST)])
def test_the_trained_model_counts_and_decides_as_in_the_file(shared, tmp_path, target, samples):
    trained(shared, tmp_path, target, samples)


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_the_trained_model_on_all_samples_in_the_emulator(shared, tmp_path):
    trained(shared, tmp_path, "raspberrypi4", SAMPLES)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("target", PLACES)
@pytest.mark.parametrize("sizes", [(240, 128, 64, 7), (3, 5), (6, 33, 17, 2)], ids=str)
def test_a_bare_mlp_answers_as_torch_does(tmp_path, sizes, target):
    torch = pytest.importorskip("torch")
    from torch import nn

    torch.manual_seed(len(sizes))
    layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())][:-1]
    network = nn.Sequential(*layers)
    path = tmp_path / "bare.pt"
    torch.save(network.state_dict(), path)
    x = np.random.default_rng(0).normal(size=(20, sizes[0])).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    y = run(convert(path, target, tmp_path), x, target, tmp_path)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(y.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".safetensors", ".npz"])
def test_a_bare_mlp_in_every_kind_of_file(tmp_path, suffix):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    weights, path = network.state_dict(), tmp_path / f"bare{suffix}"
    if suffix == ".npz":
        np.savez(path, **{k: v.numpy() for k, v in weights.items()})
    elif suffix == ".safetensors":
        save_file(weights, path)
    else:
        torch.save({"state_dict": weights} if suffix == ".ckpt" else weights, path)
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    y = run(convert(path, "host", tmp_path), x, "host", tmp_path)
    with torch.no_grad():
        np.testing.assert_allclose(y, network(torch.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-5)
