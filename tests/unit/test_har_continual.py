"""Lessons of wearers and gestures, and what is kept of them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edgekit.demo.har.windows import CHANNELS, WINDOW, Windows  # noqa: E402
from edgekit.errors import DataError, UsageError  # noqa: E402
from examples.har.continual_metrics import Record, mean_record  # noqa: E402
from examples.har.continual_streams import REST, gesture_lesson, in_time, load_all, user_lesson  # noqa: E402

NAN = float("nan")


def shuffled_windows() -> Windows:
    """Subjects 1 and 2, activities 0 and 1 in two recordings of six windows each, in no order; 2 never did 1."""
    rows = [
        (s, c, 10 * s + 2 * c + r, p)
        for s in (1, 2)
        for c in (0, 1)
        if (s, c) != (2, 1)
        for r in (0, 1)
        for p in range(6)
    ]
    subject, y, recording, position = np.random.default_rng(0).permutation(np.array(rows)).T
    x = np.zeros((len(y), WINDOW, len(CHANNELS)), np.float32)
    return Windows(x, y, subject, recording, position, ("sawing", "drilling"), "made up")


def write_npz(path: Path, names: tuple[str, ...], recordings: int) -> None:
    count = len(names) * recordings
    np.savez(
        path,
        x=np.ones((count, WINDOW, len(CHANNELS)), np.int16),
        scale=np.full(len(CHANNELS), 0.5, np.float32),
        y=np.repeat(np.arange(len(names)), recordings),
        subject=np.full(count, 1600),
        recording=np.arange(count),
        window_index=np.zeros(count, int),
        class_names=np.array(names),
    )


def test_both_files_are_one_set_whose_labels_and_recordings_are_apart(tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", ("typing", "writing"), 2)
    write_npz(tmp_path / REST, ("walking",), 3)
    windows = load_all(tmp_path / "hand.npz")
    assert windows.class_names == ("typing", "writing", "walking")
    assert windows.y.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert len(set(windows.recording.tolist())) == 7


def test_an_activity_that_is_in_both_files_is_refused(tmp_path: Path) -> None:
    write_npz(tmp_path / "hand.npz", ("typing", "writing"), 1)
    write_npz(tmp_path / REST, ("writing",), 1)
    with pytest.raises(DataError, match="writing"):
        load_all(tmp_path / "hand.npz")


def test_a_wearer_is_learned_from_the_start_in_turn_and_tested_after_a_gap() -> None:
    windows = shuffled_windows()
    lesson = user_lesson(windows, 1, (0, 1), take=3, gap=4)
    told = [(int(windows.y[i]), int(windows.recording[i]), int(windows.position[i])) for i in lesson.learn]
    assert told == [(0, 10, 0), (1, 12, 0), (0, 10, 1), (1, 12, 1), (0, 10, 2), (1, 12, 2)]
    rest = [(int(windows.recording[i]), int(windows.position[i])) for i in lesson.test]
    assert rest == [(r, p) for r in (11, 13) for p in range(1, 6)]


def test_an_activity_that_a_wearer_never_did_is_left_out() -> None:
    windows = shuffled_windows()
    lesson = user_lesson(windows, 2, (0, 1), take=3, gap=4)
    assert set(windows.y[lesson.learn].tolist()) == {0}
    assert len(lesson.learn) == 3


@pytest.mark.parametrize(("subject", "take"), [(3, 3), (1, 12), (1, 0)])
def test_a_lesson_without_windows_is_refused(subject: int, take: int) -> None:
    with pytest.raises(DataError, match=f"subject {subject}"):
        user_lesson(shuffled_windows(), subject, (0, 1), take=take, gap=0)


def test_a_gesture_is_told_by_windows_across_its_recordings() -> None:
    windows = shuffled_windows()
    run = in_time(windows, 1, 1)
    lesson = gesture_lesson(windows, 1, 1, at=(0, 2, 7), rest=9)
    assert lesson.learn.tolist() == run[[0, 2, 7]].tolist()
    assert lesson.test.tolist() == run[9:].tolist()


def test_a_gesture_of_too_few_windows_is_refused() -> None:
    with pytest.raises(DataError, match=r"drilling of subject 1.*12 windows, 13 are needed"):
        gesture_lesson(shuffled_windows(), 1, 1, at=(0, 2), rest=12)


def test_figures_of_a_record_are_those_of_their_definitions() -> None:
    a = np.array([[80.0, 40.0, 50.0], [70.0, 90.0, 55.0], [75.0, 84.0, 95.0]])
    record = Record(("a", "b", "c"), np.array([60.0, 50.0, 52.0]), a)
    assert record.acc == pytest.approx((75 + 84 + 95) / 3)
    assert record.bwt == pytest.approx((75 - 80 + 84 - 90) / 2)
    assert record.forgetting == pytest.approx((80 - 75 + 90 - 84) / 2)
    assert record.risen == pytest.approx((80 - 60 + 90 - 40 + 95 - 55) / 3)
    assert record.risen_since_delivery == pytest.approx((80 - 60 + 90 - 50 + 95 - 52) / 3)
    assert mean_record([record, record])["bwt"] == record.bwt


def test_classes_that_did_not_exist_yet_count_for_nothing() -> None:
    a = np.array([[80.0, NAN], [90.0, 70.0]])
    record = Record(("old", "new"), np.array([81.0, NAN]), a)
    assert record.bwt == pytest.approx(10)
    assert record.forgetting == pytest.approx(-10)
    assert record.table()[1].split() == ["delivered", "81.0", "-"]
    assert record.table()[2].split() == ["old", "80.0", "-"]


def test_one_lesson_forgets_nothing() -> None:
    record = Record(("only",), np.array([50.0]), np.array([[70.0]]))
    assert (record.bwt, record.forgetting, record.risen) == (0.0, 0.0, 20.0)


@pytest.mark.parametrize("a", [np.zeros((2, 3)), np.array([[1.0, 2.0], [NAN, 3.0]])])
def test_a_record_with_holes_is_refused(a: np.ndarray) -> None:
    with pytest.raises(UsageError, match="record of lessons"):
        Record(("a", "b"), np.zeros(2), a)


def test_no_records_have_no_mean() -> None:
    with pytest.raises(UsageError, match="none"):
        mean_record([])
