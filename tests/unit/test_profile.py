"""Profiles: counts add up, inputs are taken as they are given, estimates say what they assume, gaps stay gaps."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from converted import INPUTS, Answer, artifact, edgekit_main, module, stream

import edgekit
from edgekit.artifact import Artifact
from edgekit.errors import DataError, ToolchainError, UsageError
from edgekit.profile import report
from edgekit.profile.counts import StepCounts, count_steps, counting_stream
from edgekit.profile.estimate import estimates
from edgekit.profile.figures import memory_rows
from edgekit.profile.grades import DERIVED, EMULATED, ESTIMATED, MEASURED, UNAVAILABLE
from edgekit.profile.memory import program_memory
from edgekit.profile.report import Given, profile_emulated, profile_host
from edgekit.profile.stimulus import given_stimulus, selftest_stimulus
from edgekit.runtime import Session, load
from edgekit.target import load_target

WIDTH = 100
STEPS = 40  # of one foreign call: enough that what Python does around it is little for each
PI = "raspberrypi4"


@pytest.fixture
def pi():
    pytest.importorskip("unicorn")
    return artifact("l2mu", target=PI)


@pytest.fixture(scope="module")
def watch():
    """An integer program for a watch."""
    pytest.importorskip("unicorn")
    return edgekit.convert(module("l2mu"), target="smartwatch-m4", precision="int8", calib="synthetic", name="watch")


def machine(answer: Answer) -> dict:
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["schema_version"] == 2
    return document


def adds_up(counts: StepCounts) -> None:
    whole = sum(counts.steps)
    assert sum(counts.functions.values()) * len(counts.steps) == pytest.approx(whole)
    assert sum(op.instructions for op in counts.ops) + counts.calls == pytest.approx(counts.total)
    assert counts.calls > 0
    assert all(op.most >= op.instructions > 0 for op in counts.ops)


def test_counts_add_up_and_repeat(pi, watch):
    for converted in (pi, watch):
        counts = count_steps(converted)
        adds_up(counts)
        assert counts == count_steps(converted)
        assert counts.stimulus == "the self-test stream of the artifact"
        assert len(counts.steps) == counts.available == 32
        named = {row["op"]: row["kernel"] for row in converted.manifest["kernels"] if row["entry"] == "step"}
        assert {op.op: op.kernel for op in counts.ops if op.kernel} == named
        assert all(op.layer for op in counts.ops if op.kernel)


def test_a_step_is_counted_the_same_alone_and_in_a_run_that_only_counts(pi):
    """`run` counts without watching calls or painting stacks: its steps are the same, but for its own loop."""
    counts = count_steps(pi)
    running = counting_stream(pi)
    (inputs,) = selftest_stimulus(pi).streams
    running.counting = True
    for t in range(len(inputs[0])):
        running.call("step", [array[t] for array in inputs])
    assert running.total_instructions() == sum(counts.steps)


def test_the_border_of_an_integer_program_is_counted_once_where_raw_values_are_known(watch):
    assert set(count_steps(watch).border) == {"dequantize"}
    found = profile_emulated(watch, Given("x.npy", stream(5)))
    assert found.counts is not None
    assert set(found.counts.border) == {"quantize", "dequantize"}
    assert all(n > 10 for n in found.counts.border.values())
    assert found.counts.stack > 0
    adds_up(found.counts)


def test_windows_start_from_a_reset_and_streams_go_on(pi):
    x = stream(6)
    alone = profile_emulated(pi, Given("x", x)).counts
    windows = profile_emulated(pi, Given("x", np.stack([x, x]))).counts
    joined = profile_emulated(pi, Given("x", np.concatenate([x, x]))).counts
    assert alone
    assert windows
    assert joined
    assert windows.steps == alone.steps * 2
    assert windows.windows == (sum(alone.steps),) * 2
    assert alone.windows == joined.windows == ()
    cut = profile_emulated(pi, Given("x", np.stack([x, x])), steps=8).counts
    assert cut
    assert cut.windows == windows.windows[:1], "only whole windows"
    assert joined.steps[:6] == alone.steps
    assert joined.steps != windows.steps, "the net is excitable: it goes on where it was"


def test_at_most_so_many_steps_are_counted_and_the_rest_is_said(pi, monkeypatch):
    long = np.stack([stream(8, seed) for seed in range(5)])
    few = profile_emulated(pi, Given("x", long), steps=12)
    assert (few.steps, few.available) == (12, 40)
    assert few.counts is not None
    assert few.counts.steps == profile_emulated(pi, Given("x", long)).counts.steps[:12]
    monkeypatch.setattr(report, "MOST_COUNTED", 20)
    assert profile_emulated(pi, Given("x", long)).steps == 20
    assert profile_emulated(pi, Given("x", long), steps=30).steps == 30
    with pytest.raises(UsageError, match="--steps 0"):
        profile_emulated(pi, steps=0)


def test_a_lead_in_is_run_but_not_counted(pi):
    x = stream(12)
    session = Session(pi, counting_stream(pi))
    whole = count_steps(pi, given_stimulus(session, x, "x"))
    late = replace(given_stimulus(session, x[6:], "x"), lead_in=(x[:6],))
    assert count_steps(pi, late).steps == whole.steps[6:]


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (
            np.zeros((4, INPUTS + 1), np.float32),
            r"x.npy: has shape \(4, 4\); the program takes \[T, 3\] or \[N, T, 3\]",
        ),
        (np.zeros(INPUTS, np.float32), "has shape"),
        (np.zeros((2, 2, 2, INPUTS), np.float32), "has shape"),
        (np.zeros((0, INPUTS), np.float32), "has shape"),
        (np.full((4, INPUTS), np.nan, np.float32), "NaN or Inf, which a float program refuses"),
    ],
)
def test_an_input_that_does_not_fit_is_refused_by_name(pi, x, said):
    with pytest.raises(DataError, match=said):
        profile_emulated(pi, Given("x.npy", x))


def test_an_integer_program_takes_nan_as_its_quantize_does(watch):
    assert profile_emulated(watch, Given("x.npy", np.full((2, INPUTS), np.nan, np.float32))).steps == 2


def test_memory_is_that_of_the_program(pi, watch):
    for converted in (pi, watch):
        memory = program_memory(converted, 48)
        sizes = converted.manifest["sizes"]
        assert memory.struct == sizes["ram_bytes"] == memory.states + memory.arena + memory.lists
        assert memory.flash == memory.code + memory.constants
        assert memory.code > 1000
        assert memory.constants >= 0.9 * sizes["weights_bytes"]
        document = memory.to_dict()
        assert document["ram"] == memory.struct + 48
        assert (document["grade"], document["stack_grade"], document["stack"]) == (DERIVED, EMULATED, 48)
        assert program_memory(converted).to_dict()["stack_grade"] == UNAVAILABLE
    library = pi.file.members[pi.manifest["program"]["library"]]
    assert program_memory(pi).flash < len(library)
    # Of firmware, the program alone: no start-up code, no self-test.
    assert program_memory(watch).flash < len(watch.file.members[watch.manifest["program"]["library"]])


def test_weights_that_init_decodes_are_told_apart():
    coded = edgekit.convert(module("l2mu"), precision="int8", calib="synthetic", name="coded", flash_coding=True)
    memory, decoded = program_memory(coded), coded.manifest["sizes"]["decoded_bytes"]
    assert memory.decoded == decoded > 0
    assert memory.lists == memory.struct - memory.states - memory.arena - decoded >= 0
    assert ("decoded", decoded) in [row[:2] for row in memory_rows(memory.to_dict())]


def test_an_estimate_is_its_formula_and_names_sources_and_assumptions():
    target = load_target(PI)
    time, _, _ = estimates(30_000.0, target)
    assert (time.grade, time.unit) == (ESTIMATED, "s")
    assert time.value == pytest.approx(30_000 / target.clock_hz)
    assert time.sources == (f"clock: {target.sources['clock_hz']}",)
    assert "1 cycle per instruction" in time.assumptions[0]
    unknown, _ = estimates(30_000.0, replace(target, clock_hz=None))
    assert (unknown.value, unknown.grade, unknown.assumptions) == (None, UNAVAILABLE, ())


def test_the_host_is_timed_warm_and_says_what_it_ran_on():
    found = profile_host(artifact("l2mu"), Given("x", stream(STEPS)))
    assert found.engine == load(artifact("l2mu")).engine
    assert found.host is not None
    assert found.memory.stack is None
    assert found.counts is None
    names = [timing.name for timing in found.timings]
    assert names == ["one step a call", "many steps a call", "Session.step", "Session.run"]
    native, _, single, many = found.timings
    assert single.steps_each == 1
    assert many.steps_each == STEPS
    for timing in found.timings:
        assert timing.grade == MEASURED
        assert 0 < timing.spread.p50 <= timing.spread.p90 <= timing.spread.p99
        assert timing.spread.n > 100
    # The fastest of many: each was timed at another moment, and a busy machine can slow one of them throughout.
    assert many.spread.min < single.spread.min, "one foreign call for many steps"
    assert native.spread.min < single.spread.min, "no foreign call at all"
    assert found.selftest_steps == len(next(iter(artifact("l2mu").selftest.inputs.values())))
    assert found.breakdown is not None
    assert found.breakdown.grade == MEASURED
    assert found.places is not None
    assert found.operations is not None
    assert {p.name for p in found.activity.populations} == {"spk_u", "spk_m", "spk_h", "spk_output"}


def test_a_program_of_another_processor_is_not_timed_here(pi):
    if load_target("host").arch == "aarch64":
        pytest.skip("this computer has the architecture of the board")
    with pytest.raises(UsageError, match=r"raspberrypi4.*this computer is.*--on emulator"):
        profile_host(pi)


def test_a_host_program_is_not_emulated():
    with pytest.raises(ToolchainError, match="no emulated core"):
        profile_emulated(artifact("l2mu"))


def test_an_artifact_without_a_program_is_refused(pi):
    manifest = {key: value for key, value in pi.manifest.items() if key not in ("program", "members")}
    bare = Artifact.build(manifest, pi.graph, pi.selftest, {})
    for look in (profile_host, profile_emulated):
        with pytest.raises(UsageError, match="holds no program to measure"):
            look(bare)


def test_the_tables_fit_and_say_how_every_figure_came_about(pi, watch, tmp_path):
    np.save(tmp_path / "x.npy", stream(50))
    for name, converted in (("pi", pi), ("watch", watch)):
        edge = converted.save(tmp_path / f"{name}.edge")
        for flags in ((), ("-v",), ("--input", tmp_path / "x.npy", "--steps", "40")):
            answer = edgekit_main("profile", edge, "--on", "emulator", *flags)
            assert answer.returncode == 0, answer.stderr
            too_long = [line for line in answer.stdout.splitlines() if len(line.rstrip()) > WIDTH]
            assert [line for line in too_long if str(tmp_path) not in line] == []
            assert "…" not in answer.stdout
            for word in ("engine: emulated cortex-", "unicorn", EMULATED, DERIVED, "dequantize"[: 10 * (name != "pi")]):
                assert word in answer.stdout
            assert ("40 steps of 50 (more with --steps N)" in answer.stdout) == bool(flags[1:])
            assert ("function, without those it calls" in answer.stdout) == (flags == ("-v",))
            assert {row["kernel"] for row in converted.manifest["kernels"] if row["entry"] == "step"} <= set(
                answer.stdout.split()
            )


def test_the_machine_form_has_every_figure_with_its_grade(pi, tmp_path):
    edge = pi.save(tmp_path / "pi.edge")
    document = machine(edgekit_main("profile", edge, "--on", "emulator", "--json"))
    counts = document["counts"]
    assert counts["grade"] == EMULATED
    assert counts["a_step"]["min"] <= counts["a_step"]["median"] <= counts["a_step"]["max"]
    assert counts["a_step"]["min"] == min(counts["steps"])
    assert counts["a_window"] is None
    assert {e["grade"] for e in document["estimates"]} == {ESTIMATED}
    assert document["memory"]["stack_grade"] == EMULATED
    assert document["timings"] == []
    here = machine(edgekit_main("profile", artifact("mlp").save(tmp_path / "here.edge"), "--json"))
    assert here["counts"] is None
    assert {t["grade"] for t in here["timings"]} == {MEASURED}
    assert here["host"]["processor"]


def test_refusals_are_one_clear_line_and_exit_code_2(pi, tmp_path, monkeypatch):
    edge = pi.save(tmp_path / "pi.edge")
    np.save(tmp_path / "wide.npy", np.zeros((6, INPUTS + 1), np.float32))
    (tmp_path / "noise.edge").write_bytes(bytes(range(256)) * 4)
    for arguments, said in (
        ((edge, "--on", "moon"), "--on moon: is not known; known are host, emulator"),
        ((edge, "--on", "ssh://"), "ssh://"),
        ((edge, "--on", "emulator", "--paced", "20Hz"), "--on emulator: counts instructions and takes no time"),
        ((edge, "--on", "emulator", "--strict"), "--on emulator: counts instructions and takes no time"),
        ((edge, "--on", "emulator", "--power", "rapl"), "--power rapl: an emulated core has no sensor"),
        ((edge, "--on", "emulator", "--power", "magic"), "--power magic: is not known"),
        ((edge, "--paced", "fast"), "--paced fast: is no rate"),
        ((edge, "--paced", "0Hz"), "--paced 0Hz: is no rate"),
        ((edge, "--html", tmp_path / "no" / "page.html"), "is in a folder that does not exist"),
        ((edge, "--html", tmp_path), "is a folder"),
        ((), "ARTIFACT: is missing"),
        ((edge, "--compare", "a.json", "b.json"), "--compare: reads two finished profiles: ARTIFACT"),
        (("--compare", tmp_path / "a.json", tmp_path / "b.json"), "a.json: cannot be read"),
        ((edge, "--on", "emulator", "--config", "c.json"), "--config: describes a --reference"),
        ((tmp_path / "noise.edge", "--on", "emulator"), "noise.edge"),
        ((tmp_path / "none.edge",), "none.edge"),
        ((edge, "--on", "emulator", "--input", tmp_path / "wide.npy"), "wide.npy: has shape (6, 4)"),
        ((edge, "--on", "emulator", "--input", tmp_path / "none.npy"), "none.npy: no such file"),
        ((edge, "--on", "emulator", "--steps", "0"), "--steps 0: is not a number of steps"),
        ((edge, "--on", "emulator", "--steps", "x"), "--steps"),
    ):
        answer = edgekit_main("profile", *arguments)
        assert answer.returncode == 2
        first = answer.stderr.splitlines()[0]
        assert first.startswith("error: ")
        assert said in first
        assert not answer.stdout
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    answer = edgekit_main("profile", edge, "--on", "emulator")
    assert answer.returncode == 2
    assert 'unicorn: is not installed; pip install "edgekit[emulate]"' in answer.stderr


def test_operations_are_those_of_whole_windows(pi, monkeypatch):
    x = np.stack([stream(8, seed) for seed in range(5)])
    whole = profile_emulated(pi, Given("x", x[:1])).operations
    monkeypatch.setattr(report, "MOST_COUNTED", 5)
    found = profile_emulated(pi, Given("x", x))
    assert found.counts is not None
    assert len(found.counts.steps) == 5
    assert found.operations == whole, "a part of a window says nothing of a whole one"
    assert any("operations and spikes are those of the first 8 of 40 steps" in note for note in found.notes)
    cut = profile_emulated(pi, Given("x", x), steps=12)
    assert cut.operations.steps == 8, "whole windows alone"
    few = profile_emulated(pi, Given("x", x), steps=3)
    assert (few.operations.steps, few.operations.window) == (3, None), "nothing is said of windows that were not run"
