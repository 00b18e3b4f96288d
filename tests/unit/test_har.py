"""The HAR example: windows, splits, training, and that every shipped checkpoint does what its card says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edgekit import models  # noqa: E402
from edgekit.demo.har import data, synthetic, wisdm  # noqa: E402
from edgekit.demo.har.windows import CHANNELS, WINDOW, Split, Windows, successors  # noqa: E402
from edgekit.errors import DataError, UsageError  # noqa: E402
from examples.har import batches, demo, export, train  # noqa: E402
from examples.har.classifier import Classifier, accuracy  # noqa: E402
from examples.har.recipes import RECIPES  # noqa: E402
from examples.har.training import Training  # noqa: E402

CHECKPOINTS = REPOSITORY / "examples" / "har" / "checkpoints"
MAX_CHECKPOINT_BYTES = 400_000
REQUIRED = {"mlp": 83, "l2mu": 83, "lmu": 82, "elm": 87}
"""Least test accuracy on split B, in per cent."""
STEP_NS = 50_000_000


def small_windows() -> Windows:
    return synthetic.generate(seed=5, subjects=10, windows_per_class=4)


def write_publisher_folder(folder: Path, gap_after: int, rows: int) -> np.ndarray[Any, Any]:
    """Subject 1600 typing (F), accelerometer and gyroscope, with a gap, a burst and an activity nobody asked for."""
    values = np.random.default_rng(0).normal(size=(rows, 6)).round(4)
    times = np.arange(rows, dtype=np.int64) * STEP_NS + (np.arange(rows) >= gap_after) * 10 * STEP_NS
    for sensor, columns in (("accel", values[:, :3]), ("gyro", values[:, 3:])):
        lines = []
        for time, row in zip(times, columns, strict=True):
            lines.append(f"1600,F,{time}," + ",".join(map(str, row)) + ";")
            lines.append(f"1600,F,{time + 10_000_000},9,9,9;")  # 100 Hz burst: too close to keep
            lines.append(f"1600,A,{time},8,8,8;")
        if sensor == "gyro":
            lines = [line for line in lines if f",{times[-1]}," not in line]  # one timestamp without its partner
        path = folder / "raw" / "watch" / sensor / f"data_1600_{sensor}_watch.txt"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines) + "\n")
    return values


def test_publisher_folder_is_joined_thinned_cut_and_windowed(tmp_path: Path) -> None:
    values = write_publisher_folder(tmp_path, gap_after=2 * WINDOW + 7, rows=4 * WINDOW)
    windows = wisdm.load(tmp_path)
    starts = [0, WINDOW, 2 * WINDOW + 7]
    np.testing.assert_allclose(windows.x, [values[start : start + WINDOW] for start in starts], atol=1e-6)
    assert windows.recording.tolist() == [0, 0, 1]
    assert windows.position.tolist() == [0, 1, 0]
    assert {windows.class_names[label] for label in windows.y} == {"typing"}
    assert set(windows.subject) == {1600}


def test_broken_data_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such"):
        wisdm.load(tmp_path / "absent")
    with pytest.raises(DataError, match="raw/watch"):
        wisdm.load(tmp_path)
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="missing: scale"):
        wisdm.load(tmp_path / "x.npz")
    whole = (tmp_path / "x.npz").read_bytes()
    for damaged in (b"", b"neither", whole[:-30], whole[:60] + bytes(20) + whole[80:]):
        (tmp_path / "x.npz").write_bytes(damaged)
        with pytest.raises(DataError):
            wisdm.load(tmp_path / "x.npz")
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"no \.npz file of plain arrays"):
        wisdm.load(tmp_path / "x.npy")
    write_publisher_folder(tmp_path / "short", gap_after=3, rows=5)
    with pytest.raises(DataError, match="no run"):
        wisdm.load(tmp_path / "short")
    file = tmp_path / "short" / "raw" / "watch" / "accel" / "data_1600_accel_watch.txt"
    file.write_text("1600,F,0,1,2;\n")
    with pytest.raises(DataError, match="line 1"):
        wisdm.load(tmp_path / "short")
    with pytest.raises(UsageError, match="synthetic"):
        data.load_windows("C")


def test_arrays_that_are_no_windows_are_all_named(tmp_path: Path) -> None:
    good = {
        **{"x": np.ones((2, WINDOW, 6), np.int16), "scale": np.ones(6, np.float32), "y": np.array([0, 1])},
        **{"subject": np.zeros(2, int), "recording": np.zeros(2, int), "window_index": np.arange(2)},
        "class_names": np.array(["sit", "stand"]),
    }
    np.savez(tmp_path / "x.npz", **good)
    assert wisdm.load(tmp_path / "x.npz").x.shape == (2, WINDOW, 6)
    bad = {"x": np.full((2, WINDOW, 6), np.nan), "y": np.array([0, 2]), "recording": np.zeros(3, int)}
    np.savez(tmp_path / "x.npz", **{**good, **bad})
    with pytest.raises(DataError, match="is not a file of windows") as caught:
        wisdm.load(tmp_path / "x.npz")
    assert [item.split(":")[0] for item in caught.value.items] == ["x", "recording", "y"]
    np.savez(tmp_path / "x.npz", **{**good, "x": np.ones((2, WINDOW * 6)), "scale": np.ones(1)})
    with pytest.raises(DataError, match="x: must be"):
        wisdm.load(tmp_path / "x.npz")


def test_splits_share_nothing() -> None:
    windows = small_windows()
    by_subject = data.split_by_subject(windows, test=(0, 1), validation=(2,))
    for split in (by_subject, data.split_random(windows)):
        sides = [split.train, split.validation, split.test]
        together = np.concatenate(sides)
        assert sorted(together) == list(range(len(windows.y)))
        assert all(len(side) for side in sides)
    subjects = [set(windows.subject[side]) for side in (by_subject.train, by_subject.validation, by_subject.test)]
    assert sum(map(len, subjects)) == len(set.union(*subjects)) == 10
    assert np.array_equal(data.split_random(windows).test, data.split_random(windows).test)
    with pytest.raises(DataError, match="split A"):
        data.split_by_subject(windows)


def test_successors_stay_within_the_given_windows() -> None:
    windows = small_windows()
    chosen = np.array([0, 1, 3, 4])  # one recording is windows 0..3
    assert successors(windows, chosen).tolist() == [1, 1, 3, 4]


def test_synthetic_windows_are_deterministic_and_say_what_they_are() -> None:
    windows, again, other = (
        small_windows(),
        small_windows(),
        synthetic.generate(seed=6, subjects=2, windows_per_class=1),
    )
    assert np.array_equal(windows.x, again.x)
    assert not np.array_equal(windows.x[: len(other.x)], other.x)
    assert windows.x.shape == (10 * 7 * 4, WINDOW, len(CHANNELS))
    assert np.isfinite(windows.x).all()
    assert "synthetic" in windows.source
    assert all("synthetic" in name for name in windows.class_names)


def test_rotation_turns_both_sensors_alike_and_keeps_lengths() -> None:
    x = torch.randn(5, WINDOW, 3)
    both = batches.rotate(torch.cat([x, x], dim=-1), 20.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(both[..., :3], both[..., 3:])
    torch.testing.assert_close(both[..., :3].norm(dim=-1), x.norm(dim=-1))
    cosine = torch.nn.functional.cosine_similarity(both[..., :3], x, dim=-1)
    assert 0.93 < float(cosine.min()) < 0.9999  # cos 20 deg = 0.94


@pytest.fixture
def few_windows(monkeypatch: pytest.MonkeyPatch) -> tuple[Windows, Split]:
    """Windows small enough to train on in a test; every split is these."""
    windows = synthetic.generate(subjects=9, windows_per_class=5)
    split = data.split_by_subject(windows, test=(0,), validation=(1,))
    monkeypatch.setattr(data, "load_windows", lambda name, path: (windows, split))
    return windows, split


def command(family: str, out: Path, *more: str) -> list[str]:
    return ["--family", family, "--split", "synthetic", "--epochs", "2", "--seed", "3", "--out", str(out), *more]


def interrupt_in_epoch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C in the middle of the epoch `number`, counted from 1."""
    whole = batches.Batches.epoch
    begun = [0]

    def epoch(self: batches.Batches, generator: torch.Generator) -> Iterator[Any]:
        begun[0] += 1
        for batch in whole(self, generator):
            yield batch
            if begun[0] == number:
                raise KeyboardInterrupt

    monkeypatch.setattr(batches.Batches, "epoch", epoch)


@pytest.mark.parametrize("family", RECIPES)
def test_training_writes_a_checkpoint_and_its_card(
    family: str, tmp_path: Path, few_windows: tuple[Windows, Split]
) -> None:
    windows, split = few_windows
    out = tmp_path / f"{family}.pt"
    assert train.main(command(family, out)) == 0
    card, model = json.loads(out.with_suffix(".json").read_text()), models.load(out)
    assert "synthetic" in out.with_suffix(".md").read_text()
    assert card["command"].startswith("python -m examples.har.train --family")
    assert model.family == family
    assert model.io == card["io"]
    flat = windows.x[split.train].reshape(-1, 6).astype(np.float64)
    normalised = (flat - model.io["input"]["offset"]) * model.io["input"]["scale"]
    np.testing.assert_allclose(normalised.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(normalised.std(0), 1, atol=1e-9)
    reached = accuracy(Classifier(model), windows, split.validation, "cpu")
    assert reached == pytest.approx(card["validation_accuracy_percent"])
    assert {file.name for file in tmp_path.iterdir()} == {f"{family}.pt", f"{family}.json", f"{family}.md"}


@pytest.mark.parametrize("family", RECIPES)
def test_a_restored_run_goes_on_bit_for_bit(family: str, tmp_path: Path, few_windows: tuple[Windows, Split]) -> None:
    path = tmp_path / "x.training.pt"
    run = Training(family, *few_windows, epochs=3, seed=0)
    run.run_epoch()
    run.save(path)
    expected = [run.run_epoch(), run.run_epoch()]
    restored = Training(family, *few_windows, epochs=3, seed=0)
    restored.restore(path)
    assert restored.epoch == 1
    assert [restored.run_epoch(), restored.run_epoch()] == expected  # losses and accuracies
    weights, again = (model.best_model().state_dict() for model in (run, restored))
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    other = Training(family, *few_windows, epochs=3, seed=1)
    other.run_epoch()
    assert other.run_epoch() != expected[0]


def test_ctrl_c_keeps_the_finished_epochs_and_says_how_to_go_on(
    tmp_path: Path, few_windows: tuple[Windows, Split], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    whole, broken = tmp_path / "whole.pt", tmp_path / "broken.pt"
    assert train.main(command("mlp", whole)) == 0
    with monkeypatch.context() as patch:
        interrupt_in_epoch(patch, 2)
        assert train.main(command("mlp", broken)) == train.INTERRUPTED
    assert not broken.exists()
    assert f"--out {broken} --resume" in capsys.readouterr().err
    assert train.main(command("mlp", broken, "--resume")) == 0
    assert "epoch 1/2" not in capsys.readouterr().out
    assert broken.read_bytes() == whole.read_bytes()
    assert "--resume" not in json.loads(broken.with_suffix(".json").read_text())["command"]
    assert not list(tmp_path.glob("*.training.pt"))


def test_interrupted_in_the_first_epoch_nothing_is_kept(
    tmp_path: Path, few_windows: tuple[Windows, Split], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    interrupt_in_epoch(monkeypatch, 1)
    assert train.main(command("mlp", tmp_path / "x.pt")) == train.INTERRUPTED
    assert "nothing is kept" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_state_that_does_not_fit_is_not_resumed(
    tmp_path: Path, few_windows: tuple[Windows, Split], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.training.pt"
    run = Training("mlp", *few_windows, epochs=2, seed=0)
    with pytest.raises(UsageError, match="does not exist"):
        run.restore(path)
    run.run_epoch()
    run.save(path)
    with pytest.raises(UsageError, match="other settings") as caught:
        Training("mlp", *few_windows, epochs=3, seed=1).restore(path)
    assert caught.value.items == ("epochs", "seed")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)  # sums in another order: other last bits
    with pytest.raises(UsageError, match="other settings") as caught:
        Training("mlp", *few_windows, epochs=2, seed=0).restore(path)
    assert caught.value.items == ("threads",)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UsageError, match="damaged"):
        run.restore(path)


def test_command_line_faults_exit_with_2(tmp_path: Path, capsys: Any) -> None:
    absent = str(tmp_path / "absent")
    assert train.main(["--family", "mlp", "--split", "B", "--data", absent]) == 2
    assert train.main(["--family", "mlp", "--split", "synthetic", "--data", absent]) == 2
    for option, value in (
        *(("--epochs", "0"), ("--threads", "0"), ("--seed", "-1"), ("--device", "absent")),
        *(("--out", "x.txt"), ("--out", f"{absent}/x.pt")),
    ):
        assert train.main(["--family", "mlp", "--split", "synthetic", option, value]) == 2
    assert train.main(["--family", "mlp", "--split", "synthetic", "--out", f"{absent}.pt", "--resume"]) == 2
    assert export.main(["--split", "A", "--data", absent, "-o", str(tmp_path / "x.npz")]) == 2
    assert capsys.readouterr().err.count("\n") == 10


def test_export_writes_one_side(tmp_path: Path) -> None:
    out = tmp_path / "test.npz"
    assert export.main(["--split", "synthetic", "-o", str(out)]) == 0
    windows, split = data.load_windows("synthetic")
    with np.load(out, allow_pickle=False) as z:
        np.testing.assert_array_equal(z["x"], windows.x[split.test])
        np.testing.assert_array_equal(z["y"], windows.y[split.test])
        assert set(z["subject"]) == set(range(4))


def check_card(name: str, path: Path | None) -> None:
    """The shipped checkpoint reaches the accuracies of its card, to two windows (another machine rounds otherwise)."""
    file = CHECKPOINTS / f"{name}.pt"
    assert file.stat().st_size <= MAX_CHECKPOINT_BYTES
    card, model = json.loads(file.with_suffix(".json").read_text()), models.load(file)
    windows, split = data.load_windows(card["split"], path)
    assert card["data"] == windows.source
    assert model.io == card["io"]
    assert model.io["classes"] == list(windows.class_names)
    classifier = Classifier(model)
    for side in ("validation", "test"):
        indices = getattr(split, side)
        reached = accuracy(classifier, windows, indices, "cpu")
        assert reached == pytest.approx(card[f"{side}_accuracy_percent"], abs=100 * 2 / len(indices))


@pytest.mark.parametrize("family", RECIPES)
def test_synthetic_checkpoints_do_what_their_cards_say(family: str) -> None:
    check_card(f"{family}_synthetic", None)
    assert "synthetic" in (CHECKPOINTS / f"{family}_synthetic.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("family", RECIPES)
def test_real_checkpoints_do_what_their_cards_say(family: str, shared: Path) -> None:
    check_card(f"{family}_B", shared / "data" / "wisdm_watch.npz")
    card = json.loads((CHECKPOINTS / f"{family}_B.json").read_text())
    assert card["test_accuracy_percent"] >= REQUIRED[family]
    assert "data licence unverified" in (CHECKPOINTS / f"{family}_B.md").read_text()


@pytest.mark.drawn(3)
@pytest.mark.slow
@pytest.mark.parametrize("device", demo.DEVICES)
def test_demo_emulates_every_family_in_every_precision(
    device: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("unicorn")
    monkeypatch.setattr(demo, "DEVICES", (device,))
    assert demo.main(["--split", "synthetic", "--windows", "3", "--stream", "1", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "demo.json").read_text())
    rows, stream = found["rows"], found["stream"]
    assert (stream["equal"], stream["decisions"]) == (28, 28)
    assert [model["known"] for model in stream["models"]] == [7] * 4
    expected = [(f"{family}_synthetic", device[1]) for family in RECIPES]
    assert [(row["model"], row["precision"]) for row in rows] == expected
    assert all(row["agreement"] == 1 for row in rows if row["precision"] == "fp32")
    assert all(row["instructions_per_step"] > 0 for row in rows)


def test_real_data_match_their_description(shared: Path) -> None:
    windows, split = data.load_windows("B", shared / "data" / "wisdm_watch.npz")
    assert windows.x.shape == (28_626, WINDOW, 6)
    assert windows.class_names == tuple(wisdm.CLASSES.values())
    assert len(set(windows.subject)) == 46
    assert set(windows.subject[split.test]) == set(data.TEST_SUBJECTS)
    assert set(windows.subject[split.validation]) == set(data.VALIDATION_SUBJECTS)
