"""Packages that are installed but broken, as the command line meets them."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest
from converted import ROOT, Answer, artifact, edgekit_command

from edgekit.cli.packages import explain_import

check = importlib.import_module("edgekit.toolchain.doctor")  # the package has a function of that name
LOADER = 'ImportError("libtorch_cpu.so: cannot open shared object file")'


def with_broken(package: str, fault: str, folder: Path, *arguments: object) -> Answer:
    """What the command line says where importing this package raises this."""
    place = folder / "site" / package
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(f"raise {fault}\n")
    return edgekit_command(*arguments, env={"PYTHONPATH": f"{folder / 'site'}{os.pathsep}{ROOT}"}, cwd=folder)


def refused(answer: Answer, *said: str) -> None:
    assert answer.returncode == 2, answer
    lines = answer.stderr.splitlines()
    assert len(lines) == 1, answer.stderr
    for text in ("error: ", *said):
        assert text in lines[0], answer.stderr


@pytest.mark.drawn(2)
@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".pth", ".safetensors"])
def test_a_broken_torch_is_one_line(suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"net{suffix}").write_bytes(bytes(64))
    answer = with_broken("torch", LOADER, tmp_path, "convert", f"net{suffix}")
    refused(answer, "torch: is installed but cannot be imported (libtorch_cpu.so", "--force-reinstall", "[convert]")


@pytest.mark.parametrize(
    "fault", ['ImportError("numpy.core.multiarray failed to import")', 'ModuleNotFoundError("No _x", name="numpy._x")']
)
@pytest.mark.parametrize("package", ["numpy", "safetensors"])
def test_a_broken_package_that_everything_needs_is_one_line(package: str, fault: str, tmp_path: Path) -> None:
    artifact("mlp").save(tmp_path / "net.edge")
    answer = with_broken(package, fault, tmp_path, "run", "net.edge", "-i", "x.npy")
    refused(answer, f"{package}: is installed but cannot be imported", f"pip install --force-reinstall {package}")


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("package", "suffix"), [("onnx", ".onnx"), ("nir", ".nir"), ("h5py", ".nir")])
def test_a_broken_reader_of_files_is_one_line(package: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / f"net{suffix}").write_bytes(bytes(64))
    answer = with_broken(package, 'OSError("lib.so: wrong ELF class")', tmp_path, "convert", f"net{suffix}")
    assert "Traceback" not in answer.stderr
    assert answer.returncode == 2


def test_faults_that_no_package_makes_are_not_explained() -> None:
    assert explain_import(ImportError("cannot import name 'x' from 'edgekit'", name="edgekit")) is None
    assert explain_import(OSError(2, "No such file")) is None
    assert explain_import(ValueError("torch")) is None


def test_doctor_imports_what_it_calls_ok(tmp_path: Path) -> None:
    answer = with_broken("torch", LOADER, tmp_path, "doctor", "--json")
    rows = {row["tool"]: row for row in json.loads(answer.stdout)["tools"]}
    assert {"torch", "snntorch", "norse", "nir", "h5py", "onnx", "onnxruntime", "ai_edge_litert"} <= set(rows)
    assert not rows["torch"]["ok"]
    assert "installed, does not import (ImportError: libtorch_cpu.so" in rows["torch"]["remedy"]
    assert 'pip install --force-reinstall "edgekit[convert]"' in rows["torch"]["remedy"]
    assert not rows["snntorch"]["ok"]  # which needs torch
    for name in ("onnx", "h5py", "unicorn", "zig"):
        assert rows[name]["ok"] == (rows[name]["remedy"] == "")


def test_doctor_waits_for_no_import_that_never_ends(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text("import time; time.sleep(60)")
    (tmp_path / "crash.py").write_text("import os; os._exit(3)")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(check, "PACKAGES", {"endless": ("endless", "convert"), "crash": ("crash", "convert")})
    monkeypatch.setattr(check, "IMPORT_SECONDS", 1)
    endless, crash = (check._package(name) for name in check.PACKAGES)
    assert (endless.ok, crash.ok) == (False, False)
    assert "does not import (not within 1 s)" in endless.remedy
    assert "does not import (Python ended with 3)" in crash.remedy


def test_doctor_says_which_package_is_broken() -> None:
    from edgekit.cli.doctor import _state

    found = [check.Tool("a", "1", "/a", True, ""), check.Tool("b", "1", "/b", False, "x")]
    assert [*map(_state, found), _state(check.Tool("c", None, None, False, "x"))] == ["ok", "broken", "missing"]
