"""Energy from readings: exact where power is straight lines, with how sure it is, no number from what is broken."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import DataError, UsageError
from edgekit.profile.power import Marks, Rail, Source, Trace, energy_of, parse_power_option, read_meter
from edgekit.profile.power.blocks import blocks_of, student
from edgekit.profile.power.sensors import JOULES, WATTS


def trace(t, watts, *, step: float | None = None, update: float | None = None) -> Trace:
    source = Source(name="made", family="csv", unit=WATTS, rails=(Rail("supply", step=step),), update_s=update)
    return Trace(source, np.asarray(t, float), np.asarray(watts, float)[:, None])


def counter(t, joules, *, wraps: float, update: float | None = None) -> Trace:
    source = Source(
        name="made", family="rapl", unit=JOULES, rails=(Rail("package-0", step=1e-6, wraps=wraps),), update_s=update
    )
    return Trace(source, np.asarray(t, float), np.asarray(joules, float)[:, None])


def exact(points: list[tuple[float, float]], start: float, end: float) -> float:
    """The integral of straight lines between points, segment by segment."""
    total = 0.0
    for (t0, p0), (t1, p1) in pairwise(points):
        a, b = max(t0, start), min(t1, end)
        if b > a:
            slope = (p1 - p0) / (t1 - t0)
            total += (b - a) * (p0 + slope * ((a + b) / 2 - t0))
    return total


@st.composite
def lines(draw):
    steps = draw(st.lists(st.floats(0.001, 2.0), min_size=3, max_size=30))
    t = np.cumsum([draw(st.floats(-5, 5)), *steps])
    watts = draw(st.lists(st.floats(0, 50), min_size=len(t), max_size=len(t)))
    a, b = sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1))))
    span = t[-1] - t[0]
    return list(zip(t.tolist(), watts, strict=True)), t[0] + a * span, t[0] + b * span


@settings(max_examples=200, deadline=None)
@given(lines())
def test_power_made_of_straight_lines_is_integrated_exactly(given_lines):
    points, start, end = given_lines
    at = np.array([start, end])
    joules = trace(*zip(*points, strict=True)).energy(at)[:, 0]
    assert joules[1] - joules[0] == pytest.approx(exact(points, start, end), rel=1e-9, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.001, 0.4), min_size=4, max_size=60), st.floats(0, 9.99), st.floats(0, 1), st.floats(0, 1))
def test_a_counter_gives_what_passed_however_often_it_began_again(each, begin, a, b):
    t = np.arange(len(each) + 1.0)
    true = np.concatenate([[0], np.cumsum(each)])
    read = counter(t, (begin + true) % 10.0, wraps=10.0)
    assert read.steps_back == ()
    span = np.array(sorted((a, b))) * len(each)
    joules = read.energy(span)[:, 0]
    want = np.interp(span, t, true)
    assert joules[1] - joules[0] == pytest.approx(want[1] - want[0], abs=1e-9)


@pytest.mark.parametrize(
    ("p", "dof", "want"),
    [(0.975, 4, 2.776), (0.975, 9, 2.262), (0.975, 19, 2.093), (0.975, 29, 2.045), (0.95, 4, 2.132), (0.95, 29, 1.699)],
)
def test_quantiles_are_those_of_the_tables(p, dof, want):
    assert student(p, dof) == pytest.approx(want, abs=6e-4)


def noise(rng: np.random.Generator, count: int, sigma: float, alike: float) -> np.ndarray:
    """Noise of a first-order process: neighbours are alike by so much."""
    white = rng.normal(0, sigma * math.sqrt(1 - alike**2), count)
    found = np.empty(count)
    found[0] = rng.normal(0, sigma)
    for i in range(1, count):
        found[i] = alike * found[i - 1] + white[i]
    return found


MARKS = Marks((4.0, 14.0), idle_before=(0.0, 3.9), idle_after=(14.1, 18.0))


def run(rng, net: float, *, alike: float = 0.0, sigma: float = 0.2, step: float | None = None) -> Trace:
    """18 s at 100 readings a second, the run of `MARKS` `net` above idle of 2 W."""
    t = np.arange(0, 18.001, 0.01)
    watts = 2 + net * ((t >= 4) & (t < 14)) + noise(rng, len(t), sigma, alike)
    return trace(t, watts if step is None else np.round(watts / step) * step, step=step)


@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_the_interval_holds_the_truth_19_times_of_20(alike):
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        low, high = energy_of(run(rng, 1.0, alike=alike), MARKS, 1).ci95
        held += low <= 30.0 <= high
    assert held >= 182, "binomial: below 182 of 200 once in 300 times at 95 %"


def test_the_least_energy_is_what_it_says():
    """Nothing is taken for something in about 5 of 100 runs, and the least energy is missed in about 5 of 100."""
    rng = np.random.default_rng(4)
    nothing = [energy_of(run(rng, 0.0), MARKS, 1) for _ in range(200)]
    assert sum(found.verdict == "ok" for found in nothing) <= 10
    least = np.median([found.minimum_detectable_joules for found in nothing])
    watts = 1.5 * least / 10
    assert sum(energy_of(run(rng, watts), MARKS, 1).verdict == "ok" for _ in range(200)) >= 180


def test_steps_of_the_sensor_stay_in_the_interval_where_no_noise_spreads_them():
    rng = np.random.default_rng(5)
    fine = energy_of(run(rng, 1.0, sigma=0.2, step=0.04), MARKS, 1)
    coarse = energy_of(run(rng, 1.0, sigma=0.002, step=0.9), MARKS, 1)
    assert coarse.verdict == "faulty", "it never changes"
    t = np.arange(0, 18.001, 0.01)
    beat = np.where(np.arange(len(t)) % 15 == 0, 0.04, 0.0)
    still = energy_of(trace(t, 2 + beat + 1.0 * ((t >= 4) & (t < 14)), step=0.04), MARKS, 1)
    assert fine.resolution == still.resolution == 0.04
    least = 2 * student(0.95, still.blocks - 1) * 10 * 0.04 / math.sqrt(6)
    assert still.minimum_detectable_joules >= least
    assert fine.minimum_detectable_joules < least


def test_net_of_idle_is_an_extra_and_an_idle_that_moves_is_told():
    rng = np.random.default_rng(6)
    found = energy_of(run(rng, 1.0), MARKS, 500)
    assert found.joules == pytest.approx(30, rel=0.01)
    assert found.joules_per_step == found.joules / 500
    assert found.net_joules == pytest.approx(10, rel=0.05)
    assert found.idle_watts == pytest.approx(2, rel=0.02)
    t = np.arange(0, 18.001, 0.01)
    watts = 2 + 1.0 * ((t >= 4) & (t < 14)) + 0.5 * (t >= 14) + rng.normal(0, 0.1, len(t))
    moved = energy_of(trace(t, watts), MARKS, 500)
    assert any("idle went from 2" in note for note in moved.notes)
    low, high = moved.net_ci95
    assert (high - low) * 500 > 0.5 * 10 * 0.9, "half of what it moved by, to both sides"


def test_a_board_that_warms_up_is_told():
    rng = np.random.default_rng(7)
    t = np.arange(0, 18.001, 0.01)
    watts = 3 + 0.05 * t + rng.normal(0, 0.1, len(t))
    found = energy_of(trace(t, watts), Marks((4, 14)), 1)
    assert any("power went to one side by 0.4" in note or "by 0.5" in note for note in found.notes)
    low, high = found.ci95
    assert high - low > 0.45 * 10


def test_a_short_run_has_no_interval():
    rng = np.random.default_rng(8)
    found = energy_of(run(rng, 1.0), Marks((4.0, 4.1)), 10)
    assert found.verdict == "ok"
    assert (found.ci95, found.blocks) == (None, None)
    assert any("too short for an interval" in note for note in found.notes)
    assert blocks_of(run(rng, 1.0), 4.0, 4.25) is not None


def test_long_traces_are_thinned_for_the_picture_and_keep_their_peaks():
    t = np.arange(0, 100, 0.001)
    watts = 2 + np.random.default_rng(9).normal(0, 0.01, len(t))
    watts[54_321] = 9.0
    found = energy_of(trace(t, watts), Marks((1, 99)), 1)
    assert len(found.samples["t"]) <= 2000
    assert max(found.samples["watts"]) == 9.0


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t, w: (np.delete(t, slice(700, 1000)), np.delete(w, slice(700, 1000))), "run: no reading for 3.0"),
        (lambda t, w: (t[:900], w[:900]), "run: no reading for 5.0"),
        (lambda t, w: (t, np.zeros_like(w)), "every reading is 0"),
        (lambda t, w: (t, np.where(t > 6, w[600], w)), "stayed the same for 8.0"),
        (lambda t, w: (t[:2], w[:2]), "too few"),
        (lambda t, w: (np.where(t == t[800], t[799], t), w), "do not increase"),
    ],
)
def test_readings_that_may_not_be_believed_give_no_number(spoil, said):
    whole = run(np.random.default_rng(10), 1.0)
    found = energy_of(trace(*spoil(whole.t, whole.values[:, 0])), MARKS, 10)
    assert found.verdict == "faulty"
    assert said in "; ".join(found.faults)
    assert (found.joules, found.joules_per_step, found.net_joules, found.grade) == (None, None, None, "unavailable")


def test_windows_and_steps_make_sense():
    whole = run(np.random.default_rng(11), 1.0)
    with pytest.raises(UsageError, match="window 'run'"):
        energy_of(whole, Marks((4, 4)))
    with pytest.raises(UsageError, match="0 steps"):
        energy_of(whole, Marks((4, 5)), 0)
    assert energy_of(whole, Marks((4, 14))).joules_per_step is None


def recording(seconds: float = 4.0, hertz: float = 500.0):
    """Amperes of a small board with a run from 1 s to 3 s, at 3.3 V."""
    t = np.arange(0, seconds, 1 / hertz)
    amps = 0.004 + 0.006 * ((t >= 1) & (t < 3)) + np.random.default_rng(12).normal(0, 1e-4, len(t))
    return t, amps


def rows(*columns, sep: str = ",") -> str:
    return "".join(sep.join(cells) + "\n" for cells in zip(*columns, strict=True))


def texts(values, form: str = "{:.9g}") -> list[str]:
    return [form.format(value) for value in values]


t, amps = recording()
volts = 3.3 + np.random.default_rng(13).normal(0, 0.002, len(t))
bits = ["00000000"] * len(t)
FILES = {
    "PPK2": ("Timestamp(ms),Current(uA),D0-D7\n" + rows(texts(t * 1e3), texts(amps * 1e6, "{:.3f}"), bits), 3.3),
    "PPK2 first": ("Timestamp(ms),Current(uA)\n" + rows(texts(t * 1e3), texts(amps * 1e6)), 3.3),
    "Joulescope": (
        "#time,current,voltage,power,charge,energy\n"
        + rows(texts(t), texts(amps), texts(volts), texts(amps * volts), texts(t), texts(t)),
        None,
    ),
    "Monsoon": (
        "Time (s),Main Avg Current (mA),Main Avg Voltage (V)\n" + rows(texts(t), texts(amps * 1e3), texts(volts)),
        None,
    ),
    "Otii, as converted": (
        "timestamp_s,datetime,current_A\n" + rows(texts(t), ["2025-01-01"] * len(t), texts(amps)),
        3.3,
    ),
    "LPM01A style": ("# exported\nTime (ms);Current (µA)\n" + rows(texts(t * 1e3), texts(amps * 1e6), sep=";"), 3.3),
    "decimal comma": (
        "Zeit;x\nTime [s];Current [mA]\n" + rows(texts(t), texts(amps * 1e3), sep=";").replace(".", ","),
        3.3,
    ),
    "watts": ("t_us,power_mW\r\n" + rows(texts(t * 1e6), texts(amps * volts * 1e3)).replace("\n", "\r\n"), None),
    "tabs": ("Time (s)\tPower (W)\n" + rows(texts(t), texts(amps * volts), sep="\t"), None),
    "quoted": ('"Time (s)","Power (W)"\n' + rows(*([f'"{x}"' for x in texts(c)] for c in (t, amps * volts))), None),
}


@pytest.mark.parametrize("name", list(FILES))
def test_files_of_meters_are_read_by_their_titles_and_units(tmp_path, name):
    text, supply = FILES[name]
    path = tmp_path / "power.csv"
    path.write_text(text, encoding="utf-8")
    read = read_meter(path, volts=supply)
    want = amps * (volts if supply is None else supply)
    np.testing.assert_allclose(read.t, t, atol=1e-9)
    np.testing.assert_allclose(read.values[:, 0], want, rtol=1e-4)
    given = "" if supply is None else f",volts={supply}"
    found = parse_power_option(f"csv:{path}{given},steps=1000,run=1:3,idle=0:0.9,idle=3.1:3.9").file_energy()
    assert found.verdict == "ok"
    truth = 0.010 * 3.3 * 2
    low, high = found.ci95
    assert low <= truth / 1000 * 1.003
    assert high >= truth / 1000 * 0.997
    assert found.joules == pytest.approx(truth, rel=0.01)
    assert found.net_joules == pytest.approx(0.006 * 3.3 * 2, rel=0.02)
    assert path.name in found.sensor


def test_a_whole_file_is_the_run_unless_windows_are_given(tmp_path):
    path = tmp_path / "a,b.csv"
    path.write_text(FILES["PPK2"][0])
    found = parse_power_option(f"csv:{path},steps=10,volts=3.3").file_energy()
    assert found.sensor == "PPK2, a,b.csv"
    assert found.joules == pytest.approx((0.004 * 4 + 0.006 * 2) * 3.3, rel=0.01)
    assert (found.idle_watts, found.net_joules) == (None, None)
    assert any("voltage was given: 3.3 V" in note for note in found.notes)


def test_columns_may_be_named(tmp_path):
    path = tmp_path / "otii.csv"
    path.write_text("Timestamp,Value\n" + rows(texts(t), texts(amps * 1e3)))
    with pytest.raises(DataError, match="no column of current or power"):
        read_meter(path)
    found = parse_power_option(f"csv:{path},volts=3.3,time=Timestamp:s,current=Value:mA").file_energy()
    assert found.joules == pytest.approx((0.004 * 4 + 0.006 * 2) * 3.3, rel=0.01)
    for columns, said in (({"current": "Volts:A"}, "no column Volts"), ({"current": "Value:mV"}, "no unit of current")):
        with pytest.raises(DataError, match=said):
            read_meter(path, columns=columns)


def test_gaps_of_a_file_are_told(tmp_path):
    path = tmp_path / "gaps.csv"
    keep = np.ones(len(t), bool)
    keep[[100, 101, 900]] = False
    path.write_text("Timestamp(ms),Current(uA)\n" + rows(texts(t[keep] * 1e3), texts(amps[keep] * 1e6)))
    found = parse_power_option(f"csv:{path},steps=10,volts=3.3").file_energy()
    assert any(note.startswith("2 gaps between readings, the longest 0.006 s") for note in found.notes)


GOOD = "time(s),power(W)\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("0,1\n1,2\n", "no line with the titles of columns"),
        ("voltage,current\n1,2\n", "no line with the titles of columns"),
        ("time(s),voltage(V)\n0,1\n1,2\n2,3\n", "no column of current or power"),
        ("time(s),current(A)\n0,1\n1,2\n2,3\n", "current and no voltage"),
        (GOOD, "has 0 readings"),
        (GOOD + "0,1\n1,2\n", "has 2 readings"),
        (GOOD + "0,1\n1,nan\n2,3\n3,nan\n", r"2 of 4 readings are not finite, first in line 3"),
        (GOOD + "0,1\n1,inf\n2,3\n", "not finite"),
        (GOOD + "0,1\n1,\n2,3\n", "no number"),
        (GOOD + "0,1\n1,two\n2,3\n", "no number"),
        (GOOD + "0,1\n1\n2,3\n", "no number"),
        (GOOD + "0,1\n1,2\n1,3\n2,3\n", "times do not increase in line 4"),
        (GOOD + "0,1\n2,2\n1,3\n", "times do not increase in line 4"),
    ],
)
def test_files_that_cannot_be_believed_are_refused(tmp_path, text, said):
    path = tmp_path / "power.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_meter(path)


def test_files_that_are_none_and_volts_too_many_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_meter(tmp_path / "none.csv")
    with pytest.raises(DataError, match="cannot be read"):
        read_meter(tmp_path)
    path = tmp_path / "power.csv"
    path.write_text(GOOD + "0,1\n1,2\n2,3\n")
    with pytest.raises(DataError, match="has power already"):
        read_meter(path, volts=3.3)
    path.write_bytes(b"\xff\xfe\x00" * 50)
    with pytest.raises(DataError, match="no line with the titles"):
        read_meter(path)


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ("run=1:9", "the file at 3.998"),
        ("run=1:2,idle=1.5:2.5", "one window before the run"),
        ("idle=0:1", "one window before"),
    ],
)
def test_windows_of_a_file_lie_in_it(tmp_path, windows, said):
    path = tmp_path / "power.csv"
    path.write_text(FILES["watts"][0])
    with pytest.raises(UsageError, match=said):
        parse_power_option(f"csv:{path},{windows}").file_energy()


@pytest.mark.parametrize("steps", ["2.5", "0.5", "1e3000"])
def test_steps_in_a_file_are_a_whole_number(steps):
    with pytest.raises(UsageError, match="steps"):
        parse_power_option(f"csv:meter.csv,steps={steps}")
    assert parse_power_option("csv:meter.csv,steps=1e3").steps == 1000
