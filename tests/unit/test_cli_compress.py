"""`edgekit compress` on the command line: what it writes, that it can be made again, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tuned_models import CONFIGS, imported, windows

import edgekit
from edgekit import models
from edgekit.cli.app import run_command_line

RECIPE = """
schema_version = 1
precision = "int4"

[[units]]
match = "network.0"
keep = 0.5
by = "taylor"

[[weights]]
match = "*"
bits = 4

[tuning]
epochs = 3
rate = 2e-2
batch = 32
seed = 7
"""
EDGEKIT = str(Path(sys.executable).with_name("edgekit"))
DATA = ("--train", "train.npz", "--valid", "valid.npz")


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, a recipe and windows."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    model = models.build("mlp", CONFIGS["mlp"]).eval()
    model.io = imported("mlp").io
    edgekit.save(model, "mlp.pt")
    Path("r.toml").write_text(RECIPE)
    for name, count, seed in (("train", 96, 1), ("valid", 48, 2), ("test", 48, 3)):
        made = windows(count, seed)
        np.savez(f"{name}.npz", x=made.x, y=made.y)
    Path("turn.py").write_text("def flip(x, generator):\n    return x\ndef wrong(x, generator):\n    return x[:, :2]\n")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edgekit", *arguments])
    return run_command_line()


@pytest.mark.slow
def test_what_it_writes_is_small_verified_and_made_again_from_its_manifest(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (*DATA, "--eval", "test.npz", "--target", "smartwatch-m4", "--augment", "turn:flip")
    assert run(monkeypatch, "compress", "mlp.pt", "--recipe", "r.toml", *options, "-o", "a.edge", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["compressed"]["weights"] < answer["int8"]["weights"]
    assert answer["compressed"]["core"] == "cortex-m4"
    assert answer["compressed"]["instructions"] > 0
    assert answer["compressed"]["test"] > answer["float"]["test"]
    told = answer["compression"]
    assert told["dropped"]["network.0"]
    assert told["recipe"]["tuning"]["seed"] == 7
    assert len(told["training"]["epochs"]) == 3
    assert told["training"]["augmentation"] == "turn:flip"
    assert not (folder / "a.tuning").exists()
    assert run(monkeypatch, "compress", "mlp.pt", "--recipe", "a.edge", *options, "-o", "b.edge", "-q") == 0
    assert (folder / "a.edge").read_bytes() == (folder / "b.edge").read_bytes()
    assert (folder / "a.pt").read_bytes() == (folder / "b.pt").read_bytes()
    for original in ("a.pt", "mlp.pt"):  # the tuned model, and the one that units were taken out of
        verify = ("verify", "a.edge", "--reference", original, "--data", "test.npz", "--on", "emulator", "--json")
        code = run(monkeypatch, *verify)
        found = json.loads(capsys.readouterr().out)
        assert found["accuracy_after"] * 100 == pytest.approx(answer["compressed"]["test"])
        assert code == 0 or original == "mlp.pt"


def test_what_it_cannot_do_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder
    plain = np.load("valid.npz")["x"]
    np.savez("nolabels.npz", x=plain)
    np.savez("nan.npz", x=np.where(plain == plain.max(), np.nan, plain), y=np.zeros(len(plain), int))
    np.savez("classes.npz", x=plain, y=np.full(len(plain), 5))
    Path("none.toml").write_text('schema_version = 1\nprecision = "int8"\n')
    Path("nothing.toml").write_text(RECIPE.replace("network.0", "hidden*"))
    base = ("compress", "mlp.pt", "--recipe", "r.toml")
    for arguments, says in (
        (("compress", "mlp.pt"), "--recipe, --train, --valid: are missing"),
        ((*base, "--train", "train.npz", "--valid", "nolabels.npz"), "has no labels"),
        ((*base, "--train", "train.npz", "--valid", "classes.npz"), "labels"),
        ((*base, "--train", "nan.npz", "--valid", "valid.npz"), "nan.npz: holds NaN or Inf"),
        ((*base, "--train", "train.npz", "--valid", "nan.npz"), "nan.npz: holds NaN or Inf"),
        ((*base, *DATA, "--target", "nowhere"), "target 'nowhere': is not known"),
        ((*base, *DATA, "--compiler", "tcc"), "tcc"),
        ((*base, *DATA, "--resume"), "no interrupted run"),
        ((*base, *DATA, "-o", "out.bin"), "is not the name of an .edge file"),
        ((*base, *DATA, "-o", "mlp.edge"), "is what is to be read"),
        ((*base, *DATA, "--augment", "turn:wrong"), "returned"),
        ((*base, *DATA, "--augment", "turn:absent"), "failed"),
        ((*base, *DATA, "--augment", "turn"), "is not of the form"),
        (
            ("compress", "mlp.pt", "--recipe", "none.toml", *DATA, "--teacher", "mlp.pt"),
            "--teacher: is for training, and",
        ),
        (("compress", "mlp.pt", "--recipe", "none.toml", *DATA, "--seed", "3"), "--seed: is for training, and"),
        (("compress", "mlp.pt", "--recipe", "nothing.toml", *DATA), "fits none of the groups of units"),
    ):
        assert run(monkeypatch, *arguments) == 2, arguments
        error = capsys.readouterr().err
        assert says in error.splitlines()[0], error
        assert "Traceback" not in error
    assert not list(folder.glob("*.edge"))
    assert not list(folder.glob("*.tuning"))  # nothing was trained before it was refused


def test_a_disk_that_is_full_is_told_and_nothing_is_left(folder: Path) -> None:
    arguments = ("mlp.pt", "--recipe", "r.toml", *DATA, "-o", "full.edge")
    small = ("bash", "-c", 'ulimit -f 2; exec "$0" compress "$@"', EDGEKIT, *arguments)  # no file above 2 KiB
    done = subprocess.run(small, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("File too large; make some room")
    assert not list(folder.glob("full.*"))


def test_help_needs_no_torch() -> None:
    code = "import sys; sys.modules['torch'] = None; from edgekit.cli.app import app; app(['compress', '-h'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--resume" in done.stdout
