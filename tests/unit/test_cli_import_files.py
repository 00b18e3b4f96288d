"""Model files of every kind on the command line and in Python: what is read, and every option that does not fit."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from converted import Answer, edgekit_main

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
nir = pytest.importorskip("nir")
pytest.importorskip("onnxruntime")

import edgekit  # noqa: E402
from edgekit.errors import EdgekitError, ModelError, UsageError  # noqa: E402
from edgekit.frontends import import_file  # noqa: E402

FACTORY = """
import torch


def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()), torch.zeros(1, 3)
"""


class Leak(torch.nn.Module):
    """y = s' = 0.5 s + W x, the state given and given back."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.w = torch.nn.Linear(3, 4, bias=False)

    def forward(self, x: torch.Tensor, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        after = 0.5 * s + self.w(x)
        return torch.tanh(after), after


def write_onnx(path: Path, *, names: tuple[str, str] = ("s", "s_next"), free: bool = False) -> Path:
    """A leaky step: input x [N, 3] (or [N, L]), state s [N, 3]."""
    length = "L" if free else 3
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Mul", [names[0], "half"], ["kept"]),
        helper.make_node("Add", ["kept", "x"], [names[1]]),
        helper.make_node("Tanh", [names[1]], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "leak",
        [helper.make_tensor_value_info(n, kind, ["N", length]) for n in ("x", names[0])],
        [helper.make_tensor_value_info(n, kind, ["N", length]) for n in ("y", names[1])],
        [onnx.numpy_helper.from_array(np.array([0.5], np.float32), "half")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def write_nir(path: Path, **metadata: object) -> Path:
    two = np.ones(2)
    nodes = {
        "input": nir.Input({"input": np.array([3])}),
        "w": nir.Linear(np.arange(6.0).reshape(2, 3) / 4),
        "lif": nir.LIF(tau=0.01 * two, r=two, v_leak=0 * two, v_threshold=0.1 * two),
        "output": nir.Output({"output": np.array([2])}),
    }
    graph = nir.NIRGraph(nodes, [("input", "w"), ("w", "lif"), ("lif", "output")], metadata=dict(metadata))
    nir.write(path, graph)
    return path


@pytest.fixture(scope="module")
def pt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "leak.pt2"
    program = torch.export.export(Leak(), (torch.zeros(1, 3), torch.zeros(1, 4)), strict=False)
    torch.export.save(program, path)
    return path


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "ek_cli_factory", raising=False)
    (tmp_path / "ek_cli_factory.py").write_text(FACTORY)
    return "ek_cli_factory:net"


def answered(*arguments: object) -> dict:
    answer = edgekit_main(*arguments, "--json")
    assert answer.returncode == 0, answer
    return json.loads(answer.stdout)


def refused(answer: Answer, *said: str) -> None:
    assert answer.returncode == 2, answer
    assert answer.stderr.startswith("error: ")
    assert "Traceback" not in answer.stderr
    for text in said:
        assert text in answer.stderr, answer.stderr


# --- each kind of file ------------------------------------------------------------------------------------------------


def test_an_onnx_step(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "leak.onnx")
    done = answered("convert", path, "-o", tmp_path / "leak.edge", "--dt", "0.02")
    assert done["files"][0]["checked"] is True
    session = edgekit.load(tmp_path / "leak.edge")
    assert session.facts.io["dt"] == 0.02
    assert session.facts.stateful
    x = np.float32([[1, 2, 3], [0, 0, 0]])
    np.testing.assert_allclose(session.run(x), np.tanh([x[0], x[0] / 2]), rtol=1e-6)
    assert answered("verify", tmp_path / "leak.edge", "--reference", path)["passed"] is True
    seen = answered("inspect", path)
    assert [row["name"] for row in seen["states"]] == ["s"]


def test_an_onnx_file_that_edgekit_wrote_comes_back_with_its_io(tmp_path: Path) -> None:
    from converted import INPUTS, module, stream

    io = {
        "input": {"rate_hz": 20, "offset": [1.0] * INPUTS, "scale": [0.5] * INPUTS, "window": 40, "stride": 20},
        "decision": "sum",
        "classes": ["a", "b", "c", "d"],
    }
    edgekit.save(module("quiet"), tmp_path / "quiet.pt", io=io)
    answered("convert", tmp_path / "quiet.pt", "--format", "edge,onnx", "-o", tmp_path / "quiet")
    answered("convert", tmp_path / "quiet.onnx", "-o", tmp_path / "back.edge")
    first, back = edgekit.load(tmp_path / "quiet.edge"), edgekit.load(tmp_path / "back.edge")
    x = stream(40, 3, 6) * 2 + 1
    np.testing.assert_array_equal(back.run(x), first.run(x))
    np.testing.assert_array_equal(back.decide(back.run(x)), first.decide(first.run(x)))
    for key in ("decision", "classes", "window", "dt"):
        assert back.facts.io[key] == first.facts.io[key]
    assert back.facts.io["inputs"][0]["rate_hz"] == 20
    assert "scale" not in back.facts.io["inputs"][0]  # the graph of the file normalises


def test_pairs_and_lengths_that_a_user_names(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "leak.onnx", names=("alpha", "omega"), free=True)
    refused(edgekit_main("convert", path, "-o", tmp_path / "no.edge"), "lengths open")
    shapes = ("--shape", "x=1,5", "--shape", "alpha=1,5")
    told = answered("inspect", path, *shapes, "--state", "alpha:omega")
    assert [row["name"] for row in told["states"]] == ["alpha"]
    assert told["inputs"][0]["shape"] == [5]
    assert answered("inspect", path, *shapes)["states"] == []
    refused(edgekit_main("inspect", path, *shapes, "--state", "alpha:nothing"), "alpha:nothing")


def test_an_input_that_never_changes(tmp_path: Path) -> None:
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["rate"], ["real"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Div", ["x", "real"], ["y"]),
        ],
        "rated",
        [
            helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3]),
            helper.make_tensor_value_info("rate", onnx.TensorProto.INT64, []),
        ],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3])],
    )
    path = tmp_path / "rated.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    refused(edgekit_main("inspect", path), "rate", "constant")
    answered("convert", path, "--constant", "rate=4", "-o", tmp_path / "rated.edge")
    np.testing.assert_array_equal(edgekit.load(tmp_path / "rated.edge").step(np.float32([4, 8, 2])), [1, 2, 0.5])


def test_a_nir_graph(tmp_path: Path) -> None:
    path = write_nir(tmp_path / "lif.nir")
    refused(edgekit_main("convert", path), "leaves open", "--dt", "1e-4")
    out = tmp_path / "lif.edge"
    done = answered("convert", path, "--dt", "1e-3", "--reset", "zero", "--convention", "integrator=euler", "-o", out)
    assert done["notes"] == []
    assert edgekit.load(out).facts.io["dt"] == 1e-3
    same = ("--dt", "1e-3", "--reset", "zero")
    assert answered("verify", out, "--reference", path, *same)["passed"] is True
    refused(edgekit_main("convert", path, *same, "--convention", "speed=fast"), "speed", "integrator")
    refused(edgekit_main("convert", path, "--dt", "1e-3", "--reset", "never"), "never", "subtract")
    refused(edgekit_main("convert", path, "--dt", "-1", "--reset", "zero"), "no time step")


def test_a_program_of_torch_export(pt2: Path, tmp_path: Path) -> None:
    out = tmp_path / "leak.edge"
    done = answered("convert", pt2, "-o", out, "--dt", "0.01")
    assert done["files"][0]["checked"] is True
    session = edgekit.load(out)
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    module, s, expected = Leak(), torch.zeros(1, 4), []
    for row in torch.from_numpy(x):
        y, s = module(row[None], s)
        expected.append(y[0].detach().numpy())
    assert session.facts.stateful
    np.testing.assert_allclose(session.run(x), expected, atol=1e-6)
    pair = next(note for note in done["notes"] if "state" in note)
    assert "s" in pair
    named = answered("inspect", pt2, "--state", "s:y1")
    assert len(named["states"]) == 1


def test_a_factory_with_and_without_weights(factory: str, tmp_path: Path) -> None:
    weights = tmp_path / "w.pt"
    torch.save({"0.weight": torch.eye(4)[:, :3], "0.bias": torch.zeros(4)}, weights)
    x = np.float32([1, 2, 3])
    answered("convert", "--factory", factory)
    own = edgekit.load(tmp_path / "net.host.edge").step(x)
    for way in (("--weights", weights), (weights,)):
        out = tmp_path / "filled.edge"
        answered("convert", *way, "--factory", factory, "-o", out)
        filled = edgekit.load(out).step(x)
        np.testing.assert_allclose(filled, np.tanh([1, 2, 3, 0]), rtol=1e-6)
        assert not np.allclose(filled, own)
    checked = answered("verify", out, "--factory", factory, "--weights", weights)
    assert checked["passed"] is True
    answered("convert", "--factory", factory, "--weights", weights)
    assert (tmp_path / "w.host.edge").is_file()
    refused(edgekit_main("convert", weights, "--factory", factory, "--weights", weights), "both name weights")
    refused(edgekit_main("convert", weights, "--weights", weights), "--weights", "--factory")
    refused(edgekit_main("convert", "--weights", weights), "without a factory")
    refused(edgekit_main("convert"), "no file and no factory")
    refused(edgekit_main("verify", out), "--reference")


def test_weights_with_code_in_them_never_run(factory: str, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "w.pt"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.mkdir, (str(mark),)

    torch.save({"0.weight": Payload()}, path)
    refused(edgekit_main("convert", "--factory", factory, "--weights", path), "was not run")
    assert not mark.exists()


# --- in Python --------------------------------------------------------------------------------------------------------


def test_convert_takes_files_in_python(tmp_path: Path) -> None:
    artifact = edgekit.convert(write_onnx(tmp_path / "leak.onnx"), dt=0.5)
    assert (artifact.name, artifact.graph.dt) == ("leak", 0.5)
    artifact = edgekit.convert(str(write_nir(tmp_path / "lif.nir")), dt=1e-3, reset="zero", name="lif_net")
    assert artifact.name == "lif_net"
    with pytest.raises(UsageError, match="example_input"):
        edgekit.convert(tmp_path / "leak.onnx", torch.zeros(1, 3))
    with pytest.raises(UsageError, match="--reset"):
        edgekit.convert(torch.nn.Linear(3, 2), torch.zeros(1, 3), reset="zero")
    with pytest.raises(UsageError, match="--shape"):
        edgekit.convert(tmp_path / "lif.nir", dt=1e-3, shapes={"x": (1, 2)})


# --- what does not fit ------------------------------------------------------------------------------------------------

FITS = {
    "--config": ("c.json", ("pt",)),
    "--dt": ("0.001", ("pt", "pt2", "onnx", "nir")),
    "--state": ("a:b", ("pt2", "onnx")),
    "--shape": ("x=1,3", ("onnx",)),
    "--constant": ("x=1", ("onnx",)),
    "--reset": ("zero", ("nir",)),
    "--convention": ("initial=leak", ("nir",)),
    "--round-delays": (None, ("nir",)),
}


@pytest.mark.drawn(4)
@pytest.mark.parametrize("suffix", ["pt", "pt2", "onnx", "nir"])
@pytest.mark.parametrize("option", FITS)
@pytest.mark.parametrize("verb", ["convert", "verify", "inspect"])
def test_an_option_that_does_not_fit_says_what_it_is_for(option: str, suffix: str, verb: str, tmp_path: Path) -> None:
    value, kinds = FITS[option]
    if suffix in kinds:
        return
    path = tmp_path / f"empty.{suffix}"
    path.write_bytes(b"")
    given = (option,) if value is None else (option, value)
    if verb == "verify":
        done = tmp_path / "x.edge"
        edgekit.convert(torch.nn.Linear(3, 2), torch.zeros(1, 3)).save(done)
        answer = edgekit_main(verb, done, "--reference", path, *given)
    else:
        answer = edgekit_main(verb, path, *given)
    refused(answer, option, "is not used with", "it ")


def test_all_that_does_not_fit_is_said_at_once(tmp_path: Path) -> None:
    answer = edgekit_main("convert", tmp_path / "x.nir", "--shape", "x=1", "--state", "a:b", "--constant", "y=2")
    refused(answer, "are not used with a .nir file", "- --shape", "- --state", "- --constant")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--shape", "x=1,b"), "LENGTH"),
        (("--shape", "x"), "NAME=VALUE"),
        (("--constant", "x=much"), "no number"),
        (("--shape", "x=1", "--shape", "x=2"), "given before"),
    ],
)
def test_options_that_cannot_be_read(option: tuple[str, ...], said: str, tmp_path: Path) -> None:
    refused(edgekit_main("convert", tmp_path / "x.onnx", *option), option[0], said)


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx", ".nir", ".npz", ".safetensors"])
@pytest.mark.parametrize("content", ["absent", "empty", "noise", "folder", "text"])
def test_files_that_are_no_models(suffix: str, content: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    if content == "folder":
        path.mkdir()
    elif content != "absent":
        path.write_bytes({"empty": b"", "noise": bytes(range(256)) * 9, "text": b"hello, world\n"}[content])
    before = sorted(tmp_path.iterdir())
    arguments = ("--dt", "1e-3") if suffix == ".nir" else ()
    refused(edgekit_main("convert", path, *arguments, "-o", tmp_path / "out.edge"), path.name)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx", ".nir"])
def test_a_huge_file_is_refused_unread(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"huge{suffix}"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no room
    with pytest.raises(EdgekitError, match=r"huge"):
        import_file(path)


def test_suffixes_that_no_front_end_reads(tmp_path: Path) -> None:
    for name, said in (("m.tflite", "finished program"), ("m.h5", "'.h5'"), ("m", "no suffix")):
        with pytest.raises(ModelError, match=said):
            import_file(tmp_path / name)


def test_a_missing_onnx_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_onnx(tmp_path / "m.onnx")
    for name in [n for n in sys.modules if n.split(".")[0] == "onnx"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    refused(edgekit_main("convert", path), "edgekit[onnx]")


def test_a_missing_reader_of_nir_files_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, hiding = write_nir(tmp_path / "m.nir"), tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "h5py.py").write_text("raise ImportError('hidden')")  # files are read by a process of its own
    monkeypatch.setenv("PYTHONPATH", str(hiding))
    refused(edgekit_main("convert", path, "--dt", "1e-3"), "h5py is not installed", "edgekit[nir]")
