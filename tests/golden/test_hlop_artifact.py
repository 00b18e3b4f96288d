"""HLOP files of the golden folder, and others drawn here, through the entries of an artifact."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hlop_files import write_ottt, write_subspace

from tools import golden
from tools.golden_hlop import REFERENCE, TOLERANCE, check_artifact, check_file

ROOT = Path(__file__).parents[2]
SWEEPS = "EDGEKIT_SWEEPS" in os.environ
LAYER = {
    "H_init_task2",
    "H_iter_batch0",
    "H_task1_after_batch",
    "H_task2_after_batch",
    "H_final",
    "X_task2_orth_to_task1",
    "lin_gW_projected",
    "lin_gx",
    "lin_out",
    "xhat_iter_batch0_first",
    "y_iter_batch0",
}
"""What a file of lateral neurons expects; with momentum there are two more."""

WITHOUT_TORCH = """
import json, sys
from pathlib import Path
sys.modules["torch"] = None
from tools.golden_hlop import check_file
found = list(check_file(Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])))
assert sys.modules["torch"] is None
print(json.dumps(found))
"""


def without_torch(path: Path, targets: list[str], folder: Path) -> dict[str, dict[str, float]]:
    """The errors by engine, found by a Python in which importing torch fails."""
    words = [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, str(path), json.dumps(targets), str(folder)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def wrong(errors: dict[str, float]) -> dict[str, float]:
    return {name: error for name, error in errors.items() if not error <= TOLERANCE}


@pytest.mark.drawn(2)
@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "nomomentum", "spiking", *(["200"] if SWEEPS else [])])
def test_lateral_neurons(shared: Path, tmp_path: Path, name: str) -> None:
    path = shared / "golden" / f"hlop_subspace_{name}.npz"
    board = ["raspberrypi4"] if name == "small" or SWEEPS else []
    found = without_torch(path, ["host", *board], tmp_path)
    momenta = {"M_task1_after_batch", "M_task2_after_batch"} if name != "nomomentum" else set()
    assert [engine.split()[0] for engine in found] == ["reference", "native", *["emulated"] * len(board)]
    for errors in found.values():
        assert set(errors) == LAYER | momenta
        assert not wrong(errors)


def test_ottt_neurons(shared: Path, tmp_path: Path) -> None:
    found = without_torch(shared / "golden" / "hlop_ottt_lif.npz", ["host", "raspberrypi4"], tmp_path)
    assert len(found) == 3
    assert all(set(errors) == {"spikes", "v_after_reset", "trace"} for errors in found.values())
    assert not any(wrong(errors) for errors in found.values())


DRAWN: list[dict[str, Any]] = [
    {"size": 7, "rows": (1, 1), "batch": 1},
    {"size": 13, "rows": (3, 9), "batch": 5, "momentum": None, "iterations": 1, "rate": 0.1},
    {"size": 33, "rows": (5, 4), "batch": 3, "steps": 1000.0, "momentum": None, "iterations": 3},
    {"size": 6, "rows": (8, 3), "batch": 4, "momentum": 0.5, "steps": 40.0},
    {"size": 9, "rows": (4, 4), "batch": 2, "momentum": 0.0, "outputs": 1},
]


@pytest.mark.drawn(4)
@pytest.mark.slow
@pytest.mark.parametrize("seed", range(len(DRAWN)))
def test_drawn_lateral_neurons(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "drawn.npz"
    write_subspace(path, seed=seed, **DRAWN[seed])
    for target in (REFERENCE, "host"):
        _, errors = check_artifact(path, target, tmp_path)
        assert len(errors) == len(LAYER) + (0 if DRAWN[seed].get("momentum", 0.9) is None else 2)
        assert not wrong(errors)


@pytest.mark.parametrize(("shape", "tau", "threshold"), [((60, 1, 7), 3.7, 0.8), ((1, 3, 1), 1.0, 1.0)])
def test_drawn_ottt_neurons(tmp_path: Path, shape: tuple[int, int, int], tau: float, threshold: float) -> None:
    path = tmp_path / "drawn.npz"
    write_ottt(path, seed=1, shape=shape, tau=tau, threshold=threshold)
    for target in (REFERENCE, "host"):
        assert not wrong(check_artifact(path, target, tmp_path)[1])


CHANGED = [("H_iter_batch0", 1e-5), ("M_task2_after_batch", 1e-5), ("X_task2_orth_to_task1", 1e-5), ("lin_gx", np.nan)]


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("array", "by"), CHANGED)
def test_a_changed_expectation_is_noticed(tmp_path: Path, array: str, by: float) -> None:
    path = tmp_path / "drawn.npz"
    write_subspace(path, seed=5, size=9, rows=(2, 3), batch=2)
    with np.load(path) as z:
        arrays = {name: z[name] for name in z.files}
    arrays[array].flat[arrays[array].size // 2] += by
    np.savez(path, **arrays)
    assert set(wrong(check_artifact(path, REFERENCE, tmp_path)[1])) == {array}


def test_a_changed_spike_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "drawn.npz"
    write_ottt(path, seed=1, shape=(4, 2, 3))
    with np.load(path) as z:
        arrays = {name: z[name] for name in z.files}
    arrays["spikes"][2, 1, 1] = 1 - arrays["spikes"][2, 1, 1]
    np.savez(path, **arrays)
    assert wrong(check_artifact(path, REFERENCE, tmp_path)[1]) == {"spikes": 1.0}


def test_the_tool_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "drawn.npz"
    write_ottt(path, seed=1, shape=(4, 2, 3))
    monkeypatch.setattr(sys, "argv", ["golden", str(path), "--target", "host"])
    assert golden.main() == 0
    assert capsys.readouterr().out.count("every spike equal") == 2  # the reference and the host
    with np.load(path) as z:
        arrays = {name: z[name] for name in z.files}
    np.savez(path, **{**arrays, "trace": arrays["trace"] + 1})
    assert golden.main() == 1
    assert capsys.readouterr().out.count("WRONG") == 2


def test_training_steps_are_for_torch(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared / "golden" / "hlop_dsr_lif.npz"
    pytest.importorskip("torch")
    ((engine, errors),) = check_file(path, ["host"], tmp_path)
    assert engine == "edgekit.learn.torch"
    assert errors
    assert not wrong(errors)
    monkeypatch.setitem(sys.modules, "tools.hlop_torch", None)
    with pytest.raises(SystemExit, match="holds HLOP_DSR_LIF, which takes PyTorch"):
        list(check_file(path, ["host"], tmp_path))


def test_what_has_no_form_here_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "drawn.npz"
    write_ottt(path, seed=1, shape=(4, 2, 3))
    with np.load(path) as z:
        arrays = {name: z[name] for name in z.files}
    meta = json.loads(str(arrays["meta"]))
    np.savez(path, **{**arrays, "meta": json.dumps({**meta, "v_reset": 0.0})})
    with pytest.raises(SystemExit, match="reset by subtraction"):
        check_artifact(path, REFERENCE, tmp_path)
    np.savez(path, **{**arrays, "meta": json.dumps({**meta, "kind": "HLOP_CL_reduced"})})
    with pytest.raises(SystemExit, match="holds HLOP_CL_reduced, not one of HLOP_subspace"):
        list(check_file(path, ["host"], tmp_path))
