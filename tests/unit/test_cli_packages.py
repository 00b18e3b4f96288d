"""Packages that are installed but broken, as the command line meets them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from converted import ROOT, Answer, artifact, edgekit_command

from edgekit.cli.packages import explain_import

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
