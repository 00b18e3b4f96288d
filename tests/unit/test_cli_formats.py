"""`convert --format`: what is written where, how it was checked, and that it is all or nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import INPUTS, Answer, edgekit_main, module, stream

pytest.importorskip("torch")
for package in ("onnx", "onnxruntime", "ai_edge_litert", "nir"):
    pytest.importorskip(package)

import edgekit  # noqa: E402
from edgekit.artifact import is_trusted  # noqa: E402
from edgekit.convert import exports, writing  # noqa: E402
from edgekit.convert.exports import FORMATS, Wanted, parse_formats  # noqa: E402
from edgekit.convert.writing import MARK, write_together  # noqa: E402
from edgekit.errors import ArtifactError, DataError, UsageError  # noqa: E402


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.pt"
    edgekit.save(module("mlp"), path)
    return path


@pytest.fixture
def spiking(tmp_path: Path) -> Path:
    path = tmp_path / "spikes.pt"
    edgekit.save(module("quiet"), path)
    return path


def answered(*arguments: object) -> dict[str, Any]:
    answer = edgekit_main(*arguments, "--json")
    assert answer.returncode == 0, answer
    document: dict[str, Any] = json.loads(answer.stdout)
    return document


def refused(answer: Answer, *said: str) -> None:
    assert answer.returncode == 2, answer
    assert "Traceback" not in answer.stderr
    for text in said:
        assert text in answer.stderr, answer.stderr


def listed(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name != "edgekit-home")  # of the tests: the trust list


# --- what is written --------------------------------------------------------------------------------------------------


def test_every_format_is_written_beside_the_artifact(model: Path, tmp_path: Path) -> None:
    document = answered("convert", model, "--format", "edge,onnx,tflite,c", "--sequence", "--target", "host")
    names = ["net.host.c", "net.host.edge", "net.host.onnx", "net.host.seq.onnx", "net.host.tflite"]
    assert listed(tmp_path) == sorted([*names, "net.pt"])
    assert sorted(row["path"] for row in document["files"]) == names
    assert [row["format"] for row in document["files"]] == ["edge", "onnx", "tflite", "c", "onnx sequence"]
    for row in document["files"]:
        path = Path(row["path"])
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        assert row["bytes"] == sum(p.stat().st_size for p in files)
        assert row["checked"] is True
        assert 0 <= row["worst_error"] < 1e-5
        assert path.is_dir() or path.stat().st_mode & 0o777 == 0o644
    assert document["sha256"] == edgekit.load("net.host.edge").artifact.sha256
    assert is_trusted(document["sha256"])
    x = stream(7)
    expected = edgekit.load("net.host.edge").run(x)
    for name in names[2:]:
        np.testing.assert_allclose(edgekit.load(name).run(x), expected, atol=1e-5)
    shown = edgekit_main("convert", model, "--format", "onnx,tflite").stdout
    for text in ("net.host.onnx", "net.host.tflite", "onnxruntime 1.", "ai-edge-litert 2.", "worst error"):
        assert text in shown


def test_one_format_goes_to_the_output_several_beside_its_stem(model: Path, tmp_path: Path) -> None:
    answered("convert", model, "--format", "onnx", "-o", "one.bin")
    assert (tmp_path / "one.bin").is_file()
    answered("convert", model, "--format", "onnx,tflite", "-o", "two.v1.onnx")
    answered("convert", model, "--format", "edge,onnx", "-o", "three.v2")
    assert set(listed(tmp_path)) == {
        *("net.pt", "one.bin", "two.v1.onnx", "two.v1.tflite", "three.v2.edge", "three.v2.onnx")
    }


def test_forms_of_tflite_are_those_of_its_backend() -> None:
    from edgekit.backends.tflite.export import STATES

    assert exports.TFLITE_STATES == STATES


def test_paths() -> None:
    both = Wanted(("edge", "c"))
    assert both.paths(None, "m.host") == {"edge": Path("m.host.edge"), "c": Path("m.host.c")}
    assert both.paths(Path("d/x.edge"), "m") == {"edge": Path("d/x.edge"), "c": Path("d/x.c")}
    assert both.paths(Path("d/.edge"), "m") == {"edge": Path("d/.edge.edge"), "c": Path("d/.edge.c")}
    assert Wanted(("c",)).paths(Path("d/x"), "m") == {"c": Path("d/x")}
    sequence = Wanted(("onnx",), sequence=True)
    assert sequence.paths(Path("x.seq.onnx"), "m") == {"onnx": Path("x.onnx"), "onnx sequence": Path("x.seq.onnx")}


@pytest.mark.parametrize(
    ("format_", "output", "said"),
    [
        ("onnx", "net.edge", "name it net.onnx, or give --format edge"),
        ("edge", "net.onnx", "name it net.edge, or give --format onnx"),
        ("tflite", "v1.nir", "name it v1.tflite, or give --format nir"),
        ("c", "net.edge", "name it net.c, or give --format edge"),
        ("edge", "out.pt", "name it out.edge"),
        ("onnx", "out.npy", "name it out.onnx"),
    ],
)
def test_a_suffix_of_another_format_is_refused(
    format_: str, output: str, said: str, model: Path, tmp_path: Path
) -> None:
    refused(edgekit_main("convert", model, "--format", format_, "-o", tmp_path / output), output, said)
    assert listed(tmp_path) == ["net.pt"]


@pytest.mark.parametrize("output", ["net", "net.v1.2", "net.onnx", "a.seq.onnx"])
def test_any_other_suffix_is_the_users_choice(output: str, tmp_path: Path) -> None:
    assert Wanted(("onnx",)).paths(tmp_path / output, "x") == {"onnx": tmp_path / output}


def test_only_what_is_compiled_needs_a_compiler(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was compiled")

    monkeypatch.setattr("edgekit.convert.pipeline.build_program", never)
    document = answered("convert", model, "--format", "onnx,tflite")
    assert "artifact" not in document
    with pytest.raises(AssertionError):
        edgekit_main("convert", model, "--format", "c")


def test_states_of_a_tflite_as_ports_or_inside(spiking: Path) -> None:
    answered("convert", spiking, "--format", "tflite", "-o", "ports.tflite")
    answered("convert", spiking, "--format", "tflite", "-o", "inside.tflite", "--tflite-states", "resource")
    x = stream(20)
    np.testing.assert_array_equal(edgekit.load("ports.tflite").run(x), edgekit.load("inside.tflite").run(x))
    refused(edgekit_main("convert", spiking, "--format", "tflite", "--tflite-states", "elsewhere"), "elsewhere")


@pytest.mark.parametrize("precision", ["w8", "int8"])
def test_lower_precisions_say_what_rounding_does(spiking: Path, precision: str) -> None:
    np.save("calib.npy", stream(40, 3, 8))
    document = answered(
        *("convert", spiking, "--format", "onnx,tflite", "--precision", precision, "--calib", "calib.npy", "-o", "q")
    )
    assert any(note.startswith(f"onnx {precision} changes") for note in document["notes"])
    answered("convert", spiking, "--format", "onnx", "-o", "exact.onnx")
    by_format = {row["format"]: row for row in document["files"]}
    assert all(row["checked"] for row in by_format.values())
    if precision == "int8":
        assert "rounding changes outputs" in by_format["tflite"]["check"]
    else:
        assert by_format["tflite"]["worst_error"] < 1e-5
    before, x = edgekit.load("exact.onnx"), stream(40, 5, 6)
    for suffix in ("onnx", "tflite"):
        session = edgekit.load(f"q.{suffix}")
        assert session.facts.precision == precision
        assert np.mean(session.run(x) != before.run(x)) < 0.1


# --- C ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_c_folder_compiles_and_runs_as_its_readme_says(spiking: Path, precision: str, tmp_path: Path) -> None:
    calib = ("--calib", "synthetic") if precision == "int8" else ()
    answered("convert", spiking, "--format", "c", "-o", "code", "--precision", precision, *calib)
    folder = tmp_path / "code"
    readme = (folder / "README.md").read_text()
    command = next(line.strip() for line in readme.splitlines() if line.strip().startswith("cc "))
    (main,) = re.findall(r"```c\n(.*?)```", readme, re.DOTALL)
    (folder / "main.c").write_text(main)
    done = subprocess.run(
        ["gcc", *command.split()[1:], "-Wall", "-Wextra", "-Werror"], cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    name = command.split()[-1].removesuffix(".c")
    linked = subprocess.run(
        ["gcc", "-std=c99", "-I", ".", "main.c", f"{name}.o", "-o", "run"], cwd=folder, capture_output=True, check=False
    )
    assert linked.returncode == 0, linked.stderr
    assert subprocess.run([folder / "run"], check=False).returncode == 0
    assert "spikes.pt" in readme


def test_a_folder_of_someone_else_stays_and_one_of_ours_is_replaced(model: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("keep")
    refused(edgekit_main("convert", model, "--format", "c", "-o", "theirs"), "theirs", "has not written")
    assert (tmp_path / "theirs" / "notes.txt").read_text() == "keep"
    answered("convert", model, "--format", "c", "-o", "ours")
    (tmp_path / "ours" / "stale.h").write_text("old")
    answered("convert", model, "--format", "c", "-o", "ours")
    assert (tmp_path / "ours" / MARK).is_file()
    assert not (tmp_path / "ours" / "stale.h").exists()
    assert not [name for name in listed(tmp_path) if name.startswith(".")]


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("edge,edge", "'edge' is there twice"),
        ("edge,pdf", "'pdf' is not known"),
        ("", "'' is not known"),
        ("onnx,,x,onnx", "'' is not known; 'x' is not known; 'onnx' is there twice"),
    ],
)
def test_formats_that_are_none(text: str, said: str, model: Path) -> None:
    with pytest.raises(UsageError) as caught:
        parse_formats(text)
    assert said in str(caught.value)
    assert ", ".join(FORMATS) in str(caught.value)
    refused(edgekit_main("convert", model, "--format", text), said)


def test_all_that_contradicts_the_formats_is_said_at_once(model: Path, tmp_path: Path) -> None:
    answer = edgekit_main(
        *("convert", model, "--format", "nir,tflite", "--precision", "int8s8", "--sequence", "--compiler", "gcc"),
        *("--learn", "delta", "--widen", "a=16", "--calib", "synthetic"),
    )
    for text in ("nir: has no precision", "tflite: has no", "--sequence", "--compiler", "--learn", "--widen"):
        refused(answer, text)
    assert len(answer.stderr.splitlines()) >= 7
    assert listed(tmp_path) == ["net.pt"]
    for option in (("--sequence",), ("--approximate",), ("--tflite-states", "resource")):
        refused(edgekit_main("convert", model, *option), option[0], "not among the formats")


def test_what_nir_cannot_say_is_refused_or_measured(spiking: Path, tmp_path: Path) -> None:
    answer = edgekit_main("convert", spiking, "--dt", "1e-3", "--format", "edge,nir")
    refused(answer, "NIR")
    assert listed(tmp_path) == ["spikes.pt"]


def test_an_approximate_nir_file_says_how_far_it_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("snntorch")
    (tmp_path / "ek_cli_nets.py").write_text(
        "import torch, snntorch\n"
        "def net():\n"
        "    torch.manual_seed(0)\n"
        "    leaky = snntorch.Leaky(beta=torch.full((4,), 0.9), init_hidden=True, reset_mechanism='subtract')\n"
        "    return torch.nn.Sequential(torch.nn.Linear(3, 4), leaky), torch.zeros(1, 3)\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    arguments = ("convert", "--factory", "ek_cli_nets:net", "--dt", "1e-3", "--format", "nir", "-o", "net.nir")
    refused(edgekit_main(*arguments), "cannot say exactly")
    assert not (tmp_path / "net.nir").exists()
    document = answered(*arguments, "--approximate")
    assert re.search(r"APPROXIMATE, [\d,]+ of [\d,]+ spikes differ, in [\d.]+ %", document["files"][0]["check"])
    assert any(note.startswith("nir is not exactly the model") for note in document["notes"])
    assert (tmp_path / "net.nir").is_file()


def test_a_model_is_never_written_over(model: Path, tmp_path: Path) -> None:
    answered("convert", model, "--format", "onnx", "-o", "again.onnx")
    before = (tmp_path / "again.onnx").read_bytes()
    refused(edgekit_main("convert", "again.onnx", "--format", "onnx", "-o", "again.onnx"), "is what is to be read")
    refused(edgekit_main("convert", "again.onnx", "--format", "onnx,tflite", "-o", "./again"), "is what is to be read")
    assert (tmp_path / "again.onnx").read_bytes() == before
    assert listed(tmp_path) == ["again.onnx", "net.pt"]


@pytest.mark.parametrize("what", ["a device", "a folder", "no folder"])
def test_places_that_cannot_be_written(what: str, model: Path, tmp_path: Path) -> None:
    output = {"a device": "/dev/null", "a folder": str(tmp_path), "no folder": "nowhere/x"}[what]
    refused(edgekit_main("convert", model, "--format", "onnx", "-o", output))
    if what == "a folder":
        (tmp_path / "x.tflite").mkdir()
        refused(edgekit_main("convert", model, "--format", "onnx,tflite", "-o", "x"), "x.tflite")
        assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("onnx", "onnx", "onnx"), ("tflite", "ai_edge_litert", "tflite"), ("nir", "nir", "nir")],
)
def test_a_missing_extra_is_named_before_any_work(
    name: str, package: str, extra: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, package)
    answer = edgekit_main("convert", model, "--format", name)
    refused(answer, f"{package} is not installed", f"edgekit[{extra}]")


def test_all_missing_extras_are_named_together(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("onnx", "ai_edge_litert", "nir"):
        hide(monkeypatch, package)
    answer = edgekit_main("convert", model, "--format", "edge,onnx,tflite,nir")
    refused(answer, "edgekit[onnx]", "edgekit[tflite]", "edgekit[nir]")


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)


def test_what_was_not_checked_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxruntime")
    document = answered("convert", model, "--format", "onnx")
    (row,) = document["files"]
    assert row["checked"] is False
    assert row["check"] == "not checked: onnxruntime is not installed"
    assert row["worst_error"] is None
    assert "not checked: onnxruntime is not installed" in edgekit_main("convert", model, "--format", "onnx").stdout


# --- all or nothing ---------------------------------------------------------------------------------------------------


def test_nothing_is_written_when_a_later_check_fails(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise DataError("check", "does not agree")

    monkeypatch.setitem(exports._WAYS, "tflite", fails)
    refused(edgekit_main("convert", model, "--format", "edge,onnx,tflite,c"), "does not agree")
    assert listed(tmp_path) == ["net.pt"]


CONTENTS: dict[str, Any] = {"a.bin": b"new a", "b.bin": b"new b", "c": {"x/y.h": b"new y", "z.c": b"new z"}}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("before", ["nothing", "older files"])
@pytest.mark.parametrize("fault", ["Ctrl-C", "an error of the disk"])
def test_a_fault_at_any_moment_leaves_all_or_nothing(
    before: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    files = [(folder / name, content) for name, content in CONTENTS.items()]
    if before == "older files":
        write_together([(path, b"old" if isinstance(c, bytes) else {"old.h": b"old"}) for path, c in files])
    untouched, calls = tree(folder), 0
    watched = {
        (writing.os, "fsync"): os.fsync,
        (writing.os, "link"): os.link,
        (Path, "rename"): Path.rename,
        (Path, "replace"): Path.replace,
        (Path, "mkdir"): Path.mkdir,
        (writing.tempfile, "mkdtemp"): tempfile.mkdtemp,
    }
    if fault == "Ctrl-C":  # no error comes from that one
        watched[writing.shutil, "rmtree"] = shutil.rmtree

    def interrupted_at(moment: int) -> None:
        nonlocal calls
        calls = 0

        def hooked(original: Any) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                if fault == "Ctrl-C":
                    answer = original(*arguments, **options)
                    if calls >= moment:  # and again, by a user without patience
                        signal.raise_signal(signal.SIGINT)
                    return answer
                if calls == moment:
                    raise OSError(5, "stopped")
                return original(*arguments, **options)

            return call

        with monkeypatch.context() as patched:
            for (owner, name), original in watched.items():
                patched.setattr(owner, name, hooked(original))
            write_together(files)

    moment = 1
    while True:
        try:
            interrupted_at(moment)
        except (KeyboardInterrupt, ArtifactError):
            if (found := tree(folder)) != untouched:  # all was renamed: only the folder was still to be flushed
                assert set(found) == {*("a.bin", "b.bin", "c/x/y.h", "c/z.c"), f"c/{MARK}"}
            assert not [p for p in folder.iterdir() if p.name.startswith(".")]
            moment += 1
            continue
        break
    assert moment > 8
    assert tree(folder)["c/x/y.h"] == b"new y"


def test_ctrl_c_while_writing_is_one_line(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_write", stop)
    answer = edgekit_main("convert", model, "--format", "edge,onnx")
    assert answer.returncode == 130
    assert answer.stderr == "error: interrupted; no file is half written\n"
    assert listed(tmp_path) == ["net.pt"]


def test_a_full_disk_is_one_line(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.os, "fsync", full)
    refused(edgekit_main("convert", model, "--format", "onnx"), "No space left")
    assert listed(tmp_path) == ["net.pt"]


def test_inputs_are_those_of_the_model(model: Path) -> None:
    answered("convert", model, "--format", "onnx", "-o", "m.onnx")
    assert list(edgekit.load("m.onnx").facts.inputs.values()) == [(INPUTS,)]
    assert len(edgekit.load("m.onnx").facts.outputs) == 1
