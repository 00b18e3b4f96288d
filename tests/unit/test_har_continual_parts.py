"""The three parts of the example at a tiny size: made-up wearers, one of them new, and activities in steps."""

from __future__ import annotations

import json
import sys
import xml.dom.minidom
from functools import cache
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

pytest.importorskip("torch")

from edgekit.demo.har.data import split_by_subject  # noqa: E402
from edgekit.demo.har.synthetic import generate  # noqa: E402
from edgekit.errors import UsageError  # noqa: E402
from examples.har import continual  # noqa: E402
from examples.har.continual_figures import Setting, figures_of  # noqa: E402
from examples.har.continual_plots import Axes, bars, lines  # noqa: E402
from examples.har.continual_report import goals, plots, show  # noqa: E402

CHECKPOINT = REPOSITORY / "examples/har/checkpoints/elm_synthetic.pt"


@cache
def setting() -> Setting:
    windows = generate(seed=5, subjects=6, windows_per_class=80)
    names = (*windows.class_names, "new one", "new two")
    y = windows.y.copy()  # the later half of some recordings is said to be of other activities
    for label, new in ((0, 7), (1, 8)):
        y[(windows.y == label) & (windows.position % 2 == 1)] = new
    windows = type(windows)(windows.x, y, windows.subject, windows.recording, windows.position, names, windows.source)
    split = split_by_subject(windows, test=(0, 1), validation=(2,))
    return Setting(windows, split, 7, "int8", CHECKPOINT, ((*range(7),), (7,), (8,)), gestures=(3,))


def begin(what: str, total: int):
    """Progress that must come to its end, and no further."""
    del what
    left = [total]

    def one() -> None:
        left[0] -= 1
        assert left[0] >= 0

    return one


@cache
def figures():
    return figures_of(setting(), ("b", "c", "a"), 1, begin) | {"note": "a note"}


@pytest.mark.drawn(4)
@pytest.mark.slow
def test_wearers_are_learned_by_all_rules_and_figures_are_those_of_their_records():
    rules = figures()["parts"]["b"]["rules"]
    assert list(rules) == ["prototypes", "naive", "hlop"]
    for found in rules.values():
        a, before = np.array(found["first_order"]["a"]), np.array(found["first_order"]["before"])
        assert a.shape == (2, 2)
        assert found["risen_since_delivery"] == pytest.approx(float((np.diag(a) - before).mean()))
        assert found["bwt"] == pytest.approx(a[-1, 0] - a[0, 0])
        assert found["cost"]["journal_bytes"] > 0
    assert rules["prototypes"]["risen_since_delivery"] >= 0
    assert rules["prototypes"]["cost_on_watch"]["instructions"]["learn"] > 0


@pytest.mark.slow
def test_gestures_are_recognised_from_five_windows():
    part = figures()["parts"]["c"]
    assert part["lessons"] == sum(found["wearers"] for found in part["activities"].values())
    assert part["recall"] > 50
    assert set(part["activities"]) <= set(setting().windows.class_names)


@pytest.mark.slow
def test_classes_come_in_steps():
    rules = figures()["parts"]["a"]["rules"]
    for found in rules.values():
        assert [len(row) for row in found["record"]["a"]] == [3, 3, 3]
        assert found["record"]["a"][0][1:] == [None, None], "classes were told before they were learned"
    assert rules["prototypes"]["record"]["a"][0][0] > 50


@pytest.mark.slow
def test_figures_are_plain_and_shown_with_misses_as_misses(capsys):
    again = json.loads(json.dumps(figures()))
    again["parts"]["c"]["recall"] = 12.0
    wanted = {name: reached for name, _, _, reached in goals(again)}
    assert not wanted["(c) recall of a gesture from 5 windows, %"]
    show(again)
    out = capsys.readouterr().out
    assert "MISSED" in out
    assert "a note" in out


@pytest.mark.slow
def test_plots_are_whole_documents_with_axes_and_captions():
    made = plots(figures())
    assert set(made) == {f"continual_{name}.svg" for name in ("forgetting", "wearers", "gestures", "classes")}
    for text in made.values():
        xml.dom.minidom.parseString(text)
        assert "%" in text or "points" in text


@pytest.mark.parametrize("kind", [lines, bars])
def test_marks_lie_within_the_frame_and_higher_values_lie_higher(kind):
    text = kind(Axes("a <b>", "x", "y / %", "c"), ["p", "q", "r"], {"one": [-3.0, 0.0, 97.0], "two": [5.0, 5.0, 5.0]})
    document = xml.dom.minidom.parseString(text)
    name, at = ("circle", "cy") if kind is lines else ("rect", "y")
    places = [float(e.getAttribute(at)) for e in document.getElementsByTagName(name) if e.getAttribute(at) != "34"]
    assert len(places) == 6
    assert all(0 < place < 400 for place in places)
    assert places[2] == min(places)


def test_orders_are_as_many_as_there_are_wearers():
    with pytest.raises(UsageError, match="--orders"):
        figures_of(setting(), ("b",), 3, begin)


def test_without_data_the_program_says_what_is_missing(tmp_path, capsys):
    assert continual.main(["--data", str(tmp_path / "none.npz")]) == 2
    assert "none.npz" in capsys.readouterr().err


@pytest.mark.slow
def test_the_program_writes_figures_and_plots(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(continual, "_run", lambda _: {k: v for k, v in figures().items() if k != "note"})
    assert continual.main(["--json", "-o", str(tmp_path / "report")]) == 0
    assert json.loads(capsys.readouterr().out)["parts"].keys() == {"a", "b", "c"}
    assert json.loads((tmp_path / "report" / "continual.json").read_text("utf-8"))["note"]
    assert (tmp_path / "report" / "continual_gestures.svg").exists()
