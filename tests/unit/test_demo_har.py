"""The demo's engine: streamed decisions are those of the batch, teaching is recognised and taken back to the byte."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from converted import Answer, edgekit_main
from rich.console import Console

pytest.importorskip("torch")

from edgekit.demo.har.draw import WIDE, picture
from edgekit.demo.har.engine import Engine
from edgekit.demo.har.frames import Frame, plain_name
from edgekit.demo.har.history import History
from edgekit.demo.har.material import Material, made_up, recorded
from edgekit.demo.har.models import FAMILIES, Prepared, prepare, prepare_learner
from edgekit.demo.har.opened import WATCH, Asked, open_engine
from edgekit.demo.har.pace import paced
from edgekit.demo.har.play import Recorded, play_material
from edgekit.demo.har.sensor import open_sensor
from edgekit.demo.har.summary import print_summary, results
from edgekit.demo.har.synthetic import GESTURE
from edgekit.demo.har.windows import WINDOW
from edgekit.demo.har.wisdm import REST
from edgekit.errors import UsageError
from edgekit.runtime import load
from edgekit.streaming import Options
from edgekit.target import Target, load_target
from edgekit.toolchain.cache import load as load_cached
from edgekit.toolchain.cache import store

HEADER = "acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z\n"
MADE_UP = tuple(f"synthetic_{name}" for name in ("bounce", "throw", "tap", "scribble", "clap", "scrub", "fold"))


@cache
def material(real: bool = False) -> Material:
    return recorded(None) if real else made_up()


@cache
def target() -> Target:
    return load_target(WATCH)


@cache
def model(family: str, real: bool = False) -> Prepared:
    return prepare(family, material(real), target().name)


@cache
def learner(real: bool = False) -> Prepared:
    made = prepare_learner(material(real), target().name)
    assert made is not None
    return made


def source(clips: int | None = None, *, real: bool = False) -> Recorded:
    played = play_material(material(real))
    return played if clips is None else Recorded(played.name, played.clips[:clips], once=True)


def engine(*families: str, clips: int | None = None, teach: bool = False, real: bool = False, emulated: bool = False):
    models = [model(family, real) for family in families or FAMILIES]
    played = source(clips, real=real)
    return Engine(models, learner(real) if teach else None, played, material(real), target(), emulated=emulated)


@contextmanager
def listening(file: str, **options: float) -> Iterator[Engine]:
    """One model and the learner of made-up motion on samples of a file."""
    with open_sensor(file) as sensor:
        taught = [model("lmu")], learner()
        yield Engine(*taught, sensor, material(), target(), options=Options(**options))


def take(frames: Iterator[Frame], count: int) -> list[Frame]:
    return list(islice(frames, count))


def called(frames: list[Frame], name: str = "learner") -> list[str]:
    models = [frame.teach.model if name == "learner" else frame.models[name] for frame in frames]
    return [made.decision.name for made in models if made is not None and made.decision is not None]


def equals_the_batch(running: Engine, played: Recorded, names: tuple[str, ...]) -> None:
    """Every model decides on the stream as on the same windows at once, and so is right as often."""
    frames = list(running.frames())
    windows = np.concatenate([clip.windows for clip in played.clips])
    truth = [clip.name for clip in played.clips for _ in clip.windows]
    assert len(frames) == WINDOW * len(windows)
    for family in FAMILIES:
        session = load(model(family, real=names != MADE_UP).artifact)
        batch = [names[label] for label in session.decide(session.run(windows))]
        assert called(frames, family) == batch
        last = frames[-1].models[family]
        assert (last.right, last.known) == (sum(a == b for a, b in zip(batch, truth, strict=True)), len(truth))


@pytest.mark.drawn(2)
def test_the_stream_decides_as_the_batch_does():
    equals_the_batch(engine(clips=28), source(28), MADE_UP)


@pytest.mark.drawn(3)
@pytest.mark.slow
def test_so_it_does_on_recordings_of_people(shared: Path):
    played = source(63, real=True)
    names = tuple(material(real=True).windows.class_names)
    equals_the_batch(engine(clips=63, real=True), played, names)


def test_the_watch_in_the_loop_does_the_same_and_counts():
    pytest.importorskip("unicorn")
    host, watch = (take(engine("mlp", "l2mu", emulated=emulated).frames(), 2 * WINDOW) for emulated in (False, True))
    for here, there in zip(host, watch, strict=True):
        for family in ("mlp", "l2mu"):
            assert here.models[family].decision == there.models[family].decision
            assert here.models[family].spikes == there.models[family].spikes
    counts = [frame.models["l2mu"].instructions for frame in watch]
    assert len(set(counts)) > 10, "an event-driven step costs what fires"
    last = watch[-1].models["l2mu"]
    assert last.energy.grade == last.latency.grade == "estimated"
    assert last.energy.low < last.energy.value < last.energy.high
    assert host[-1].models["l2mu"].latency.grade == "measured"
    assert host[-1].models["l2mu"].instructions == pytest.approx(np.mean(counts), rel=0.5)


def test_spikes_are_those_of_the_populations():
    running = engine("l2mu", "elm")
    frames = take(running.frames(), WINDOW)
    populations = running.scene().models["l2mu"].populations
    assert populations == {"m": 192, "h": 96, "output": 7}
    seen = {name: {n for frame in frames for n in frame.models["l2mu"].spikes[name]} for name in populations}
    assert all(seen[name] and max(seen[name]) < size for name, size in populations.items())
    assert frames[-1].models["elm"].spikes == {}


def test_what_is_taught_is_recognised_old_activities_stay_and_undo_takes_it_back_to_the_byte():
    running = engine("elm", teach=True)
    frames, session = running.frames(), running.teacher.runner.session
    before = session.learned()
    running.play(GESTURE)
    assert not set(called(take(frames, 5 * WINDOW))) - set(MADE_UP)
    running.begin("my wave")
    assert take(frames, 4 * WINDOW)[-1].teach.seconds == 8.0
    lesson = running.end()
    assert lesson.windows == lesson.recalled == 13
    assert lesson.held_out == 140
    assert lesson.after >= lesson.before - 0.03 >= 0.9
    taught = take(frames, 12 * WINDOW)
    assert called(taught) == ["my wave"] * 12
    assert taught[-1].teach.taught == ("my wave",)
    assert {f.teach.model.decision.truth for f in taught if f.teach.model.decision} == {"my wave"}
    running.play(None)
    old = [frame for frame in take(frames, 42 * WINDOW) if frame.teach.model.decision]
    right = [frame.teach.model.decision.name == frame.truth for frame in old[1:]]
    assert np.mean(right) > 0.9
    running.undo()
    assert session.learned() == before
    running.play(GESTURE)
    assert "my wave" not in called(take(frames, 5 * WINDOW))
    with pytest.raises(UsageError, match="nothing was taught"):
        running.undo()


def test_three_gestures_fit_each_can_be_undone_and_a_name_learns_on():
    running = engine("elm", teach=True)
    frames, states = running.frames(), [running.teacher.runner.session.learned()]
    for name in ("one", "two", "two", "three"):
        running.begin(f" {name} ")
        take(frames, WINDOW + 7)
        running.end()
        states.append(running.teacher.runner.session.learned())
    assert (running.teacher.state.taught, running.teacher.state.left) == (("one", "two", "three"), 0)
    with pytest.raises(UsageError, match="all 3 gestures"):
        running.begin("four")
    for kept in reversed(states[:-1]):
        running.undo()
        assert running.teacher.runner.session.learned() == kept
    assert (running.teacher.state.taught, running.teacher.state.left) == ((), 3)


def test_every_lesson_can_be_taken_back_also_that_of_an_old_activity():
    running = engine("elm", teach=True)
    frames, states = running.frames(), [running.teacher.runner.session.learned()]
    for at in range(10):
        running.begin("synthetic_tap" if at % 2 else "one")
        take(frames, WINDOW)
        running.end()
        states.append(running.teacher.runner.session.learned())
        assert take(frames, 1)[0].teach.undoable == at + 1
    for left, kept in reversed(list(enumerate(states[:-1]))):
        running.undo()
        assert running.teacher.runner.session.learned() == kept
        assert running.teacher.state.undoable == left


def test_an_old_activity_is_taught_by_the_name_that_people_read():
    running = engine("elm", teach=True)
    frames = running.frames()
    for name, meant in (("Tap", "synthetic_tap"), ("wave", "wave"), ("WAVE", "wave")):
        running.begin(name)
        assert take(frames, WINDOW)[-1].teach.name == meant
        assert running.end().name == meant
    assert running.teacher.state.taught == ("wave",)


def test_a_gap_while_a_gesture_is_recorded_is_told(tmp_path: Path):
    told = [*(at / 20 for at in range(60)), *(9 + at / 20 for at in range(60))]
    (tmp_path / "[").mkdir()
    (tmp_path / "[/x]").write_text("t," + HEADER + "".join(f"{t},0,0,9.8,0,0,0\n" for t in told))
    file = str(tmp_path / "[/x]")
    with listening(file) as running:
        frames, console = running.frames(), Console(file=io.StringIO())
        next(frames)
        running.begin("rest")
        take(frames, 118)
        last = next(frames)
        assert "the recording began anew: nothing usable came for" in last.teach.about
        assert last.teach.seconds == pytest.approx(2.95)
        print_summary(console, running.scene(), results(running))


@pytest.mark.parametrize("rate", [20, 5, 50])
def test_a_recording_has_all_steps_since_it_began_also_of_samples_that_wait_for_their_rate(tmp_path: Path, rate: int):
    rows = [f"{at / rate},{at},0,9.8,0,0,0\n" for at in range(5 * rate)]
    (tmp_path / "imu.csv").write_text("t," + HEADER + "".join(rows))
    with listening(str(tmp_path / "imu.csv"), max_gap=0.5) as running:
        frames = running.frames()
        take(frames, 5)
        running.begin("rest")
        *_, last = frames
    assert last.teach.seconds == pytest.approx(5 - 5 / rate, abs=0.2)


def test_what_is_used_stays_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr("edgekit.toolchain.cache.MAX_ENTRIES", 2)
    for at, key in enumerate(("used", "old")):
        store(key, b"body")
        os.utime(tmp_path / "build" / key, (at, at))
    assert load_cached("used") == b"body"
    store("new", b"body")
    assert (load_cached("used"), load_cached("old")) == (b"body", None)


def test_teaching_that_cannot_be_says_why():
    running = engine("elm", teach=True)
    frames = running.frames()
    for name in ("", "x" * 33, "a\x1b[2J", "new 1"):
        with pytest.raises(UsageError, match="name"):
            running.begin(name)
    with pytest.raises(UsageError, match="nothing is being recorded"):
        running.end()
    running.begin("short")
    with pytest.raises(UsageError, match="'short' is being recorded"):
        running.begin("another")
    take(frames, WINDOW - 1)
    with pytest.raises(UsageError, match="shorter than a window of 2 s"):
        running.end()
    running.begin("never")
    running.cancel()
    assert running.teacher.state.phase == "idle"
    with pytest.raises(UsageError, match="is not in the recordings"):
        running.play("sleeping")
    with pytest.raises(UsageError, match="teach"):
        engine("elm").begin("wave")


def test_frames_are_plain_json_and_pictures_fit_the_terminal():
    running = engine(teach=True)
    frames, history = running.frames(), History()
    for frame in take(frames, 3 * WINDOW):
        history.add(frame)
        plain = json.loads(json.dumps(frame.to_dict(), allow_nan=False))
        assert plain["truth"] == frame.truth
    json.dumps(running.scene().to_dict(), allow_nan=False)
    for size in ((80, 24), (100, 30), (160, 50)):
        console = Console(width=size[0], height=size[1], force_terminal=True, color_system=None)
        lines = console.render_lines(picture(running.scene(), frame, history, size, None), pad=False)
        text = ["".join(segment.text for segment in line) for line in lines]
        assert len(text) <= size[1]
        assert all(len(line) <= size[0] for line in text)
        whole = "\n".join(text)
        for word in (
            "learner",
            plain_name(frame.truth),
            "measured",
            *(["emulated"] if size[0] >= WIDE else []),
            "estimated",
            "spikes of l2mu",
            "teach",
        ):
            assert word in whole


def test_a_message_fades_and_two_do_not_say_what_is_current():
    now = [0.0]
    running, history = engine("lmu", teach=True), History(clock=lambda: now[0])
    frame, *_ = take(running.frames(), 1)
    history.add(replace(frame, events=("nothing came for 3 s",)))

    def foot(about: str) -> str:
        console = Console(width=120, height=30, file=io.StringIO())
        shown = replace(frame, teach=replace(frame.teach, about=about))
        console.print(picture(running.scene(), shown, history, (120, 30), None))
        return console.file.getvalue()

    assert "0.0 s: nothing came for 3 s" in foot("")
    assert foot("it began anew: nothing came for 3 s").count("nothing came") == 1
    now[0] = 4.0
    history.refuse("undo: nothing was taught")
    said = foot("the last lesson was taken back")
    assert "undo: nothing was taught" in said
    assert "taken back" not in said
    now[0] = 20.0
    said = foot("the last lesson was taken back")
    assert not [old for old in ("came for 3 s", "nothing was taught", "taken back") if old in said]
    assert "3 gestures can be taught" in said


def test_samples_beyond_all_bounds_are_missing_ones_on_the_page_and_in_pictures(tmp_path: Path):
    far = ("inf", "-inf", "nan", "1e308", "-1e308", "3e38", "-3e38")
    rows = [f"{far[at % 7] if at % 5 == 0 else 1.5},{9.8},0,0,0,{at % 3}" for at in range(60)]
    (tmp_path / "[x").write_text("\n".join(rows) + "\n")
    console, history = Console(width=100, height=30, file=io.StringIO()), History()
    with open_engine(Asked(source=str(tmp_path / "[x"), families=("lmu",), teach=False)) as running:
        for frame in running.frames():
            history.add(frame)
            json.dumps(frame.to_dict(), allow_nan=False)
            console.print(picture(running.scene(), frame, history, (100, 30), None))
    assert {sample[0] for sample in history.samples if not math.isnan(sample[0])} == {1.5, 3e38, -3e38}


def test_the_clock_of_the_stream_goes_on_when_that_of_the_samples_jumps(tmp_path: Path):
    told = [5, 5.05, 5.10, 5.08, 1.7e18, 1.7e18, 0.0, 0.05, 3.05, "nan", 3.1]
    (tmp_path / "imu.csv").write_text("t," + HEADER + "".join(f"{t},0,0,9.8,0,0,0\n" for t in told))
    with open_engine(Asked(source=str(tmp_path / "imu.csv"), families=("lmu",), teach=False)) as running:
        shown = [frame.t for frame in running.frames()]
    assert shown == pytest.approx([0, 0.05, 0.1, 0.1, 0.15, 0.15, 0.2, 0.25, 3.25, 3.3])


def test_recordings_are_paced_and_a_late_picture_is_not_made_up_for_ever():
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    for at, _ in enumerate(paced(take(engine("lmu").frames(), 40), 20, 2, sleep, lambda: now[0])):
        if at == 20:
            now[0] += 5
    assert slept == pytest.approx([0.025] * 38)
    assert now[0] == pytest.approx(5 + 38 * 0.025)


def test_a_recording_that_is_played_slowly_leaves_time_for_keys():
    slept: list[float] = []
    found = list(paced(take(engine("lmu").frames(), 3), 20, 0.1, slept.append, lambda: sum(slept)))
    assert len([frame for frame in found if frame is None]) >= 8
    assert sum(slept) == pytest.approx(1)


def test_a_recording_that_tells_times_is_paced_by_them_and_silence_is_left_out(tmp_path: Path):
    told = [*(at / 100 for at in range(100)), *(500 + at / 100 for at in range(100))]
    (tmp_path / "imu.csv").write_text("t," + HEADER + "".join(f"{t},0,0,9.8,0,0,0\n" for t in told))
    slept: list[float] = []
    with open_engine(Asked(source=str(tmp_path / "imu.csv"), families=("lmu",), teach=False)) as running:
        list(paced(running.frames(), running.rate_hz, 1, slept.append, lambda: sum(slept)))
    assert sum(slept) == pytest.approx(0.99 + 0.05 + 0.99)


def demo(*words: object) -> Answer:
    return edgekit_main("demo", "har", *words)


def test_lines_and_objects_end_in_what_it_came_to():
    answer = demo("--once", "--seconds", 4, "--speed", "max", "--models", "lmu,l2mu")
    assert answer.returncode == 0, answer
    lines = answer.stdout.splitlines()
    assert [line.split(" s  ")[0].strip() for line in lines[:2]] == ["1.95", "3.95"]
    for said in ("100.0 % of 2", "estimated", "nothing was metered", "say nothing about people", "Where to go next"):
        assert said in answer.stdout
    answer = demo("--seconds", 4, "--speed", "max", "--models", "lmu", "--json")
    *frames, summary = map(json.loads, answer.stdout.splitlines())
    assert [frame["models"]["lmu"]["decision"]["index"] for frame in frames] == [0, 1]
    (row,) = summary["summary"]["models"]
    assert (row["right"], row["known"], row["energy_per_decision"]["grade"]) == (2, 2, "estimated")
    assert row["accuracy_grade"] == "measured"
    assert [row[f"{what}_grade"] for what in ("flash", "ram", "instructions")] == ["derived", "emulated", "emulated"]
    assert frames[0]["models"]["lmu"]["instructions_grade"] == "emulated"


def test_without_an_emulator_it_runs_here_and_says_what_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    known = {what: model("mlp").sizes[f"{what}_bytes"] for what in ("flash", "ram")}
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "unicorn", None)
    answer = demo("--seconds", 4, "--speed", "max", "--models", "mlp", "--json")
    assert answer.returncode == 0, answer
    said = "instructions and energy are unavailable: unicorn is not installed; pip install 'edgekit[emulate]'"
    assert f"note: {said}\n" in answer.stderr
    *_, frame, summary = map(json.loads, answer.stdout.splitlines())
    assert said in summary["summary"]["notes"]
    (row,) = summary["summary"]["models"]
    assert {what: row[f"{what}_bytes"] for what in known} == known
    assert [row[f"{what}_grade"] for what in ("flash", "ram", "instructions")] == ["derived", "derived", "unavailable"]
    assert (row["right"], row["instructions_per_step"], row["energy_per_decision"]["value"]) == (2, None, None)
    assert (frame["models"]["mlp"]["energy"]["grade"], frame["models"]["mlp"]["latency"]["grade"]) == (
        "unavailable",
        "measured",
    )
    answer = demo("--target", "smartwatch", "--models", "mlp")
    assert (answer.returncode, answer.stderr) == (
        2,
        "error: model mlp: cannot be made ready for the watch: unicorn is not installed; pip install "
        '"edgekit[emulate]"\n',
    )


def test_a_faster_sensor_is_brought_to_the_rate_of_the_models(tmp_path: Path):
    rows = [f"{at / 50},{9.8},0,{at % 7},0,0,0" for at in range(50 * 5)]
    (tmp_path / "imu.csv").write_text("t,acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z\n" + "\n".join(rows) + "\n")
    with open_engine(Asked(source=str(tmp_path / "imu.csv"), families=("lmu",), teach=False)) as running:
        frames = list(running.frames())
    assert len(frames) == 250
    assert frames[-1].t == pytest.approx(4.98)
    assert 95 <= frames[-1].steps <= 100
    assert len(called(frames, "lmu")) == 2
    with pytest.raises(UsageError, match="plays nothing on request"):
        running.play("typing")


def test_a_rate_that_the_times_contradict_is_told_once(tmp_path: Path):
    rows = "".join(f"{at / 10},0,0,9.8,0,0,{at % 7}\n" for at in range(100))
    (tmp_path / "imu.csv").write_text("t,acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z\n" + rows)
    asked = Asked(str(tmp_path / "imu.csv"), families=("lmu",), teach=False, options=Options(source_rate=50))
    with open_engine(asked) as running:
        told = [text for frame in running.frames() for text in frame.events]
    assert [text for text in told if "--rate" in text] == [
        "samples come at 10 Hz by their own times; --rate says 50 Hz, which is taken"
    ]


def test_what_is_no_sample_is_told_at_the_end(tmp_path: Path):
    rows = "".join(f"{at * 50},0,0,9.8,0,0,0\nnonsense {at}\n" for at in range(40))
    (tmp_path / "imu.csv").write_text("clock_ms," + HEADER + rows)
    answer = demo("--source", tmp_path / "imu.csv", "--speed", "max", "--models", "lmu", "--json")
    assert answer.returncode == 0, answer
    (_, summary) = map(json.loads, answer.stdout.splitlines())
    notes = "; ".join(summary["summary"]["notes"])
    for said in ("columns not used: clock_ms", "40 malformed", "'nonsense 0'"):
        assert said in notes


def test_a_source_that_breaks_off_ends_in_what_it_came_to_and_the_fault(tmp_path: Path):
    (tmp_path / "imu.csv").write_text(HEADER + "0,0,9.8,0,0,0\n" * 45 + "boot\n" * 100)
    answer = demo("--source", tmp_path / "imu.csv", "--speed", "max", "--models", "lmu")
    assert answer.returncode == 2
    assert "of 45 samples and what is none: 100 malformed" in answer.stdout
    assert "error: stream: 100 lines in a row and no sample" in answer.stderr


def test_a_sensor_that_counts_milliseconds_is_understood(tmp_path: Path):
    rows = "".join(f"{at * 50},0,0,9.8,0,0,0\n" for at in range(41))
    (tmp_path / "imu.csv").write_text("t," + HEADER + rows)
    how = "--format", "csv", "--time-unit", "ms", "--max-gap", "0.5"
    answer = demo("--source", tmp_path / "imu.csv", "--speed", "max", "--models", "lmu, mlp", "--json", *how)
    assert answer.returncode == 0, answer
    frame, _ = map(json.loads, answer.stdout.splitlines())
    assert frame["t"] == pytest.approx(1.95)


def test_recordings_of_other_activities_are_refused(shared: Path):
    answer = demo("--source", "wisdm", "--data", shared / "data" / REST)
    assert answer.returncode == 2, answer
    assert "holds other activities than the models know" in answer.stderr


def test_a_file_of_a_sensor_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without recordings to calibrate on, models compute in floats, and say so."""
    monkeypatch.setenv("EDGEKIT_SHARED", str(tmp_path))
    window = material().windows.x[0]
    rows = "\n".join(",".join(map(str, [7.5 + at / 20, *row.tolist()])) for at, row in enumerate(window))
    (tmp_path / "imu.csv").write_text("t,acc_x,acc_y,acc_z,gyr_x,gyr_y,gyr_z\n" + rows + "\n")
    answer = demo("--source", tmp_path / "imu.csv", "--speed", "max", "--models", "mlp", "--json")
    frame, summary = map(json.loads, answer.stdout.splitlines())
    assert frame["truth"] is None
    assert frame["t"] == pytest.approx(1.95)
    (row,) = summary["summary"]["models"]
    assert row["precision"] == "fp32"
    assert "no recordings are here" in answer.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--models", "mlp,gru"), "--models gru: is not known"),
        (("--models", "mlp,mlp"), "names none, or one twice"),
        (("--data", "x"), "--data: is not used with --source synthetic"),
        (("--source", "wisdm", "--data", "absent"), "absent: no such file or folder"),
        (("--source", "absent.csv"), "absent.csv: cannot be read"),
        (("--target", "toaster"), "target 'toaster': is not known"),
        (("--target", "raspberrypi4"), "--target raspberrypi4"),
        (("--speed", "0"), "--speed 0: is no speed"),
        (("--seconds", "nan"), "is no time"),
        (("--rate", "50"), "--rate: is not used with --source synthetic"),
        (("--time-unit", "ms", "--stamp"), "--time-unit, --stamp: is not used with --source synthetic"),
        (("--source", "udp://127.0.0.1:0", "--speed", "2"), "--speed: udp://127.0.0.1:0 comes as it comes"),
        (("--source", "/dev/null", "--speed", "2"), "--speed: /dev/null comes as it comes"),
        (("--source", "udp://127.0.0.1:0", "--once"), "--once"),
        (("--port", "80"), "--port: goes with --web alone"),
        (("--web", "--json"), "--json: does not go with --web"),
    ],
)
def test_options_that_do_not_fit_are_refused(words: tuple[str, ...], said: str):
    answer = demo(*words)
    assert answer.returncode == 2, answer
    assert answer.stderr.splitlines()[0].startswith("error: ")
    assert said in answer.stderr


def test_another_demo_is_not_known():
    assert "known are har" in edgekit_main("demo", "chess").stderr
