"""The command line: what every verb answers, to people and to machines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from converted import INPUTS, Answer, artifact, edgekit_command, edgekit_main, module, stream

import edgekit
from edgekit.artifact import is_trusted, read_artifact
from edgekit.toolchain import Tool
from edgekit.toolchain.compilers import CROSS_PREFIXES, is_native


def machine(answer: Answer) -> dict:
    """The one JSON object that was printed."""
    document = json.loads(answer.stdout)
    assert document["schema_version"] == 1
    return document


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "net.pt"
    edgekit.save(module("mlp"), path)
    return path


@pytest.fixture
def edge(tmp_path) -> Path:
    return artifact("mlp").save(tmp_path / "net.edge")


@pytest.fixture
def data(tmp_path) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, stream(6))
    return path


def test_help_and_version():
    for arguments in ((), ("--help",), ("-h",)):
        answer = edgekit_main(*arguments)
        assert answer.returncode == 0
        for verb in ("doctor", "targets", "supported-ops", "inspect", "convert", "verify", "run", "profile", "trust"):
            assert f"  {verb}" in answer.stdout
            assert edgekit_main(verb, "--help").returncode == 0
    shown = " ".join(edgekit_main("--help").stdout.split())
    assert "0 ok; 1 the answer is no; 2 bad usage or input; 130 interrupted" in shown
    assert edgekit_main("--version").stdout == f"edgekit {edgekit.__version__}\n"


def test_doctor(monkeypatch):
    document = machine(edgekit_main("doctor", "--json"))
    assert document["host"]["name"] == "host"
    assert {"tool", "version", "ok", "remedy"} <= set(document["tools"][0])
    tools = {row["tool"]: row for row in document["tools"]}
    for tool, remedy in (
        ("qemu-aarch64", "apt install qemu-user-static"),
        ("qemu-arm", "apt install qemu-user-static"),
        ("qemu-system-arm", "apt install qemu-system-arm"),
        *((f"{gnu}-gcc", f"apt install gcc-{gnu}") for arch, gnu in CROSS_PREFIXES.items() if not is_native(arch)),
    ):
        assert tools[tool]["remedy"] == ("" if tools[tool]["ok"] else remedy)
    monkeypatch.setattr("edgekit.toolchain.doctor", lambda: [Tool(**row) for row in document["tools"]])
    answer = edgekit_main("doctor")
    assert answer.returncode == 0
    for tool in document["tools"]:
        assert tool["tool"] in answer.stdout
        assert tool["ok"] or tool["remedy"]


def test_targets():
    document = machine(edgekit_main("targets", "--json"))
    names = [t["name"] for t in document["targets"]]
    assert {"host", "raspberrypi4"} <= set(names)
    pi = next(t for t in document["targets"] if t["name"] == "raspberrypi4")
    assert pi["arch"] == "aarch64"
    assert pi["sources"], "figures without a source"
    one = machine(edgekit_main("targets", "raspberrypi4", "--json"))
    assert one["targets"] == [pi]
    for name in names:
        assert name in edgekit_main("targets").stdout
    assert "aarch64" in edgekit_main("targets", "raspberrypi4").stdout


def test_supported_ops():
    from edgekit.ir import OPS

    document = machine(edgekit_main("supported-ops", "--json"))
    assert [row["op"] for row in document["ops"]] == list(OPS)
    assert all(row["backends"]["c"]["fp32"] != "none" for row in document["ops"])
    shown = edgekit_main("supported-ops").stdout
    assert all(kind in shown for kind in OPS)


def test_convert_writes_a_trusted_artifact_and_says_what_it_did(model, tmp_path):
    out = tmp_path / "out.edge"
    document = machine(edgekit_main("convert", model, "-o", out, "--json"))
    assert document["artifact"] == str(out)
    assert document["sha256"] == read_artifact(out).sha256
    assert is_trusted(document["sha256"])
    assert document["sizes"]["artifact_bytes"] == out.stat().st_size
    assert document["verification"]["replay_steps"] >= 20
    assert {k["kernel"] for k in document["kernels"]} >= {"linear_dense_f32"}
    again = tmp_path / "again.edge"
    for flag, said in ((), True), (("-q",), False), (("-v",), True):
        answer = edgekit_main("convert", model, "-o", again, *flag)
        assert answer.returncode == 0
        assert bool(answer.stdout) is said
        assert again.read_bytes() == out.read_bytes(), "the same model gives the same bytes"


def test_convert_names_the_artifact_after_model_and_target(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert edgekit_main("convert", "net.pt", "--target", "raspberrypi4").returncode == 0
    assert read_artifact(tmp_path / "net.raspberrypi4.edge").manifest["program"]["arch"] == "aarch64"


def test_convert_prints_what_was_assumed(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(INPUTS, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    path, out = tmp_path / "bare.pt", tmp_path / "bare.edge"
    torch.save(network.state_dict(), path)
    answer = edgekit_main("convert", path, "-o", out)
    assert "assumed: activation = relu" in answer.stdout
    assert machine(edgekit_main("inspect", out, "--json"))["manifest"]["assumed"]["activation"] == "relu"


def test_run(edge, data, tmp_path):
    out = tmp_path / "y.npy"
    document = machine(edgekit_main("run", edge, "--input", data, "-o", out, "--json"))
    assert document["engine"].startswith("native")
    assert document["input_shape"] == [6, INPUTS]
    assert document["instructions"] is None
    expected = edgekit.load(edge).run(np.load(data))
    written = np.load(out)
    assert written.dtype == np.float32
    np.testing.assert_array_equal(written, expected)
    decided = machine(edgekit_main("run", edge, "--input", data, "--decide", "--json"))
    assert decided["decisions"] == np.argmax(expected, axis=1).tolist()
    assert edgekit_main("run", edge, "--input", data, "--decide", "-o", out, "-q").stdout == ""
    np.testing.assert_array_equal(np.load(out), np.argmax(expected, axis=1))
    assert "engine: native" in edgekit_main("run", edge, "--input", data).stdout


def test_run_in_the_emulator_counts_instructions(tmp_path, data):
    pi = artifact("mlp", target="raspberrypi4").save(tmp_path / "pi.edge")
    document = machine(edgekit_main("run", pi, "--input", data, "--on", "emulator", "--json"))
    assert "emulated" in document["engine"]
    assert document["instructions"] > 6 * 100
    assert document["instructions_grade"] == "emulated"
    answer = edgekit_main("run", pi, "--input", data, "--on", "emulator")
    assert f"{document['instructions']:,}" in answer.stdout
    quick = machine(edgekit_main("run", pi, "--input", data, "--on", "emulator", "--no-count", "--json"))
    assert quick["instructions"] is None


def test_run_takes_labels_scales_and_samples(tmp_path):
    l2mu = artifact("l2mu").save(tmp_path / "l2mu.edge")
    x = stream(20, 1, 5)
    stored = np.round(x * 100).astype(np.int16)
    session = edgekit.load(l2mu)
    y = session.decide(session.run((stored * 0.01).astype(np.float32)))
    np.savez(tmp_path / "x.npz", x=stored, scale=0.01, y=y)
    document = machine(edgekit_main("run", l2mu, "--input", tmp_path / "x.npz", "--json"))
    assert document["output_shape"] == [5, 20, 4]
    assert document["accuracy"] == 1.0


def test_inspect(edge, tmp_path):
    document = machine(edgekit_main("inspect", edge, "--graph", "--selftest", "--json"))
    assert document["trusted"] is True
    assert document["manifest"]["target"] == "host"
    assert document["graph"].startswith("graph mlp_fp32")
    assert document["selftest"]["worst_error"] < 1e-4
    answer = edgekit_main("inspect", edge, "--graph")
    assert "linear" in answer.stdout
    pi = artifact("mlp", target="raspberrypi4").save(tmp_path / "pi.edge")
    cost = machine(edgekit_main("inspect", pi, "--cost", "--json"))["cost"]
    assert cost["grade"] == "emulated"
    assert cost["total"] >= sum(op["instructions"] for op in cost["ops"]) > 0
    assert "step, all" in edgekit_main("inspect", pi, "--cost").stdout


def test_verify_passes_on_its_own_model(edge, model, tmp_path):
    document = machine(edgekit_main("verify", edge, "--reference", model, "--json"))
    assert document["passed"] is True
    assert document["worst_output_error"] < 1e-5
    assert document["layers"]
    x = stream(30)
    y = np.argmax(edgekit.load(edge).run(x), axis=1)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    answer = edgekit_main("verify", edge, "--reference", model, "--data", tmp_path / "data.npz")
    assert answer.returncode == 0
    assert "accuracy: original 100.00 %, artifact 100.00 %" in answer.stdout
    assert "passed" in answer.stdout
    limited = machine(
        edgekit_main("verify", edge, "--reference", model, "--data", tmp_path / "data.npz", "--limit", 7, "--json")
    )
    assert limited["windows"] == 7


def test_verify_says_no_with_exit_code_1(edge, tmp_path):
    torch = pytest.importorskip("torch")
    from edgekit import models

    other = models.MLP(module("mlp").config["sizes"]).eval()
    torch.manual_seed(7)
    other.load_state_dict({k: v + 0.05 * torch.randn_like(v) for k, v in module("mlp").state_dict().items()})
    edgekit.save(other, tmp_path / "other.pt")
    answer = edgekit_main("verify", edge, "--reference", tmp_path / "other.pt", "--json")
    assert answer.returncode == 1
    assert machine(answer)["passed"] is False
    assert answer.stderr == ""


def test_verify_names_the_first_diverging_layer_and_step(tmp_path):
    torch = pytest.importorskip("torch")
    import copy

    edge = artifact("l2mu").save(tmp_path / "l2mu.edge")
    other = copy.deepcopy(module("l2mu"))
    with torch.no_grad():
        other.W_h.weight.add_(0.5)
    edgekit.save(other, tmp_path / "other.pt")
    answer = edgekit_main("verify", edge, "--reference", tmp_path / "other.pt", "--json")
    assert answer.returncode == 1
    layers = {layer["name"]: layer for layer in machine(answer)["layers"]}
    first = min(layer["step"] for layer in layers.values() if layer["step"] is not None)
    early = {name for name, layer in layers.items() if layer["step"] == first}
    assert any(name.startswith("state h") or "h" in name for name in early)
    assert layers["state u.membrane"]["step"] is None or layers["state u.membrane"]["step"] > first


def test_trust(edge, tmp_path):
    sha256 = read_artifact(edge).sha256
    assert machine(edgekit_main("trust", "--json"))["trusted"] == {sha256: "net.edge"}
    assert machine(edgekit_main("trust", edge, "--remove", "--json"))["state"] == "no longer trusted"
    assert machine(edgekit_main("trust", edge, "--remove", "--json"))["state"] == "was not on the list"
    assert edgekit_main("trust").stdout == "nothing is trusted yet\n"
    assert not is_trusted(sha256)
    assert machine(edgekit_main("trust", edge, "--json"))["state"] == "trusted"
    assert is_trusted(sha256)
    assert sha256 in edgekit_main("trust").stdout


def test_the_installed_script(edge, data, tmp_path):
    out = tmp_path / "y.npy"
    answer = edgekit_command("run", edge, "--input", data, "-o", out, "--json", env={"NO_COLOR": "1", "CI": "1"})
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "\x1b" not in answer.stdout
    assert machine(answer)["steps"] == 6
    assert out.exists()


def test_output_into_a_closed_pipe_is_no_fault(edge):
    code = "from edgekit.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "inspect", str(edge), "--graph"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        errors = process.stderr.read().decode()
        assert process.wait() == 0
    assert errors == ""
