"""`edgekit compress` on the command line: what it writes, that it can be made again, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tuned_models import CONFIGS, imported, windows

import edgekit
from edgekit import models
from edgekit.cli.app import run_command_line
from edgekit.errors import ToolchainError
from edgekit.target import load_target

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
    Path("turn.py").write_text(
        "def flip(x, generator):\n    return x\ndef wrong(x, generator):\n    return x[:, :2]\n"
        "def nan(x, generator):\n    return x / 0 - x / 0\n"
    )
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
        ((*base, *DATA, "--augment", "turn:nan"), "--augment turn:nan: returned NaN or Inf"),
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


OTHERS = {
    "longer": ({"sizes": [45, 24, 3]}, {"window": 15, "stride": 15}, {}),
    "channels": ({"sizes": [36, 24, 3]}, {"window": 9, "stride": 9, "offset": [0.0] * 4, "scale": [1.0] * 4}, {}),
    "more": ({"sizes": [36, 24, 4]}, {}, {"classes": ["a", "b", "c", "d"]}),
    "order": ({"sizes": [36, 24, 3]}, {}, {"classes": ["a", "c", "b"]}),
    "silent": ({"sizes": [36, 24, 3]}, {}, {"decision": None}),
}


def test_teachers_that_cannot_teach_are_refused_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is trained: other windows, other classes, the same ones in another order."""
    known = imported("mlp").io or {}
    for name, (config, given, told) in OTHERS.items():
        model = models.build("mlp", config).eval()
        io = {**known, **told, "input": {**known["input"], **given}}
        model.io = {key: value for key, value in io.items() if value is not None}
        edgekit.save(model, f"{name}.pt")
    step_by_step = models.build("lmu", CONFIGS["lmu"]).eval()
    step_by_step.io = imported("lmu").io
    edgekit.save(step_by_step, "lmu.pt")
    for side in ("train", "valid"):
        found = np.load(f"{side}.npz")
        np.savez(f"flat_{side}.npz", x=found["x"].reshape(len(found["x"]), -1), y=found["y"])
    base = ("compress", "mlp.pt", "--recipe", "r.toml", "-o", "t.edge")
    flat = ("--train", "flat_train.npz", "--valid", "flat_valid.npz")
    for teachers, files, says in (
        (("longer",), DATA, "--teacher longer.pt: does not take the training windows"),
        (("channels",), DATA, "--teacher channels.pt: does not take the training windows (have 3 channels"),
        (("lmu",), flat, "--teacher lmu.pt: does not take the training windows"),
        (("order", "more"), DATA, "--teacher order.pt: has other classes, or another order: its class 1 is 'c', the"),
        (("lmu", "more"), DATA, "--teacher more.pt: decides between 4 classes, the model between 3"),
    ):
        options = [word for name in teachers for word in ("--teacher", f"{name}.pt")]
        assert run(monkeypatch, *base, *files, *options) == 2, teachers
        (line,) = capsys.readouterr().err.splitlines()
        assert says in line
    assert not list(folder.glob("t.*"))
    Path("hard.toml").write_text(RECIPE + "hard = 1\nsoft = 0\n")
    hard = ("compress", "mlp.pt", "--recipe", "hard.toml", *DATA, "--teacher", "lmu.pt", "-o", "t.edge")
    assert run(monkeypatch, *hard) == 2
    assert "teacher: teaches nothing" in capsys.readouterr().err


def test_nothing_that_is_read_or_of_somebody_else_is_written_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("big", "other"):
        (folder / f"{name}.pt").write_bytes(Path("mlp.pt").read_bytes())
    once = ("compress", "mlp.pt", "--recipe", "r.toml", *DATA, "--epochs", "0", "-q")
    (folder / "a.tuning").write_bytes(b"of another run")
    assert run(monkeypatch, *once, "-o", "a.edge") == 0
    assert (folder / "a.tuning").read_bytes() == b"of another run"
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    train = ("compress", "mlp.pt", "--recipe", "r.toml", *DATA)
    for arguments, says in (
        ((*train, "--teacher", "big.pt", "-o", "big.edge"), "big.pt: is what is to be read"),
        (("compress", "mlp.pt", "--recipe", "a.edge", *DATA, "-o", "a.edge"), "a.edge: is what is to be read"),
        ((*train, "--teacher", "a.pt", "-o", "a.edge"), "a.pt: is what is to be read"),
        ((*train, "-o", "other.edge"), "other.pt: is a file that compress has not written"),
        ((*train, "--seed", "5000000000", "-o", "b.edge"), "tuning: seed = 5000000000 is out of range"),
        ((*train, "--seed", str(2**64), "-o", "b.edge"), "is out of range"),
    ):
        assert run(monkeypatch, *arguments) == 2, arguments
        assert says in capsys.readouterr().err.splitlines()[0]
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert run(monkeypatch, *once, "-o", "a.edge") == 0  # its own tuned model it may replace


def test_a_model_that_fits_when_it_is_compressed_needs_no_larger_target(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert folder
    small = ("compress", "mlp.pt", "--recipe", "r.toml", *DATA, "--target", "smartwatch-m4", "--epochs", "0")
    narrow = replace(load_target("smartwatch-m4"), flash_bytes=4000)
    monkeypatch.setattr("edgekit.convert.pipeline.load_target", lambda _name: narrow)
    assert run(monkeypatch, *small, "-o", "a.edge", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["compressed"]["flash"] <= 4000 < answer["int8"]["flash"]
    assert answer["int8"]["validation"] is None
    assert "available 4,000 bytes" in answer["notes"][0]
    monkeypatch.setattr("edgekit.tune.outcome.load", absent)
    assert run(monkeypatch, *small, "-o", "a.edge") == 0
    assert "instructions: unavailable: emulation: unicorn is not installed" in capsys.readouterr().out


def absent(*_arguments: object, **_options: object) -> None:
    raise ToolchainError("emulation", "unicorn is not installed", "pip install edgekit[emulate]")


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
