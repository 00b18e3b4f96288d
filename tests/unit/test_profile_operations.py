"""Operations in NeuroBench's terms: against the neurobench package in its own environment, and against hand counts."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import ROOT

import edgekit
from edgekit.profile.operations import observe
from edgekit.profile.stimulus import given_stimulus
from edgekit.runtime import load

torch = pytest.importorskip("torch")
sys.path.insert(0, str(ROOT / "tools" / "bench"))
from neurobench_nets import Spiking, dense  # noqa: E402

ENVIRONMENT = Path(os.environ.get("EDGEKIT_BENCH_ENVIRONMENTS", ROOT / ".cache" / "bench")) / "neurobench"
STEPS = 20
INPUTS = 12


def observed(net: Any, x: np.ndarray, **options: Any) -> tuple[Any, Any]:
    artifact = edgekit.convert(net.eval(), torch.zeros(1, x.shape[-1]), name="net", **options)
    return observe(artifact, given_stimulus(load(artifact), x, "x"))


def spikes(rate: float = 0.3) -> Any:
    return (torch.rand(6, STEPS, INPUTS) < rate).float()


@functools.cache
def cases() -> list[dict[str, Any]]:
    torch.manual_seed(1)
    ternary = spikes() * torch.sign(torch.randn(6, STEPS, INPUTS))
    given = {
        "mlp": ("mlp", {"sizes": [INPUTS, 32, 16, 4]}, torch.randn(6, INPUTS)),
        "mlp, ternary": ("mlp", {"sizes": [INPUTS, 32, 16, 4]}, ternary[:, 0]),
        "real inputs": ("leaky", {"sizes": [INPUTS, 32, 4], "reset": "subtract"}, torch.randn(6, STEPS, INPUTS)),
        "spikes": ("leaky", {"sizes": [INPUTS, 32, 4], "reset": "subtract"}, spikes()),
        "ternary": ("leaky", {"sizes": [INPUTS, 32, 4], "reset": "zero"}, ternary),
        "silence": ("leaky", {"sizes": [INPUTS, 32, 4], "reset": "subtract"}, spikes() * 0),
        "three layers": ("leaky", {"sizes": [INPUTS, 20, 10, 4], "reset": "subtract"}, spikes(0.6)),
    }
    made = []
    for name, (kind, config, x) in given.items():
        net = Spiking(**config) if kind == "leaky" else dense(**config)
        weights = {key: value for key, value in net.state_dict().items() if not key.endswith(".mem")}
        first = next(key for key in weights if key.endswith("weight"))
        weights[first][torch.rand_like(weights[first]) < 0.25] = 0.0
        net.load_state_dict(weights, strict=False)
        made.append({"name": name, "kind": kind, "config": config, "weights": weights, "x": x, "net": net})
    return made


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the neurobench package says of every case."""
    if not (ENVIRONMENT / "complete").is_file():
        assert "CI" not in os.environ, f"CI builds {ENVIRONMENT}: tools/bench/setup neurobench"
        pytest.skip("the neurobench package has no environment here: tools/bench/setup neurobench")
    path = tmp_path_factory.mktemp("neurobench") / "cases.pt"
    torch.save([{key: value for key, value in case.items() if key != "net"} for case in cases()], path)
    words = [ENVIRONMENT / "bin" / "python", ROOT / "tools" / "bench" / "neurobench_figures.py", path]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.drawn(3)
@pytest.mark.parametrize("at", range(7))
def test_figures_are_those_of_the_neurobench_package(package: dict[str, dict[str, Any]], at: int) -> None:
    case = cases()[at]
    theirs = package[case["name"]]
    operations, _ = observed(case["net"], case["x"].numpy())
    ours = operations.to_dict()
    a_sample = ours["a_window"] or ours
    synaptic = theirs["SynapticOperations"]
    assert a_sample["dense"] == pytest.approx(synaptic["Dense"], rel=1e-12)
    assert a_sample["effective_macs"] == pytest.approx(synaptic["Effective_MACs"], rel=1e-12)
    assert a_sample["effective_acs"] == pytest.approx(synaptic["Effective_ACs"], rel=1e-12)
    assert a_sample["membrane_updates"] == pytest.approx(theirs["MembraneUpdates"], rel=1e-12)
    assert ours["activation_sparsity"] == pytest.approx(theirs["ActivationSparsity"], rel=1e-12)
    assert round(ours["connection_sparsity"], 4) == theirs["ConnectionSparsity"]
    assert ours["original_bytes"] == theirs["Footprint"]
    assert ours["original_parameters"] == theirs["ParameterCount"]


def test_the_cases_differ_in_what_they_count() -> None:
    found = [observed(case["net"], case["x"].numpy())[0] for case in cases()]
    assert {bool(f.effective_macs) for f in found} == {True, False}
    assert {bool(f.effective_acs) for f in found} == {True, False}
    assert len({f.activation_sparsity for f in found}) == len(found)


def test_an_integer_program_has_the_operations_of_its_own_weights_and_spikes() -> None:
    net, x = Spiking([INPUTS, 32, 4], "subtract"), spikes().numpy()
    exact, _ = observed(net, x)
    integer, activity = observed(net, x, precision="int8", calib=x)
    assert integer.dense == exact.dense == INPUTS * 32 + 32 * 4
    assert integer.effective_macs == 0
    assert integer.effective_acs == pytest.approx(exact.effective_acs, rel=0.1)
    assert integer.footprint_bytes < exact.footprint_bytes
    assert [p.size for p in activity.populations] == [32, 4]


def test_spikes_of_the_raster_are_those_of_the_rates() -> None:
    x = spikes()[:1].numpy()
    operations, activity = observed(Spiking([INPUTS, 32, 4], "subtract"), x)
    assert activity.steps == operations.steps == STEPS
    for at, population in enumerate(activity.populations):
        fired = [n for step, p, n in activity.spikes if p == at]
        assert len(fired) == pytest.approx(population.rate * population.size * STEPS)
        assert all(0 <= n < population.size for n in fired)
    assert [population.name for population in activity.populations] == ["neurons.0", "neurons.1"]


@pytest.mark.parametrize("family", ["lmu", "l2mu", "elm"])
def test_every_family_is_counted(family: str) -> None:
    from edgekit.models import ELM, L2MU, LMU

    torch.manual_seed(0)
    net = {
        "lmu": lambda: LMU(inputs=3, hidden=8, memory=2, order=4, theta=10.0, outputs=5),
        "l2mu": lambda: L2MU(inputs=3, hidden=8, memory=2, order=4, theta=10.0, outputs=5),
        "elm": lambda: ELM(inputs=6, memory=4, hidden=8, branches=3, synapses=2, outputs=5),
    }[family]()
    if family != "elm":
        torch.nn.init.normal_(net.e_m.weight)  # zeros at first, which conversion would leave out
    x = np.random.default_rng(0).normal(size=(2, 10, 6 if family == "elm" else 3)).astype(np.float32)
    artifact = edgekit.convert(net.eval(), name="net")
    operations, activity = observe(artifact, given_stimulus(load(artifact), x, "x"))
    memory = 2 * (4 * 4 + 4)
    dense = {
        "lmu": 2 * (3 + 8 + 8) + memory + 8 * (3 + 8 + 8) + 5 * 8,
        "l2mu": 2 * (3 + 8 + 8) + memory + 8 * (3 + 8 + 8) + 5 * 8,
        "elm": 3 * 6 + 8 * (3 + 4) + 4 * 8 + 5 * 4,  # its synapses became one product
    }[family]
    assert operations.dense == dense
    assert operations.effective_macs + operations.effective_acs <= dense
    assert bool(activity.populations) == (family == "l2mu")
    if family == "l2mu":
        assert [p.name for p in activity.populations] == ["spk_u", "spk_m", "spk_h", "spk_output"]
        assert operations.membrane_updates <= 2 + 8 + 8 + 5
    else:
        assert operations.membrane_updates == 0


def test_padding_around_a_convolution_is_no_operation() -> None:
    net = torch.nn.Sequential(torch.nn.Conv1d(1, 8, 3, padding=1), torch.nn.ReLU())
    x = np.random.default_rng(0).normal(size=(5, 1, 12)).astype(np.float32)
    artifact = edgekit.convert(net.eval(), torch.zeros(1, 1, 12), name="net")
    operations, _ = observe(artifact, given_stimulus(load(artifact), x, "x"))
    assert operations.dense == 8 * (12 * 3 - 2)
    assert operations.effective_macs == operations.dense
