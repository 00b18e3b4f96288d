"""Bad usage and bad input: exit code 2, one clear first line, no traceback, and nothing half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from converted import INPUTS, ROOT, Answer, artifact, edgekit_command, edgekit_main, module, stream

import edgekit


@pytest.fixture
def files(tmp_path) -> Path:
    """A folder with a model, its artifact, data, and one of every kind of damage."""
    folder = tmp_path / "files"
    folder.mkdir()
    edgekit.save(module("mlp"), folder / "net.pt")
    edgekit.save(module("l2mu"), folder / "l2mu.pt")
    artifact("mlp").save(folder / "net.edge")
    artifact("l2mu").save(folder / "l2mu.edge")
    artifact("mlp", target="raspberrypi4").save(folder / "pi.edge")
    np.save(folder / "x.npy", stream(6))
    whole = (folder / "net.edge").read_bytes()
    (folder / "short.edge").write_bytes(whole[: len(whole) // 2])
    (folder / "flipped.edge").write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    (folder / "folder").mkdir()
    for suffix in ("edge", "pt", "npy", "npz", "json", "safetensors", "onnx", "nir", "txt"):
        (folder / f"empty.{suffix}").write_bytes(b"")
        (folder / f"noise.{suffix}").write_bytes(bytes(range(256)) * 4)
    bad = stream(6)
    bad[3, 1] = np.nan
    np.save(folder / "nan.npy", bad)
    np.save(folder / "wide.npy", np.zeros((6, INPUTS + 1), np.float32))
    np.save(folder / "deep.npy", np.zeros((2, 2, 2, INPUTS), np.float32))
    np.save(folder / "scalar.npy", np.float32(1))
    np.save(folder / "none.npy", np.zeros((0, INPUTS), np.float32))
    np.save(folder / "large.npy", np.full((6, INPUTS), 1e300))
    np.save(folder / "text.npy", np.array(["a", "b"]))
    np.save(folder / "complex.npy", np.zeros((2, INPUTS), np.complex64))
    np.savez(folder / "nox.npz", data=np.zeros((2, INPUTS)))
    np.savez(folder / "labels.npz", x=stream(6), y=np.zeros(5, np.int64))
    np.savez(folder / "soft.npz", x=stream(6), y=np.zeros((6, 4), np.float32))
    np.savez(folder / "scaled.npz", x=stream(6), scale=np.zeros(5))
    # a header that claims a terabyte
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (250000000000, 1), }"
    header += b" " * (117 - len(header)) + b"\n"
    (folder / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    (folder / "text.pt").write_text("hello\n")
    (folder / "list.json").write_text("[1, 2]")
    (folder / "broken.json").write_text('{"activation": ')
    (folder / "unknown.json").write_text('{"activation": "relu", "layers": 3}')
    return folder


def refused(answer: Answer, *said: str) -> None:
    assert answer.returncode == 2, answer
    lines = answer.stderr.splitlines()
    assert lines, answer
    assert lines[0].startswith("error: "), answer.stderr
    assert all(line.startswith("  - ") for line in lines[1:]), answer.stderr
    assert "Traceback" not in answer.stderr
    for text in said:
        assert text in answer.stderr, answer.stderr


# {f} is the folder; the words that the message must hold follow
CONVERT = {
    "no file": ("{f}/nothing.pt", "nothing.pt", "no such file"),
    "a folder": ("{f}/folder", "folder"),
    "a folder with a suffix": ("{f}/folder.pt", "folder.pt"),
    "empty": ("{f}/empty.pt", "empty.pt", "is empty"),
    "noise": ("{f}/noise.pt", "noise.pt"),
    "text": ("{f}/text.pt", "text.pt", "(its bytes are not those of a model)"),
    "noise, safetensors": ("{f}/noise.safetensors", "noise.safetensors"),
    "noise, npz": ("{f}/noise.npz", "noise.npz"),
    "another suffix": ("{f}/noise.txt", "noise.txt", "suffix"),
    "onnx": ("{f}/noise.onnx", "ONNX"),
    "an artifact": ("{f}/net.edge", "net.edge"),
    "data": ("{f}/nox.npz", "nox.npz"),
    "unknown target": ("{f}/net.pt --target toaster", "toaster", "raspberrypi4"),
    "unknown precision": ("{f}/net.pt --precision int3", "int3", "fp32"),
    "integers without calibration": ("{f}/net.pt --precision int8", "int8", "--calib windows.npz"),
    "agreement without auto": ("{f}/net.pt --precision int8 --calib synthetic --min-agreement 98", "auto"),
    "agreement beyond all": ("{f}/net.pt --precision auto --calib synthetic --min-agreement 101", "agreement"),
    "calibration method": ("{f}/net.pt --precision int8 --calib synthetic --calib-method luck", "luck", "mse"),
    "calibration method unused": ("{f}/net.pt --calib synthetic --calib-method mse", "--calib-method", "fp32"),
    "unknown rule": ("{f}/net.pt --learn osmosis", "osmosis", "delta"),
    "negative rate": ("{f}/net.pt --learn delta --learning-rate -1", "learning rate"),
    "rate that is NaN": ("{f}/net.pt --learn delta --learning-rate nan", "learning rate"),
    "rate that is text": ("{f}/net.pt --learn delta --learning-rate fast", "--learning-rate"),
    "unknown compiler": ("{f}/net.pt --compiler tcc", "tcc", "zig, gcc, clang"),
    "nothing to code in flash": ("{f}/net.pt --flash-coding", "--flash-coding", "codes integers"),
    "coding in flash of what is not compiled": ("{f}/net.pt --precision w8 --format onnx --flash-coding", "edge and c"),
    "config missing": ("{f}/net.pt --config {f}/nothing.json", "nothing.json"),
    "config empty": ("{f}/net.pt --config {f}/empty.json", "empty.json"),
    "config noise": ("{f}/net.pt --config {f}/noise.json", "noise.json"),
    "config broken": ("{f}/net.pt --config {f}/broken.json", "broken.json"),
    "config a list": ("{f}/net.pt --config {f}/list.json", "list.json"),
    "config key": ("{f}/net.pt --config {f}/unknown.json", "layers"),
    "calibration missing": ("{f}/l2mu.pt --calib {f}/nothing.npy", "nothing.npy", "no such file"),
    "calibration width": ("{f}/l2mu.pt --calib {f}/wide.npy", "calibration data", "(6, 4)"),
    "calibration depth": ("{f}/l2mu.pt --calib {f}/deep.npy", "calibration data"),
    "calibration NaN": ("{f}/l2mu.pt --calib {f}/nan.npy", "calibration data"),
    "calibration empty": ("{f}/l2mu.pt --calib {f}/none.npy", "none.npy"),
    "factory form": ("{f}/net.pt --factory nonsense", "nonsense", "package.module:function"),
    "factory missing": ("{f}/net.pt --factory no.such:thing", "no.such"),
    "no output folder": ("{f}/net.pt -o {f}/nowhere/out.edge", "out.edge", "folder"),
    "output is a folder": ("{f}/net.pt -o {f}/folder", "is a folder"),
    "a name too long": (f"{{f}}/net.pt -o {{f}}/{'n' * 251}.edge", "256 bytes", "names have up to 255"),
    "no name": (". -o {f}/x.edge", "model '.'", "is a folder", ".onnx"),
    "a folder in place of a model": ("{f}/folder.pt", "is a folder", ".onnx"),
    "no onnx file": ("{f}/nothing.onnx", "nothing.onnx: no such file", "check the name"),
    "no weights": ("--factory elsewhere:f --weights {f}/nothing.pt", "nothing.pt: no such file", "check the name"),
    "no configuration": ("{f}/net.pt --config {f}/nothing.json", "nothing.json", "check the name"),
    "no nir file": ("{f}/nothing.nir", "nothing.nir: no such file", "check the name"),
    "no pt2 file": ("{f}/nothing.pt2", "nothing.pt2: no such file", "check the name"),
    "an empty onnx file": ("{f}/empty.onnx", "empty.onnx: is empty", "save or export"),
    "an empty nir file": ("{f}/empty.nir", "empty.nir: is empty", "save or export"),
    "noise in npz": ("{f}/noise.npz", "no array header, or pickled objects", "save the model again"),
    "no such option": ("{f}/net.pt --speed 9", "--speed"),
    "no model": ("", "model"),
}
RUN = {
    "no artifact": ("{f}/nothing.edge --input {f}/x.npy", "nothing.edge", "No such file"),
    "artifact is a folder": ("{f}/folder --input {f}/x.npy", "folder"),
    "artifact is empty": ("{f}/empty.edge --input {f}/x.npy", "empty.edge"),
    "artifact is noise": ("{f}/noise.edge --input {f}/x.npy", "noise.edge"),
    "artifact is short": ("{f}/short.edge --input {f}/x.npy", "short.edge"),
    "artifact is damaged": ("{f}/flipped.edge --input {f}/x.npy", "flipped.edge"),
    "artifact is a model": ("{f}/net.pt --input {f}/x.npy", "net.pt"),
    "no input": ("{f}/net.edge --input {f}/nothing.npy", "nothing.npy", "no such file"),
    "no input option": ("{f}/net.edge", "--input"),
    "input is a folder": ("{f}/net.edge --input {f}/folder", "folder"),
    "input is empty": ("{f}/net.edge --input {f}/empty.npy", "is empty"),
    "input is noise": ("{f}/net.edge --input {f}/noise.npy", "noise.npy"),
    "input is a damaged zip": ("{f}/net.edge --input {f}/noise.npz", "noise.npz"),
    "input holds no x": ("{f}/net.edge --input {f}/nox.npz", "no array 'x'", "data"),
    "input is text": ("{f}/net.edge --input {f}/text.npy", "not numbers"),
    "input is complex": ("{f}/net.edge --input {f}/complex.npy", "not numbers"),
    "input has no samples": ("{f}/net.edge --input {f}/none.npy", "no samples"),
    "input claims a terabyte": ("{f}/net.edge --input {f}/huge.npy", "huge.npy", "memory"),
    "NaN": ("{f}/net.edge --input {f}/nan.npy", "holds NaN or Inf"),
    "NaN in a sequence": ("{f}/l2mu.edge --input {f}/nan.npy", "holds NaN or Inf"),
    "NaN in the emulator": ("{f}/pi.edge --input {f}/nan.npy --on emulator", "holds NaN or Inf"),
    "too wide": ("{f}/net.edge --input {f}/wide.npy", "(6, 4)"),
    "too deep": ("{f}/net.edge --input {f}/deep.npy", "(2, 2, 2, 3)"),
    "a scalar": ("{f}/net.edge --input {f}/scalar.npy", "()"),
    "too few labels": ("{f}/net.edge --input {f}/labels.npz", "labels y"),
    "labels that are none": ("{f}/net.edge --input {f}/soft.npz", "one integer per sample"),
    "scales that do not fit": ("{f}/net.edge --input {f}/scaled.npz", "scaled.npz"),
    "unknown engine": ("{f}/net.edge --input {f}/x.npy --engine warp", "warp", "native"),
    "unknown place": ("{f}/net.edge --input {f}/x.npy --on moon", "moon", "emulator"),
    "place to come": ("{f}/net.edge --input {f}/x.npy --on ssh://pi", "not in this version yet"),
    "engine elsewhere": ("{f}/net.edge --input {f}/x.npy --on emulator --engine native", "--engine"),
    "foreign library": ("{f}/pi.edge --input {f}/x.npy --engine native", "aarch64"),
    "stored integers": ("{f}/net.edge --input {f}/x.npy --raw", "--raw", "no integer program"),
    "no output folder": ("{f}/net.edge --input {f}/x.npy -o {f}/nowhere/y.npy", "nowhere"),
    "output is a folder": ("{f}/net.edge --input {f}/x.npy -o {f}/folder", "is a folder"),
    "beyond float32": ("{f}/net.edge --input {f}/large.npy", "1e+300", "float32", "scale it down"),
    "output of another suffix": ("{f}/net.edge --input {f}/x.npy -o {f}/y.txt", "y.txt", "name it y.npy"),
    "output without a suffix": ("{f}/net.edge --input {f}/x.npy -o {f}/y", "name it y.npy"),
    "counting on the host": ("{f}/net.edge --input {f}/x.npy --count", "--count", "--on emulator"),
}
OTHERS = {
    "inspect nothing": ("inspect {f}/nothing.edge", "nothing.edge"),
    "inspect a folder": ("inspect {f}/folder", "folder"),
    "inspect damage": ("inspect {f}/flipped.edge --graph", "flipped.edge"),
    "trust nothing": ("trust {f}/nothing.edge", "nothing.edge"),
    "trust damage": ("trust {f}/short.edge", "short.edge"),
    "trust a folder": ("trust {f}/folder", "folder"),
    "remove what": ("trust --remove", "--remove"),
    "unknown target": ("targets toaster", "toaster", "host"),
    "operators with more": ("supported-ops --from onnx -v", "--verbose", "--from"),
    "unknown verb": ("frobnicate", "frobnicate"),
    "verify without reference": ("verify {f}/net.edge", "--reference"),
    "verify nothing": ("verify {f}/nothing.edge --reference {f}/net.pt", "nothing.edge"),
    "verify against nothing": ("verify {f}/net.edge --reference {f}/nothing.pt", "nothing.pt"),
    "verify against noise": ("verify {f}/net.edge --reference {f}/noise.pt", "noise.pt"),
    "verify with another width": ("verify {f}/net.edge --reference {f}/net.pt --data {f}/wide.npy", "(6, 4)"),
    "verify with NaN": ("verify {f}/net.edge --reference {f}/net.pt --data {f}/nan.npy", "NaN"),
    "verify no windows": ("verify {f}/net.edge --reference {f}/net.pt --limit 0", "--limit"),
    "verify a step as windows": ("verify {f}/l2mu.edge --reference {f}/l2mu.pt --data {f}/x.npy", "[N, T, 3]"),
}
ALL = [
    *(("convert " + arguments, said) for arguments, *said in CONVERT.values()),
    *(("run " + arguments, said) for arguments, *said in RUN.values()),
    *((arguments, said) for arguments, *said in OTHERS.values()),
]
NAMES = [f"{verb}: {n}" for verb, table in (("convert", CONVERT), ("run", RUN), ("", OTHERS)) for n in table]


@pytest.mark.drawn(3)
@pytest.mark.parametrize(("arguments", "said"), ALL, ids=NAMES)
def test_bad_input_is_refused_in_one_line(files, arguments, said, monkeypatch):
    monkeypatch.chdir(files)
    (files / "folder.pt").mkdir()
    before = {p: p.stat().st_mtime_ns for p in files.rglob("*")}
    words = [word.replace("{f}", str(files)) for word in arguments.split()]
    refused(edgekit_main(*words), *said)
    assert {p: p.stat().st_mtime_ns for p in files.rglob("*")} == before, "something was written"


def test_with_json_the_refusal_is_json_too(files):
    answer = edgekit_main("run", files / "short.edge", "--input", files / "x.npy", "--json")
    refused(answer)
    document = json.loads(answer.stdout)
    assert document["schema_version"] == 1
    assert "short.edge" in document["error"]
    answer = edgekit_main("convert", files / "net.pt", "--speed", "--json")
    refused(answer)
    assert "--speed" in json.loads(answer.stdout)["error"]


def test_a_state_dict_that_nothing_recognises_lists_what_is_known(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"encoder.gamma": torch.ones(3), "decoder.beta": torch.ones(2)}, tmp_path / "odd.pt")
    refused(edgekit_main("convert", tmp_path / "odd.pt", "-o", tmp_path / "o.edge"), "odd.pt")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"0.weight": torch.full((2, 2), torch.nan), "0.bias": torch.zeros(2)}, tmp_path / "nan.pt")
    refused(edgekit_main("convert", tmp_path / "nan.pt", "-o", tmp_path / "o.edge"), "NaN")
    assert not (tmp_path / "o.edge").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(files):
    locked = files / "locked"
    locked.mkdir()
    locked.chmod(0o500)
    refused(edgekit_main("convert", files / "net.pt", "-o", locked / "m.edge"), "m.edge")
    refused(edgekit_main("run", files / "net.edge", "--input", files / "x.npy", "-o", locked / "y.npy"), "y.npy")
    assert list(locked.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a folder nobody may write")
def test_a_place_that_nobody_can_write(files):
    answer = edgekit_main("run", files / "net.edge", "--input", files / "x.npy", "-o", "/proc/y.npy")
    refused(answer, "/proc")


def test_a_place_for_the_output_is_looked_at_before_the_work(files, monkeypatch):
    monkeypatch.setattr("edgekit.frontends.import_file", lambda *_a, **_k: pytest.fail("it was imported"))
    monkeypatch.setattr("edgekit.runtime.load", lambda *_a, **_k: pytest.fail("it was loaded"))
    for place, said in ((files / "folder", "is a folder"), (files / "nowhere" / "m", "its folder does not exist")):
        refused(edgekit_main("convert", files / "net.pt", "-o", place), said)
        refused(edgekit_main("run", files / "net.edge", "--input", files / "x.npy", "-o", place), said)


def test_a_damaged_trust_list_stops_what_needs_it(files, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "trust.json").write_text("{")
    refused(edgekit_main("run", files / "net.edge", "--input", files / "x.npy"), "trust.json")


def test_the_process_ends_with_the_same_line_and_code(files):
    answer = edgekit_command("run", files / "net.edge", "--input", files / "nan.npy")
    refused(answer, "holds NaN or Inf")
    assert answer.stdout == ""
    refused(edgekit_command("convert", files / "noise.pt", cwd=files), "noise.pt")


@pytest.mark.parametrize("when", ["at the start", "while the compiler runs"])
def test_ctrl_c_leaves_nothing_half_written(files, when):
    out, cache = files / "interrupted", files / "cold"
    out.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", "from edgekit.cli import main; main()", "convert", "l2mu.pt", "-o", out / "m.edge"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "EDGEKIT_CACHE": str(cache)},
        cwd=files,
        stderr=subprocess.PIPE,
        text=True,
    )
    compiling = when == "while the compiler runs"
    while compiling and not cache.exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in (130, -signal.SIGINT)
    assert list(out.iterdir()) == []
    if compiling:  # before that, Python itself may still be starting
        assert errors == "error: interrupted; no file is half written\n"


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_ctrl_c_while_the_packages_load_is_no_traceback(flags, monkeypatch):
    class Interrupted:
        @staticmethod
        def find_spec(name, *_):
            if name == "edgekit.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "edgekit.cli.app", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted, *sys.meta_path])
    answer = edgekit_main("doctor", *flags)
    assert answer.returncode == 130
    assert answer.stderr == "error: interrupted; no file is half written\n"
    assert bool(answer.stdout) is bool(flags)


def write_nir(path: Path, delay: float) -> Path:
    nir = pytest.importorskip("nir")
    nodes = {
        "input": nir.Input({"input": np.array([2])}),
        "d": nir.Delay(np.full(2, delay)),
        "output": nir.Output({"output": np.array([2])}),
    }
    nir.write(path, nir.NIRGraph(nodes, [("input", "d"), ("d", "output")]))
    return path


def test_remedies_are_spelled_as_on_the_command_line(files, monkeypatch):
    monkeypatch.chdir(files)
    for arguments, *said in (
        ("convert l2mu.pt --format nir", "--dt"),
        ("convert delay.nir --dt 1e-3", "--round-delays", "--dt"),
        ("convert delay.nir --dt 1e-3 --reset never", "--reset never", "v_reset"),
        ("convert delay.nir --dt 1e-3 --convention charge=no", "--convention charge=no", "current"),
        ("run net.onnx -i x.npy --on emulator", "--on emulator", "leave it out"),
        ("run net.onnx -i x.npy --engine native", "--engine native", "leave it out"),
        ("verify net.onnx --reference net.pt --on emulator", "--on emulator", "leave it out"),
        ("inspect net.edge --dt 1e-3", "--dt", "a finished program"),
        ("inspect net.edge --dt 1e-3 --reset zero --factory a:b", "--dt", "--reset", "--factory"),
        ("inspect net.tflite --state a:b", "--state", "a finished program"),
    ):
        write_nir(files / "delay.nir", 1.4e-3)
        if not (files / "net.onnx").exists():
            assert edgekit_main("convert", "net.pt", "--format", "onnx,tflite", "-o", "net", "-q").returncode == 0
        answer = edgekit_main(*arguments.split())
        refused(answer, *said)
        assert "options:" not in answer.stderr


def test_a_short_nir_file_is_said_to_be_short_and_named_as_it_was(files, monkeypatch):
    monkeypatch.chdir(files)
    write_nir(files / "delay.nir", 1e-3)
    (files / "short.nir").write_bytes((files / "delay.nir").read_bytes()[:3000])
    answer = edgekit_main("convert", "short.nir", "--dt", "1e-3")
    refused(answer, "error: short.nir: is damaged (it is cut short); write it anew")


def test_the_longest_name_that_a_file_can_have(files):
    path = files / f"{'n' * 250}.edge"
    assert edgekit_main("convert", files / "net.pt", "-o", path, "-q").returncode == 0
    assert path.is_file()
    assert edgekit_main("run", path, "-i", files / "x.npy", "-o", files / f"{'y' * 251}.npy", "-q").returncode == 0


@pytest.mark.parametrize("verb", ["convert net.pt -o /proc/x.edge", "run net.edge -i x.npy -o /proc/y.npy"])
def test_a_place_that_takes_no_files_is_named_and_not_a_temporary_file(files, verb, monkeypatch):
    if not Path("/proc/self").exists():
        pytest.skip("no such place here")
    monkeypatch.chdir(files)
    answer = edgekit_main(*verb.split())
    refused(answer, f"error: {verb.split()[-1]}: cannot be written (", "name a")


def test_labels_for_a_program_that_decides_nothing(files, monkeypatch):
    monkeypatch.chdir(files)
    write_nir(files / "delay.nir", 1e-3)
    assert edgekit_main("convert", "delay.nir", "--dt", "1e-3", "-o", "delay.edge", "-q").returncode == 0
    np.savez(files / "marked.npz", x=np.zeros((2, 5, 2), np.float32), y=np.zeros(2, np.int64))
    answer = edgekit_main(*["verify", "delay.edge", "--reference", "delay.nir", "--dt", "1e-3", "--data", "marked.npz"])
    refused(answer, "declares no decision over a window", "without labels")
