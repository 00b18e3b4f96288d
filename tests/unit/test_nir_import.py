"""NIR in: every primitive against its equation and against other tools, the order of a step, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

nir = pytest.importorskip("nir")

import torch  # noqa: E402
from nir_graphs import chain, neuron, random_graph, run  # noqa: E402

from edgekit.errors import EdgekitError, ModelError, ReplayError, UnsupportedError, UsageError  # noqa: E402
from edgekit.frontends.nir import import_nir  # noqa: E402
from edgekit.frontends.nir import importing as importing_module  # noqa: E402
from edgekit.frontends.nir.lower import lower  # noqa: E402
from edgekit.ir import Graph  # noqa: E402

Array = npt.NDArray[Any]
DT = 1e-3
N, T = 5, 60


def noise(*shape: int, seed: int = 1, scale: float = 1.0) -> Array:
    return scale * np.random.default_rng(seed).normal(size=(T, *shape))


def stepped(node: nir.NIRNode, x: Array, dt: float = DT, reset: str = "v_reset") -> tuple[Array, Array]:
    """Outputs and membranes of a neuron by its published equations in forward Euler, written out once more."""
    kind = type(node).__name__
    v = node.v_leak.copy() if hasattr(node, "v_leak") else np.zeros(x.shape[1:])
    i = np.zeros(x.shape[1:])
    out, kept = [], []
    for drive in x:
        if kind in ("I", "IF"):
            v = v + dt * node.r * drive
        elif kind in ("LI", "LIF"):
            v = v + dt / node.tau * (node.v_leak - v + node.r * drive)
        else:
            i = i + dt / node.tau_syn * (node.w_in * drive - i)
            v = v + dt / node.tau_mem * (node.v_leak - v + node.r * i)
        if kind in ("IF", "LIF", "CubaLIF"):
            fired = v > node.v_threshold
            v = np.where(fired, v - node.v_threshold if reset == "subtract" else node.v_reset, v)
            out.append(fired.astype(float))
        else:
            out.append(v)
        kept.append(v)
    return np.array(out), np.array(kept)


# --- neurons ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"])
def test_each_neuron_follows_its_equation(kind: str) -> None:
    node = neuron(kind, N)
    x = noise(N, scale=10 if kind == "IF" else 1)
    imported = import_nir(chain(node, shape=(N,)), dt=DT, charge="current" if "I" in (kind, kind[:1]) else None)
    (got,) = run(imported, x)
    expected, _ = stepped(node, x)
    if "IF" in kind:
        assert 0.02 < expected.mean() < 0.9
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert imported.report.worst_error < 1e-4


@pytest.mark.parametrize("kind", ["IF", "LIF", "CubaLIF"])
def test_subtracting_the_threshold_is_chosen_by_name(kind: str) -> None:
    node = neuron(kind, N)
    node.v_reset = np.zeros(N)
    x = noise(N, scale=10 if kind == "IF" else 1)
    (got,) = run(import_nir(chain(node, shape=(N,)), dt=DT, reset="subtract", charge="current"), x)
    expected, _ = stepped(node, x, reset="subtract")
    np.testing.assert_array_equal(got, expected)
    assert (expected != stepped(node, x)[0]).any()


def test_a_neuron_fires_above_its_threshold_and_not_at_it() -> None:
    node = nir.IF(r=np.array([1.0]), v_threshold=np.array([2.0]), v_reset=np.array([0.0]))
    imported = import_nir(chain(node, shape=(1,)), dt=1.0, charge="impulse")
    (got,) = run(imported, np.array([[1.0], [1.0], [0.5], [0.0]]))
    assert got.ravel().tolist() == [0, 0, 1, 0]


def test_exponential_integration_is_exact_for_a_held_input() -> None:
    node = neuron("LI", N)
    x = np.broadcast_to(noise(N)[0], (T, N))
    (got,) = run(import_nir(chain(node, shape=(N,)), dt=DT, integrator="exponential"), x)
    target = node.v_leak + node.r * x[0]
    t = DT * np.arange(1, T + 1)[:, None]
    np.testing.assert_allclose(got, target + (node.v_leak - target) * np.exp(-t / node.tau), rtol=1e-4, atol=1e-5)


def test_membranes_start_at_the_leak_or_at_zero() -> None:
    node = neuron("LI", N)
    silent = np.zeros((3, N))
    (leak,) = run(import_nir(chain(node, shape=(N,)), dt=DT), silent)
    (zero,) = run(import_nir(chain(node, shape=(N,)), dt=DT, initial="zero"), silent)
    np.testing.assert_allclose(leak[0], node.v_leak, rtol=1e-5)
    np.testing.assert_allclose(zero[0], DT / node.tau * node.v_leak, rtol=1e-5)


def test_the_membrane_of_a_cuba_neuron_sees_the_current_of_this_step_or_of_the_last() -> None:
    node = neuron("CubaLI", N)
    node.v_leak = np.zeros(N)
    x = noise(N)
    (now,) = run(import_nir(chain(node, shape=(N,)), dt=DT), x)
    (before,) = run(import_nir(chain(node, shape=(N,)), dt=DT, synapse="previous"), x)
    np.testing.assert_allclose(before[1:], now[:-1], rtol=1e-4, atol=1e-5)


def test_a_charge_adds_what_it_is_and_a_current_what_it_brings_in_a_step() -> None:
    node = nir.I(r=np.full(2, 2.0))
    x = np.ones((3, 2))
    (current,) = run(import_nir(chain(node, shape=(2,)), dt=DT), x)
    (impulse,) = run(import_nir(chain(node, shape=(2,)), dt=DT, charge="impulse"), x)
    np.testing.assert_allclose(current[:, 0], 2e-3 * np.arange(1, 4), rtol=1e-6)
    np.testing.assert_allclose(impulse[:, 0], 2 * np.arange(1, 4), rtol=1e-6)


def test_one_number_stands_for_all_neurons() -> None:
    one = nir.LIF(*(np.array([v]) for v in (10 * DT, 8.0, 0.1, 1.0, -0.1)))
    many = nir.LIF(*(np.full(N, v) for v in (10 * DT, 8.0, 0.1, 1.0, -0.1)))
    x = noise(N)
    first = nir.Affine(np.eye(N), np.zeros(N))
    a, b = (run(import_nir(chain(first, node, shape=(N,)), dt=DT), x)[0] for node in (one, many))
    np.testing.assert_array_equal(a, b)
    assert a.any()


# --- nodes without a state -------------------------------------------------------------------------------------------


def as_torch(x: Array, function: Any) -> Array:
    return function(torch.from_numpy(x).float()).double().numpy()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("padding", [0, 2, "same", "valid"])
@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 2), (1, 2, 1), (3, 2, 2)])
def test_conv1d_is_that_of_torch(kernel: int, padding: int | str, stride: int, dilation: int, groups: int) -> None:
    random = np.random.default_rng(3)
    weight, bias = random.normal(size=(6, 4 // groups, kernel)), random.normal(size=6)
    node = nir.Conv1d(None, weight, stride, padding, dilation, groups, bias)
    graph = chain(node, shape=(4, 11))
    if padding == "same" and stride > 1:
        with pytest.raises(UnsupportedError, match="'same' with stride"):
            import_nir(graph)
        return
    w, b, x = torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), noise(4, 11)[:3]
    expected = as_torch(x, lambda v: torch.nn.functional.conv1d(v, w, b, stride, padding, dilation, groups))
    graph.nodes["output"] = nir.Output(np.array(expected.shape[1:]))
    np.testing.assert_allclose(run(import_nir(graph), x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("padding", [(1, 2), "same", "valid"])
@pytest.mark.parametrize(("stride", "dilation", "groups"), [((1, 1), (1, 1), 1), ((2, 1), (1, 2), 2)])
def test_conv2d_with_any_kernel_is_that_of_torch(padding: Any, stride: Any, dilation: Any, groups: int) -> None:
    if padding == "same" and stride != (1, 1):
        stride = (1, 1)
    random = np.random.default_rng(3)
    weight, bias = random.normal(size=(4, 2 // groups, 2, 3)), random.normal(size=4)
    node = nir.Conv2d(None, weight, stride, padding, dilation, groups, bias)
    graph = chain(node, shape=(2, 7, 6))
    w, b, x = torch.from_numpy(weight).float(), torch.from_numpy(bias).float(), noise(2, 7, 6)[:3]
    expected = as_torch(x, lambda v: torch.nn.functional.conv2d(v, w, b, stride, padding, dilation, groups))
    graph.nodes["output"] = nir.Output(np.array(expected.shape[1:]))
    np.testing.assert_allclose(run(import_nir(graph), x)[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", [(0, 0), (1, 0)])
def test_pools_are_those_of_torch(padding: tuple[int, int]) -> None:
    x = noise(2, 6, 7)[:3]
    expected = as_torch(x, lambda v: torch.nn.functional.avg_pool2d(v, (2, 3), (2, 1), padding))
    for kind, factor in ((nir.AvgPool2d, 1), (nir.SumPool2d, 6)):
        graph = chain(kind(np.array([2, 3]), np.array([2, 1]), np.array(padding)), shape=(2, 6, 7))
        graph.nodes["output"] = nir.Output(np.array(expected.shape[1:]))
        np.testing.assert_allclose(run(import_nir(graph), x)[0], factor * expected, rtol=1e-5, atol=1e-5)


def test_scale_threshold_linear_and_flatten() -> None:
    random = np.random.default_rng(4)
    scale, threshold, weight = random.normal(size=(2, 3)), random.normal(size=6), random.normal(size=(6, 6))
    flat = nir.Flatten({"input": np.array([2, 3])}, 0, -1)
    graph = chain(nir.Scale(scale), flat, nir.Linear(weight), nir.Threshold(threshold), shape=(2, 3))
    x = noise(2, 3)
    imported = import_nir(graph)
    (got,) = run(imported, x)
    np.testing.assert_array_equal(got, ((x * scale).reshape(T, 6) @ weight.T > threshold).astype(float))
    assert imported.graph.dt is None


def test_a_flatten_that_counts_the_batch_is_told_by_what_reads_it() -> None:
    flat = nir.Flatten({"input": np.array([2, 3, 2])}, 1, -1)
    graph = chain(flat, nir.Linear(np.ones((1, 12))), shape=(2, 3, 2))
    imported = import_nir(graph)
    assert "count the batch axis" in imported.notes[0]
    (got,) = run(imported, noise(2, 3, 2))
    np.testing.assert_allclose(got[:, 0], noise(2, 3, 2).sum(axis=(1, 2, 3)), rtol=1e-4, atol=1e-4)


def test_a_matrix_for_each_leading_index() -> None:
    weight = np.random.default_rng(5).normal(size=(3, 2, 4))
    x = noise(3, 4)
    (got,) = run(import_nir(chain(nir.Linear(weight), shape=(3, 4))), x)
    np.testing.assert_allclose(got, np.einsum("koi,tki->tko", weight, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("delays", [[0, 0, 0], [2, 2, 2], [1, 3, 2], [0, 1, 3]])
@pytest.mark.parametrize("spiking", [False, True])
def test_delays_of_each_channel(delays: list[int], spiking: bool) -> None:
    node = nir.Delay(DT * np.array(delays, np.float32))
    nodes = (nir.Threshold(np.zeros(3)), node) if spiking else (node,)
    x = noise(3)
    value = (x > 0).astype(float) if spiking else x
    (got,) = run(import_nir(chain(*nodes, shape=(3,)), dt=DT), x)
    expected = np.stack([np.concatenate([np.zeros(d), value[: T - d, c]]) for c, d in enumerate(delays)], axis=1)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_a_delay_between_steps_is_refused_or_rounded_when_asked() -> None:
    graph = chain(nir.Delay(np.array([2.4 * DT])), shape=(1,))
    with pytest.raises(UnsupportedError, match=r"delays by 2\.4 steps"):
        import_nir(graph, dt=DT)
    imported = import_nir(graph, dt=DT, round_delays=True)
    assert "rounded to 2" in imported.notes[0]
    assert run(imported, np.arange(T)[:, None])[0][:4, 0].tolist() == [0, 0, 0, 1]


# --- the order of a step ---------------------------------------------------------------------------------------------


def recurrent(node: nir.NIRNode, w: nir.NIRNode, n: int = N) -> nir.NIRGraph:
    nodes = {"input": nir.Input(np.array([n])), "cell": node, "w": w, "output": nir.Output(np.array([n]))}
    return nir.NIRGraph(nodes, [("input", "cell"), ("cell", "w"), ("w", "cell"), ("cell", "output")], type_check=False)


def test_a_recurrent_edge_carries_the_spikes_of_the_step_before() -> None:
    random = np.random.default_rng(6)
    node, w = neuron("LIF", N), nir.Affine(random.normal(size=(N, N)), random.normal(size=N))
    x = noise(N)
    imported = import_nir(recurrent(node, w), dt=DT)
    v, z, expected = node.v_leak.copy(), np.zeros(N), []
    for drive in x:
        drive = drive + w.weight @ z + w.bias  # noqa: PLW2901
        v = v + DT / node.tau * (node.v_leak - v + node.r * drive)
        z = (v > node.v_threshold).astype(float)
        v = np.where(z > 0, node.v_reset, v)
        expected.append(z)
    np.testing.assert_array_equal(run(imported, x)[0], expected)
    assert imported.notes == ("recurrent edge w -> cell: carries the value of the previous step",)
    kept = {s.tensor: imported.graph.tensor(s.tensor).dtype.name for s in imported.graph.states}
    assert kept == {"cell.v": "float32", "cell.out": "spike"}


def test_a_delay_of_a_step_in_a_cycle_is_the_same_as_a_recurrent_edge() -> None:
    w = nir.Linear(np.random.default_rng(6).normal(size=(N, N)))
    graph = recurrent(neuron("LIF", N), w)
    delayed = nir.NIRGraph(
        {**graph.nodes, "d": nir.Delay(np.full(N, DT))},
        [("input", "cell"), ("cell", "d"), ("d", "w"), ("w", "cell"), ("cell", "output")],
        type_check=False,
    )
    x = noise(N)
    plain, other = import_nir(graph, dt=DT), import_nir(delayed, dt=DT)
    assert not other.notes
    np.testing.assert_array_equal(run(plain, x)[0], run(other, x)[0])


def test_feedback_from_a_later_layer_waits_and_feed_forward_does_not() -> None:
    nodes = {
        "b": neuron("LIF", 2, 1),
        "a": neuron("LIF", 3, 2),
        "ab": nir.Linear(np.ones((2, 3))),
        "ba": nir.Linear(-np.ones((3, 2))),
        "in": nir.Input(np.array([3])),
        "out": nir.Output(np.array([2])),
    }
    edges = [("ba", "a"), ("b", "ba"), ("ab", "b"), ("a", "ab"), ("in", "a"), ("b", "out")]
    imported = import_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)
    assert imported.notes == ("recurrent edge ba -> a: carries the value of the previous step",)
    assert {s.tensor for s in imported.graph.states} == {"a.v", "b.v", "b.out"}


def test_the_order_does_not_hang_on_the_order_of_nodes_and_edges() -> None:
    graph = random_graph(12)
    first = import_nir(graph, dt=DT, charge="current")
    turned = nir.NIRGraph(dict(reversed(graph.nodes.items())), graph.edges[::-1], type_check=False)
    second = import_nir(turned, dt=DT, charge="current")
    assert set(first.notes) == set(second.notes)
    x = noise(4, scale=2)
    np.testing.assert_allclose(run(first, x)[0], run(second, x)[0], rtol=1e-4, atol=1e-5)


def test_every_neighbour_feeding_back_is_ordered_in_time() -> None:
    count = 60
    nodes: dict[str, nir.NIRNode] = {"in": nir.Input(np.array([1])), "out": nir.Output(np.array([1]))}
    nodes |= {f"l{i:02}": neuron("LIF", 1, i) for i in range(count)}
    names = [f"l{i:02}" for i in range(count)]
    forward = list(itertools.pairwise(["in", *names, "out"]))
    back = [(b, a) for a, b in itertools.pairwise(names)]
    imported = import_nir(nir.NIRGraph(nodes, [*back, *forward], type_check=False), dt=DT)
    assert {note.split(":")[0] for note in imported.notes} == {f"recurrent edge {a} -> {b}" for a, b in back}


def test_a_cycle_without_state_is_refused() -> None:
    nodes = {"in": nir.Input(np.array([2])), "a": nir.Scale(np.ones(2)), "b": nir.Threshold(np.ones(2))}
    nodes |= {"out": nir.Output(np.array([2])), "after": nir.Scale(np.ones(2))}
    edges = [("in", "a"), ("a", "b"), ("b", "a"), ("b", "after"), ("after", "out")]
    with pytest.raises(UnsupportedError, match="on a cycle without a neuron") as caught:
        import_nir(nir.NIRGraph(nodes, edges, type_check=False))
    assert [item.split(" ")[0] for item in caught.value.items] == ["a", "b"]


def test_several_inputs_add_up_and_several_outputs_leave() -> None:
    nodes = {"a": nir.Input(np.array([2])), "b": nir.Input(np.array([2])), "s": nir.Scale(np.full(2, 3.0))}
    nodes |= {"sum": nir.Output(np.array([2])), "same": nir.Output(np.array([2]))}
    edges = [("a", "s"), ("b", "s"), ("s", "sum"), ("s", "same")]
    imported = import_nir(nir.NIRGraph(nodes, edges, type_check=False))
    step = imported.graph.entries["step"]
    assert step.inputs == ("a", "b")
    assert step.outputs == ("sum", "same")
    x, y = noise(2), noise(2, seed=2)
    for got in run(imported, x, y):
        np.testing.assert_allclose(got, 3 * (x + y), rtol=1e-5, atol=1e-5)


def test_an_input_can_leave_as_it_came() -> None:
    graph = nir.NIRGraph({"in": nir.Input(np.array([2])), "out": nir.Output(np.array([2]))}, [("in", "out")])
    np.testing.assert_allclose(run(import_nir(graph), noise(2))[0], noise(2), rtol=1e-6)


def test_graphs_inside_graphs_are_one_graph_with_dotted_names(tmp_path: Path) -> None:
    w = nir.Linear(np.random.default_rng(6).normal(size=(N, N)))
    inner = recurrent(neuron("LIF", N), w)
    nodes = {"in": nir.Input(np.array([N])), "rnn": inner, "out": nir.Output(np.array([N]))}
    outer = nir.NIRGraph({**nodes}, [("in", "rnn"), ("rnn", "out")], type_check=False)
    deeper = nir.NIRGraph({**nodes, "rnn": outer}, [("in", "rnn"), ("rnn", "out")], type_check=False)
    nir.write(tmp_path / "deep.nir", deeper)
    imported = import_nir(tmp_path / "deep.nir", dt=DT)
    assert {s.tensor for s in imported.graph.states} == {"rnn.rnn.cell.v", "rnn.rnn.cell.out"}
    np.testing.assert_array_equal(run(imported, noise(N))[0], run(import_nir(inner, dt=DT), noise(N))[0])


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs_are_replayed(seed: int) -> None:
    imported = import_nir(random_graph(seed), dt=DT, charge="current")
    assert imported.report.steps >= 24
    assert imported.report.worst_error < 1e-4


def test_a_file_and_the_graph_in_memory_are_the_same(tmp_path: Path) -> None:
    graph = random_graph(3)
    nir.write(tmp_path / "g.nir", graph)
    a, b = import_nir(graph, dt=DT, charge="current"), import_nir(tmp_path / "g.nir", dt=DT, charge="current")
    np.testing.assert_allclose(run(a, noise(4))[0], run(b, noise(4))[0], rtol=1e-5, atol=1e-6)
    assert b.graph.name == "g"
    assert b.provenance["file"] == "g.nir"


# --- what is left open, and what is refused ---------------------------------------------------------------------------


def test_without_a_time_step_the_choices_are_printed() -> None:
    with pytest.raises(ModelError, match="leaves open") as caught:
        import_nir(chain(neuron("LIF", N), shape=(N,)))
    assert "1e-3" in str(caught.value)
    assert "1e-4" in str(caught.value)
    assert "norse" in str(caught.value)


def test_the_metadata_may_tell_the_time_step(tmp_path: Path) -> None:
    graph = chain(neuron("LIF", N), shape=(N,))
    graph.metadata = {"dt": 2e-3, "note": "anything"}
    nir.write(tmp_path / "g.nir", graph)
    imported = import_nir(tmp_path / "g.nir")
    assert imported.graph.dt == 2e-3
    assert "metadata" in str(imported.assumed["dt"])
    assert import_nir(tmp_path / "g.nir", dt=DT).graph.dt == DT


@pytest.mark.parametrize("dt", [0, -1e-3, float("nan"), float("inf"), "fast", True])
def test_a_time_step_is_a_positive_number(dt: Any) -> None:
    with pytest.raises(UsageError, match="is no time step"):
        import_nir(chain(neuron("LIF", N), shape=(N,)), dt=dt)


def older(path: Path, graph: nir.NIRGraph) -> Path:
    """A file as nir wrote it before 1.0.6: without v_reset."""
    h5py = pytest.importorskip("h5py")
    nir.write(path, graph)
    with h5py.File(path, "r+") as file:
        for node in file["node/nodes"].values():
            if "v_reset" in node:
                del node["v_reset"]
    return path


def test_a_file_without_v_reset_leaves_the_reset_open(tmp_path: Path) -> None:
    node = neuron("LIF", N)
    path = older(tmp_path / "old.nir", chain(node, shape=(N,)))
    with pytest.raises(ModelError, match="reset: the file gives no v_reset for n0") as caught:
        import_nir(path)
    assert len(caught.value.items) == 2  # the time step is missing too: both are said at once
    node.v_reset = np.zeros(N)
    for reset in ("zero", "subtract", "v_reset"):
        (got,) = run(import_nir(path, dt=DT, reset=reset), noise(N))
        np.testing.assert_array_equal(got, stepped(node, noise(N), reset=reset)[0])


@pytest.mark.parametrize("reset", ["zero", "subtract"])
def test_a_named_reset_may_not_contradict_the_file(reset: str) -> None:
    with pytest.raises(UsageError, match="contradicts v_reset"):
        import_nir(chain(neuron("LIF", N), shape=(N,)), dt=DT, reset=reset)


@pytest.mark.parametrize(("reset", "said"), [(None, True), ("subtract", False)])
def test_the_reset_is_said_wherever_it_comes_from(reset: str | None, said: bool, tmp_path: Path) -> None:
    node = neuron("LIF", N)
    node.v_reset = np.zeros(N)
    imported = import_nir(chain(node, shape=(N,)), dt=DT, reset=reset)
    assert ("reset" in imported.assumed) == said
    assert imported.provenance["reset"].startswith(reset or "v_reset")
    if said:
        assert str(imported.assumed["reset"]).startswith("v_reset: v = v_reset after a spike, in the same step")
    graph = chain(node, shape=(N,))
    graph.metadata["edgekit"] = '{"reset": "subtract"}'
    nir.write(tmp_path / "m.nir", graph)
    stored = import_nir(tmp_path / "m.nir", dt=DT)
    assert str(stored.assumed["reset"]).startswith("subtract: ")
    assert str(stored.assumed["reset"]).endswith("from the metadata of the file")


def as_snntorch(kind: str) -> nir.NIRNode:
    """A neuron as snnTorch's export writes it."""
    tau = np.array([3e-4, 1e-3, 2e-3, 5e-3, 1e-2], np.float32)
    r, none, one = tau / np.float32(1e-4), np.zeros(N), np.ones(N)
    if kind == "LIF":
        return nir.LIF(tau, r, none, one, none)
    return nir.CubaLIF(tau / 2, tau, r, none, one, none, w_in=r / 2)


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
def test_what_snntorch_leaves_out_is_said(kind: str) -> None:
    def notes(node: nir.NIRNode, **options: Any) -> tuple[str, ...]:
        return import_nir(chain(node, shape=(N,)), **{"dt": 1e-4, **options}).notes

    (note,) = notes(as_snntorch(kind))
    assert note.startswith("n0: ")
    for word in (
        "snnTorch",
        "subtracts the threshold",
        "a step later",
        "--reset subtract",
        "convert the module itself",
    ):
        assert word in note
    (note,) = notes(as_snntorch(kind), reset="subtract")
    assert "a step later" in note
    assert "--reset" not in note
    assert notes(as_snntorch(kind), reset="zero") == ()
    reset, dt = notes(as_snntorch(kind), dt=5e-5)
    assert "snnTorch" in reset
    assert "dt = 0.0001 s" in dt
    other = as_snntorch(kind)
    other.r = 1.01 * other.r
    assert notes(other) == ()


def test_unknown_choices_are_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="v_reset, zero, subtract"):
        import_nir(chain(neuron("LIF", N), shape=(N,)), dt=DT, reset="soft")


def test_what_the_input_of_an_if_is_follows_from_its_size_or_is_asked() -> None:
    def graph(r: float) -> nir.NIRGraph:
        return chain(nir.IF(r=np.full(2, r), v_threshold=np.ones(2), v_reset=np.zeros(2)), shape=(2,))

    assert str(import_nir(graph(1.0), dt=DT).assumed["charge"]).startswith("impulse")
    assert str(import_nir(graph(1 / DT), dt=DT).assumed["charge"]).startswith("current")
    with pytest.raises(ModelError, match="charge: what the input of n0 is"):
        import_nir(graph(100.0), dt=1e-4)
    assert "charge" not in import_nir(graph(100.0), dt=1e-4, charge="current").assumed


def test_forward_euler_that_cannot_settle_is_refused() -> None:
    node = nir.LI(np.full(2, DT / 3), np.ones(2), np.zeros(2))
    with pytest.raises(UnsupportedError, match="unstable"):
        import_nir(chain(node, shape=(2,)), dt=DT)
    import_nir(chain(node, shape=(2,)), dt=DT, integrator="exponential")
    overshooting = nir.LI(np.full(2, 0.7 * DT), np.ones(2), np.zeros(2))
    assert "overshoots" in import_nir(chain(overshooting, shape=(2,)), dt=DT).notes[0]


def test_time_constants_that_look_like_milliseconds_are_noted() -> None:
    node = nir.LI(np.full(2, 20.0), np.ones(2), np.zeros(2))
    assert "if the file counts in ms" in import_nir(chain(node, shape=(2,)), dt=DT).notes[0]
    assert not import_nir(chain(node, shape=(2,)), dt=1.0).notes


def test_a_time_step_may_be_any_number_of_numpy() -> None:
    for dt in (np.float32(0.5), np.float64(0.5), 0.5):
        assert import_nir(chain(neuron("LI", 2, dt=0.5), shape=(2,)), dt=dt).graph.dt == 0.5


def test_everything_wrong_is_said_at_once() -> None:
    nodes = {
        "in": nir.Input(np.array([3])),
        "fc": nir.Linear(np.full((2, 3), np.nan)),
        "lif": nir.LIF(*(np.array(v) for v in ([0.0, 0.1], [1.0, 1], [0.0, 0], [1.0, 1], [0.0, 0]))),
        "text": nir.Scale(np.array(["a", "b"])),
        "out": nir.Output(np.array([2])),
    }
    edges = [("in", "fc"), ("fc", "lif"), ("lif", "text"), ("text", "nowhere"), ("text", "out"), ("in", "fc")]
    with pytest.raises(UnsupportedError) as caught:
        import_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)
    said = "\n".join(caught.value.items)
    for part in ("fc (Linear): has NaN", "lif (LIF): has tau 0", "text (Scale)", "no node 'nowhere'", "is there twice"):
        assert part in said


def test_shapes_that_do_not_fit_are_all_said() -> None:
    nodes = {
        "in": nir.Input(np.array([3])),
        "fc": nir.Linear(np.ones((2, 4))),
        "other": nir.Scale(np.ones(2)),
        "out": nir.Output(np.array([2])),
    }
    edges = [("in", "fc"), ("in", "other"), ("fc", "out"), ("other", "out")]
    with pytest.raises(UnsupportedError) as caught:
        import_nir(nir.NIRGraph(nodes, edges, type_check=False))
    assert len(caught.value.items) == 2


def test_nodes_without_ends_get_them_as_nir_gives_them() -> None:
    graph = nir.NIRGraph({"fc": nir.Linear(np.ones((2, 3)))}, [], type_check=False)
    imported = import_nir(graph)
    step = imported.graph.entries["step"]
    assert step.inputs == ("input_fc",)
    assert step.outputs == ("output_fc",)
    assert len(imported.notes) == 2


def test_what_reaches_no_output_is_left_out_and_named() -> None:
    graph = chain(neuron("LIF", N), shape=(N,))
    expected = run(import_nir(graph, dt=DT), noise(N))
    graph.nodes.update({"extra": neuron("LIF", N), "loop": nir.Linear(np.eye(N))})
    graph.edges += [("n0", "extra"), ("extra", "loop"), ("loop", "extra")]
    graph.nodes["side"] = nir.NIRGraph(
        {"in": nir.Input(np.array([N])), "cell": neuron("LI", N), "out": nir.Output(np.array([N]))},
        [("in", "cell"), ("cell", "out")],
        type_check=False,
    )
    graph.edges.append(("n0", "side"))
    imported = import_nir(graph, dt=DT)
    assert imported.graph.entries["step"].outputs == ("output",)
    assert [state.tensor for state in imported.graph.states] == ["n0.v"]
    assert imported.notes == ("extra, loop, side.cell: lead to no Output node, and are left out",)
    np.testing.assert_array_equal(run(imported, noise(N)), expected)


def test_an_output_that_nothing_leads_to_is_refused() -> None:
    graph = chain(neuron("LIF", N), shape=(N,))
    graph.nodes["output_none"] = nir.Output(np.array([N]))
    with pytest.raises(UnsupportedError, match=r"output_none \(Output\): nothing leads to it"):
        import_nir(graph, dt=DT)


def test_an_output_that_nir_added_is_pointed_out() -> None:
    graph = chain(neuron("LIF", N), shape=(N,))
    nodes, edges = {**graph.nodes, "extra": neuron("LIF", N)}, [*graph.edges, ("n0", "extra")]
    imported = import_nir(nir.NIRGraph(nodes, edges), dt=DT)  # its check of types adds one
    assert imported.graph.entries["step"].outputs == ("output", "output_extra")
    (note,) = imported.notes
    assert "output_extra" in note
    assert "nothing else reads extra" in note
    graph.nodes["output_n0"] = graph.nodes.pop("output")
    graph.edges[-1] = ("n0", "output_n0")
    assert import_nir(graph, dt=DT).notes == ()  # the only one


def test_names_that_print_alike_stay_apart() -> None:
    nodes: dict[str, nir.NIRNode] = {"in put": nir.Input(np.array([2])), "in_put": nir.Input(np.array([2]))}
    nodes |= {"a b": neuron("LI", 2, 1), "a_b": neuron("LI", 2, 2), "a_b.v": nir.Output(np.array([2]))}
    nodes |= {"out put": nir.Output(np.array([2])), "out_put": nir.Output(np.array([2]))}
    edges = [("in put", "a b"), ("in_put", "a_b"), ("a b", "out put"), ("a_b", "out_put"), ("a b", "a_b.v")]
    imported = import_nir(nir.NIRGraph(nodes, edges, type_check=False), dt=DT)
    step = imported.graph.entries["step"]
    assert len({*step.inputs, *step.outputs}) == 5
    x, y = noise(2), noise(2, seed=2)
    again, first, second = run(imported, x, y)  # in the order of the nodes
    np.testing.assert_allclose(first, again)
    assert np.abs(first - second).max() > 0.1


def test_a_deep_graph_needs_no_deep_stack() -> None:
    count = 1500
    nodes: dict[str, nir.NIRNode] = {"in": nir.Input(np.array([1])), "out": nir.Output(np.array([1]))}
    nodes |= {f"s{i}": nir.Scale(np.array([1.001])) for i in range(count)}
    path = ["in", *(f"s{i}" for i in range(count)), "out"]
    imported = import_nir(nir.NIRGraph(nodes, list(itertools.pairwise(path)), type_check=False))
    np.testing.assert_allclose(run(imported, np.ones((2, 1)))[0], 1.001**count, rtol=1e-4)


@pytest.mark.parametrize("edges", [[("in",)], [("in", "out", "in")], None, [3]])
def test_edges_of_another_form_are_refused(edges: Any) -> None:
    graph = nir.NIRGraph({"in": nir.Input(np.array([2])), "out": nir.Output(np.array([2]))}, [("in", "out")])
    graph.edges = edges
    with pytest.raises(ModelError, match=r"malformed|another form"):
        import_nir(graph)


def test_a_graph_that_is_none_is_refused() -> None:
    for source in (3, nir.Linear(np.ones((2, 2))), {"nodes": {}}):
        with pytest.raises(ModelError, match="is not a NIR graph"):
            import_nir(source)
    with pytest.raises(EdgekitError):
        import_nir(nir.NIRGraph({}, [], type_check=False))


def test_a_graph_that_differs_from_its_equations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing_module, "lower", lambda program, name: _distorted(lower(program, name)))
    with pytest.raises(ReplayError, match="differs"):
        import_nir(chain(neuron("LIF", N), shape=(N,)), dt=DT)


def _distorted(graph: Graph) -> Graph:
    """The same graph with another threshold."""
    tensor = next(t for t in graph.tensors.values() if t.data is not None and "v_threshold" in t.name)
    return graph.replace(tensors={**graph.tensors, tensor.name: dataclasses.replace(tensor, data=tensor.data + 0.5)})
