"""The benchmark: it refuses what it cannot compare, takes turns fairly, judges honestly, and grades every figure."""

from __future__ import annotations

import ctypes
import io
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from rich.console import Console

from edgekit.bench import IntegerReport, Schedule, files, integer_model, run_bench, run_integer, run_targets
from edgekit.bench import targets as targets_module
from edgekit.bench.accuracy import Accuracy
from edgekit.bench.activity import ACTIVITY, ACTIVITY_WITHIN
from edgekit.bench.cases import CASES, FAMILIES, RING_BYTES, SPIKE_RATE, Case, Recipe, build_case
from edgekit.bench.clock import WARM_SHARE, WARM_STEPS, Turn, clock
from edgekit.bench.conversion import convert_case, import_case, with_oracle
from edgekit.bench.counts import EVERY_INPUT, Count
from edgekit.bench.footprint import Footprint, footprint
from edgekit.bench.goals import (
    BEST,
    CONVERSION,
    EVENTS,
    FASTER,
    FEWER,
    FLASH,
    GOALS,
    INSTRUCTIONS,
    INSTRUCTIONS_M4,
    INSTRUCTIONS_M55,
    LIMIT,
    RAM,
    SPEED_UP,
    WINDOW,
    Figure,
    judge,
)
from edgekit.bench.integer_model import PEERS, ModelReport, ProgramRow, check_bytes
from edgekit.bench.measure import LOOPS, TIMED
from edgekit.bench.native import COUNT, POINTER, aligned_bytes, native_function
from edgekit.bench.own import SESSION, NativeLoop
from edgekit.bench.packages import require
from edgekit.bench.peers.onnx_runtime import IO_BINDING
from edgekit.bench.report import SCHEMA_VERSION, CaseReport, ProgramReport, Report
from edgekit.bench.roofline import BLOCK, ReadLoop, roofline
from edgekit.bench.rows import Row, Timing, fastest, nearest
from edgekit.bench.stimuli import STEPS, Array
from edgekit.bench.subject import MIN_EQUAL_STEPS, PythonSubject, compare
from edgekit.bench.tables import WIDTH
from edgekit.bench.timing import MAX_TRIES, Spread, time_in_turns
from edgekit.bench.watch import CALIBRATED, COUNTED, WATCH, WatchReport, windows_of
from edgekit.errors import ReplayError, ToolchainError, UsageError
from edgekit.profile.host import describe_host
from edgekit.runtime import load
from edgekit.target import load_target

SHORT = Schedule(rounds=3, turn_s=1e-4)


@dataclass
class Diary:
    """A subject that writes down when it was called; `fails_after` so many turns, all of them `interrupted`."""

    name: str
    calls: list[tuple[str, int]]
    interrupted: bool = False
    fails_after: int = 1000

    def turn(self, steps: int) -> Turn:
        self.calls.append((self.name, steps))
        if len([name for name, _ in self.calls if name == self.name]) > self.fails_after:
            raise ToolchainError(self.name, "gave up")
        return Turn(1000 * steps, self.interrupted)


def _case(expected: Array) -> Case:
    return Case("fake", "fake", 0, None, np.zeros((len(expected), 1), np.float32), expected)


def test_rounds_take_turns_and_rotate_who_starts() -> None:
    calls: list[tuple[str, int]] = []
    micros = time_in_turns([Diary("a", calls), Diary("b", calls), Diary("c", calls)], SHORT)
    assert (micros == 1.0).all()
    assert micros.shape == (3, 3)
    order = [name for name, _ in groupby(calls, key=lambda call: call[0])]
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"  # calibration, then the rounds


def test_an_interrupted_turn_is_taken_again() -> None:
    calls: list[tuple[str, int]] = []
    time_in_turns([Diary("a", calls, interrupted=True)], Schedule(rounds=1, turn_s=1e-4))
    assert [steps for _, steps in calls].count(100) == MAX_TRIES


def test_a_subject_that_fails_is_left_out_and_the_others_go_on() -> None:
    calls: list[tuple[str, int]] = []
    faults: dict[str, str] = {}
    micros = time_in_turns([Diary("a", calls), Diary("b", calls, fails_after=2)], SHORT, faults)
    assert faults == {"b": "b: gave up"}
    assert (micros[:, 0] == 1.0).all()
    assert np.isnan(micros[:, 1]).all()
    with pytest.raises(ToolchainError, match="gave up"):
        time_in_turns([Diary("b", calls, fails_after=1)], SHORT)


def test_the_clock_sees_the_steps_and_not_those_before() -> None:
    seen: list[int] = []
    turn = clock(seen.append, 100)
    assert seen == [100 // WARM_SHARE, 100]
    assert turn.nanoseconds > 0
    clock(seen.append, 1)
    assert seen[2:] == [WARM_STEPS, 1]


def test_spread_is_median_and_percentiles() -> None:
    assert Spread.of(np.arange(101.0)) == Spread(median=50.0, p10=10.0, p90=90.0)


def test_compare_counts_equal_steps_and_refuses_another_model() -> None:
    expected = np.zeros((STEPS, 7), np.float32)
    case = _case(expected)
    assert compare("same", expected + 1e-6, case) == STEPS
    late = expected.copy()
    late[MIN_EQUAL_STEPS + 5, 3] = 1.0
    assert compare("late", late, case) == MIN_EQUAL_STEPS + 5
    for wrong in (1.0, np.nan):
        early = expected.copy()
        early[MIN_EQUAL_STEPS - 1, 0] = wrong
        with pytest.raises(ReplayError, match=f"at step {MIN_EQUAL_STEPS - 1}"):
            compare("early", early, case)


@pytest.mark.parametrize("name", GOALS)
def test_goals_are_met_at_the_limit_and_missed_beyond_it(name: str) -> None:
    at_limit = {goal.key: Figure(goal.limit, "measured", "the reason") for goal in GOALS[name]}
    for outcome in judge(name, at_limit):
        assert outcome.met
        assert not outcome.bound
    beyond = {g.key: Figure(g.limit * (0.99 if g.at_least else 1.01), "measured", "the reason") for g in GOALS[name]}
    missed = judge(name, beyond)
    assert len(missed) == len(GOALS[name])
    assert not any(outcome.met for outcome in missed)
    assert {outcome.bound for outcome in missed} == {"the reason"}
    first = GOALS[name][0]
    assert [outcome.goal for outcome in judge(name, {first.key: at_limit[first.key]})] == [first]


def test_the_goals_are_those_of_the_issue() -> None:
    limits = {(name, *goal.key): goal.limit for name, goals in GOALS.items() for goal in goals}
    assert [limits[name, INSTRUCTIONS, "fp32"] for name in ("mlp", "l2mu", "elm")] == [26_000, 12_000, 50_000]
    assert [limits[name, SPEED_UP, "fp32"] for name in ("mlp", "l2mu", "elm")] == [2.9, 20, 4.4]
    assert [limits[name, SPEED_UP, "w8"] for name in ("mlp", "l2mu", "elm")] == [6, 20, 8]
    assert [limits[name, FASTER, BEST] for name in ("mlp", "l2mu", "elm")] == [2.5, 10, 4]
    assert [limits[name, LIMIT, BEST] for name in ("mlp", "elm")] == [1.5, 1.5]
    assert (limits["neuronio-released", EVENTS, "fp32"], limits["neuronio-released", CONVERSION, "fp32"]) == (0.6, 5)


def test_the_integer_goals_are_those_of_their_issue() -> None:
    limits = {(name, *goal.key): (goal.limit, goal.at_least) for name, goals in GOALS.items() for goal in goals}
    for figure, wanted in ((INSTRUCTIONS_M4, (65_000, 10_000, 90_000)), (INSTRUCTIONS_M55, (7_500, 4_000, 14_000))):
        assert [limits[name, figure, "int8"] for name in ("mlp", "l2mu", "elm")] == [(n, False) for n in wanted]
    assert [limits[name, FEWER, "int8"] for name in ("mlp", "l2mu", "elm")] == [(2, True)] * 3
    watch = [limits[WATCH, figure, "int8"] for figure in (FLASH, RAM, WINDOW)]
    assert watch == [(60_000, False), (3_000, False), (700_000, False)]


def test_a_missing_package_names_its_extra() -> None:
    with pytest.raises(ToolchainError, match=r'not_a_package.*pip install "edgekit\[bench\]"'):
        require("not_a_package")


def test_unknown_names_are_refused_before_any_work() -> None:
    with pytest.raises(UsageError, match="known are mlp, l2mu"):
        run_bench(["mlp", "lstm"], [], SHORT)
    with pytest.raises(UsageError, match="known are torch, compile"):
        run_bench(["mlp"], ["tvm"], SHORT)
    with pytest.raises(UsageError, match="twice"):
        run_bench(["mlp", "mlp"], [], SHORT)
    with pytest.raises(UsageError, match="known are mlp, l2mu"):
        run_targets(["lstm"])


def test_a_model_without_its_file_is_left_out_loudly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.pt"
    monkeypatch.setitem(CASES, "ghost", Recipe(lambda name: pytest.fail(f"{name} was built"), needs=nowhere))
    with pytest.raises(UsageError, match="nowhere"):
        build_case("ghost")
    for report in (run_bench(["ghost"], [], SHORT), run_targets(["ghost"])):
        assert report.absent == {"ghost": f"there is no {nowhere}"}
        text = _printed(report)
        assert "LEFT OUT" in text
        assert "nowhere" in text


def test_the_models_are_those_of_the_design_notes() -> None:
    built = {name: build_case(name) for name in (*FAMILIES, "neuronio")}
    weights = {"mlp": 39_559, "l2mu": 75_803, "lmu": 167_819, "elm": 51_007, "neuronio": 54_102}
    assert {name: case.weights for name, case in built.items()} == weights
    widths = {"mlp": 240, "l2mu": 6, "lmu": 1, "elm": 1260, "neuronio": 1278}
    assert {name: case.stimulus.shape for name, case in built.items()} == {n: (STEPS, w) for n, w in widths.items()}
    for name in ("mlp", "elm"):  # no model gains by zeros that a user's data might not have
        assert np.count_nonzero(built[name].stimulus) == built[name].stimulus.size
    l2mu = built["l2mu"]
    for population in ("m", "h"):
        assert abs(l2mu.activity[population] - ACTIVITY) <= ACTIVITY_WITHIN
    assert set(np.unique(l2mu.expected)) == {0.0, 1.0}  # read-out spikes: something to compare
    assert np.array_equal(build_case("elm").expected, built["elm"].expected)


def test_presynaptic_spikes_excite_and_inhibit_and_the_contrast_has_no_zero() -> None:
    case = build_case("neuronio")
    assert abs(case.activity["input"] - SPIKE_RATE) < 0.002
    assert set(np.unique(case.stimulus[:, :639])) == {0.0, 1.0}
    assert set(np.unique(case.stimulus[:, 639:])) == {-1.0, 0.0}
    assert case.contrast is not None
    assert np.array_equal(np.abs(case.contrast), np.ones_like(case.stimulus))


def test_the_clock_sees_as_much_of_the_stimulus_as_the_caches_can_spare() -> None:
    assert build_case("lmu").ring == STEPS
    elm = build_case("elm")
    assert 1 < elm.ring * elm.stimulus[0].nbytes <= RING_BYTES
    assert build_case("neuronio").ring == STEPS
    seen: list[float] = []
    case = replace(_case(np.zeros((3, 1), np.float32)), stimulus=np.arange(3, dtype=np.float32)[:, None])
    subject = PythonSubject("fake", "fake", case, lambda row: float(row[0]), lambda: None, seen.append)
    subject.turn(7)
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1, 0, 1, 2, 0, 1, 2, 0]  # some unwatched, then seven


def test_the_read_loop_reads_every_byte_as_often_as_it_says() -> None:
    memory = aligned_bytes(9 * BLOCK)
    memory[:] = np.random.default_rng(0).integers(256, size=memory.size)
    read = native_function("read.c", "ek_bench_read", (POINTER, COUNT, COUNT))
    read.restype = ctypes.c_uint64
    for blocks, passes in ((1, 1), (9, 1), (7, 3), (9, 0)):
        words = memory[: blocks * BLOCK].view("<u8")
        expected = int(sum(map(int, words))) * passes % 2**64
        assert read(memory.ctypes.data, blocks * BLOCK, passes) == expected
    loop = ReadLoop("fake", memory.ctypes.data + 1, memory.size - 1)
    assert loop.size == 8 * BLOCK  # whole blocks between aligned addresses, never beyond the end
    assert loop.turn(2).nanoseconds > 0


def test_the_roofline_is_paired_by_round() -> None:
    found = roofline(1000, np.array([1.0, 2.0, 4.0]), np.array([2.0, 4.0, 8.0]))
    assert found.share == Spread(0.5, 0.5, 0.5)
    assert found.read_us.median == 2.0
    assert found.gigabytes_per_s == 0.5


def test_the_limit_reads_the_constants_of_the_program() -> None:
    case = build_case("mlp")
    imported = import_case(case)
    for precision in ("fp32", "w8"):
        conversion = convert_case(case, imported, "host", precision)
        address, size = NativeLoop(case, precision, conversion).constants
        in_place = ctypes.string_at(address, size)
        assert in_place in conversion.program.library
        sizes = footprint(conversion.artifact)
        assert size <= sizes.constant_bytes < size + 1024  # but for what the loader writes to
        stored = conversion.program.constant_bytes
        assert case.weights < stored < 1.1 * case.weights * (4 if precision == "fp32" else 1) + 2048
        wide = load_target("host").simd in ("avx512", "vnni")
        masks = 12_000 if wide else 2048  # that the compiler makes for its vectors
        assert 0 <= size - stored < masks
        assert sizes.ram_bytes == conversion.program.struct_bytes


def test_rounded_weights_are_compared_with_the_reference_that_has_them() -> None:
    case = build_case("mlp")
    artifact = convert_case(case, import_case(case), "host", "w8").artifact
    rounded = with_oracle(case, "w8", artifact)
    assert rounded.oracle != case.oracle
    assert 0 < np.abs(rounded.expected - case.expected).max() < 0.1
    assert with_oracle(case, "fp32", artifact) is case


def report_of(goals: str = "elm") -> Report:
    """A report with a line of every kind in it, and long words wherever there are words."""
    wide = Spread(1234.5, 1000.4, 98765.4)
    size = Footprint(123_456, 1_234_567, 123_456)
    share = Spread(5.0, 3.0, 12.0)
    limit = roofline(1_000_000, np.full(3, 2.0), np.full(3, 1.0))
    programs = tuple(
        ProgramReport(p, wide, 123_456.0, size, replace(limit, share=share), {IO_BINDING: wide}, "op 10%")
        for p in TIMED
    )
    exact = Accuracy(128, 0.0123, 0.99, 0.915, 0.98, 0.2)
    timings = tuple(Timing(n, wide, wide, LOOPS[0]) for n in (1, 2))
    rows = (
        *(Row(name, "edgekit", "detail", exact, timings) for name in (*LOOPS, SESSION)),
        Row("ONNX Runtime, dynamic int8, io-binding", "onnxruntime", "detail", exact, timings, rival=True),
        Row("edgekit .onnx in ONNX Runtime, Session.step", "exported", "detail", exact, timings, note="its own [file]"),
        Row("LiteRT static int8, states copied", "litert", "", None, fault="the worker: was ended by SIGSEGV"),
    )
    counts = (Count(f"edgekit fp32, {EVERY_INPUT}", "cortex-a72", 123_456.0, "emulated", "emulated, unicorn 2.1.4"),)
    figures = {g.key: Figure(0.001 if g.at_least else 1e6, "measured", "why") for g in GOALS[goals]}
    case = CaseReport(
        name="elm",
        description="an ELM",
        weights=51_007,
        activity={"input": 0.02},
        conversion_s=3.2,
        tests="200 of 5,554 windows",
        untested="",
        rows=rows,
        fastest=fastest(rows),
        nearest=nearest(rows),
        session_overhead_us=wide,
        programs=programs,
        counts=counts,
        goals=judge(goals, figures),
    )
    untested = replace(case, name="har-elm", tests="", untested="there is no file", goals=())
    host = replace(describe_host(), processor="A processor")
    return Report(host, 1.0, SHORT, (1, 2), (case, untested), {}, {"openvino": "its environment is not there"})


def test_tables_fit_their_width() -> None:
    report = report_of()
    goals = report.cases[0].goals
    text = _printed(report)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= WIDTH
    # in the table, with the reason, and by precision in the summary
    assert text.count("MISSED") == 2 * len(goals) + len({g.goal.precision for g in goals} & {"fp32", "w8", BEST}) + 1
    assert text.count("why") == len(goals)
    for said in ("--keep", "SKIPPED: openvino, its environment", "LEFT OUT: decisions", "[2] FAILING: the worker: was"):
        assert said in text
    assert "its own [file]" in text
    assert json.loads(json.dumps(report.to_dict()))["schema_version"] == SCHEMA_VERSION


def _printed(report: Any) -> str:
    stream = io.StringIO()
    report.print(Console(file=stream, highlight=False, width=WIDTH))
    return stream.getvalue()


def test_integer_tables_fit_their_width() -> None:
    size = Footprint(123_456, 701_234, 12_345, 1_234)
    row = ProgramRow(
        *("smartwatch-m33", "int8", "cortex-m33", "an engine", 234_567.0),
        **{"least": 200_000, "most": 240_000, "steps": 128, "equal": 128, "size": size},
        costliest="a kernel (of a layer) 50 %, another kernel (of another layer) 20 %, a third kernel (of a layer) 9 %",
        activity={"m.spikes": 0.07, "h.spikes": 0.123},
    )
    broken = ProgramRow("smartwatch-m55", "int8", fault="qemu-system-arm: is not installed")
    figures = {g.key: Figure(0.001 if g.at_least else 1e6, "emulated", row.costliest) for g in GOALS["l2mu"]}
    model = ModelReport("l2mu", "an L2MU", 75_803, {"m": 0.07}, (row, broken), PEERS["l2mu"], judge("l2mu", figures))
    watch = WatchReport(
        *("real windows", "cortex-m33", "an engine", (600_000, 800_000), 12_345, 960, size, row.costliest, {"m": 0.1}),
        goals=judge(WATCH, {g.key: Figure(1e6, "emulated", row.costliest) for g in GOALS[WATCH]}),
    )
    report = IntegerReport((model,), watch, {"elm": "there is no file"})
    assert not report.complete
    assert replace(report, models=(replace(model, rows=(row,)),)).complete
    assert not replace(report, models=(), watch=replace(watch, fault="gave up")).complete
    text = _printed(report)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.count("MISSED") == 2 * (len(GOALS["l2mu"]) + len(GOALS[WATCH]))
    for said in ("200,000 – 240,000", "411,738", "12.3 %", "700,000 instructions in the mean", "LEFT OUT"):
        assert said in text
    assert "FAILED int8 smartwatch-m55: qemu-system-arm: is not installed" in text
    written = report.to_markdown()
    assert (
        "| cortex-m33 | edgekit int8 | 234,567 | 200,000 – 240,000 | emulated | smartwatch-m33; an engine |" in written
    )
    assert "| cortex-m4 | TFLite-Micro int8 | 490,191 | | quoted |" in written
    assert "qemu-system-arm: is not installed |" in written
    assert json.loads(json.dumps(report.to_dict()))["models"][0]["rows"][0]["grade"] == "emulated"


def test_an_int8_program_that_differs_by_a_bit_is_not_counted() -> None:
    """The weights of the library are not those of the graph: the reference notices."""
    case = build_case("mlp")
    imported = import_case(case)
    artifact = convert_case(case, imported, "host", "int8").artifact
    session = load(artifact, engine="native")
    assert session.codec is not None
    (stored,) = session.codec.quantize([case.stimulus[:20]])
    assert check_bytes(session, stored) == 20
    whole, calls = session.run, []

    def almost(*inputs: Array, stored: bool) -> Array:
        calls.append(stored)
        outputs = np.array(whole(*inputs, stored=stored))
        outputs[13, 2] += 1
        return outputs

    session.run = almost  # type: ignore[method-assign]
    with pytest.raises(ReplayError, match="differs from the numpy reference at step 13"):
        check_bytes(session, stored)
    assert calls == [True]


@pytest.mark.parametrize("real", [True, False])
def test_the_watch_says_whether_its_windows_are_real(
    real: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive = tmp_path / "windows.npz"
    if real:
        x = np.arange(2000, dtype=np.int16)[:, None, None] * np.ones((1, 40, 6), np.int16)
        np.savez(archive, x=x, scale=np.full(6, 0.5))
    monkeypatch.setattr(files, "WISDM", archive)
    spec = {"window": 40, "channels": list("abcdef"), "offset": [5.0] * 6, "scale": [0.25] * 6}
    said, calibration, counted = windows_of(spec)
    assert ("SYNTHETIC" in said) != real
    assert (calibration.shape, counted.shape) == ((CALIBRATED, 40, 6), (COUNTED, 40, 6))
    if real:
        assert (calibration[0, 0, 0], calibration[-1, 0, 0], counted[0, 0, 0]) == (0, 999.5, 0.5)
    else:
        assert abs((calibration - 5) * 0.25).mean() < 1.5  # of unit variance, once the program has normalised it


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_the_integer_table_counts_every_core_and_shows_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("unicorn")
    programs = (("smartwatch-m4", "int8"), ("raspberrypi5", "int8"), ("raspberrypi5", "fp32"))
    monkeypatch.setattr(integer_model, "PROGRAMS", programs)
    report = run_integer(["mlp"])
    assert report.complete
    assert report.watch is None
    (model,) = report.models
    assert tuple((row.target, row.precision) for row in model.rows) == programs
    for row in model.rows:
        assert row.equal == row.steps == STEPS
        assert row.instructions is not None
        assert row.least is not None
        assert 1000 < row.least <= row.instructions
        assert row.size is not None
        assert row.size.stack_bytes
        assert row.costliest.count("%") == 4
    assert {goal.goal.figure for goal in model.goals} == {INSTRUCTIONS_M4, FEWER}
    assert "…" not in _printed(report)

    def refuse(*_arguments: object) -> None:
        raise ToolchainError("compiler", "gave up")

    monkeypatch.setattr(integer_model, "convert_case", refuse)
    failed = run_integer(["mlp"])
    assert not failed.complete
    assert not failed.models[0].goals
    assert _printed(failed).count("compiler: gave up") == len(programs)


@pytest.mark.slow
def test_the_target_table_has_every_emulated_target_and_shows_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("unicorn")
    monkeypatch.setattr(targets_module, "list_targets", lambda: ["host", "raspberrypi4"])
    report = run_targets(["mlp"])
    assert [(row.target, row.precision, row.fault) for row in report.rows] == [
        ("raspberrypi4", "fp32", ""),
        ("raspberrypi4", "w8", ""),
    ]
    fp32, w8 = (row.size for row in report.rows)
    assert fp32 is not None
    assert w8 is not None
    assert w8.constant_bytes < fp32.constant_bytes / 3
    assert all(row.instructions is not None and row.instructions > 1000 for row in report.rows)
    assert report.complete

    def refuse(*_arguments: object) -> None:
        raise ToolchainError("compiler", "gave up")

    monkeypatch.setattr(targets_module, "convert_case", refuse)
    failed = run_targets(["mlp"])
    assert not failed.complete
    assert "compiler: gave up" in _printed(failed)


@pytest.mark.drawn(4)
@pytest.mark.slow
def test_a_run_grades_every_figure_and_all_subjects_agree(tmp_path: Path) -> None:
    for package in ("onnxruntime", "onnxscript", "unicorn"):
        pytest.importorskip(package)
    report = run_bench(["mlp", "neuronio"], ["torch", "onnxruntime"], SHORT, keep=tmp_path)
    document = json.loads(json.dumps(report.to_dict()))
    assert document["threads"] == [1]
    assert not document["skipped"]
    for case in document["cases"]:
        names = [row["subject"] for row in case["rows"]]
        assert len(names) == len(set(names)) == 9
        assert names[:4] == [*LOOPS, SESSION]
        for row in case["rows"]:
            assert not row["fault"]
            assert row["rival"] == (row["peer"] != "edgekit")
            assert row["accuracy"]["error"] < (0.1 if "int8" in row["subject"] or "w8" in row["subject"] else 1e-5)
            (timing,) = row["timings"]
            assert (timing["threads"], timing["grade"]) == (1, "measured")
            assert timing["against"] in LOOPS
            assert timing["step_us"]["p10"] <= timing["step_us"]["median"] <= timing["step_us"]["p90"]
        own = [row["timings"][0] for row in case["rows"] if row["timings"][0]["against"] == row["subject"]]
        assert own
        assert all(timing["times"]["median"] == 1.0 for timing in own), "each is as long as itself"
        assert [p["precision"] for p in case["programs"]] == list(TIMED)
        for program in case["programs"]:
            assert set(program["times_faster"]) == {n for n in names if "edgekit" not in n}
            assert program["roofline"]["gigabytes_per_s"] > 0
            assert program["roofline"]["grade"] == "measured"
            assert program["costliest"].count("%") == 3
        own = [count for count in case["counts"] if count["grade"] == "emulated"]
        assert {count["core"] for count in own} == {"cortex-a72"}
        assert all(count["instructions"] > 1000 for count in own)
    mlp, neuronio = document["cases"]
    judged = {(g["goal"]["figure"], g["goal"]["precision"]) for g in mlp["goals"]}
    on_watches = {INSTRUCTIONS_M4, INSTRUCTIONS_M55, FEWER}
    assert judged == {g.key for g in GOALS["mlp"] if g.figure not in on_watches}
    assert {q["grade"] for q in mlp["counts"][3:]} == {"quoted"}
    assert [c["subject"] for c in neuronio["counts"]] == [
        f"edgekit {p}{extra}" for p in TIMED for extra in ("", f", {EVERY_INPUT}")
    ]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{p}.{target}.so" for name in ("mlp", "neuronio") for p in TIMED for target in ("host", "raspberrypi4")
    }
    assert "…" not in _printed(report)


@pytest.mark.drawn(4)
@pytest.mark.parametrize(
    "arguments",
    [
        ("--models", "lstm"),
        ("--peers", "tvm"),
        ("--output", "no/such/folder/out.json"),
        ("--markdown", "table.md"),
        ("--threads", "3"),
        ("--calib", "x.npz"),
        ("model.pt", "--models", "mlp"),
        ("model.onnx",),
        ("no-such-model.pt",),
        ("--keep", "no/such/folder"),
        ("--targets", "--quick"),
        ("--integer", "--quick"),
        ("--integer", "--targets"),
        ("--rounds", "3"),
    ],
)
def test_bad_usage_is_one_message_and_exit_code_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgekit.bench", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert not done.stdout
    assert "Traceback" not in done.stderr
