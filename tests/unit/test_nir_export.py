"""NIR out: graphs of every front end, read back here, by snnTorch and by Norse; what NIR cannot say is refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

nir = pytest.importorskip("nir")
torch = pytest.importorskip("torch")

from nir_graphs import chain, neuron, random_graph, run  # noqa: E402

from edgekit.backends.nir import NirExport, export_nir  # noqa: E402
from edgekit.backends.nir import objects as objects_module  # noqa: E402
from edgekit.backends.nir.check import BATCH, STEPS, compare  # noqa: E402
from edgekit.errors import UnsupportedError, UsageError  # noqa: E402
from edgekit.frontends import import_module  # noqa: E402
from edgekit.frontends.nir import import_nir  # noqa: E402
from edgekit.ir import SPIKE, Graph, GraphBuilder  # noqa: E402
from edgekit.passes.pipelines import OPTIMISE, run_passes  # noqa: E402

Array = npt.NDArray[Any]
DT, N, T = 1e-3, 4, 80


def noise(width: int = 3, scale: float = 3.0, seed: int = 0) -> Array:
    return scale * np.random.default_rng(seed).normal(size=(T, width))


def kinds(export: NirExport) -> list[str]:
    return sorted(type(node).__name__ for node in export.graph.nodes.values())


def read_back(export: NirExport, path: Path) -> Any:
    """The import of the file that the export writes, which nir itself must read too."""
    path.write_bytes(export.to_bytes())
    nir.read(path)
    return import_nir(path)


# --- what came as NIR ------------------------------------------------------------------------------------------------


def every_node() -> nir.NIRGraph:
    random = np.random.default_rng(2)
    graph = chain(
        nir.Conv2d(None, random.normal(size=(4, 1, 3, 3)), 1, "same", 1, 2, random.normal(size=4)),
        neuron("LIF", (4, 6, 6)),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.AvgPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])),
        nir.Scale(random.uniform(0.5, 2, (4, 2, 2))),
        nir.Flatten({"input": np.array([4, 2, 2])}, 0, -1),
        nir.Affine(random.normal(size=(N, 16)), random.normal(size=N)),
        neuron("CubaLIF", N),
        nir.Delay(np.array([0, 1, 2, 3]) * DT),
        nir.Linear(random.normal(size=(N, N))),
        neuron("CubaLI", N),
        nir.Threshold(np.full(N, 0.1)),
        neuron("LI", N),
        shape=(2, 6, 6),
    )
    graph.nodes["output"] = nir.Output(np.array([N]))
    return graph


def fields(graph: nir.NIRGraph) -> dict[str, dict[str, Any]]:
    found = {}
    for name, node in graph.nodes.items():
        given = {k: v for k, v in vars(node).items() if k not in ("input_type", "output_type", "metadata")}
        found[name] = {"kind": type(node).__name__, **given}
    return found


def assert_same_parameters(a: nir.NIRGraph, b: nir.NIRGraph) -> None:
    assert a.nodes.keys() == b.nodes.keys()
    assert set(a.edges) == set(b.edges)
    for name, given in fields(a).items():
        other = fields(b)[name]
        for key, value in given.items():
            if key == "input_shape":
                continue  # the export knows it where the file did not say it
            if isinstance(value, str) or isinstance(other[key], str):
                assert value == other[key], (name, key)
            else:
                np.testing.assert_array_equal(np.asarray(value), np.asarray(other[key]), err_msg=f"{name}.{key}")


@pytest.mark.parametrize("which", ["every node", 0, 3, 7, 11, 15, 21])
def test_an_imported_graph_leaves_with_its_own_parameters(which: int | str, tmp_path: Path) -> None:
    graph = every_node() if which == "every node" else random_graph(int(which))
    first = import_nir(graph, dt=DT, charge="current")
    export = export_nir(first.graph, program=first.original.program)
    assert_same_parameters(graph, export.graph)
    second = import_nir(objects_file(export, tmp_path))
    x = np.random.default_rng(0).normal(size=(T, *first.graph.tensor("input").shape))
    np.testing.assert_array_equal(run(first, x)[0], run(second, x)[0])


def objects_file(export: NirExport, tmp_path: Path) -> Path:
    path = tmp_path / "again.nir"
    path.write_bytes(export.to_bytes())
    return path


def test_conventions_travel_in_the_metadata(tmp_path: Path) -> None:
    node = neuron("CubaLIF", N)
    node.v_reset = np.zeros(N)
    graph = chain(node, shape=(N,))
    chosen = {"reset": "subtract", "integrator": "exponential", "initial": "zero", "synapse": "previous"}
    first = import_nir(graph, dt=2e-3, **chosen)
    export = export_nir(first.graph, program=first.original.program)
    assert "reset_subtract" in export.notes[0]
    second = read_back(export, tmp_path / "g.nir")
    assert second.graph.dt == 2e-3
    assert set(second.assumed) == {"dt", "reset"}
    np.testing.assert_array_equal(run(first, noise(N))[0], run(second, noise(N))[0])


def test_nested_graphs_leave_flat(tmp_path: Path) -> None:
    inner = random_graph(3)
    width = int(inner.output_type["output"][0])
    nodes = {"in": nir.Input(np.array([4])), "net": inner, "out": nir.Output(np.array([width]))}
    first = import_nir(nir.NIRGraph(nodes, [("in", "net"), ("net", "out")], type_check=False), dt=DT, charge="current")
    export = export_nir(first.graph, program=first.original.program)
    assert not {"Pass", "NIRGraph"} & set(kinds(export))
    second = read_back(export, tmp_path / "g.nir")
    np.testing.assert_array_equal(run(first, noise(4))[0], run(second, noise(4))[0])


def test_names_that_no_file_can_hold_are_refused() -> None:
    ends = {"in/put": nir.Input(np.array([N])), "out": nir.Output(np.array([N]))}
    graph = nir.NIRGraph({**ends, ".": nir.Scale(np.ones(N))}, [("in/put", "."), (".", "out")], type_check=False)
    first = import_nir(graph)
    with pytest.raises(UnsupportedError, match="no file can hold") as caught:
        export_nir(first.graph, program=first.original.program).to_bytes()
    assert set(caught.value.items) == {"in/put", "."}


def test_a_graph_that_is_another_one_now_has_its_parameters_computed_anew(tmp_path: Path) -> None:
    a, b = (import_nir(chain(neuron("LIF", N, seed), shape=(N,)), dt=DT) for seed in (0, 1))
    export = export_nir(a.graph, program=b.original.program)
    assert "computed anew" in export.notes[0]
    x = noise(N)
    np.testing.assert_array_equal(run(a, x)[0], run(read_back(export, tmp_path / "g.nir"), x)[0])
    with pytest.raises(UsageError, match="is not that of the graph"):
        export_nir(a.graph, dt=2 * DT, program=a.original.program)


def counting(factor: float) -> nir.NIRGraph:
    """What fires where `factor` times the number of spikes is above one: with a factor of 1 a single spike is a tie."""
    layers = (nir.Linear(np.eye(N)), nir.Threshold(np.full(N, 0.2)), nir.Linear(factor * np.ones((N, N))))
    return chain(*layers, nir.Threshold(np.ones(N)), shape=(N,))


def test_ties_at_every_threshold_do_not_pass_another_graph_as_the_same(tmp_path: Path) -> None:
    one, two = (import_nir(counting(factor)) for factor in (1.0, 2.0))
    same = compare(one.graph, one.original.program, exact=True)
    assert same.equal
    assert same.excused == 0  # tied in every stream, and compared all the same
    assert same.steps == STEPS * BATCH
    difference = compare(two.graph, one.original.program, exact=True)
    assert not difference.equal
    assert "8 of 8 streams differ after a tie" in str(difference)
    export = export_nir(two.graph, program=one.original.program)
    assert "computed anew" in export.notes[0]
    x = noise(N)
    np.testing.assert_array_equal(run(two, x)[0], run(read_back(export, tmp_path / "g.nir"), x)[0])


def test_the_optimised_graph_leaves_too(tmp_path: Path) -> None:
    for seed in (1, 5, 13, 17, 19):
        first = import_nir(random_graph(seed), dt=DT, charge="current")
        export = export_nir(run_passes(first.graph, OPTIMISE))
        second = read_back(export, tmp_path / "g.nir")
        np.testing.assert_allclose(run(first, noise(4, 1))[0], run(second, noise(4, 1))[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"])
def test_each_neuron_is_recognised_from_the_ir_alone(kind: str, tmp_path: Path) -> None:
    node = neuron(kind, N)
    first = import_nir(chain(node, shape=(N,)), dt=DT, charge="current")
    export = export_nir(first.graph)
    (found,) = (n for n in export.graph.nodes.values() if type(n).__name__ not in ("Input", "Output"))
    assert type(found).__name__ == kind
    for name, value in vars(node).items():
        if isinstance(value, np.ndarray) and not (kind in ("I", "IF") and name == "r"):
            got, tolerance = getattr(found, name), 1e-4  # time constants from decays in float32
            if kind.startswith("Cuba") and name in ("r", "w_in"):
                continue  # their product counts
            np.testing.assert_allclose(got, value, rtol=tolerance, atol=1e-6)
    second = read_back(export, tmp_path / "g.nir")
    np.testing.assert_allclose(run(first, noise(N))[0], run(second, noise(N))[0], rtol=1e-5, atol=1e-5)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("seed", range(0, 40, 3))
def test_random_graphs_from_the_ir_alone_are_equal_or_refused(seed: int, tmp_path: Path) -> None:
    first = import_nir(random_graph(seed), dt=DT, charge="current")
    try:
        export = export_nir(first.graph)
    except UnsupportedError as refusal:
        assert all("Delay is empty" in item for item in refusal.items)  # noqa: PT017
        return
    second = read_back(export, tmp_path / "g.nir")
    np.testing.assert_allclose(run(first, noise(4, 1))[0], run(second, noise(4, 1))[0], rtol=1e-4, atol=1e-4)


# --- what came as a PyTorch module -----------------------------------------------------------------------------------


class Cell(torch.nn.Module):
    """A matrix and a cell behind it."""

    def __init__(self, cell: torch.nn.Module) -> None:
        super().__init__()
        self.fc, self.cell = torch.nn.Linear(3, N), cell

    def forward(self, x: torch.Tensor, state: Any = None) -> Any:
        current = self.fc(x)
        return self.cell(current) if hasattr(self.cell, "mem") else self.cell(current, state)


def snn_cell(name: str, **options: Any) -> torch.nn.Module:
    snn = pytest.importorskip("snntorch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(snn, name)(init_hidden=True, **options)


def norse_cell(name: str, *args: Any) -> torch.nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        norse = pytest.importorskip("norse.torch")
        return getattr(norse, name)(*args)


def exported(cell: torch.nn.Module, **options: Any) -> tuple[Any, NirExport]:
    torch.manual_seed(1)
    module = Cell(cell)
    with torch.no_grad():
        module.fc.weight.mul_(3)
    imported = import_module(module, torch.zeros(1, 3), name="m")
    return imported, export_nir(imported.graph, dt=DT, **options)


CASES: dict[str, tuple[Callable[[], torch.nn.Module], str]] = {
    "Leaky, zero": (lambda: snn_cell("Leaky", beta=0.9, reset_mechanism="zero"), "LIF"),
    "Leaky, zero at once": (lambda: snn_cell("Leaky", beta=0.9, reset_mechanism="zero", reset_delay=False), "LIF"),
    "Leaky, never": (lambda: snn_cell("Leaky", beta=0.9, reset_mechanism="none"), "LI"),
    "Leaky of each": (lambda: snn_cell("Leaky", beta=torch.linspace(0.2, 0.99, N), reset_mechanism="zero"), "LIF"),
    "Leaky, beta 1": (lambda: snn_cell("Leaky", beta=1.0, reset_mechanism="zero"), "IF"),
    "Synaptic, zero at once": (
        lambda: snn_cell("Synaptic", alpha=0.8, beta=0.9, reset_mechanism="zero", reset_delay=False),
        "CubaLIF",
    ),
    "LIFBoxCell": (lambda: norse_cell("LIFBoxCell"), "LIF"),
    "LIBoxCell": (lambda: norse_cell("LIBoxCell"), "LI"),
    "IAFCell": (lambda: norse_cell("IAFCell"), "IF"),
    "LIFCell": (lambda: norse_cell("LIFCell"), "LIF"),
    "LIFRecurrentCell": (lambda: norse_cell("LIFRecurrentCell", N, N), "LIF"),
}


@pytest.mark.parametrize("case", CASES)
def test_modules_leave_as_nir_and_come_back_equal(case: str, tmp_path: Path) -> None:
    make, kind = CASES[case]
    torch.manual_seed(0)
    imported, export = exported(make())
    assert kind in kinds(export)
    assert export.difference is None
    second = read_back(export, tmp_path / "g.nir")
    first, again = run(imported, noise(scale=10.0))[0], run(second, noise(scale=10.0))[0]
    assert first.any()
    if imported.graph.tensor(imported.graph.entries["step"].outputs[0]).dtype is SPIKE:
        np.testing.assert_array_equal(first, again)
    else:
        np.testing.assert_allclose(first, again, rtol=1e-4, atol=1e-4)


def test_snntorchs_own_importer_steps_the_export_as_the_module_did() -> None:
    rules = {"reset_mechanism": "zero", "reset_delay": False}
    for cell in (snn_cell("Leaky", beta=0.9, **rules), snn_cell("Synaptic", alpha=0.8, beta=0.9, **rules)):
        torch.manual_seed(1)
        imported = import_module(Cell(cell), torch.zeros(1, 3), name="m")
        export = export_nir(imported.graph, dt=1e-4)  # the time step that snnTorch always assumes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = pytest.importorskip("snntorch.import_nir").import_from_nir(export.graph)
            given = [module(torch.from_numpy(value).float()[None]) for value in noise()]
        expected = [(y[0] if isinstance(y, tuple) else y).detach().numpy()[0] for y in given]
        got = run(imported, noise())[0]
        assert got.any()
        np.testing.assert_array_equal(got, np.array(expected))


@pytest.mark.parametrize("name", ["LIFBoxCell", "IAFCell"])
def test_norses_own_importer_steps_the_export_as_the_module_did(name: str) -> None:
    imported, export = exported(norse_cell(name))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        norse = pytest.importorskip("norse.torch")
        module, state, expected = norse.from_nir(export.graph, ignore_warnings=True, dt=DT), None, []
        for value in noise(scale=10.0):
            y, state = module(torch.from_numpy(value).float(), state)
            expected.append(y.detach().numpy())
    got = run(imported, noise(scale=10.0))[0]
    assert got.any()
    np.testing.assert_array_equal(got, np.array(expected))


# --- what NIR cannot say ---------------------------------------------------------------------------------------------

INEXACT = {
    "late subtraction": (lambda: snn_cell("Leaky", beta=0.9), "a step after the spike"),
    "subtraction once": (lambda: snn_cell("Leaky", beta=0.9, reset_delay=False), "does not subtract again"),
    "late zero of a synapse": (
        lambda: snn_cell("Synaptic", alpha=0.8, beta=0.9, reset_mechanism="zero"),
        "whatever drives it then",
    ),
}


@pytest.mark.parametrize("case", INEXACT)
def test_a_reset_that_nir_does_not_know_is_refused_or_measured(case: str) -> None:
    make, why = INEXACT[case]
    torch.manual_seed(0)
    with pytest.raises(UnsupportedError, match=why):
        exported(make())
    _, export = exported(make(), approximate=True)
    assert why in export.inexact[0]
    assert export.difference is not None
    assert export.difference.spikes > 100
    assert 0 < export.difference.share < 1
    assert "spikes differ" in str(export.difference)


def test_everything_that_cannot_be_said_is_said_at_once() -> None:
    b = GraphBuilder("g", DT)
    x = b.input("x", (N,))
    v = b.state("v", np.zeros(N))
    w = b.state("w", np.full(N, 0.5))
    after = b.op("add", b.op("mul", v, v), x)
    b.update(v, after)
    b.update(w, b.op("add", b.op("tanh", w), x))
    b.output(b.op("sigmoid", after), b.op("mul", b.op("relu", x), w))
    with pytest.raises(UnsupportedError) as caught:
        export_nir(b.build())
    said = "\n".join(caught.value.items)
    for part in ("sigmoid: NIR has no node", "state w: starts at other values"):
        assert part in said
    assert "relu" in said or "multiplies two values" in said


def built(make: Callable[[GraphBuilder, str], str]) -> Graph:
    b = GraphBuilder("g", DT)
    b.output(make(b, b.input("x", (N,))))
    return b.build()


def test_vectors_that_move_leave_as_matrices(tmp_path: Path) -> None:
    def moved(b: GraphBuilder, x: str) -> str:
        left, right = b.op("slice", x, axis=0, start=0, stop=2), b.op("gather", x, axis=0, indices=(3, 0))
        both = b.op("concat", right, left, axis=0)
        return b.op("sub", b.op("neg", both), b.const("c", [1.0, 2.0, 3.0, 4.0]))

    export = export_nir(built(moved))
    x = noise(N)
    expected = -np.concatenate([x[:, [3, 0]], x[:, :2]], axis=1) - [1, 2, 3, 4]
    np.testing.assert_allclose(run(read_back(export, tmp_path / "g.nir"), x)[0], expected, rtol=1e-5, atol=1e-5)


def test_a_line_of_remembered_vectors_leaves_as_delays_and_matrices(tmp_path: Path) -> None:
    b = GraphBuilder("g", DT)
    x, line = b.input("x", (N,)), b.state("line", np.zeros((3, N)))
    first = b.op("reshape", x, shape=(1, N))
    b.update(line, b.op("concat", first, b.op("slice", line, axis=0, start=0, stop=2), axis=0))
    weights = b.const("w", np.ones((1, 3)))
    b.output(b.op("reshape", b.op("linear", b.op("transpose", line, perm=(1, 0)), weights), shape=(N,)))
    export = export_nir(b.build())
    x_, padded = noise(N), np.concatenate([np.zeros((3, N)), noise(N)])
    expected = padded[:T] + padded[1 : T + 1] + padded[2 : T + 2]
    np.testing.assert_allclose(run(read_back(export, tmp_path / "g.nir"), x_)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_convolutional_net_of_snntorch_leaves_as_nir(tmp_path: Path) -> None:
    torch.manual_seed(3)
    layers = [
        torch.nn.Conv2d(2, 4, 3, padding=1),
        snn_cell("Leaky", beta=0.9, reset_mechanism="zero", threshold=0.3),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(36, N),
        snn_cell("Leaky", beta=0.8, reset_mechanism="zero", threshold=0.1),
    ]
    imported = import_module(torch.nn.Sequential(*layers), torch.zeros(1, 2, 6, 6), name="m")
    x = np.random.default_rng(0).normal(size=(T, 2, 6, 6))
    for graph in (imported.graph, run_passes(imported.graph, OPTIMISE)):
        export = export_nir(graph, dt=DT)
        assert {"Conv2d", "AvgPool2d", "Flatten", "Affine", "LIF"} <= set(kinds(export))
        first, again = run(imported, x)[0], run(read_back(export, tmp_path / "g.nir"), x)[0]
        assert first.any()
        np.testing.assert_array_equal(first, again)


def test_an_l2mu_subtracts_late_and_leaves_only_as_an_approximation(tmp_path: Path) -> None:
    models = pytest.importorskip("edgekit.models")
    torch.manual_seed(0)
    low = {letter: {"beta": 0.8, "threshold": 0.3} for letter in "umho"}
    net = models.L2MU(inputs=3, hidden=16, memory=6, order=4, outputs=4, theta=8.0, neurons=low).eval()
    graph = import_module(net, torch.zeros(1, 3), name="m").graph
    with pytest.raises(UnsupportedError) as caught:
        export_nir(graph, dt=DT)
    assert len(caught.value.items) == 4
    export = export_nir(graph, dt=DT, approximate=True)
    assert export.difference is not None
    assert export.difference.share > 0
    assert kinds(export).count("LIF") == 4
    read_back(export, tmp_path / "g.nir")


def test_the_membrane_of_a_spiking_neuron_cannot_be_read() -> None:
    cell = snn_cell("Leaky", beta=0.9, reset_mechanism="zero", output=True)
    imported = import_module(torch.nn.Sequential(torch.nn.Linear(3, N), cell), torch.zeros(1, 3), name="m")
    with pytest.raises(UnsupportedError, match="membrane of a spiking neuron is read"):
        export_nir(imported.graph, dt=DT)


def test_a_synapse_that_the_membrane_feeds_is_told_apart_from_it(tmp_path: Path) -> None:
    nodes = {"in": nir.Input(np.array([N])), "cell": neuron("CubaLI", N), "out": nir.Output(np.array([N]))}
    nodes["w"] = nir.Linear(0.1 * np.random.default_rng(4).normal(size=(N, N)))
    edges = [("in", "cell"), ("cell", "w"), ("w", "cell"), ("cell", "out")]
    first = import_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)
    export = export_nir(first.graph)
    assert kinds(export) == ["CubaLI", "Input", "Linear", "Output"]
    second = read_back(export, tmp_path / "g.nir")
    np.testing.assert_allclose(run(first, noise(N))[0], run(second, noise(N))[0], rtol=1e-4, atol=1e-4)


def test_a_port_may_be_called_a_sum(tmp_path: Path) -> None:
    ends = {"in": nir.Input(np.array([N])), "all.sum": nir.Output(np.array([N]))}
    graph = nir.NIRGraph(
        {**ends, "fc": nir.Scale(np.full(N, 2.0))}, [("in", "fc"), ("fc", "all.sum")], type_check=False
    )
    export = export_nir(import_nir(graph).graph)
    np.testing.assert_allclose(run(read_back(export, tmp_path / "g.nir"), noise(N))[0], 2 * noise(N), rtol=1e-6)


def test_a_port_keeps_its_name_beside_a_module_of_that_name() -> None:
    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.y, self.last = torch.nn.Linear(3, N), torch.nn.Linear(N, N)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.y(x))

    graph = import_module(Named(), torch.zeros(1, 3), name="m").graph
    assert graph.entries["step"].outputs == ("y",)
    assert type(export_nir(graph).graph.nodes["y"]).__name__ == "Output"


@pytest.mark.parametrize("module", ["fc", "lif_before"])
def test_spikes_of_the_step_before_leave_through_one_delay_for_all_readers(module: str, tmp_path: Path) -> None:
    b = GraphBuilder("g", DT)
    x, v, s = b.input("x", (N,)), b.state("v", np.zeros(N)), b.state("s", np.zeros(N, bool), SPIKE)
    membrane = b.op("add", b.op("mul", v, b.const("decay", 0.9)), x, source="lif")
    fired = b.op("gt", membrane, b.const("threshold", 1.0), source="lif")
    b.update(v, b.op("where", fired, b.const("reset", 0.0), membrane))
    b.update(s, fired)
    weights = [np.random.default_rng(seed).normal(size=(2, N)).astype(np.float32) for seed in (1, 2)]
    for at, (weight, source) in enumerate(zip(weights, (module, "other"), strict=True)):
        b.output(b.op("linear", s, b.const(f"w{at}", weight), source=source, out=f"y{at}"))
    export = export_nir(b.build())
    assert kinds(export).count("Delay") == 1
    again = read_back(export, tmp_path / "g.nir")
    membranes, spikes, expected = np.zeros(N), np.zeros(N), []
    for value in noise(N):
        expected.append(np.concatenate([weight @ spikes for weight in weights]))
        membranes = 0.9 * membranes + value
        spikes = (membranes > 1).astype(np.float64)
        membranes = np.where(spikes > 0, 0.0, membranes)
    np.testing.assert_allclose(np.concatenate(run(again, noise(N)), axis=1), expected, rtol=1e-5, atol=1e-5)


def test_a_value_that_is_added_to_itself_counts_twice(tmp_path: Path) -> None:
    export = export_nir(built(lambda b, x: b.op("add", x, x)))
    np.testing.assert_allclose(
        run(read_back(export, tmp_path / "g.nir"), noise(N))[0], 2 * noise(N), rtol=1e-5, atol=1e-5
    )


def test_a_linear_memory_leaves_as_matrices_and_a_delay(tmp_path: Path) -> None:
    b = GraphBuilder("g", DT)
    x, m = b.input("x", (N,)), b.state("m", np.zeros(N))
    a = b.const("a", 0.9 * np.linalg.qr(np.random.default_rng(3).normal(size=(N, N)))[0])
    after = b.op("linear", m, a, b.op("linear", x, b.const("b", np.eye(N))))
    b.update(m, after)
    b.output(after)
    export = export_nir(b.build())
    assert "Delay" in kinds(export)
    memory, expected = np.zeros(N), []
    for value in noise(N):
        memory = b.tensor("a").data @ memory + value
        expected.append(memory)
    np.testing.assert_allclose(run(read_back(export, tmp_path / "g.nir"), noise(N))[0], expected, rtol=1e-4, atol=1e-4)


def test_without_a_time_step_or_the_package_there_is_no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = import_nir(chain(neuron("LIF", N), shape=(N,)), dt=DT)
    with pytest.raises(UsageError, match="needs the seconds of a step"):
        export_nir(imported.graph.replace(dt=None))

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(objects_module, "import_module", missing)
    with pytest.raises(UsageError, match=r"edgekit\[nir\]"):
        export_nir(imported.graph)
