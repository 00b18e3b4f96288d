"""The seven-class HAR models from .edge, .onnx and .tflite: equal predictions on real test windows."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
for package in ("onnx", "onnxruntime", "ai_edge_litert"):
    pytest.importorskip(package)
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edgekit.errors import DataError  # noqa: E402
from examples.har.recipes import RECIPES  # noqa: E402
from tools.exports_har import PROGRAMS, compare_model  # noqa: E402


def check(family: str, split: str, windows: int, folder: Path) -> None:
    rows = compare_model(family, split, windows, folder)
    assert [row.program for row in rows] == list(PROGRAMS)
    for row in rows:
        assert row.windows == windows
        assert row.like_pytorch == row.like_edge == windows, row
        assert row.worst_error < 1e-3, row
    assert len({row.correct for row in rows}) == 1
    engines = {row.program: row.engine.split()[0] for row in rows}
    assert (engines["onnx"], engines["tflite"]) == ("onnxruntime", "ai-edge-litert")


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("family", RECIPES)
def test_real_windows_are_decided_alike(family: str, shared: Path, tmp_path: Path) -> None:
    assert shared.is_dir()
    check(family, "B", 200, tmp_path)


@pytest.mark.parametrize("family", ["mlp", "l2mu"])
def test_synthetic_windows_are_decided_alike(family: str, tmp_path: Path) -> None:
    check(family, "synthetic", 20, tmp_path)


def test_without_data_the_command_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tools import exports_har

    def missing(*_: object) -> None:
        raise DataError("data", "no such file")

    monkeypatch.setattr(exports_har, "load_windows", missing)
    assert exports_har.main(["--split", "B"]) == 2
    assert "no such file" in capsys.readouterr().err
