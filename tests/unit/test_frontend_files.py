"""Model files: what is read, what is refused, and that nothing in a file is ever executed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from edgekit import models
from edgekit.errors import DataError, ModelError, UsageError
from edgekit.frontends import import_file, import_module

IO = {
    "input": {"name": "imu", "rate_hz": 20, "offset": [0.0] * 6, "scale": [1.0] * 6, "layout": "sequence"},
    "decision": "sum",
    "classes": ["a", "b"],
}


def small() -> models.L2MU:
    torch.manual_seed(0)
    return models.L2MU(inputs=6, hidden=5, memory=4, order=2, outputs=2, theta=4.0)


def test_a_saved_model_keeps_its_io_and_rate(tmp_path: Path) -> None:
    path = tmp_path / "wrist-imu.2.pt"
    models.save(small(), path, io=IO)
    imported = import_file(path)
    assert imported.graph.name == "wrist_imu_2"
    assert imported.graph.dt == pytest.approx(0.05)
    assert imported.io == IO
    assert (imported.family, dict(imported.assumed)) == ("l2mu", {})
    assert imported.provenance["file"] == "wrist-imu.2.pt"
    assert imported.graph.hash() == import_module(small(), None, name="wrist_imu_2", dt=0.05).graph.hash()


def test_a_bare_state_dict_with_a_json_config(tmp_path: Path) -> None:
    path, config = tmp_path / "net.pt", tmp_path / "net.json"
    torch.save(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).state_dict(), path)
    config.write_text(json.dumps({"activation": "tanh"}))
    assert dict(import_file(path).assumed) == {"activation": "relu"}
    told = import_file(path, config=config)
    assert dict(told.assumed) == {}
    assert "tanh" in {op.kind for _, op in told.graph.ops()}


@pytest.mark.parametrize("text", ["[1]", "{", "\xff"])
def test_a_config_that_is_no_json_object(tmp_path: Path, text: str) -> None:
    path, config = tmp_path / "net.pt", tmp_path / "net.json"
    torch.save(nn.Linear(6, 5).state_dict(), path)
    config.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"net\.json"):
        import_file(path, config=config)
    with pytest.raises(DataError, match="cannot be read"):
        import_file(path, config=tmp_path / "absent.json")


class Payload:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".pt2"])
def test_a_pickle_with_code_never_runs(tmp_path: Path, suffix: str) -> None:
    mark, path = tmp_path / "ran", tmp_path / f"model{suffix}"
    torch.save({"0.weight": Payload(str(mark))}, path)
    with pytest.raises(ModelError) as caught:
        import_file(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)


def test_factory_makes_the_module_and_the_file_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ek_test_factory.py").write_text(
        "import torch\n"
        "def make():\n"
        "    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh()), torch.zeros(1, 3)\n"
        "def wrong():\n"
        "    return 3\n"
        "def broken():\n"
        "    raise KeyError('x')\n"
    )
    weights = {"0.weight": torch.full((2, 3), 0.25), "0.bias": torch.zeros(2)}
    torch.save(weights, tmp_path / "w.pt")
    imported = import_file(tmp_path / "w.pt", factory="ek_test_factory:make")
    assert imported.graph.name == "w"
    assert (imported.graph.tensors["_0.weight"].data == 0.25).all()
    assert import_file(None, factory="ek_test_factory:make", name="other").graph.name == "other"

    torch.save({"0.weight": torch.zeros(2, 4)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="does not fit the module of the factory") as caught:
        import_file(tmp_path / "w.pt", factory="ek_test_factory:make")
    assert len(caught.value.items) == 2
    for factory, says in (
        ("ek_test_factory", "package.module:function"),
        ("ek_test_factory:wrong", "returned int"),
        ("ek_test_factory:broken", "KeyError"),
        ("ek_test_factory:absent", "AttributeError"),
        ("ek_no_such_module:make", "ModuleNotFoundError"),
    ):
        with pytest.raises(UsageError, match=says):
            import_file(None, factory=factory)
    with pytest.raises(UsageError, match="is not used with the module of a factory"):
        import_file(None, factory="ek_test_factory:make", config={})


def test_neither_file_nor_factory() -> None:
    with pytest.raises(UsageError, match="no file and no factory"):
        import_file(None)


def test_a_tensor_that_a_step_replaces_leaves_its_name_to_no_other() -> None:
    from edgekit.frontends.record import Recorder

    module = nn.Linear(2, 2)
    module.mark = torch.zeros(2)
    recorder, left = Recorder(module, lambda _: None), id(module.mark)
    module.mark = None
    fresh = [torch.zeros(2) for _ in range(100)]
    assert left not in map(id, fresh)
    assert {recorder.values[recorder.value_of(t)].hint for t in fresh} == {""}
