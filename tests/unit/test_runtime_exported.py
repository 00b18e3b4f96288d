"""Exported .onnx and .tflite files behind a session: the contract of every engine, hostile files, missing runtimes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import CLASSES, INPUTS, edgekit_main, module, stream

pytest.importorskip("torch")
for package in ("onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(package)

import edgekit  # noqa: E402
from edgekit.artifact.exported import KEY  # noqa: E402
from edgekit.backends.onnx import export_onnx  # noqa: E402
from edgekit.backends.tflite import export_tflite  # noqa: E402
from edgekit.errors import ArtifactError, DataError, EdgekitError, StateError, ToolchainError, UsageError  # noqa: E402
from edgekit.frontends import import_module  # noqa: E402
from edgekit.ir import Graph, GraphBuilder  # noqa: E402
from edgekit.passes.own_outputs import own_outputs  # noqa: E402
from edgekit.passes.pipelines import OPTIMISE, run_passes  # noqa: E402
from edgekit.reference import Interpreter  # noqa: E402
from edgekit.runtime.exported import exported_stream, read_exported  # noqa: E402
from edgekit.runtime.properties import onnx_properties  # noqa: E402

META: dict[str, Any] = {"decision": "sum", "classes": ["a", "b", "c", "d"]}
KINDS = ("step.onnx", "sequence.onnx", "ports.tflite", "inside.tflite")
WITH_BLOBS = KINDS[:3]


def write(graph: Graph, folder: Path, meta: dict[str, Any] | None = None) -> dict[str, Path]:
    """A graph in every form."""
    meta = META if meta is None else meta
    made = {
        "step.onnx": export_onnx(graph, meta=meta),
        "sequence.onnx": export_onnx(graph, meta=meta, form="sequence"),
        "ports.tflite": export_tflite(graph, io=meta),
        "inside.tflite": export_tflite(graph, io=meta, states="resource"),
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in made}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return own_outputs(run_passes(import_module(module("quiet"), None, name="quiet").graph, OPTIMISE))


@pytest.fixture(scope="module")
def files(graph: Graph, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write(graph, tmp_path_factory.mktemp("files"))


def kept_graph() -> Graph:
    """A state that a reset keeps, one that starts at 2, and two inputs and outputs."""
    b = GraphBuilder("kept", dt=0.5)
    x, y = b.input("x", (3,)), b.input("y", (3,))
    total, mean = b.state("total", np.zeros(3), reset="keep"), b.state("mean", np.full(3, 2.0))
    after = b.op("add", total, x)
    half = b.op("mul", b.op("add", mean, y), b.const("half", 0.5))
    b.update("total", after)
    b.update("mean", half)
    b.output(b.op("sub", after, half), b.op("tanh", half))
    return own_outputs(b.build())


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_those_of_the_reference(kind: str, files: dict[str, Path], graph: Graph) -> None:
    session, x = edgekit.load(files[kind]), stream(100)
    wanted = Interpreter(graph).run({graph.entries["step"].inputs[0]: x[None]})[0][graph.entries["step"].outputs[0]]
    np.testing.assert_array_equal(session.run(x), wanted[0])
    session.reset()
    np.testing.assert_array_equal([session.step(row) for row in x], wanted[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract_of_a_session(kind: str, files: dict[str, Path]) -> None:
    session, x = edgekit.load(files[kind]), stream(30)
    whole = session.run(x)
    assert whole.dtype == np.float32
    assert whole.shape == (30, CLASSES)
    session.reset()
    np.testing.assert_array_equal(np.concatenate([session.run(x[:11]), session.run(x[11:])]), whole)
    windows = stream(20, 4, 5)
    before = session.run(x[:3])
    batch = session.run(windows)
    for window, found in zip(windows, batch, strict=True):
        other = session.stream()
        np.testing.assert_array_equal(other.run(window), found)
    assert session.decide(batch).shape == (5,)
    session.reset()
    again = session.run(x[:3])
    assert before.shape == again.shape
    np.testing.assert_array_equal(again, whole[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_samples_leave_the_state_of_the_session_alone(kind: str, files: dict[str, Path]) -> None:
    session, x = edgekit.load(files[kind]), stream(30)
    whole = session.run(x)
    session.reset()
    session.run(x[:11])
    session.run(stream(20, 4, 3))
    np.testing.assert_array_equal(session.run(x[11:]), whole[11:])


@pytest.mark.parametrize("kind", WITH_BLOBS)
@pytest.mark.parametrize("other", WITH_BLOBS)
def test_a_state_saved_in_one_runtime_goes_on_in_another(kind: str, other: str, files: dict[str, Path]) -> None:
    first, second, x = edgekit.load(files[kind]), edgekit.load(files[other]), stream(40)
    first.run(x[:20])
    blob = first.save_state()
    second.restore_state(blob)
    assert second.save_state() == blob
    np.testing.assert_array_equal(second.run(x[20:]), first.run(x[20:]))


@pytest.mark.parametrize("kind", WITH_BLOBS)
def test_blobs_that_do_not_belong_here(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    session = edgekit.load(files[kind])
    blob = session.save_state()
    stranger = edgekit.load(write(kept_graph(), tmp_path, {})[kind]).save_state()
    nan = blob[:-4] + np.float32(np.nan).tobytes()
    for bad in (b"", blob[:-1], blob + b"x", b"EKS2" + blob[4:], blob[:8] + bytes(32) + blob[40:], stranger, nan):
        with pytest.raises(StateError):
            session.restore_state(bad)
    assert session.save_state() == blob


def test_a_model_that_keeps_its_states_has_no_blobs(files: dict[str, Path]) -> None:
    session = edgekit.load(files["inside.tflite"])
    for call in (session.save_state, lambda: session.restore_state(b"x")):
        with pytest.raises(StateError, match="--tflite-states io"):
            call()


@pytest.mark.parametrize("kind", KINDS)
def test_kept_states_first_values_and_several_ports(kind: str, tmp_path: Path) -> None:
    graph = kept_graph()
    session = edgekit.load(write(graph, tmp_path, {})[kind])
    assert list(session.facts.inputs) == ["x", "y"]
    one = np.ones(3, np.float32)
    first, mean = session.step(one, one)
    np.testing.assert_allclose(mean, np.tanh([1.5] * 3), rtol=1e-6)
    np.testing.assert_allclose(first, [-0.5] * 3)
    session.reset()
    np.testing.assert_allclose(session.step(one, one)[0], [0.5] * 3)  # the total went on, the mean starts at 2 again
    assert session.run(np.ones((4, 3)), np.ones((4, 3)))[1].shape == (4, 3)
    with pytest.raises(DataError, match="takes 2 inputs"):
        session.step(one)
    assert session.facts.learned


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_leave_the_state_untouched(kind: str, bad: float, files: dict[str, Path]) -> None:
    session, x = edgekit.load(files[kind]), stream(12)
    expected = session.run(x)
    session.reset()
    session.run(x[:5])
    wrong = x[5:].copy()
    wrong[3, 1] = bad
    with pytest.raises(DataError, match="NaN or Inf"):
        session.run(wrong)
    with pytest.raises(DataError, match="NaN or Inf"):
        session.step(wrong[3])
    np.testing.assert_array_equal(session.run(x[5:]), expected[5:])


def test_what_an_exported_file_has_not(files: dict[str, Path]) -> None:
    session = edgekit.load(files["step.onnx"])
    with pytest.raises(UsageError, match="was exported"):
        _ = session.artifact
    with pytest.raises(UsageError, match="no learning rule"):
        session.learn(stream(1)[0], 0)
    with pytest.raises(UsageError, match="raw values"):
        session.run(stream(2), stored=True)
    for engine in ("native", "reference", "emulator"):
        with pytest.raises(UsageError, match="exported for"):
            edgekit.load(files["step.onnx"], engine=engine)
    with pytest.raises(UsageError, match="step alone"):
        exported_stream(files["ports.tflite"]).call("learn", [])


def test_engines_name_their_runtime_and_version(files: dict[str, Path]) -> None:
    from importlib.metadata import version

    assert edgekit.load(files["step.onnx"]).engine == f"onnxruntime {version('onnxruntime')} (CPUExecutionProvider)"
    assert edgekit.load(files["ports.tflite"]).engine == f"ai-edge-litert {version('ai-edge-litert')} (XNNPACK)"


def test_integer_ports_take_and_give_real_values(graph: Graph, tmp_path: Path) -> None:
    from edgekit.backends.tflite import plan_of

    name = graph.entries["step"].inputs[0]
    meta = {**META, "input": {"offset": [1.0] * INPUTS, "scale": [2.0] * INPUTS}}
    raw = stream(40, 3, 8) / 2 + 1
    known = {name: (np.ones(INPUTS, np.float32), np.full(INPUTS, 2, np.float32))}
    plan = plan_of(graph, {name: raw}, normalisation=known)
    path = tmp_path / "int8.tflite"
    path.write_bytes(export_tflite(graph, io=meta, precision="int8", plan=plan))
    session = edgekit.load(path)
    port = read_exported(path)[1].inputs[0]
    assert port.quant is not None
    got = session.run(raw)
    wanted = Interpreter(graph).run({name: ((raw - 1) * 2).astype(np.float32)})[0][graph.entries["step"].outputs[0]]
    assert got.dtype == np.float32
    assert np.mean(got != wanted) < 0.1
    assert np.mean(got) > 0.01


# --- files of other makers, damaged and hostile ones ------------------------------------------------------------------


def foreign_onnx(path: Path) -> Path:
    import onnx

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("Tanh", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(n, kind, [1, 3]) for n in "xy"]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file_of_another_maker_is_to_be_converted_first(tmp_path: Path) -> None:
    path = foreign_onnx(tmp_path / "other.onnx")
    with pytest.raises(ArtifactError, match=r"other\.onnx.*convert it first: edgekit convert"):
        edgekit.load(path)
    np.save(tmp_path / "x.npy", np.zeros((2, 3), np.float32))
    answer = edgekit_main("run", path, "-i", tmp_path / "x.npy")
    assert answer.returncode == 2
    assert "convert it first" in answer.stderr


def test_inspect_takes_a_file_of_another_maker_for_a_model(tmp_path: Path) -> None:
    seen = machine("inspect", foreign_onnx(tmp_path / "other.onnx"))
    assert seen["ops"] == {"tanh": 1}
    assert seen["states"] == []


def test_running_an_exported_file_needs_no_torch(files: dict[str, Path]) -> None:
    import subprocess

    code = (
        "import sys, edgekit, numpy\n"
        "for path in sys.argv[1:]:\n"
        f"    edgekit.load(path).step(numpy.zeros({INPUTS}, numpy.float32))\n"
        "assert 'torch' not in sys.modules\n"
    )
    paths = [str(files[kind]) for kind in KINDS]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 8, b"\xff" * 64, b"\x08" * 4096])
def test_damage_never_reaches_a_runtime(
    suffix: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("a runtime was asked")

    monkeypatch.setattr("edgekit.backends.onnx.OnnxRuntime", never)
    monkeypatch.setattr("edgekit.backends.tflite.TfliteStep", never)
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"bad\."):
        edgekit.load(path)


@pytest.mark.parametrize("suffix", [".onnx", ".tflite"])
def test_places_that_hold_no_file(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"folder{suffix}").mkdir()
    huge = tmp_path / f"huge{suffix}"
    with huge.open("wb") as file:
        file.truncate(2**40)
    for path, said in ((tmp_path / f"folder{suffix}", "regular"), (huge, "cap"), (tmp_path / f"no{suffix}", "read")):
        with pytest.raises(ArtifactError, match=said):
            edgekit.load(path)


@pytest.mark.parametrize("kind", KINDS)
def test_cut_or_changed_files_are_refused_or_run(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    whole, rng = files[kind].read_bytes(), np.random.default_rng(0)
    for turn in range(12):
        damaged = bytearray(whole)
        if turn < 5:
            del damaged[int(rng.integers(1, len(whole))) :]
        else:
            damaged[int(rng.integers(0, len(whole)))] ^= int(rng.integers(1, 256))
        path = tmp_path / f"damaged{Path(kind).suffix}"
        path.write_bytes(damaged)
        try:
            edgekit.load(path).run(stream(2))
        except EdgekitError as error:
            refusal = str(error)
        else:
            refusal = ""
        assert turn >= 5 or "; export it again" in refusal  # a changed weight is another model; a cut file is none


def test_properties_are_read_without_onnx(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import onnx

    data = files["step.onnx"].read_bytes()
    told = {p.key: p.value for p in onnx.load_from_string(data).metadata_props}
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert onnx_properties(data) == told
    assert json.loads(told[KEY])["name"] == "quiet"


def test_a_missing_onnx_runtime_is_named(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ToolchainError, match=r"edgekit\[onnx\]"):
        edgekit.load(files["step.onnx"])


def test_a_missing_tflite_runtime_is_named(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ToolchainError, match=r"edgekit\[tflite\]"):
        edgekit.load(files["ports.tflite"])


def test_tflite_runtime_beside_numpy_2_names_the_conflict(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    if int(np.__version__.partition(".")[0]) < 2:
        pytest.skip("numpy 1: there is no conflict")
    package = type(sys)("tflite_runtime")
    package.interpreter = type(sys)("tflite_runtime.interpreter")  # type: ignore[attr-defined]
    for name in ("ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", package)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", package.interpreter)
    with pytest.raises(ToolchainError, match="numpy<2"):
        edgekit.load(files["ports.tflite"])


# --- the verbs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Path:
    edgekit.save(module("quiet"), tmp_path / "quiet.pt")
    formats = ("--format", "edge,onnx,tflite", "--sequence", "-o", tmp_path / "quiet.edge", "-q")
    assert edgekit_main("convert", tmp_path / "quiet.pt", *formats).returncode == 0
    np.save(tmp_path / "x.npy", stream(40, 7, 6))
    return tmp_path


def machine(*arguments: object, code: int = 0) -> dict[str, Any]:
    answer = edgekit_main(*arguments, "--json")
    assert answer.returncode == code, answer
    document: dict[str, Any] = json.loads(answer.stdout)
    return document


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", ["quiet.onnx", "quiet.seq.onnx", "quiet.tflite"])
def test_run_verify_profile_and_inspect(name: str, made: Path) -> None:
    ran = machine("run", made / name, "-i", made / "x.npy", "-o", made / "y.npy")
    assert ran["engine"].split()[0] in ("onnxruntime", "ai-edge-litert")
    np.testing.assert_array_equal(
        np.load(made / "y.npy"), edgekit.load(made / "quiet.edge").run(np.load(made / "x.npy"))
    )
    report = machine("verify", made / name, "--reference", made / "quiet.pt", "--data", made / "x.npy")
    assert report["passed"] is True
    assert report["layers"]
    assert report["engine"] == ran["engine"]
    timed = machine("profile", made / name, "--steps", 20)
    assert timed["memory"] is None
    assert timed["file_bytes"] == (made / name).stat().st_size
    assert [t["grade"] for t in timed["timings"]] == ["measured", "measured"]
    assert timed["counts"] is None
    seen = machine("inspect", made / name)
    assert {s["name"] for s in seen["states"]} >= {"u.membrane", "h.membrane"}
    shown = edgekit_main("profile", made / name, "--steps", 20).stdout
    assert "unavailable" in shown


def test_verify_finds_another_model(made: Path) -> None:
    edgekit.save(module("l2mu"), made / "other.pt")
    data = ("--data", made / "x.npy")
    for name in ("quiet.onnx", "quiet.tflite"):
        assert machine("verify", made / name, "--reference", made / "other.pt", *data, code=1)["passed"] is False
    edgekit_main("convert", made / "quiet.pt", "--format", "onnx", "--precision", "w8", "-o", made / "w8.onnx")
    assert machine("verify", made / "w8.onnx", "--reference", made / "quiet.pt", *data)["precision"] == "w8"
    answer = edgekit_main("verify", made / "w8.onnx", "--reference", made / "other.pt", *data)
    assert answer.returncode == 2
    assert "is it the model" in answer.stderr


def test_options_that_exported_files_do_not_have(made: Path) -> None:
    for arguments, said in (
        (("profile", made / "quiet.onnx", "--on", "emulator"), "no machine code"),
        (("run", made / "quiet.tflite", "-i", made / "x.npy", "--on", "emulator"), "exported for"),
        (("run", made / "quiet.tflite", "-i", made / "x.npy", "--raw"), "--raw"),
        (("inspect", made / "quiet.tflite", "--graph"), "holds no graph"),
        (("inspect", made / "quiet.onnx", "--cost"), "--cost"),
    ):
        answer = edgekit_main(*arguments)
        assert answer.returncode == 2, answer
        assert said in answer.stderr
