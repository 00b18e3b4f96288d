"""ELM: equations of both versions, routings, time constants, gradients, and the layout of its checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from edgekit import models  # noqa: E402
from edgekit.errors import ModelError  # noqa: E402
from edgekit.models.routing import route  # noqa: E402

SIZES = {"inputs": 6, "outputs": 3, "memory": 5, "memory_tau_max": 40.0}
BRANCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "neuronio": {"branches": 3, "synapses": 3, "routing": "neuronio"},
    "random": {"branches": 4, "synapses": 5, "routing": "random", "tau": [1.0, 2.0, 4.0, 8.0]},
    "tile": {"branches": 12, "routing": "tile", "tau": [0.5] * 6 + [6.0] * 6},
    "unrouted": {"branches": 2, "synapses": 3},
}


def elm(form: str = "plain", **changes: Any) -> Any:
    """A neuron with drawn synapses, some of which relu switches off."""
    torch.manual_seed(4)
    model = models.ELM(**{**SIZES, **BRANCHES[form], **changes}).eval()
    with torch.no_grad():
        model._proto_w_s.uniform_(-0.2, 1.0)
        model._proto_tau_m.add_(torch.randn(model.config["memory"]))
    return model


def in_float64(model: Any, x: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The published equations, one sample, written out in numpy: branches, memories and outputs per step."""
    w, c = {key: value.numpy() for key, value in model.state_dict().items()}, model.config
    weight = np.maximum(w["_proto_w_s"].astype(float), 0)
    reads = np.arange(len(weight))
    if len(w["input_to_synapse_indices"]):
        weight, reads = weight * w["valid_indices_mask"], w["input_to_synapse_indices"]
    low, high = c["memory_tau_min"], c["memory_tau_max"]
    tau_m = (high - low) / (1 + np.exp(-w["_proto_tau_m"].astype(float))) + low
    kappa_m = np.exp(-c["dt"] / tau_m)
    v1 = c["version"] == "v1"
    gain = c["lambda_value"] * (1 - kappa_m) if v1 else 1 - np.exp(-c["dt"] * c["lambda_value"] / tau_m)
    kappa = np.exp(-c["dt"] / w["tau_s" if v1 else "tau_b"].astype(float))
    act = {"relu": lambda z: np.maximum(z, 0), "silu": lambda z: z / (1 + np.exp(-z))}[c["activation"]]
    state, m = np.zeros(len(kappa)), np.zeros(c["memory"])
    record: dict[str, list[Any]] = {"b": [], "m": [], "y": []}
    for x_t in x.astype(float):
        drive = weight * x_t[reads]
        if v1:
            state = kappa * state + drive
            b = state.reshape(c["branches"], -1).sum(1)
        else:
            b = state = kappa * state + drive.reshape(c["branches"], -1).sum(1)
        z = np.concatenate([b, kappa_m * m])
        for layer in range(c["layers"] + 1):
            z = w[f"mlp.network.{2 * layer}.weight"] @ (act(z) if layer else z) + w[f"mlp.network.{2 * layer}.bias"]
        m = kappa_m * m + gain * 1.7159 * np.tanh(2 * z / 3)
        for name, value in {"b": b, "m": m, "y": w["w_y.weight"] @ m + w["w_y.bias"]}.items():
            record[name].append(value)
    return {name: np.array(values) for name, values in record.items()}


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("form", BRANCHES)
@pytest.mark.parametrize(("activation", "layers"), [("relu", 1), ("silu", 3)])
def test_elm_follows_the_published_equations(version: str, form: str, activation: str, layers: int) -> None:
    model = elm(form, version=version, activation=activation, layers=layers, dt=2.0, lambda_value=3.0)
    x = np.random.default_rng(3).normal(size=(40, SIZES["inputs"])).astype(np.float32)
    with torch.no_grad():
        trace = model.trace(torch.from_numpy(x)[None])
    for name, expected in in_float64(model, x).items():
        np.testing.assert_allclose(trace[name][0].numpy(), expected, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("form", BRANCHES)
@pytest.mark.parametrize("readout", ["last", "mean"])
def test_step_sequence_and_trace_agree(version: str, form: str, readout: str) -> None:
    model = elm(form, version=version, readout=readout, layers=2)
    x = torch.randn(4, 30, SIZES["inputs"])
    with torch.no_grad():
        state, ys = model.init_state(4), []
        for x_t in x.unbind(1):
            before = {name: value.clone() for name, value in state.items()}
            y, after = model.step(x_t, state)
            assert all(torch.equal(state[name], before[name]) for name in state)
            ys.append(y)
            state = after
        stepped, trace, sequence = torch.stack(ys, 1), model.trace(x), model(x)
    assert tuple(state) == model.names == ("s" if version == "v1" else "b", "m")
    assert torch.equal(stepped, trace["y"])
    assert all(torch.equal(state[name], trace[name][:, -1]) for name in model.names)
    torch.testing.assert_close(sequence, stepped, rtol=0, atol=1e-5)
    expected = stepped[:, -1] if readout == "last" else stepped.mean(1)
    assert torch.equal(model.decide(stepped), expected.argmax(-1))


def test_equal_filters_make_both_versions_branches_alike() -> None:
    """Where tau is the same all over a branch, filtering before or after the sum is the same."""
    x = torch.randn(2, 50, SIZES["inputs"])
    with torch.no_grad():
        synapses, branches = (elm("neuronio", version=version).trace(x)["b"] for version in ("v1", "v2"))
    torch.testing.assert_close(synapses, branches, rtol=0, atol=1e-5)


@given(st.integers(1, 40), st.integers(1, 12), st.data())
@settings(max_examples=60, deadline=None)
def test_neuronio_windows_walk_over_the_interleaved_inputs(inputs: int, branches: int, data: st.DataObject) -> None:
    stride = math.ceil(inputs / branches)
    synapses = data.draw(st.integers(stride, stride + 5))
    indices, connected = route("neuronio", inputs, branches, synapses)
    half = inputs // 2
    interleaved = [(i % 2) * half + i // 2 for i in range(inputs)]
    for branch in range(branches):
        for k in range(synapses):
            at, j = branch * stride + k, branch * synapses + k
            assert bool(connected[j]) == (at < inputs)
            assert int(indices[j]) == interleaved[min(at, inputs - 1)]
    read = set(indices[connected].tolist())
    assert read == set(range(inputs - inputs % 2)) | ({0} if inputs == 1 else set())


def test_the_other_routings() -> None:
    indices, connected = route("tile", 3, 4, 2)
    assert indices.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert connected.all()
    torch.manual_seed(0)
    indices, connected = route("random", 5, 40, 10)
    assert set(indices.tolist()) == set(range(5))
    assert connected.all()
    assert [len(table) for table in route("none", 6, 2, 3)] == [0, 0]


@pytest.mark.parametrize(("memory", "low", "high"), [(1, 1.0, 1000.0), (7, 1.0, 150.0), (20, 0.5, 30.0)])
def test_memories_start_from_fast_to_slow(memory: int, low: float, high: float) -> None:
    """Evenly spaced in their logarithm, none at an end of the range, where nothing could be learnt."""
    model = models.ELM(inputs=2, outputs=1, memory=memory, memory_tau_min=low, memory_tau_max=high)
    tau = model.tau_m.detach().double().numpy()
    np.testing.assert_allclose(tau, np.geomspace(low, high, memory), rtol=1e-3)
    assert torch.isfinite(model._proto_tau_m).all()


def test_the_least_range_of_memories_is_the_published_one() -> None:
    model = models.ELM(inputs=2, outputs=1, memory=3, memory_tau_min=10.0, memory_tau_max=10.0)
    assert model.config["memory_tau_max"] == 10.0
    assert torch.isfinite(model(torch.randn(1, 9, 2))).all()
    torch.testing.assert_close(model.tau_m.detach(), torch.full((3,), 10.0), rtol=0, atol=4e-6)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_elm_learns_a_tiny_task(version: str) -> None:
    """Which of two inputs was on at the first step: the loss falls, and every parameter that may learn does."""
    model = elm("tile", version=version, learn_memory_tau=True, outputs=2, readout="mean").train()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    labels = torch.arange(16) % 2
    x = 0.1 * torch.randn(16, 8, SIZES["inputs"])
    x[torch.arange(16), 0, labels] += 1.0
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(model.scores(model(x)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    assert not [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert not elm().get_parameter("_proto_tau_m").requires_grad


def published(model: Any, **changes: Any) -> dict[str, Any]:
    """The state dict as published code stores it: tables of other types, empty ones as float32, an infinite proto."""
    weights = dict(model.state_dict())
    tables = ("input_to_synapse_indices", "valid_indices_mask")
    weights |= {key: weights[key].to(torch.int64 if len(weights[key]) else torch.float32) for key in tables}
    return {**weights, **changes}


@pytest.mark.parametrize("prefix", ["", "model.", "net.elm."])
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("form", BRANCHES)
def test_state_dicts_are_recognised(prefix: str, version: str, form: str) -> None:
    model = elm(form, version=version, layers=2, hidden=9)
    config = {"num_input": 6} if form == "random" else {}
    weights = {prefix + key: value for key, value in published(model).items()}
    found, assumed = models.from_checkpoint(weights, {**config, "memory_tau_max": 40.0})
    x = torch.randn(2, 20, SIZES["inputs"])
    assert torch.equal(found(x), model(x))
    assert found.config == model.config
    assert assumed == {
        "activation": "relu",
        "dt": 1.0,
        "lambda_value": 5.0,
        "memory_tau_min": 1.0,
        "readout": "last",
    }


def test_the_published_configuration_is_understood(tmp_path: Path) -> None:
    model = elm("neuronio", version="v1", activation="silu", dt=2.0, lambda_value=3.0)
    config = {
        **{"num_input": 6, "num_output": 3, "num_memory": 5, "num_branch": 3, "num_synapse_per_branch": 3},
        **{"mlp_num_layers": 1, "mlp_hidden_size": None, "mlp_activation": "silu", "delta_t": 2.0, "lambda_value": 3.0},
        **{"memory_tau_min": 1.0, "memory_tau_max": 40.0, "learn_memory_tau": False, "w_s_value": 0.5},
        **{"tau_s_value": 7.0, "input_to_synapse_routing": "neuronio_routing"},
    }
    torch.save(published(model), tmp_path / "neuronio_best_model_state.pt")
    (tmp_path / "model_config.json").write_text(json.dumps(config))
    config = json.loads((tmp_path / "model_config.json").read_text())
    found, assumed = models.open_model(tmp_path / "neuronio_best_model_state.pt", config)
    assert found.config == model.config
    assert assumed == {"readout": "last"}


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_proto_is_an_end_of_the_range(value: float) -> None:
    """In float32 the published initial value of the slowest memory is often infinite."""
    weights = published(elm(), _proto_tau_m=torch.tensor([value, 0.0, 1.0, 2.0, 3.0]))
    model, _ = models.from_checkpoint(weights, {"memory_tau_max": 40.0})
    assert model.tau_m[0].item() == (40.0 if value > 0 else 1.0)
    own = models.ELM(**SIZES)
    own.load_state_dict(weights)
    assert all(torch.isfinite(parameter).all() for parameter in (*own.parameters(), *model.parameters()))


def test_filter_times_are_told_by_the_weights() -> None:
    model = elm("neuronio", version="v1")
    drawn = torch.linspace(2, 10, 9)
    found, _ = models.from_checkpoint(published(model, tau_s=drawn))
    assert found.config["tau"] == drawn.tolist()
    by_branch = torch.tensor([2.0, 3.0, 4.0]).repeat_interleave(3)
    found, _ = models.from_checkpoint(published(model, tau_s=by_branch))
    assert found.config["tau"] == [2.0, 3.0, 4.0]
    again = models.build("elm", found.config)
    assert torch.equal(again.tau_s, by_branch)
    found, _ = models.from_checkpoint(published(model, tau_s=by_branch), {"tau": [2, 3, 4]})
    assert torch.equal(found.tau_s, by_branch)


WEIGHTS = published(elm("random", version="v1"))
INPUTS = {"inputs": 6}


def _without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in WEIGHTS.items() if key not in keys}


@pytest.mark.parametrize(
    ("weights", "config", "words"),
    [
        (WEIGHTS, {}, ["1 missing", "inputs"]),
        (WEIGHTS, {"inputs": "6"}, ["elm inputs", "'6'"]),
        (WEIGHTS, {"inputs": 4}, ["input_to_synapse_indices", "0 to 5", "there are 4"]),
        (WEIGHTS | {"input_to_synapse_indices": torch.full((20,), -1)}, INPUTS, ["-1 to -1", "there are 6"]),
        (WEIGHTS | {"input_to_synapse_indices": torch.full((20,), 2**62)}, INPUTS, ["there are 6"]),
        (WEIGHTS | {"input_to_synapse_indices": torch.rand(20)}, INPUTS, ["input_to_synapse_indices", "torch.float32"]),
        (WEIGHTS | {"valid_indices_mask": torch.ones(19, dtype=torch.bool)}, INPUTS, ["valid_indices_mask is [19]"]),
        (_without("tau_s", "w_y.weight"), INPUTS, ["missing: tau_b", "missing: w_y.weight"]),
        (_without("mlp.network.2.bias", "valid_indices_mask"), {}, ["mlp.network.2.bias", "valid_indices_mask"]),
        (WEIGHTS | {"loss.weight": torch.ones(2)}, INPUTS, ["not used: loss.weight [2]"]),
        (WEIGHTS | {"_proto_w_s": torch.ones(7)}, INPUTS, ["7 synapses, _proto_tau_m 5 memories", "4 branches"]),
        (WEIGHTS | {"tau_s": torch.rand(19) + 1}, INPUTS, ["20 synapses", "4 branches", "tau_s has 19 values"]),
        (WEIGHTS | {"_proto_w_s": torch.ones(4, 5)}, INPUTS, ["_proto_w_s: [4, 5] is not a vector"]),
        (WEIGHTS | {"w_y.weight": torch.ones(2**24, 0)}, INPUTS, ["w_y.weight is [16777216, 0]"]),
        (WEIGHTS | {"_proto_tau_m": torch.full((5,), torch.nan)}, INPUTS, ["_proto_tau_m: holds a NaN"]),
        (WEIGHTS | {"tau_s": torch.full((20,), torch.inf)}, INPUTS, ["tau_s: holds a NaN or Inf"]),
        (WEIGHTS | {"tau_s": torch.full((20,), -1.0)}, INPUTS, ["elm tau", "-1.0"]),
        (WEIGHTS, {**INPUTS, "tau": 3.0}, ["tau: config says 3.0, tau_s holds 1 to 8"]),
        (WEIGHTS, {**INPUTS, "tau": "3"}, ["elm tau", "'3'"]),
        (WEIGHTS, {**INPUTS, "version": "v2"}, ["version: config says 'v2', the weights say 'v1'"]),
        (WEIGHTS, {**INPUTS, "routing": "neuronio_routing"}, ["routing: config says 'neuronio'", "'random'"]),
        (WEIGHTS, {**INPUTS, "num_input": 7}, ["inputs is given twice, as 6 and as 7"]),
        (WEIGHTS, {**INPUTS, "mlp_activation": "tanh"}, ["elm activation", "tanh"]),
        (WEIGHTS, {**INPUTS, "num_inputs": 6}, ["'num_inputs'", "num_input", "known keys"]),
        ({f"{p}.{k}": v for p in "ab" for k, v in WEIGHTS.items()}, INPUTS, ["2 ELM neurons", "a.", "b."]),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(weights: Any, config: Any, words: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        models.from_checkpoint(weights, config)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_an_own_file_with_hostile_indices_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    models.save(elm("random"), path)
    content = torch.load(path, weights_only=True)
    content["state_dict"]["input_to_synapse_indices"][3] = 10**9
    torch.save(content, path)
    with pytest.raises(ModelError, match="0 to 1000000000, but there are 6"):
        models.load(path)
