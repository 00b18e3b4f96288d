"""Integer precisions from the command line: what goes in, what is refused, and what the artifact then does."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from converted import CLASSES, INPUTS, edgekit_main, module, stream

import edgekit
from edgekit.artifact import Artifact
from edgekit.errors import ArtifactError
from edgekit.ir import SPIKE
from edgekit.target import load_target

RECIPES = ("int8", "int8s8", "int4", "auto")
DECISION = {"input": {"offset": [0.5] * INPUTS, "scale": [0.7] * INPUTS}, "decision": "sum", "classes": list("abcd")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a stateless and a spiking model, windows for each, and data."""
    edgekit.save(module("mlp"), tmp_path / "mlp.pt")
    edgekit.save(module("quiet"), tmp_path / "l2mu.pt", io=DECISION)
    np.save(tmp_path / "rows.npy", stream(64))
    np.savez(tmp_path / "windows.npz", x=stream(12, 1, 24))
    np.save(tmp_path / "x.npy", stream(12, 2, 3))
    return tmp_path


def converted(folder: Path, model: str, *options: object) -> Path:
    """The artifact of a model file, in the same folder."""
    path = folder / f"{model}.edge"
    answer = edgekit_main("convert", folder / f"{model}.pt", "-o", path, *options)
    assert answer.returncode == 0, answer.stderr
    return path


@pytest.mark.drawn(2)
@pytest.mark.parametrize("precision", RECIPES)
@pytest.mark.parametrize(("model", "calib"), [("mlp", "rows.npy"), ("l2mu", "windows.npz")])
def test_a_step_of_integers_alone(folder: Path, model: str, calib: str, precision: str) -> None:
    made = Artifact.open(converted(folder, model, "--precision", precision, "--calib", folder / calib))
    assert made.graph.is_integer
    assert made.manifest["precision"] == precision
    quantisation = made.manifest["quantisation"]
    assert (quantisation["recipe"], quantisation["calibration"]) == (precision, "windows")
    assert quantisation["windows"] == len(np.load(folder / calib)["x"] if calib == "windows.npz" else stream(64))
    assert set(made.manifest["entries"]) == {"step", "quantize", "dequantize"}
    weights = {t.dtype.name for n, t in made.graph.consts.items() if "weight" in n}
    assert weights <= {"int4", "int8", "int16"}


def test_the_same_input_gives_the_same_file(folder: Path) -> None:
    options = ("--precision", "int8", "--calib", folder / "windows.npz")
    first = converted(folder, "l2mu", *options).read_bytes()
    assert converted(folder, "l2mu", *options).read_bytes() == first


def test_every_engine_gives_the_bytes_of_the_reference(folder: Path) -> None:
    path = converted(folder, "l2mu", "--precision", "int8", "--calib", folder / "windows.npz")
    x = np.load(folder / "x.npy")
    made = {engine: edgekit.load(path, engine=engine) for engine in ("native", "rebuilt", "reference")}
    outputs = {engine: session.run(x) for engine, session in made.items()}
    assert outputs["native"].tobytes() == outputs["reference"].tobytes() == outputs["rebuilt"].tobytes()
    assert outputs["native"].shape == (3, 12, CLASSES)
    for session in made.values():
        session.reset()
        for t in range(6):
            session.step(x[0, t])
    assert len({session.save_state() for session in made.values()}) == 1


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_steps_are_a_run_and_what_is_not_finite_is_counted(folder: Path, engine: str) -> None:
    session = edgekit.load(
        converted(folder, "mlp", "--precision", "int8", "--calib", folder / "rows.npy"), engine=engine
    )
    x = stream(9, 4)
    x[2, 0], x[5, 1], x[5, 2] = np.nan, np.inf, -np.inf
    steps = np.stack([session.step(row) for row in x])
    assert session.nonfinite == 3
    assert steps.tobytes() == session.run(x).tobytes()
    assert session.nonfinite == 6
    assert session.step(x[0].astype(np.float64)).tobytes() == steps[0].tobytes()


def test_run_takes_raw_units_or_stored_integers(folder: Path) -> None:
    path = converted(folder, "mlp", "--precision", "int8", "--calib", folder / "rows.npy")
    x = stream(5, 3)
    session = edgekit.load(path)
    (stored,) = session.codec.quantize([x])
    np.save(folder / "raw.npy", x)
    np.save(folder / "stored.npy", stored)
    for name, options in (("raw", ()), ("stored", ("--raw",))):
        answer = edgekit_main("run", path, "-i", folder / f"{name}.npy", "-o", folder / f"{name}.out.npy", *options)
        assert answer.returncode == 0, answer.stderr
    integers = np.load(folder / "stored.out.npy")
    assert integers.dtype == np.int16
    np.testing.assert_array_equal(session.codec.dequantize([integers])[0], np.load(folder / "raw.out.npy"))
    answer = edgekit_main("run", path, "-i", folder / "raw.npy", "--raw")
    assert answer.returncode == 2
    assert "takes stored integers" in answer.stderr


def test_verify_judges_it_against_the_original(folder: Path) -> None:
    path = converted(folder, "l2mu", "--precision", "int8", "--calib", folder / "windows.npz")
    answer = edgekit_main("verify", path, "--reference", folder / "l2mu.pt", "--data", folder / "x.npy", "--json")
    document = json.loads(answer.stdout)
    assert document["precision"] == "int8"
    assert 0 <= document["agreement"] <= 1


def test_auto_reaches_the_agreement_it_is_asked_for_or_says_that_it_does_not(folder: Path) -> None:
    options = ("--precision", "auto", "--min-agreement", "98.5", "--calib", folder / "windows.npz")
    found = Artifact.open(converted(folder, "l2mu", *options)).manifest
    notes = " ".join(found.get("notes", []))
    assert found["quantisation"]["agreement"] >= 0.985 or "98.5" in notes


def test_synthetic_calibration_is_stamped_into_the_artifact(folder: Path) -> None:
    path = converted(folder, "l2mu", "--precision", "int8", "--calib", "synthetic")
    manifest = Artifact.open(path).manifest
    assert manifest["quantisation"]["calibration"] == "synthetic"
    assert any("calibrated on noise" in note for note in manifest["notes"])
    assert "calibrated on noise" in edgekit_main("inspect", path).stdout


@pytest.mark.parametrize("method", ["min-max", "percentile", "mse"])
def test_every_calibration_method_gives_a_program(folder: Path, method: str) -> None:
    options = ("--precision", "int8", "--calib", folder / "rows.npy", "--calib-method", method)
    assert Artifact.open(converted(folder, "mlp", *options)).manifest["quantisation"]["method"] == method


def test_a_spiking_output_is_a_spike(folder: Path) -> None:
    made = Artifact.open(converted(folder, "l2mu", "--precision", "int8", "--calib", folder / "windows.npz"))
    (out,) = made.graph.entries["step"].outputs
    assert made.graph.tensors[out].dtype is SPIKE


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--precision", "int8"), "needs calibration windows"),
        (("--precision", "int7", "--calib", "synthetic"), "precision 'int7': is not known"),
        (("--precision", "int8", "--calib", "synthetic", "--calib-method", "median"), "is not known"),
        (("--precision", "int8", "--calib", "nowhere.npz"), "nowhere.npz"),
        (("--precision", "int8", "--calib", "{x}", "--calib-method", "percentile", "--learn", "hebb"), "not known"),
        (("--precision", "fp32", "--calib-method", "mse"), "--calib-method: is not used"),
        (("--precision", "int8", "--calib", "synthetic", "--min-agreement", "99"), "--min-agreement: is not used"),
        (("--precision", "auto", "--calib", "synthetic", "--min-agreement", "0"), "--min-agreement 0"),
        (("--precision", "auto", "--calib", "synthetic", "--min-agreement", "101"), "--min-agreement 101"),
        (("--precision", "int8", "--calib", "{nan}"), "holds NaN, Inf"),
        (("--precision", "int8", "--calib", "{zero}"), "is zero throughout"),
        (("--precision", "int8", "--calib", "{huge}"), "reaches 7e+29"),
        (("--precision", "int8", "--calib", "{wide}"), "has shape"),
        (("--precision", "int8", "--calib", "{none}"), "none.npy"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder: Path, options: tuple[str, ...], says: str) -> None:
    bad = stream(12, 4, 2)
    bad[0, 3, 1] = np.nan
    files = {"nan": bad, "wide": np.zeros((2, 12, INPUTS + 1), np.float32), "none": np.zeros((0, 12, INPUTS))}
    files |= {"zero": np.full((3, 12, INPUTS), 0.5), "huge": np.full((3, 12, INPUTS), 1e30)}
    for name, array in files.items():
        np.save(folder / f"{name}.npy", np.asarray(array, np.float32))
    paths = {name: folder / f"{name}.npy" for name in (*files, "x")}
    given = [o.format(**paths) for o in options]
    answer = edgekit_main("convert", folder / "l2mu.pt", "-o", folder / "no.edge", *given)
    assert answer.returncode == 2
    first, *_ = answer.stderr.splitlines()
    assert says in first, answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (folder / "no.edge").exists()


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("target", ["smartwatch-m4", "smartwatch", "smartwatch-m55"])
def test_a_watch_gets_firmware_a_library_and_its_sizes(folder: Path, target: str) -> None:
    needs_qemu(target)
    options = ("--target", target, "--precision", "int8", "--calib", folder / "windows.npz")
    path = converted(folder, "l2mu", *options)
    made = Artifact.open(path)
    name, sizes = made.manifest["name"], made.manifest["sizes"]
    assert {f"native/{name}.elf", f"native/lib{name}.a", f"native/ek_{name}.h"} <= set(made.file.members)
    assert made.manifest["program"]["library"] == f"native/{name}.elf"
    assert 0 < sizes["stack_bytes"] < 1024
    assert (
        sizes["weights_bytes"]
        < sizes["flash_bytes"]
        == pytest.approx(sizes["text_bytes"] + sizes["weights_bytes"], abs=512)
    )
    assert "emulated cortex-m" in made.manifest["verification"]["selftest_on"]
    x = np.load(folder / "x.npy")
    here = edgekit.load(path, engine="reference").run(x)
    assert edgekit.load(path, engine="emulator").run(x).tobytes() == here.tobytes()
    answer = edgekit_main("run", path, "-i", folder / "x.npy", "--on", "emulator", "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["instructions"] > 0


def test_a_watch_that_is_too_small_says_by_how_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = dataclasses.replace(load_target("smartwatch-m4"), flash_bytes=1024)
    monkeypatch.setattr("edgekit.convert.pipeline.load_target", lambda _name: small)
    options = ("--target", "smartwatch-m4", "--precision", "int8", "--calib", folder / "rows.npy")
    answer = edgekit_main("convert", folder / "mlp.pt", "-o", folder / "no.edge", *options)
    assert answer.returncode == 2
    first, *_ = answer.stderr.splitlines()
    assert first.startswith("error: target smartwatch-m4, flash: required ")
    assert "available 1,024 bytes, excess " in first
    assert not (folder / "no.edge").exists()


def needs_qemu(target: str) -> None:
    """Skip, loudly, what only qemu can run; under CI qemu is there."""
    if target == "smartwatch-m55" and shutil.which("qemu-system-arm") is None:
        if os.environ.get("CI"):
            pytest.fail("qemu-system-arm is not installed")
        pytest.skip("qemu-system-arm is not installed")


def test_what_is_no_regular_file_is_never_replaced(folder: Path) -> None:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    answer = edgekit_main("convert", folder / "mlp.pt", "-o", pipe)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "pipe: is no regular file" in answer.stderr.splitlines()[0]
    with pytest.raises(ArtifactError, match="is no regular file"):
        edgekit.convert(module("mlp"), name="net").save(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
