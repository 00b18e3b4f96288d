"""What a conversion says of its result: sizes as stored, what rounding changes, names, and faults of the io section."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import artifact, edgekit_main, module, stream

torch = pytest.importorskip("torch")

import edgekit  # noqa: E402
from edgekit.artifact import Artifact  # noqa: E402
from edgekit.errors import ModelError  # noqa: E402
from edgekit.models import ELM, LMU, MLP  # noqa: E402
from edgekit.toolchain import load_image  # noqa: E402


def sparse_elm() -> ELM:
    """45 branches of 20 synapses on 400 inputs: dense, its branch matrix would be 18,000 weights."""
    torch.manual_seed(0)
    sizes = {"inputs": 400, "outputs": 2, "memory": 8, "branches": 45, "synapses": 20, "routing": "neuronio"}
    return ELM(**sizes, version="v1").eval()


def models() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "sparse elm": sparse_elm(),
        "elm": ELM(inputs=6, outputs=3, memory=10).eval(),
        "lmu": LMU(inputs=6, hidden=16, memory=4, order=6, theta=12.0, outputs=3).eval(),
        "l2mu": module("l2mu"),
        "mlp": module("mlp"),
    }


@pytest.mark.drawn(6)
@pytest.mark.parametrize("target", ["host", "raspberrypi5", "stm32mp157"])
@pytest.mark.parametrize("precision", ["fp32", "w8"])
@pytest.mark.parametrize("family", ["sparse elm", "lmu", "l2mu"])
def test_weights_are_counted_as_the_program_stores_them(family: str, precision: str, target: str) -> None:
    made = edgekit.convert(models()[family], name="net", precision=precision, target=target)
    sizes = made.manifest["sizes"]
    image = load_image(made.file.members[made.manifest["program"]["library"]])
    needed = sum(np.count_nonzero(t.data) * t.data.itemsize for t in made.graph.consts.values() if t.data is not None)
    assert needed <= sizes["weights_bytes"] < image.loaded_bytes <= sizes["flash_bytes"]


def test_a_sparse_matrix_is_not_counted_as_a_dense_one() -> None:
    model = sparse_elm()
    dense = 4 * 45 * 400
    assert edgekit.convert(model, name="net").manifest["sizes"]["weights_bytes"] < dense / 2


@pytest.mark.drawn(2)
@pytest.mark.parametrize("family", ["sparse elm", "elm", "lmu", "l2mu", "mlp"])
@pytest.mark.parametrize("precision", ["fp32", "w8"])
def test_inputs_and_outputs_have_the_names_of_the_model(family: str, precision: str) -> None:
    io = edgekit.convert(models()[family], name="net", precision=precision).manifest["io"]
    assert [port["name"] for port in (*io["inputs"], *io["outputs"])] == ["x", "y"]


def test_w8_says_how_far_outputs_move(tmp_path: Path) -> None:
    model = models()["lmu"]
    edgekit.save(model, tmp_path / "m.pt")
    edge = tmp_path / "m.edge"
    answer = edgekit_main("convert", tmp_path / "m.pt", "--precision", "w8", "-o", edge, "--json")
    document = json.loads(answer.stdout)
    worst = document["verification"]["rounding_worst_change"]
    (note,) = document["notes"]
    assert f"w8 changes outputs by up to {worst:.2g}" in note
    assert "on noise" in note
    assert note in edgekit_main("inspect", edge).stdout
    selftest = Artifact.open(edge).selftest  # one of the streams that were compared
    exact = edgekit.load(edgekit.convert(model, name="m"), engine="reference").run(selftest.inputs["x"])
    moved = np.abs(selftest.outputs["y"] - exact) / np.maximum(1, np.abs(exact))
    assert 0 < moved.max() <= worst < 1


def test_w8_of_a_spiking_output_says_how_many_spikes_change() -> None:
    verification = artifact("l2mu", precision="w8").manifest["verification"]
    assert 0 <= verification["rounding_spikes_changed"] <= 1
    assert "rounding_worst_change" not in verification
    assert "output spikes at" in artifact("l2mu", precision="w8").manifest["notes"][0]


def test_with_calibration_data_rounding_is_judged_on_them() -> None:
    made = edgekit.convert(module("l2mu"), precision="w8", calib=stream(20, 0, 4), name="net")
    assert "on the calibration windows" in made.manifest["notes"][0]


def test_fp32_of_a_stable_model_has_no_notes() -> None:
    assert "notes" not in artifact("mlp").manifest
    assert "rounding_worst_change" not in artifact("mlp").manifest["verification"]


IO_FAULTS = {
    "no object": (3, "io must be an object"),
    "input no object": ({"input": "x"}, "io.input must be an object"),
    "unknown key": ({"input": {"gain": 1}}, "io.input.gain is not a known key; known are input, decision, classes"),
    "text for a number": ({"input": {"window": "40"}}, "io.input.window must be an integer"),
    "no scale": ({"input": {"offset": [0.0, 0, 0]}}, "offset and scale come together"),
    "scale of zero": ({"input": {"offset": [0, 0, 0], "scale": [1, 1, 0]}}, "io.input.scale[2] must be a positive"),
    "channels": ({"input": {"offset": [0, 0], "scale": [1, 1]}}, "do not divide its last extent 3"),
    "rate": ({"input": {"rate_hz": -1}}, "io.input.rate_hz must be a positive number"),
    "decision": ({"decision": "median"}, "io.decision must be one of 'sum', 'mean', 'last'"),
    "classes": ({"classes": ["a"]}, "io.classes names 1 classes, the output has 4"),
    "classes no list": ({"classes": "abcd"}, "io.classes must be a list"),
}


@pytest.mark.parametrize(("io", "said"), IO_FAULTS.values(), ids=IO_FAULTS)
def test_an_io_section_that_is_wrong_is_refused_before_the_work(io: Any, said: str, tmp_path: Path) -> None:
    weights = {f"{i}.{name}": value for i, part in ((0, "w"), (2, "v")) for name, value in _layer(part).items()}
    torch.save(weights, tmp_path / "m.pt")
    (tmp_path / "c.json").write_text(json.dumps({"io": io}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgekit.convert.pipeline.build_program", lambda *_a, **_k: pytest.fail("it was compiled"))
        answer = edgekit_main("convert", tmp_path / "m.pt", "--config", tmp_path / "c.json", "-o", tmp_path / "m.edge")
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert said in answer.stderr
    assert not (tmp_path / "m.edge").exists()


def _layer(part: str) -> dict[str, torch.Tensor]:
    outputs, inputs = {"w": (5, 3), "v": (4, 5)}[part]
    return {"weight": torch.randn(outputs, inputs), "bias": torch.zeros(outputs)}


@pytest.mark.parametrize("io", [{"input": {"scale": np.ones(3)}}, {"classes": {1, 2}}, {"input": {"offset": [np.nan]}}])
def test_an_io_section_that_is_no_plain_data_is_refused(io: Any) -> None:
    with pytest.raises(ModelError, match="io: is not plain JSON data"):
        edgekit.convert(MLP([3, 4]), io=io)


def test_names_with_brackets_are_printed_as_they_are(tmp_path: Path) -> None:
    model = MLP([3, 2]).eval()
    model.io = {"classes": ["[/red]", "[bold]up"], "input": {"unit": "[/m]"}}
    edgekit.save(model, tmp_path / "m[b].pt")
    answer = edgekit_main("convert", tmp_path / "m[b].pt", "-o", tmp_path / "m[b].edge")
    assert answer.returncode == 0, answer.stderr
    assert "m[b].edge" in answer.stdout
    shown = edgekit_main("inspect", tmp_path / "m[b].edge").stdout
    assert "[/red], [bold]up" in shown
    assert "[/m]" in shown


def test_costs_of_a_step_sum_up_to_it(tmp_path: Path) -> None:
    for family, target in (("sparse elm", "raspberrypi4"), ("lmu", "stm32mp157"), ("l2mu", "raspberrypi5")):
        edge = edgekit.convert(models()[family], name="net", target=target).save(tmp_path / f"{target}.edge")
        cost = json.loads(edgekit_main("inspect", edge, "--cost", "--json").stdout)["cost"]
        assert sum(op["instructions"] for op in cost["ops"]) + cost["calls"] == pytest.approx(cost["total"])
        table = edgekit_main("inspect", edge, "--cost").stdout
        kernels = {row["kernel"] for row in Artifact.open(edge).manifest["kernels"]}
        assert all(kernel in table for kernel in kernels)
        assert f"{cost['total']:,.0f}  100.0%" in table
