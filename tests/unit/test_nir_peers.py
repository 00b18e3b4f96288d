"""The same NIR graph here, in Norse and in snnTorch, where their importers are right; and here in C."""

from __future__ import annotations

import shutil
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

nir = pytest.importorskip("nir")
torch = pytest.importorskip("torch")

from c_nets import lowered  # noqa: E402
from c_runs import Native  # noqa: E402
from nir_graphs import chain, neuron, random_graph, run  # noqa: E402

from edgekit.frontends.nir import import_nir  # noqa: E402
from edgekit.passes.pipelines import OPTIMISE, run_passes  # noqa: E402

Array = npt.NDArray[Any]
N, T = 4, 80
NORSE_DT, SNNTORCH_DT = 1e-3, 1e-4


def noise(width: int = 3, scale: float = 3.0) -> Array:
    return scale * np.random.default_rng(0).normal(size=(T, width))


def affine(rows: int = N, columns: int = 3) -> nir.NIRNode:
    random = np.random.default_rng(1)
    return nir.Affine(random.normal(size=(rows, columns)), random.normal(size=rows))


def in_norse(graph: nir.NIRGraph, x: Array, **options: Any) -> Array:
    """Outputs of the module that Norse makes of a graph."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        norse = pytest.importorskip("norse.torch")
        module, state, given = norse.from_nir(graph, ignore_warnings=True, dt=NORSE_DT, **options), None, []
        for value in x:
            y, state = module(torch.from_numpy(value).float(), state)
            given.append(y.detach().numpy())
    return np.array(given)


def in_snntorch(graph: nir.NIRGraph, x: Array) -> Array:
    """Outputs of the module that snnTorch makes of a graph."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("snntorch.import_nir").import_from_nir(graph)
        return outputs_of(module, x)


def outputs_of(module: Any, x: Array) -> Array:
    given = [module(torch.from_numpy(value).float()[None]) for value in x]
    return np.array([(y[0] if isinstance(y, tuple) else y).detach().numpy()[0] for y in given])


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
def test_norse_steps_as_edgekit_does(kind: str) -> None:
    node = neuron(kind, N)
    node.v_reset = np.zeros(N)  # Norse's import leaves v_reset out
    if kind == "LIF":
        node.r = np.ones(N)  # … and the r of a LIF
    else:
        node.v_leak = np.zeros(N)  # … and gives the leak of a CubaLIF to its synapse too
    graph = nir.NIRGraph.from_list(affine(), node)
    expected = in_norse(graph, noise())
    assert 0.02 < expected.mean() < 0.9
    np.testing.assert_array_equal(run(import_nir(graph, dt=NORSE_DT), noise())[0], expected)


def test_norse_adds_charges_to_an_if() -> None:
    graph = nir.NIRGraph.from_list(affine(), nir.IF(np.ones(N), np.full(N, 2.0)))
    imported = import_nir(graph, dt=NORSE_DT)
    assert str(imported.assumed["charge"]).startswith("impulse")
    expected = in_norse(graph, noise())
    assert expected.any()
    np.testing.assert_array_equal(run(imported, noise())[0], expected)


def test_norse_subtracts_when_told() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        method = pytest.importorskip("norse.torch.functional.reset").reset_subtract
    node = neuron("CubaLIF", N)
    node.v_reset, node.v_leak = np.zeros(N), np.zeros(N)
    graph = nir.NIRGraph.from_list(affine(), node)
    expected = in_norse(graph, noise(), reset_method=method)
    np.testing.assert_array_equal(run(import_nir(graph, dt=NORSE_DT, reset="subtract"), noise())[0], expected)


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
def test_snntorch_steps_as_edgekit_does(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    tau, none, one = np.full(N, 20 * SNNTORCH_DT), np.zeros(N), np.ones(N)
    r = tau / SNNTORCH_DT  # the only one that snnTorch takes
    node = nir.LIF(tau, r, none, one) if kind == "LIF" else nir.CubaLIF(tau / 2, tau, r, none, one, w_in=r / 2)
    graph = nir.NIRGraph.from_list(affine(), node)
    got = run(import_nir(graph, dt=SNNTORCH_DT), noise())[0]
    expected = in_snntorch(graph, noise())
    assert 0.02 < expected.mean() < 0.9
    np.testing.assert_array_equal(got, expected)
    capsys.readouterr()


def test_what_snntorch_exports_steps_as_its_module() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snn = pytest.importorskip("snntorch")
        export = pytest.importorskip("snntorch.export_nir").export_to_nir
        torch.manual_seed(0)
        rules = {
            "threshold": torch.full((N,), 0.3),
            "reset_mechanism": "zero",
            "reset_delay": False,
        }
        layers = [
            torch.nn.Linear(3, N),
            snn.Leaky(beta=torch.full((N,), 0.9), init_hidden=True, **rules),
            torch.nn.Linear(N, N),
            snn.RLeaky(beta=torch.full((N,), 0.8), all_to_all=True, linear_features=N, init_hidden=True, **rules),
        ]
        module = torch.nn.Sequential(*layers)
        graph = export(module, torch.zeros(3))
        expected = outputs_of(module, noise())
    imported = import_nir(graph, dt=SNNTORCH_DT, reset="zero")
    assert imported.notes == ("recurrent edge 3.w_rec -> 3.lif: carries the value of the previous step",)
    assert expected.any()
    np.testing.assert_array_equal(run(imported, noise())[0], expected)


def test_snntorch_exports_its_own_reset_as_another_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        snn = pytest.importorskip("snntorch")
        export = pytest.importorskip("snntorch.export_nir").export_to_nir
        torch.manual_seed(0)
        beta, threshold = torch.full((N,), 0.9), torch.full((N,), 0.3)
        neurons = snn.Leaky(beta, threshold=threshold, init_hidden=True)
        module = torch.nn.Sequential(torch.nn.Linear(3, N), neurons)
        graph = export(module, torch.zeros(3))
        expected = outputs_of(module, noise())
    imported = import_nir(graph, dt=SNNTORCH_DT)
    assert expected.any()
    assert (run(imported, noise())[0] != expected).any()
    assert "by default snnTorch subtracts the threshold, a step later" in imported.notes[0]


def conv_net() -> nir.NIRGraph:
    random = np.random.default_rng(2)
    kernel = random.normal(size=(3, 2, 3, 3))
    return chain(
        nir.Conv2d((6, 6), kernel, 1, "same", 1, 1, random.normal(size=3)),
        neuron("LIF", (3, 6, 6)),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([3, 3, 3])}, 0, -1),
        nir.Linear(random.normal(size=(N, 27)) / 5),
        neuron("CubaLIF", N),
        shape=(2, 6, 6),
    )


@pytest.mark.drawn(2)
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("which", [3, 5, 8, "conv"])
def test_the_c_program_of_a_nir_graph_fires_as_its_equations(which: int | str) -> None:
    graph = conv_net() if which == "conv" else random_graph(int(which))
    imported = import_nir(graph, dt=1e-3, charge="current")
    program = lowered(run_passes(imported.graph, OPTIMISE))
    shape = imported.graph.tensor(imported.graph.entries["step"].inputs[0]).shape
    x = np.random.default_rng(3).normal(size=(T, *shape))
    streams = imported.original.start(1)
    engine = Native(program, "gcc")
    for value in x.astype(np.float32):
        code, outputs = engine.entry("step", value)
        assert code == 0
        for got, expected in zip(outputs, streams.step([value[None]]), strict=True):
            np.testing.assert_allclose(got.reshape(-1), expected.reshape(-1), rtol=1e-4, atol=1e-4)
