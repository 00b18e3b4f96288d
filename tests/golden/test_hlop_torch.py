"""Every HLOP file of the golden folder against `edgekit.learn.torch`, by the check that also reads unseen ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tools.hlop_torch import TOLERANCE, check_hlop, golden_files

COUNTS = {"subspace": 4, "dsr": 1, "ottt": 1, "mlp": 1}


def test_every_file_is_met(shared: Path) -> None:
    files = golden_files(shared / "golden")
    assert {kind: sum(path.stem.startswith(f"hlop_{kind}") for path in files) for kind in COUNTS} == COUNTS
    for path in files:
        errors = check_hlop(path)
        wrong = {name: error for name, error in errors.items() if not error <= TOLERANCE}
        assert not wrong, path
        assert len(errors) >= 3


@pytest.mark.parametrize(
    ("file", "array"),
    [
        ("hlop_dsr_lif.npz", "gI"),
        ("hlop_dsr_lif.npz", "spikes_scaled"),
        ("hlop_ottt_lif.npz", "trace"),
        ("hlop_subspace_small.npz", "M_task2_after_batch"),
        ("hlop_subspace_spiking.npz", "H_task1_after_batch"),
        ("hlop_subspace_200.npz", "lin_gW_projected"),
        ("hlop_mlp_train_steps.npz", "t1s1.grad.fc2.weight"),
        ("hlop_mlp_train_steps.npz", "t1s0.hlop.2"),
        ("hlop_mlp_train_steps.npz", "final.fc1.weight"),
    ],
)
def test_a_changed_expectation_is_noticed(shared: Path, tmp_path: Path, file: str, array: str) -> None:
    with np.load(shared / "golden" / file) as z:
        arrays = {name: z[name] for name in z.files}
    changed = arrays[array].copy()
    changed.flat[changed.size // 2] += 1e-5
    np.savez(tmp_path / file, **{**arrays, array: changed})
    errors = check_hlop(tmp_path / file)
    assert sum(not error <= TOLERANCE for error in errors.values()) == 1


def test_another_kind_of_file_is_refused(shared: Path) -> None:
    with pytest.raises(SystemExit, match="holds HLOP_CL_reduced, not one of HLOP_subspace"):
        check_hlop(shared / "golden" / "hlop_reduced_cl_digits.npz")
