"""Model families: equations, states, gradients, configuration."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from edgekit import models  # noqa: E402
from edgekit.errors import ModelError  # noqa: E402

SIZES = {"inputs": 3, "hidden": 5, "memory": 4, "order": 3, "outputs": 2, "theta": 6.0}
LIVELY = {letter: {"beta": 0.7, "threshold": 0.2} for letter in "umho"}


def lively(**changes: Any) -> Any:
    torch.manual_seed(7)
    neurons = {**LIVELY, **({"x": {"beta": 0.5, "threshold": 0.3}} if changes.get("encoder") else {})}
    return models.L2MU(**{**SIZES, "neurons": neurons, **changes}).eval()


def in_float64(model: Any, x: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The published equations, one sample, written out in numpy: spikes and membranes per step."""
    w = {key: value.double().numpy() for key, value in model.state_dict().items()}
    membrane = {"u": 0.0, "m": 0.0, "h": 0.0, "o": 0.0}
    synapse = dict(membrane)
    h, m = np.zeros(SIZES["hidden"]), np.zeros((SIZES["memory"], SIZES["order"]))
    record: dict[str, list[Any]] = {}

    def fire(letter: str, current: Any) -> Any:
        neuron = "spk_" + {"o": "output"}.get(letter, letter)
        threshold = w[f"{neuron}.threshold"]
        if f"{neuron}.alpha" in w:
            current = synapse[letter] = np.clip(w[f"{neuron}.alpha"], 0, 1) * synapse[letter] + current
        reset = threshold * (membrane[letter] > threshold)
        membrane[letter] = np.clip(w[f"{neuron}.beta"], 0, 1) * membrane[letter] + current - reset
        spikes = (membrane[letter] > threshold).astype(float)
        record.setdefault(f"{letter}.membrane", []).append(membrane[letter])
        record.setdefault(f"{letter}.spikes", []).append(spikes)
        return spikes

    for x_t in x:
        u = fire("u", w["e_x.weight"] @ x_t + w["e_h.weight"] @ h + w["e_m.weight"] @ m.ravel())
        m = fire("m", m @ w["A.weight"].T + u[:, None] @ w["B.weight"].T)
        h = fire("h", w["W_x.weight"] @ x_t + w["W_h.weight"] @ h + w["W_m.weight"] @ m.ravel())
        fire("o", w["output_transformation.weight"] @ h + w["output_transformation.bias"])
    return {name: np.array(values) for name, values in record.items()}


@pytest.mark.parametrize("neuron", ["leaky", "synaptic"])
def test_l2mu_follows_the_published_equations(neuron: str) -> None:
    model = lively(neuron=neuron)
    with torch.no_grad():
        model.e_m.weight.uniform_(-0.5, 0.5)
        model.spk_h.beta.fill_(1.3)  # learned out of range: clipped to 1
    x = np.random.default_rng(3).normal(size=(60, SIZES["inputs"])).astype(np.float32)
    with torch.no_grad():
        trace = model.trace(torch.from_numpy(x)[None])
    for name, expected in in_float64(model, x).items():
        tolerance = 0 if name.endswith("spikes") else 1e-4
        np.testing.assert_allclose(trace[name][0].numpy(), expected, rtol=0, atol=tolerance, err_msg=name)
    assert 0.05 < float(trace["m.spikes"].mean()) < 0.95


@pytest.mark.parametrize("encoder", [0, 6])
@pytest.mark.parametrize("neuron", ["leaky", "synaptic"])
@pytest.mark.parametrize("readout", ["spike_count", "last_membrane", "mean_membrane"])
def test_step_sequence_and_trace_agree(neuron: str, readout: str, encoder: int) -> None:
    model = lively(neuron=neuron, readout=readout, encoder=encoder, per_neuron=True)
    x = torch.randn(4, 30, SIZES["inputs"])
    with torch.no_grad():
        state, ys = model.init_state(4), []
        for x_t in x.unbind(1):
            y, state = model.step(x_t, state)
            ys.append(y)
        stepped = torch.stack(ys, 1)
        trace = model.trace(x)
        sequence = model(x)
    assert tuple(state) == model.names
    assert torch.equal(stepped, trace["y"])
    assert all(torch.equal(state[name], trace[name][:, -1]) for name in model.names)
    torch.testing.assert_close(sequence, stepped, rtol=0, atol=1e-4)
    expected = {"spike_count": stepped.sum(1), "last_membrane": stepped[:, -1], "mean_membrane": stepped.mean(1)}
    assert torch.equal(model.decide(stepped), expected[readout].argmax(-1))
    assert set(torch.unique(trace["o.spikes"]).tolist()) <= {0.0, 1.0}


def test_step_is_pure() -> None:
    model = lively()
    state = model.init_state(2)
    model.step(torch.ones(2, SIZES["inputs"]), state)
    assert all(not value.any() for value in state.values())


@given(st.floats(0.05, 2.0), st.integers(0, 2**31 - 1))
@settings(max_examples=30, deadline=None)
def test_a_membrane_at_its_threshold_does_not_fire(threshold: float, seed: int) -> None:
    from edgekit.models.spiking import spike

    value = torch.tensor([threshold], dtype=torch.float32)
    above = torch.nextafter(value, torch.tensor([math.inf]))
    assert spike(value, value).item() == 0.0
    assert spike(above, value).item() == 1.0
    membrane = torch.from_numpy(np.random.default_rng(seed).normal(size=50).astype(np.float32))
    assert torch.equal(spike(membrane, value), (membrane > value).float())


def test_surrogate_gradient_is_that_of_a_scaled_arctangent() -> None:
    from edgekit.models.spiking import spike

    membrane = torch.linspace(-2, 2, 9, dtype=torch.float64, requires_grad=True)
    threshold = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    spike(membrane, threshold).sum().backward()
    smooth_membrane, smooth_threshold = membrane.detach().requires_grad_(), threshold.detach().requires_grad_()
    (torch.atan(math.pi * (smooth_membrane - smooth_threshold)) / math.pi).sum().backward()
    torch.testing.assert_close(membrane.grad, smooth_membrane.grad)
    torch.testing.assert_close(threshold.grad, smooth_threshold.grad)


@pytest.mark.parametrize("neuron", ["leaky", "synaptic"])
def test_l2mu_learns_a_tiny_task(neuron: str) -> None:
    """Which of two channels carries the pulse train: the loss falls and every learnable parameter moves."""
    model = lively(neuron=neuron, encoder=6, per_neuron=True).train()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    labels = torch.arange(16) % 2
    x = 0.1 * torch.randn(16, 8, SIZES["inputs"])
    x[torch.arange(16), :, labels] += 1.0
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(model.scores(model(x)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert still == ["A.weight", "B.weight"]


@pytest.mark.parametrize("batch_norm", ["none", "before_activation", "after_activation"])
def test_mlp_is_its_sequential(batch_norm: str) -> None:
    model = models.MLP([6, 5, 4, 3], activation="tanh", dropout=0.4, batch_norm=batch_norm).eval()
    x = torch.randn(7, 6)
    y, state = model.step(x, model.init_state(7))
    assert state == {}
    assert model.names == ()
    assert torch.equal(y, model(x))
    assert torch.equal(model.decide(y), y.argmax(-1))
    assert torch.equal(model.trace(x)["y"], y)
    assert sum(isinstance(layer, torch.nn.BatchNorm1d) for layer in model.network) == (batch_norm != "none") * 2


CONFIGS: dict[str, dict[str, Any]] = {
    "memory": {"inputs": 12, "capacity": 5, "power": 3},
    "mlp": {"sizes": [4, 3, 2], "dropout": 0.2},
    "l2mu": {**SIZES, "per_neuron": ["m.beta"], "encoder": 7},
    "lmu": {**SIZES, "discretisation": "euler", "activation": "relu", "bias": True, "dropout": 0.1},
    "elm": {"inputs": 6, "outputs": 2, "memory": 5, "version": "v1", "branches": 3, "synapses": 4, "routing": "tile"},
}


@pytest.mark.parametrize("family", models.FAMILIES)
def test_config_rebuilds_the_module(family: str) -> None:
    model = models.build(family, CONFIGS[family])
    again = models.build(model.family, model.config)
    assert again.config == model.config
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert {name: value.shape for name, value in again.state_dict().items()} == shapes


@pytest.mark.parametrize(
    ("family", "config", "words"),
    [
        ("l2mu", {"inputs": 3}, ["4 missing", "hidden", "memory", "order", "outputs"]),
        ("l2mu", {**SIZES, "width": 1, "depth": 2}, ["'depth', 'width'", "known keys", "theta"]),
        ("l2mu", {**SIZES, "neuron": "izhikevich"}, ["izhikevich", "leaky, synaptic"]),
        ("l2mu", {**SIZES, "hidden": 0}, ["hidden", "0"]),
        ("l2mu", {**SIZES, "theta": -1.0}, ["theta"]),
        ("l2mu", {**SIZES, "dropout": 1.0}, ["dropout"]),
        ("l2mu", {**SIZES, "neurons": {"q": {}}}, ["'q'", "u, m, h, o"]),
        ("l2mu", {**SIZES, "neurons": {"u": {"alpha": 0.5}}}, ["'alpha'", "beta, threshold"]),
        ("l2mu", {**SIZES, "neurons": {"u": {"beta": math.nan}}}, ["u.beta"]),
        ("l2mu", {**SIZES, "neurons": {"u": 0.5}}, ["neurons 'u'"]),
        ("l2mu", {**SIZES, "per_neuron": ["x.beta"]}, ["x.beta"]),
        ("mlp", {}, ["1 missing", "sizes"]),
        ("mlp", {"sizes": [4]}, ["sizes"]),
        ("mlp", {"sizes": "4,3"}, ["sizes"]),
        ("mlp", {"sizes": [4, 2.5]}, ["2.5"]),
        ("mlp", {"sizes": [4, 2], "activation": "gelu"}, ["gelu", "relu"]),
        ("mlp", {"sizes": [4, 2], "bias": "no"}, ["bias"]),
        ("mlp", {"sizes": [4, 2**40]}, ["1,099,511,627,776 is more than"]),
        ("lmu", {"inputs": 3}, ["3 missing", "hidden", "memory", "order"]),
        ("lmu", {**SIZES, "outputs": -1}, ["lmu outputs"]),
        ("lmu", {**SIZES, "discretisation": "tustin"}, ["tustin", "zoh, euler"]),
        ("lmu", {**SIZES, "activation": "sigmoid"}, ["sigmoid", "tanh, relu, identity"]),
        ("lmu", {**SIZES, "readout": "spike_count"}, ["spike_count", "last, mean"]),
        ("lmu", {**SIZES, "theta": "40"}, ["theta"]),
        ("lmu", {**SIZES, "neuron": "leaky"}, ["'neuron'", "known keys"]),
        ("elm", {"memory": 3}, ["2 missing", "inputs", "outputs"]),
        ("elm", {"inputs": 6, "outputs": 2, "version": "v3"}, ["v3", "v1, v2"]),
        ("elm", {"inputs": 6, "outputs": 2, "activation": "tanh"}, ["tanh", "relu, silu"]),
        ("elm", {"inputs": 6, "outputs": 2, "branches": 4}, ["4 branches of 1 synapses", "6 inputs", "tile"]),
        ("elm", {"inputs": 9, "outputs": 2, "branches": 4, "synapses": 2, "routing": "neuronio"}, ["at least 3"]),
        ("elm", {"inputs": 9, "outputs": 2, "branches": 4, "synapses": 2, "routing": "tile"}, ["1 of 9", "at least 9"]),
        ("elm", {"inputs": 6, "outputs": 2, "tau": [1.0, 2.0]}, ["2 values", "6 (branches)"]),
        ("elm", {"inputs": 6, "outputs": 2, "tau": -1.0}, ["elm tau", "-1.0"]),
        ("elm", {"inputs": 2, "outputs": 2, "tau": [1.0, "2"]}, ["elm tau", "'2'"]),
        ("elm", {"inputs": 6, "outputs": 2, "memory_tau_max": 0.5}, ["memory_tau_max", ">= 1"]),
        ("elm", {"inputs": 6, "outputs": 2, "layers": 1000}, ["layers", "more than 64"]),
        ("elm", {"inputs": 6, "outputs": 2, "num_memory": 7}, ["'num_memory'", "known keys"]),
        ("elmo", {}, ["elmo", "l2mu, lmu, elm, memory, mlp"]),
    ],
)
def test_wrong_configurations_are_refused(family: str, config: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        models.build(family, config)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_importing_the_room_does_not_import_torch() -> None:
    code = "import sys, edgekit.models; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_exist() -> None:
    assert all(hasattr(models, name) for name in models.__all__)
    with pytest.raises(AttributeError):
        _ = models.no_such_name


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own use of what it deprecates
@pytest.mark.parametrize("encoder", [0, 6])
@pytest.mark.parametrize("readout", ["spike_count", "mean_membrane"])
def test_exported_step_is_made_of_simple_operations(readout: str, encoder: int) -> None:
    model = lively(neuron="synaptic", readout=readout, encoder=encoder)

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any, *state: Any) -> Any:
            y, new = self.model.step(x, dict(zip(model.names, state, strict=True)))
            return y, *new.values()

    arguments = (torch.randn(2, SIZES["inputs"]), *model.init_state(2).values())
    program = torch.export.export(Step(), arguments, strict=False).run_decompositions()
    kinds = {str(node.target).split(".")[1] for node in program.graph.nodes if node.op == "call_function"}
    simple = {"permute", "view", "unsqueeze", "mm", "addmm", "mul", "add", "sub", "gt", "clamp", "_to_copy"}
    assert kinds - {"_assert_tensor_metadata"} <= simple
