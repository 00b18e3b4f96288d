"""The streaming front door: its decisions are those of the batch, whatever comes in between."""

from __future__ import annotations

import gc
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from converted import INPUTS, ROOT, artifact, stream
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from streams import LENGTH, RATE, STEP, STRIDE, decisions, events, fed, overlapping, plain, samples, steps

import edgekit
from edgekit.errors import DataError, UsageError
from edgekit.streaming import FrontDoor, Options, Parser, Sample

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(400, INPUTS)).astype(np.float32)


def grid(n: int) -> np.ndarray:
    return np.arange(n) * STEP


@pytest.mark.slow
@pytest.mark.parametrize(("family", "precision"), [("l2mu", "int8"), ("lmu", "fp32"), ("mlp", "int8"), ("elm", "fp32")])
def test_streamed_decisions_are_those_of_the_batch_on_real_windows(
    shared: Path, tmp_path: Path, family: str, precision: str
) -> None:
    torch = pytest.importorskip("torch")
    from edgekit.convert import Options as Conversion
    from edgekit.convert import convert_imported
    from edgekit.frontends import import_file

    torch.set_num_threads(1)
    with np.load(shared / "data" / "wisdm_watch.npz") as data:
        x = data["x"].astype(np.float32) * data["scale"].astype(np.float32)
    x, calibration = x[::20], x[5 :: len(x) // 128]
    calibration = calibration.reshape(len(calibration), -1) if family == "mlp" else calibration
    imported = import_file(ROOT / "examples" / "har" / "checkpoints" / f"{family}_B.pt")
    path = tmp_path / "har.edge"
    convert_imported(imported, Conversion("host", precision, calib=calibration)).artifact.save(path)
    session = edgekit.load(path)
    batch = session.run(x)
    rows = x.reshape(-1, x.shape[-1])
    found, door = fed(session, samples(rows, np.arange(len(rows)) * STEP))
    assert events(found) == []
    assert not door.resampled
    np.testing.assert_array_equal([d.label for d in decisions(found)], session.decide(batch))
    assert [d.name for d in decisions(found)] == [door.names[label] for label in session.decide(batch)]
    assert door.counters.steps == len(rows)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_overlapping_windows_are_each_decided_as_alone(precision: str) -> None:
    session = overlapping(precision)
    x = stream(203)
    found, door = fed(session, samples(x))
    starts = range(0, len(x) - LENGTH + 1, STRIDE)
    windows = np.stack([x[start : start + LENGTH] for start in starts])
    assert [(d.start, d.end) for d in found] == [(start, start + LENGTH) for start in starts]
    np.testing.assert_array_equal([d.label for d in found], session.decide(session.run(windows)))
    np.testing.assert_array_equal([d.scores for d in found], session.run(windows).sum(axis=1))
    assert door.counters.dropped == len(x) - starts[-1] - STRIDE, "the window that was open at the end"
    assert [round(d.time, 6) for d in found] == [round((start + LENGTH - 1) * STEP, 6) for start in starts]


def test_other_engines_decide_alike() -> None:
    pytest.importorskip("unicorn")
    x = stream(57, seed=1)
    native, _ = fed(overlapping(), samples(x))
    reference = edgekit.load(overlapping().artifact, engine="reference")
    for session in (reference, overlapping(target="smartwatch-m33")):
        assert fed(session, samples(x))[0] == native


hostile = st.lists(
    st.tuples(
        st.one_of(
            st.floats(0.01, 0.3),
            st.sampled_from([STEP] * 8 + [0.0, -0.05, -3.0, 1e9, float("nan"), float("inf"), 0.2, 0.21]),
        ),
        st.lists(
            st.one_of(st.floats(-3, 3), st.sampled_from([float("nan"), float("inf"), 1e300, 0.0])),
            min_size=INPUTS,
            max_size=INPUTS,
        ),
    ),
    min_size=1,
    max_size=150,
)


@settings(max_examples=60, deadline=None)
@given(hostile, st.sampled_from([None, 20.0, 50.0, 7.0]), st.sampled_from([None, 0.12, 1.0]))
def test_whatever_comes_every_decision_is_that_of_its_own_steps_from_a_reset(
    moves: list[tuple[float, list[float]]], rate: float | None, max_gap: float | None
) -> None:
    assume((rate, max_gap) != (7.0, 0.12))  # which is refused: a period would be a gap
    now, given_samples = 0.0, []
    for move, values in moves:
        now = now + move if np.isfinite(now + move) else now
        given_samples.append(Sample(now if np.isfinite(move) else move, tuple(values)))
    options = {"source_rate": rate, "max_gap": max_gap}
    seen, door = fed(plain(), given_samples, **options)
    x = np.array([d.scores for d in decisions(seen)], np.float32).reshape(-1, INPUTS)
    assert np.isfinite(x).all()
    assert len(x) == door.counters.steps
    session = overlapping()
    found, other = fed(session, given_samples, **options)
    assert [(e.kind, e.time) for e in events(found)] == [(e.kind, e.time) for e in events(seen)]
    assert other.counters.steps == len(x)
    for decision in decisions(found):
        outputs = session.run(x[None, decision.start : decision.end])
        assert decision.label == session.decide(outputs)[0]
        assert decision.scores == tuple(outputs[0].sum(axis=0))
    broken = np.cumsum([e.kind != "" for e in events(found)])  # every event ends the windows before it
    counted = sum(
        getattr(other.counters, name) for name in ("gaps", "restarts", "rate_changes", "dropouts", "overflows")
    )
    assert len(broken) == counted or len(broken) < counted > 20, "some of many gaps are not told"


def test_a_stream_without_times_is_taken_as_it_comes() -> None:
    times, values = steps(fed(plain(), samples(ROWS))[0])
    np.testing.assert_array_equal(values.astype(np.float32), ROWS)
    np.testing.assert_allclose(times, grid(len(ROWS)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 0.3), st.floats(0.99, 1.01))
def test_jitter_and_a_clock_a_little_off_leave_values_untouched(seed: int, jitter: float, drift: float) -> None:
    rng = np.random.default_rng(seed)
    times = grid(len(ROWS)) * drift + rng.uniform(-jitter, jitter, len(ROWS)) * STEP
    found, door = fed(plain(), samples(ROWS, times))
    assert not door.resampled
    assert events(found) == []
    assert door.counters.steps == len(ROWS), door.counters
    np.testing.assert_array_equal(steps(found)[1].astype(np.float32), ROWS)


def test_a_lost_sample_is_bridged_and_silence_is_a_gap() -> None:
    times = grid(100)
    kept = np.ones(100, bool)
    kept[[30, 50, 51]] = False
    kept[70:74] = False
    found, door = fed(plain(), samples(ROWS[:100][kept], times[kept]))
    at, values = steps(found)
    np.testing.assert_allclose(at, np.delete(times, np.arange(70, 74)), atol=1e-9)
    np.testing.assert_array_equal(values[29].astype(np.float32), ROWS[29])
    np.testing.assert_allclose(values[30], (ROWS[29] + ROWS[31]) / 2, rtol=1e-6)
    np.testing.assert_allclose(values[51], ROWS[49] / 3 + 2 * ROWS[52] / 3, rtol=1e-5)
    (gap,) = events(found)
    assert (gap.kind, gap.time) == ("gap", pytest.approx(74 * STEP))
    assert (door.counters.filled, door.counters.gaps) == (3, 1)


def test_duplicates_late_ones_and_second_samples_of_a_step_stay_out() -> None:
    clean = samples(ROWS[:60], grid(60))
    noise = Sample(None, (9.0,) * INPUTS)
    dirty = [*clean[:30], clean[29], Sample(clean[27].time, noise.values), *clean[30:42]]
    dirty += [Sample(clean[41].time + 0.3 * STEP, noise.values), noise, *clean[42:]]
    found, door = fed(plain(), dirty)
    np.testing.assert_array_equal(steps(found)[1].astype(np.float32), ROWS[:60])
    counted = door.counters
    assert (counted.duplicates, counted.late, counted.extra, counted.malformed) == (1, 1, 1, 1)
    assert counted.samples == 64


def test_a_channel_that_drops_out_is_held_and_then_the_samples_are_of_no_use() -> None:
    x = ROWS[:60].astype(np.float64)
    x[20:23, 1] = np.nan
    x[40:50, 2] = np.inf
    found, door = fed(plain(), samples(x, grid(60)))
    times, values = steps(found)
    np.testing.assert_array_equal(values[20:23, 1], [ROWS[19, 1]] * 3)
    np.testing.assert_array_equal(values[20:23, 0].astype(np.float32), ROWS[20:23, 0])
    (dropout,) = events(found)
    assert (dropout.kind, dropout.text) == ("dropout", "nothing usable comes of acc_z")
    assert dropout.time == pytest.approx(44 * STEP - STEP + STEP)
    assert len(times) == 60 - 6
    counted = door.counters
    assert (counted.missing, counted.held, counted.unusable, counted.dropouts) == (13, 7, 6, 1)


@pytest.mark.parametrize("rate", [7.0, 13.7, 50.0, 100.0, 317.0])
@pytest.mark.parametrize("told", [True, False])
def test_other_rates_are_brought_onto_the_programs_clock(rate: float, told: bool) -> None:
    n = int(rate * 12)
    seconds = np.arange(n) / rate
    line = np.stack([seconds, 3 - 2 * seconds, np.full(n, 0.7)], axis=1)
    found, door = fed(plain(), samples(line, None if told else seconds), **({"source_rate": rate} if told else {}))
    times, values = steps(found)
    assert door.resampled
    assert door.source_rate == pytest.approx(rate)
    np.testing.assert_allclose(np.diff(times), STEP, atol=1e-9)
    assert len(times) == pytest.approx(12 * RATE, abs=RATE / rate + 1)
    np.testing.assert_allclose(values[:, 0], times, atol=1e-5)
    np.testing.assert_allclose(values[:, 1], 3 - 2 * times, atol=1e-5)
    np.testing.assert_allclose(values[:, 2], 0.7, rtol=1e-6)


def test_what_is_faster_than_the_program_does_not_appear_as_something_slower() -> None:
    seconds = np.arange(4000) / 400
    tone = np.sin(2 * np.pi * 19 * seconds)  # at 20 Hz it would look like 1 Hz
    found, _ = fed(plain(), samples(np.stack([tone] * INPUTS, axis=1), seconds))
    assert np.abs(steps(found)[1]).max() < 0.1


def test_a_change_of_the_rate_is_noticed_and_said() -> None:
    first, second = grid(100), 100 * STEP + np.arange(300) / 100
    x = np.concatenate([first, second])
    found, door = fed(plain(), samples(np.stack([x] * INPUTS, axis=1), x))
    (change,) = events(found)
    assert change.kind == "rate"
    assert change.text == "samples come at 100 Hz now, not at 20 Hz"
    assert door.source_rate == pytest.approx(100)
    times, values = steps(found)
    after = times > change.time
    np.testing.assert_allclose(values[after, 0], times[after], atol=1e-5)
    assert np.count_nonzero(after) == pytest.approx((x[-1] - change.time) * RATE, abs=1)


def test_a_few_samples_before_a_gap_say_nothing_about_the_rate() -> None:
    seconds = np.concatenate([[0.0, 0.05], 10 + np.arange(400) / 100])
    found, door = fed(plain(), samples(np.stack([seconds] * INPUTS, axis=1), seconds))
    assert [event.kind for event in events(found)] == ["gap"]
    assert door.source_rate == pytest.approx(100)
    times, values = steps(found)
    assert times[:2].tolist() == [0.0, 0.05]
    np.testing.assert_allclose(values[:, 0], times, atol=1e-5)
    assert len(times) == 2 + 79


@pytest.mark.parametrize("seconds", [np.arange(60) * 50.0, np.arange(60) // 3 * 0.5 + np.arange(60) % 3 * 0.01])
def test_gaps_and_hardly_anything_else_are_explained(seconds: np.ndarray) -> None:
    found, door = fed(plain(), samples(ROWS[:63], np.concatenate([seconds, 9999 + grid(3)])))
    hints = [event for event in events(found) if "--time-unit and --max-gap" in event.text]
    assert len(hints) == min(door.counters.gaps // 20, 2) > 0
    assert len(events(found)) == min(door.counters.gaps, 20 + len(hints) - 1), "and no flood"


def told(times: np.ndarray, **options: object) -> list[str]:
    said: list[str] = []
    door = FrontDoor(plain(), Options(**options), tell=said.append)
    for sample in samples(ROWS[: len(times)], times):
        door.feed(sample)
    door.finish()
    return said


def test_times_that_say_another_rate_than_is_likely_are_told() -> None:
    (said,) = told(np.arange(200) / 100, source_rate=20.0)
    assert said == "samples come at 100 Hz by their own times; --rate says 20 Hz, which is taken"
    assert told(np.arange(200) / 100) == told(grid(100), source_rate=20.5) == []
    (said,) = told(np.arange(200) / 76_000)
    assert said.startswith("samples come at 76,000 Hz, and the program steps at 20 Hz: the times of a pipe")


def test_a_rate_that_nothing_says_is_not_told() -> None:
    session = edgekit.load(artifact("l2mu"))
    assert fed(session, samples(stream(9)), window=4)[1].source_rate is None
    assert fed(session, samples(stream(9)), window=4, source_rate=50.0)[1].source_rate == 50


def test_a_clock_that_starts_anew_starts_the_stream_anew() -> None:
    x = stream(60)
    found, door = fed(overlapping(), samples(x, np.concatenate([1e6 + grid(33), grid(27)])))
    (restart,) = events(found)
    assert restart.kind == "restart"
    assert door.counters.restarts == 1
    fresh, _ = fed(overlapping(), samples(x[33:], grid(27)))
    after = [d for d in decisions(found) if d.start >= 33]
    assert [(d.label, d.scores, d.start - 33) for d in after] == [(d.label, d.scores, d.start) for d in fresh]


@pytest.mark.parametrize("form", ["{t}, {x}", '{{"t": {t}, "x": [{x}]}}'])
def test_a_live_stream_whose_first_sample_was_a_stray_one_starts_anew_with_times(form: str) -> None:
    x = stream(60)
    rows = [",".join(map(str, row)) for row in x.tolist()]
    timed = [form.format(t=1000 + at, x=row) for at, row in zip(grid(60), rows, strict=True)]
    stray = rows[0] if "{" not in timed[0] else f"[{rows[0]}]"
    door = FrontDoor(overlapping(), Options())
    said: list[str] = []
    parser = Parser(door.channels, door.counters, tell=said.append)
    parser.endless = True
    read = (parser.parse(line.encode()) for line in [stray, timed[0], stray, *timed])
    found = [made for sample in read if sample for made in door.feed(sample)] + door.finish()
    assert said[0].endswith("has a time, the first sample had none; such lines are left out, until 5 come in a row")
    (restart,) = events(found)
    assert (restart.kind, restart.dropped) == ("restart", 2)
    assert "carry times now" in restart.text
    assert (door.counters.malformed, door.counters.restarts) == (5, 1)
    assert "has a time, the first sample had none" in str(parser.first_fault)
    fresh, _ = fed(overlapping(), samples(x[4:], grid(56)))
    after = [d for d in decisions(found) if d.start >= 2]
    assert [(d.label, d.scores, d.start - 2) for d in after] == [(d.label, d.scores, d.start) for d in fresh]
    assert door.source_rate == 20


@pytest.mark.parametrize("form", ["{t}, {x}", '{{"t": {t}, "x": [{x}]}}'])
def test_and_starts_anew_without_times_where_the_first_sample_alone_had_one(form: str) -> None:
    x = stream(60)
    rows = [",".join(map(str, row)) for row in x.tolist()]
    first = form.format(t=1000, x=rows[0])
    rows = [row if "{" not in first else f"[{row}]" for row in rows]
    door = FrontDoor(overlapping(), Options())
    parser = Parser(door.channels, door.counters)
    parser.endless = True
    read = [parser.parse(line.encode()) for line in [first, rows[0], first, *rows]]
    found = [made for sample in read if sample for made in door.feed(sample)] + door.finish()
    (restart,) = events(found)
    assert "carry no times now" in restart.text
    assert (door.counters.malformed, door.counters.duplicates, door.counters.restarts) == (5, 1, 1)
    fresh, _ = fed(overlapping(), samples(x[4:]))
    after = [d for d in decisions(found) if d.start >= 1]
    assert [(d.label, d.scores, d.start - 1, d.time) for d in after] == [
        (d.label, d.scores, d.start, d.time) for d in fresh
    ]


def test_smoothing_hysteresis_and_a_least_confidence_decide_what_is_shown() -> None:
    """Scores are inputs here, so a class can be made to win by as much as one likes."""

    def shown(rows: list[int], sure: float = 9.0, **options: object) -> list[int | None]:
        x = np.zeros((len(rows), INPUTS))
        x[np.arange(len(rows)), rows] = sure
        return [d.shown for d in fed(plain(), samples(x), **options)[0]]

    row = [0, 0, 1, 0, 0, 1, 1, 1, 1, 0]
    assert shown(row) == row
    assert shown(row, smooth=3) == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert shown(row, hysteresis=3) == [None, None, None, None, None, None, None, 1, 1, 1]
    assert shown(row, sure=0.1, min_confidence=0.5) == [None] * len(row)
    assert shown([0, 0, 0, 1, 1, 0], hysteresis=3, min_confidence=0.6) == [None, None, 0, None, None, 0]
    (first, *_), _ = fed(plain(), samples(np.array([[np.log(2), 0, 0]])))
    assert first.confidence == first.shown_confidence == pytest.approx(0.5)
    assert (first.label, first.name) == (0, "0")


def test_an_overflow_costs_its_window_and_no_more() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(INPUTS, INPUTS, bias=False).eval()
    torch.nn.init.constant_(net.weight, 1e30)
    session = edgekit.load(edgekit.convert(torch.nn.Sequential(net), np.zeros((1, INPUTS), np.float32), name="large"))
    found, door = fed(session, samples(np.array([[1.0] * 3, [1e30] * 3, [1.0] * 3])))
    assert [type(made).__name__ for made in found] == ["Decision", "Event", "Decision"]
    assert (found[1].kind, door.counters.overflows) == ("overflow", 1)


def test_the_caller_keeps_the_session_and_sees_every_step() -> None:
    session = overlapping()
    session.reset()
    session.run(stream(3))
    before, seen = session.save_state(), []
    door = FrontDoor(session, on_step=lambda running: seen.append(running.save_state()))
    found = [made for sample in samples(stream(50)) for made in door.feed(sample)]
    assert session.save_state() == before
    assert len(seen) == 50
    alone = session.stream()
    alone.run(stream(50)[: found[0].end])
    assert seen[found[0].end - 1] == alone.save_state(), "that of the window which is decided next"


def test_what_was_learned_meanwhile_is_taken_over() -> None:
    session = edgekit.load(artifact("l2mu", learn="delta"))
    door = FrontDoor(session, Options(window=LENGTH))
    x = stream(LENGTH)
    for _ in range(20):
        for row in x:
            session.learn(row, 2)
    before = [made for sample in samples(x) for made in door.feed(sample)]
    door.feed(samples(x)[0])
    door.relearned()
    assert door.counters.dropped == 1
    after = [made for sample in samples(x) for made in door.feed(sample)]
    np.testing.assert_array_equal(after[0].scores, session.run(x[None])[0].sum(axis=0))
    assert after[0].scores != before[0].scores


def test_memory_stays_as_it_is() -> None:
    session = overlapping()
    door = FrontDoor(session, Options(smooth=5))
    rows = samples(stream(40))

    def run(count: int) -> None:
        for _ in range(count):
            for row in rows:
                door.feed(row)

    run(20)
    tracemalloc.start()
    run(20)
    gc.collect()
    first, _ = tracemalloc.get_traced_memory()
    run(100)
    gc.collect()
    last, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert last - first < 8 * 100 * len(rows), "not even a number for each sample"


@pytest.mark.parametrize(
    ("session", "options", "said"),
    [
        (overlapping, {"window": 5}, "--window: the program has windows of 10 steps already; leave it out"),
        (lambda: edgekit.load(artifact("l2mu")), {}, "give --window"),
        (lambda: edgekit.load(artifact("l2mu")), {"window": 4, "max_gap": 1.0}, "give --rate too"),
        (overlapping, {"max_gap": 1e5}, "more than 4,096 steps"),
        (lambda: edgekit.load(artifact("l2mu")), {"window": 300, "stride": 1}, "at most 256"),
    ],
)
def test_what_cannot_be_streamed_is_said(session, options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as refused:
        FrontDoor(session(), Options(**options))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        *({"source_rate": bad} for bad in (0, -1, float("nan"), float("inf"))),
        *({name: 0} for name in ("window", "stride", "smooth", "hysteresis", "max_gap")),
        {"min_confidence": 1.1},
        {"min_confidence": float("nan")},
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Options(**options)


def test_a_sample_of_another_shape_and_times_without_a_rate_are_refused() -> None:
    with pytest.raises(DataError, match="has 2 values, the program 3 channels"):
        FrontDoor(plain()).feed(Sample(0.0, (1.0, 2.0)))
    door = FrontDoor(edgekit.load(artifact("l2mu")), Options(window=4))
    with pytest.raises(UsageError, match="give --rate"):
        door.feed(Sample(0.0, (1.0,) * INPUTS))


@pytest.mark.slow
def test_the_soak_compares_every_decision() -> None:
    pytest.importorskip("torch")
    from tools.soak import run

    found = run("soak", "l2mu", "host", 0.2, seed=1)
    assert found.decisions == 0.2 * 3600 * RATE / 40
    assert (found.different, found.passed, found.counters["gaps"]) == (0, True, 1)
    assert found.counters["duplicates"] > 0
    assert found.counters["late"] > 0
    assert not replace(found, different=1).passed
    assert not replace(found, memory_end_kb=found.memory_warm_kb + 1024).passed
