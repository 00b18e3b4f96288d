"""`edgekit search` and `convert --max-drop` as processes: interrupted, killed, gone on with; promises kept and not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgekit.artifact import Artifact
from edgekit.cli.app import app
from edgekit.cli.search_work import workers
from edgekit.errors import EdgekitError, UsageError
from edgekit.search.space import MEASURES

EDGEKIT = str(Path(sys.executable).with_name("edgekit"))
WAIT_S = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one hidden layer, and windows with labels of which it knows nine in ten."""
    torch = pytest.importorskip("torch")
    from edgekit.models import save
    from edgekit.models.mlp import MLP

    made = tmp_path_factory.mktemp("search")
    torch.manual_seed(1)
    model = MLP(sizes=[8, 12, 3]).eval()
    save(model, made / "net.pt")
    rng = np.random.default_rng(1)
    for name, count in (("train", 200), ("valid", 120), ("test", 80)):
        x = rng.normal(size=(count, 8)).astype(np.float32)
        y = model(torch.from_numpy(x)).argmax(1).numpy()
        np.savez(made / f"{name}.npz", x=x, y=np.where(rng.random(count) < 0.1, 0, y))
    np.save(made / "unlabelled.npy", x)
    return made


def command(folder: Path, *more: str, verb: str = "search") -> list[str]:
    windows = ("--calib", "train.npz", "--valid", "valid.npz", "--eval", "test.npz")
    return [EDGEKIT, verb, "net.pt", "--target", "smartwatch", *windows, "--json", *more]


def run(folder: Path, *more: str, verb: str = "search") -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        command(folder, *more, verb=verb), cwd=folder, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    return done.returncode, json.loads(done.stdout), done.stderr


def interrupted(folder: Path, after: int, how: int, *more: str) -> tuple[int, str]:
    """Exit code and errors of a search that a signal ends once its storage holds so many results."""
    process = subprocess.Popen(
        command(folder, *more), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    storage, started = folder / "killed.search", time.monotonic()
    while not storage.exists() or storage.read_bytes().count(b'"result"') < after:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < started + WAIT_S
        time.sleep(0.02)
    workers = children(process.pid)
    os.kill(process.pid, how)
    said = process.communicate(timeout=WAIT_S)[1]
    while any(map(is_running, workers)):
        assert time.monotonic() < started + WAIT_S, "workers outlive the search"
        time.sleep(0.02)
    return process.returncode, said


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(line) for line in found.stdout.split()]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.drawn(4)
def test_a_search_that_is_killed_goes_on_and_ends_as_one_that_was_not(folder: Path) -> None:
    asked = ("--max-drop", "5", "--trials", "8", "--vary", "weights *0*", "--jobs", "2")
    mine = (*asked, "-o", "killed.edge")
    code, said = interrupted(folder, 3, signal.SIGINT, *mine)
    assert code == 130
    assert "trials are kept in killed.search: the same command goes on from there" in said
    assert "Traceback" not in said
    code, _ = interrupted(folder, 7, signal.SIGKILL, *mine)  # Python tells of semaphores that it clears up
    assert code == -signal.SIGKILL
    code, ended, _ = run(folder, *mine, "--html", "killed.html")
    assert code == 0
    assert ended["search"]["fresh"] < ended["search"]["trials"] + len(ended["sensitivity"]["changes"])
    other = (*asked[:-1], "1", "-o", "whole.edge")
    code, whole, _ = run(folder, *other)
    assert code == 0
    for key in ("trials", "frontier", "chosen", "sensitivity", "evaluation"):
        assert ended[key] == whole[key]
    assert (folder / "killed.edge").read_bytes() == (folder / "whole.edge").read_bytes()
    manifest = Artifact.open(folder / "killed.edge").manifest
    assert manifest["graph_sha256"] == whole["chosen"]["program"]
    assert manifest["compression"]["recipe"] == whole["chosen"]["recipe"]
    plain = ("--target", "smartwatch", "--calib", "train.npz", "--valid", "valid.npz")
    again = [EDGEKIT, "search", "net.pt", *plain, "--replay", "killed.edge", "-o", "again.edge"]
    assert subprocess.run(again, cwd=folder, capture_output=True, timeout=WAIT_S, check=False).returncode == 0
    assert (folder / "again.edge").read_bytes() == (folder / "killed.edge").read_bytes()
    page = unescape((folder / "killed.html").read_text())
    assert "default-src 'none'" in page
    assert whole["chosen"]["words"] in page


@pytest.mark.drawn(2)
def test_a_promise_that_nothing_keeps_is_answered_with_no(folder: Path) -> None:
    few = ("--max-drop", "5", "--max-weights", "60B")
    code, answer, said = run(folder, *few, "--trials", "2", "--vary", "units *", "-o", "no.edge")
    assert (code, answer["kept"], answer["chosen"]) == (1, False, None)
    assert "weights: the least that loses no more than 5 points is" in answer["reasons"][0]
    assert answer["closest"][0]["excess"]["weights"] > 0
    assert not (folder / "no.edge").exists()
    assert not said


@pytest.mark.drawn(3)
def test_the_sensitivity_of_each_thing_is_told(folder: Path) -> None:
    told = (EDGEKIT, "search", "net.pt", "--target", "smartwatch", "--calib", "train.npz", "--valid", "valid.npz")
    asked = (*told, "--sensitivity", "--vary", "units *", "--storage", "alone.search", "--json")
    done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, timeout=WAIT_S, check=False)
    answer = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert {change["option"] for change in answer["changes"]} == {f"{n} by {by}" for n in (8, 4) for by in MEASURES}
    assert all(change["flash"] > 0 for change in answer["changes"])
    assert answer["storage"] == "alone.search"
    assert (folder / "alone.search").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--max-flash", "24kB"), "--max-drop: is missing"),
        (("--max-drop", "1", "--precision", "int8"), "--precision: does not go with --max-drop"),
        (("--max-drop", "1", "--calib", "synthetic"), "--max-drop: needs windows"),
        (("--max-drop", "1", "--min-agreement", "0"), "--min-agreement: does not go with --max-drop"),
        (("--max-drop", "1", "--sequence"), "--sequence: does not go with --max-drop"),
        (("--max-drop", "1", "--tflite-states", "resource"), "--tflite-states: does not go with --max-drop"),
    ],
)
def test_a_conversion_with_a_promise_refuses_what_the_search_decides(
    folder: Path, more: tuple[str, ...], said: str
) -> None:
    code, answer, _ = run(folder, *more, verb="convert")
    assert code == 2
    assert answer["error"].startswith(said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            ("--sensitivity", "--trials", "5"),
            "--sensitivity: writes no artifact and knows no limits: not with --trials",
        ),
        (("--sensitivity", "--seed", "5"), "--sensitivity: writes no artifact and knows no limits: not with --seed"),
        (
            ("--sensitivity", "--margin", "2"),
            "--sensitivity: writes no artifact and knows no limits: not with --margin",
        ),
    ],
)
def test_an_option_that_would_not_be_read_is_refused(folder: Path, more: tuple[str, ...], said: str) -> None:
    told = (EDGEKIT, "search", "net.pt", "--calib", "train.npz", "--json", *more)
    done = subprocess.run(told, cwd=folder, capture_output=True, text=True, timeout=WAIT_S, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"].startswith(said)


def test_a_limit_of_instructions_that_nothing_counts_is_refused(folder: Path) -> None:
    code, answer, _ = run(
        folder, "--target", "host", "--max-drop", "1", "--max-instructions", "5", "-o", "counted.edge"
    )
    assert code == 2
    assert answer["error"].startswith("--max-instructions: nothing counts the instructions of host")
    assert not (folder / "counted.edge").exists()


def in_process(folder: Path, monkeypatch: pytest.MonkeyPatch, verb: str, *more: str) -> object:
    monkeypatch.chdir(folder)
    return app([verb, "net.pt", "--target", "smartwatch", "--quiet", *more], standalone_mode=False)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("-o net.pt", "net.pt: is what is to be read"),
        ("-o test.npz", "test.npz: is what is to be read"),
        ("--html ./train.npz", "train.npz: is what is to be read"),
        ("--storage valid.npz", "valid.npz: is what is to be read"),
        ("-o found.search", "found.search: would hold both the artifact and the trials"),
        ("--html x.edge -o x.edge", "x.edge: would hold both the artifact and the page"),
        ("--html ../search0/x.search -o x.edge", "x.search: would hold both the trials and the page"),
        ("-o .", ".: is a folder"),
        ("--storage notes.json", "notes.json: is not the storage of a search"),
        ("--max-instructions nan", "--max-instructions nan: is no number"),
        ("--margin inf", "--margin inf: is no number"),
        ("--minutes inf", "--minutes inf: is no time"),
        ("--seed 2147483648", "--seed 2147483648: is no seed"),
        ("--calib-method minmax", "calibration method 'minmax': is not known"),
        ("--tune 1 --valid unlabelled.npy", "unlabelled.npy: has no labels to train with"),
        ("--tune 1 --calib unlabelled.npy", "unlabelled.npy: has no labels to train with"),
        ("--replay x.edge --jobs 2", "--replay: does not search"),
    ],
)
def test_no_file_is_touched_where_an_option_is_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, more: str, said: str
) -> None:
    (folder / "notes.json").write_text(json.dumps({"hidden": 12}))
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    windows = ("--calib", "train.npz", "--valid", "valid.npz", "--eval", "test.npz")
    more = more.replace("../search0", f"../{folder.name}")
    with pytest.raises(EdgekitError) as refused:
        in_process(folder, monkeypatch, "search", *windows, "--max-drop", "1", *more.split())
    assert said in str(refused.value).splitlines()[0]
    left = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert {name: left[name] for name in before} == before
    assert not left.keys() - before.keys() - {"net.smartwatch.search", "x.search"}


@pytest.mark.parametrize("option", ["--calib", "--valid", "--eval"])
def test_a_conversion_does_not_replace_its_windows(folder: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    (folder / "windows.edge").write_bytes((folder / "train.npz").read_bytes())
    asked = ("--calib", "train.npz", "--max-drop", "1", option, "windows.edge", "-o", "windows.edge")
    with pytest.raises(UsageError, match="is what is to be read"):
        in_process(folder, monkeypatch, "convert", *asked)
    assert (folder / "windows.edge").read_bytes() == (folder / "train.npz").read_bytes()


def test_what_is_made_again_otherwise_is_not_written_and_why_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "recipe.toml").write_text('schema_version = 1\nprecision = "int4"\n')
    calibrated = ("--calib", "train.npz", "--calib-method", "mse")
    in_process(folder, monkeypatch, "convert", "--recipe", "recipe.toml", *calibrated, "-o", "mse.edge")
    again = ("--calib", "train.npz", "--valid", "valid.npz", "--replay", "mse.edge", "-o", "other.edge", "--json")
    assert in_process(folder, monkeypatch, "search", *again) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["same"], answer["artifact"]) == (False, None)
    assert answer["reasons"] == ["another --calib-method: mse before, min-max now"]
    assert not (folder / "other.edge").exists()


@pytest.mark.parametrize(("jobs", "count"), [(None, None), (1, 1), (3, 3)])
def test_a_number_of_jobs_counts_on_a_cluster_too(
    monkeypatch: pytest.MonkeyPatch, jobs: int | None, count: int | None
) -> None:
    made: list[object] = []

    def pool(_: object, *given: object) -> SimpleNamespace:
        made.extend(given)
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr("edgekit.search.ray_pool.RayPool", pool)
    asked = SimpleNamespace(jobs=jobs, ray="local")
    with workers(None, asked, lambda *_: None):  # type: ignore[arg-type]
        assert made == ["local", count]
