"""Model files: what edgekit writes, other people's checkpoints, and files that are damaged or hostile."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")

from edgekit import models  # noqa: E402
from edgekit.errors import ModelError, UsageError  # noqa: E402

IO = {"input": {"name": "imu", "offset": [0.5], "scale": [2.0]}, "classes": ["a", "b"]}


def l2mu(**changes: Any) -> Any:
    torch.manual_seed(1)
    sizes = {"inputs": 3, "hidden": 5, "memory": 4, "order": 2, "outputs": 2, "theta": 6.0}
    return models.L2MU(**{**sizes, **changes}).eval()


def mlp_weights(*layers: tuple[int, int, int], prefix: str = "", bias: bool = True) -> dict[str, Any]:
    """Numbered linear layers (index, in, out)."""
    torch.manual_seed(2)
    weights = {f"{prefix}{index}.weight": torch.randn(n_out, n_in) for index, n_in, n_out in layers}
    if bias:
        weights |= {f"{prefix}{index}.bias": torch.randn(n_out) for index, _, n_out in layers}
    return weights


@pytest.mark.parametrize(
    "model",
    [
        l2mu(),
        l2mu(neuron="synaptic", encoder=6, readout="mean_membrane", per_neuron=["u.beta", "m.alpha"]),
        models.MLP([6, 5, 4], batch_norm="after_activation", activation="sigmoid").eval(),
        models.LMU(inputs=3, hidden=5, memory=2, order=4, theta=9.0, activation="relu", bias=True).eval(),
        models.ELM(inputs=3, outputs=2, memory=4, branches=5, synapses=3, routing="random", tau=[2.0] * 5).eval(),
        models.ELM(inputs=3, outputs=2, memory=4, version="v1", learn_memory_tau=True, memory_tau_max=9.0).eval(),
    ],
    ids=lambda model: model.family,
)
def test_save_and_load_give_the_same_model(model: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    models.save(model, path, io=IO)
    again = models.load(path)
    x = torch.randn(5, 6) if model.family == "mlp" else torch.randn(2, 9, 3)
    assert torch.equal(again(x), model(x))
    trained = {name: value.requires_grad for name, value in model.named_parameters()}
    assert {name: value.requires_grad for name, value in again.named_parameters()} == trained
    assert again.config == model.config
    assert again.io == IO
    assert not again.training
    models.save(again, tmp_path / "again.pt")
    assert (tmp_path / "again.pt").read_bytes() == path.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["again.pt", "model.pt"]
    opened, assumed = models.open_model(path)
    assert opened.config == model.config
    assert assumed == {}


def test_save_refuses_what_load_could_not_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Linear"):
        models.save(torch.nn.Linear(2, 2), tmp_path / "x.pt")
    with pytest.raises(UsageError, match="io"):
        models.save(l2mu(), tmp_path / "x.pt", io={"offset": np.zeros(3)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("prefix", ["", "l2mu_cell.", "model.l2mu_cell."])
@pytest.mark.parametrize("neuron", ["leaky", "synaptic"])
def test_l2mu_state_dicts_are_recognised_under_any_prefix(prefix: str, neuron: str) -> None:
    model = l2mu(neuron=neuron, per_neuron=["m.threshold"], encoder=7)
    module, assumed = models.from_checkpoint({prefix + key: value for key, value in model.state_dict().items()})
    x = torch.randn(2, 20, 3)
    assert torch.equal(module(x), model(x))
    assert module.config["per_neuron"] == ["m.threshold"]
    assert assumed == {
        "reset": "subtract",
        "reset delay": "one step",
        "graded spikes factor": 1,
        "readout": "spike_count",
    }


def test_snntorch_setting_buffers_are_read() -> None:
    weights = l2mu().state_dict()
    for name in ("spk_u", "spk_m", "spk_h", "spk_output"):
        weights |= {f"{name}.reset_mechanism_val": torch.tensor(0), f"{name}.graded_spikes_factor": torch.tensor(1.0)}
    _, assumed = models.from_checkpoint(weights)
    assert assumed == {"reset delay": "one step", "readout": "spike_count"}
    weights["spk_h.reset_mechanism_val"] = torch.tensor(1)
    weights["spk_u.graded_spikes_factor"] = torch.tensor(0.5)
    with pytest.raises(ModelError) as caught:
        models.from_checkpoint(weights)
    assert "spk_h.reset_mechanism_val" in str(caught.value)
    assert "spk_u.graded_spikes_factor" in str(caught.value)


def test_a_checkpoint_of_snntorch_itself_runs_alike() -> None:
    """Populations made by snnTorch: its state dict loads, and its spikes are ours."""
    snntorch = pytest.importorskip("snntorch")
    model = l2mu(neuron="synaptic")
    weights = {key: value for key, value in model.state_dict().items() if not key.startswith("spk_")}
    neuron = snntorch.Synaptic(alpha=0.6, beta=0.8, threshold=0.4, init_hidden=True, learn_beta=True)
    for name in ("spk_u", "spk_m", "spk_h", "spk_output"):
        weights |= {f"{name}.{key}": value.detach() for key, value in neuron.state_dict().items()}
    module, _ = models.from_checkpoint(weights)
    torch.manual_seed(5)
    currents = torch.randn(50, 1, 4)
    state = module.spk_u.init_state(1)
    for current in currents:
        spikes, state = module.spk_u(current, *state)
        assert torch.equal(spikes, neuron(current))


@pytest.mark.parametrize("shape", [(1,), (2,), (4, 1)])
def test_neuron_constants_broadcast_as_in_torch(shape: tuple[int, ...]) -> None:
    model = l2mu()
    weights = model.state_dict() | {"spk_m.beta": torch.rand(shape)}
    module, _ = models.from_checkpoint(weights)
    full = torch.broadcast_to(weights["spk_m.beta"], (4, 2))
    assert torch.equal(module.spk_m.beta.broadcast_to(4, 2), full)


@pytest.mark.parametrize(
    ("layers", "prefix", "bias"),
    [
        ([(0, 6, 5), (2, 5, 4), (4, 4, 3)], "", True),
        ([(0, 6, 5), (3, 5, 4), (6, 4, 3)], "net.", True),
        ([(0, 6, 5), (2, 5, 4), (4, 4, 3)], "", False),
        ([(10, 6, 5), (2, 4, 6)], "m.layers.", True),
    ],
)
def test_bare_sequentials_are_recognised(layers: list[tuple[int, int, int]], prefix: str, bias: bool) -> None:
    weights = mlp_weights(*layers, prefix=prefix, bias=bias)
    module, assumed = models.from_checkpoint(weights)
    assert assumed == {"activation": "relu"}
    x = y = torch.randn(8, min(layers)[1])
    for index, _, _ in sorted(layers):
        y = y @ weights[f"{prefix}{index}.weight"].T + weights.get(f"{prefix}{index}.bias", torch.zeros(()))
        y = y if index == max(layers)[0] else torch.relu(y)
    torch.testing.assert_close(module(x), y)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_batch_normalisation_is_recognised_by_its_statistics(after: bool, affine: bool) -> None:
    nn = torch.nn
    torch.manual_seed(3)

    def hidden(n_in: int, n_out: int) -> list[Any]:
        norm = nn.BatchNorm1d(n_out, affine=affine)
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
        return [nn.Linear(n_in, n_out, bias=False), *([nn.Tanh(), norm] if after else [norm, nn.Tanh()])]

    original = nn.Sequential(*hidden(6, 5), *hidden(5, 4), nn.Linear(4, 3)).eval()
    module, assumed = models.from_checkpoint(original.state_dict(), {"activation": "tanh"})
    x = torch.randn(9, 6)
    torch.testing.assert_close(module(x), original(x))
    assert assumed == {"batch_norm_eps": 1e-5}
    assert module.config["batch_norm"] == ("after_activation" if after else "before_activation")


def test_layers_without_room_for_an_activation_need_to_be_told() -> None:
    weights = mlp_weights((1, 6, 5), (2, 5, 3), prefix="fc")
    with pytest.raises(ModelError, match="activation"):
        models.from_checkpoint(weights)
    module, assumed = models.from_checkpoint(weights, {"activation": "identity"})
    assert module.config["activation"] == "identity"
    assert assumed == {}


def test_loading_copies_and_widens() -> None:
    weights = {key: value.half() for key, value in mlp_weights((0, 3, 2)).items()}
    module, assumed = models.from_checkpoint(weights)
    assert assumed == {"weights": "float32, from float16"}
    single = {key: value.float() for key, value in weights.items()}
    module, _ = models.from_checkpoint(single, {"io": IO})
    single["0.weight"].zero_()
    assert module.network[0].weight.abs().sum() > 0
    assert module.network[0].weight.requires_grad
    assert module.io == IO


def _without(weights: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in weights.items() if key not in keys}


@pytest.mark.parametrize(
    ("weights", "config", "words"),
    [
        (_without(l2mu().state_dict(), "W_x.weight", "spk_o.beta", "B.weight"), {}, ["W_x.weight", "B.weight"]),
        (_without(l2mu().state_dict(), "A.weight", "W_h.weight"), {}, ["A.weight", "W_h.weight"]),
        (l2mu().state_dict() | {"loss.weight": torch.ones(2)}, {}, ["not used: loss.weight [2]"]),
        (l2mu().state_dict() | {"W_m.weight": torch.ones(5, 9)}, {}, ["W_m.weight is [5, 9], expected [5, 8]"]),
        (l2mu().state_dict() | {"spk_m.beta": torch.ones(3)}, {}, ["spk_m.beta"]),
        (l2mu().state_dict() | {"A.weight": torch.ones(4)}, {}, ["not a matrix: A.weight"]),
        (l2mu().state_dict() | {"e_h.weight": torch.full((4, 5), torch.nan)}, {}, ["e_h.weight", "NaN"]),
        (l2mu().state_dict(), {"hidden": 6, "neuron": "synaptic"}, ["hidden: config says 6", "neuron"]),
        (l2mu().state_dict(), {"hiden": 5}, ["'hiden'", "known keys", "hidden"]),
        ({f"{p}.{k}": v for p in "ab" for k, v in l2mu().state_dict().items()}, {}, ["2 L2MU cells", "a.", "b."]),
        (mlp_weights((0, 6, 5), (2, 4, 3)), {}, ["layer 2 takes 4 values, the one before gives 5"]),
        (mlp_weights((0, 6, 5)) | mlp_weights((0, 5, 3), prefix="q."), {}, ["more than one name"]),
        (mlp_weights((0, 6, 5)) | {"1.weight_hh": torch.ones(2)}, {}, ["1.weight_hh"]),
        ({"0.weight": torch.ones(4, 3, 3, 3)}, {}, ["layer 0 is neither linear"]),
        (mlp_weights((0, 6, 5)) | {"0.bias": torch.ones(4)}, {}, ["network.0.bias is [4], expected [5]"]),
        (mlp_weights((0, 6, 5)) | {"0.weight": torch.ones(5, 6, dtype=torch.int8)}, {}, ["torch.int8"]),
        (mlp_weights((0, 6, 5)), {"sizes": [6, 7]}, ["sizes: config says [6, 7], the weights say [6, 5]"]),
        (mlp_weights((1, 5, 3)) | {"0.running_mean": torch.ones(5)}, {}, ["before the first"]),
        ({"gru.weight_ih_l0": torch.ones(3, 3)}, {}, ["no known family", "gru.weight_ih_l0"]),
        ({"0.weight": "text"}, {}, ["0.weight: str"]),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(weights: Any, config: Any, words: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        models.from_checkpoint(weights, config)
    assert all(word in str(caught.value) for word in words), str(caught.value)


WRITERS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "bare.pt": torch.save,
    "old.pth": lambda weights, path: torch.save(weights, path, _use_new_zipfile_serialization=False),
    "lightning.ckpt": lambda weights, path: torch.save({"state_dict": weights, "epoch": 3}, path),
    "trainer.pt": lambda weights, path: torch.save({"model_state_dict": weights, "optimizer": {}}, path),
    "w.safetensors": safetensors_torch.save_file,
    "w.npz": lambda weights, path: np.savez(path, **{k: v.numpy() for k, v in weights.items()}),
    "golden.npz": lambda weights, path: np.savez(
        path, X=np.ones(3), **{f"sd.{k}": v.numpy() for k, v in weights.items()}
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_state_dict_files_of_every_kind(name: str, tmp_path: Path) -> None:
    model = l2mu(neuron="synaptic")
    WRITERS[name](model.state_dict(), tmp_path / name)
    weights = models.read_state_dict(tmp_path / name)
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in weights.items())
    module, _ = models.open_model(tmp_path / name)
    x = torch.randn(1, 15, 3)
    assert torch.equal(module(x), model(x))


class _Payload:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("name", ["zip.pt", "plain.ckpt", "object.npz"])
def test_pickled_code_never_runs(name: str, tmp_path: Path) -> None:
    victim, path = tmp_path / "ran", tmp_path / name
    if name == "zip.pt":
        torch.save({"state_dict": {"0.weight": torch.ones(1, 1)}, "extra": _Payload(victim)}, path)
    elif name == "plain.ckpt":
        path.write_bytes(pickle.dumps(_Payload(victim)))
    else:
        np.savez(path, **{"0.weight": np.array([_Payload(victim)], dtype=object)})
    for reader in (models.load, models.open_model, models.read_state_dict):
        with pytest.raises(ModelError) as caught:
            reader(path)
        assert str(path) in str(caught.value).splitlines()[0]
    assert not victim.exists()


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".safetensors", ".npz"])
@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "noise", "absent"])
def test_damaged_files_are_one_clear_error(suffix: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    writer = {".pt": "bare.pt", ".ckpt": "lightning.ckpt", ".safetensors": "w.safetensors", ".npz": "w.npz"}[suffix]
    WRITERS[writer](l2mu().state_dict(), path)
    whole = path.read_bytes()
    content = {
        "empty": b"",
        "text": b"hello, I am a model\n",
        "truncated": whole[: len(whole) // 2],
        "noise": np.random.default_rng(0).bytes(len(whole)),
    }
    path.unlink()
    if damage != "absent":
        path.write_bytes(content[damage])
    with pytest.raises(ModelError) as caught:
        models.open_model(path)
    assert str(path) in str(caught.value).splitlines()[0]


def test_other_suffixes_shapes_of_content_and_bombs_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "model.tar").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"\.safetensors"):
        models.read_state_dict(tmp_path / "model.tar")
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="list"):
        models.read_state_dict(tmp_path / "list.pt")
    torch.save({}, tmp_path / "none.pt")
    with pytest.raises(ModelError, match="no weights"):
        models.read_state_dict(tmp_path / "none.pt")
    torch.save({1: torch.ones(2)}, tmp_path / "numbers.pt")
    with pytest.raises(ModelError, match="not names"):
        models.read_state_dict(tmp_path / "numbers.pt")
    monkeypatch.setattr("edgekit.models.files.MAX_BYTES", 100_000)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\0" * 1_000_000)
    with pytest.raises(ModelError, match="inflates"):
        models.read_state_dict(tmp_path / "bomb.npz")
    np.savez(tmp_path / "large.npz", a=np.zeros(20_000))
    with pytest.raises(ModelError, match="more than"):
        models.read_state_dict(tmp_path / "large.npz")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, ["version 2"]),
        ({"version": "1"}, ["version"]),
        ({"family": "elmo"}, ["elmo"]),
        ({"config": {"sizes": [6, 2**24, 3]}}, ["network.0.weight"]),
        ({"config": {"sizes": [6, 10**30, 3]}}, ["more than"]),
        ({"family": "lmu", "config": {"inputs": 2, "hidden": 2, "memory": 2**24, "order": 2**24}}, ["no computer"]),
        ({"family": "elm", "config": {"inputs": 2**23, "outputs": 2**24, "memory": 2**10}}, ["_proto_w_s [8388608]"]),
        ({"config": {"sizes": [6, 5, 3], "extra": 1}}, ["extra"]),
        ({"config": [1]}, ["config"]),
        ({"state_dict": {}}, ["missing: network.0.weight"]),
        ({"state_dict": {"network.0.weight": 3}}, ["network.0.weight: int"]),
        ({"format": "other"}, ["edgekit.save"]),
    ],
)
def test_own_files_with_wrong_content_are_refused(change: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    models.save(models.MLP([6, 5, 3]), path)
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    with pytest.raises(ModelError) as caught:
        models.load(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_config_beside_an_own_file_may_only_bring_io(tmp_path: Path) -> None:
    models.save(models.MLP([6, 5, 3]), tmp_path / "model.pt", io={"decision": "last"})
    with pytest.raises(UsageError, match="activation"):
        models.open_model(tmp_path / "model.pt", {"activation": "tanh", "io": IO})
    assert models.open_model(tmp_path / "model.pt", {"io": IO})[0].io == IO
    assert models.open_model(tmp_path / "model.pt", {})[0].io == {"decision": "last"}
