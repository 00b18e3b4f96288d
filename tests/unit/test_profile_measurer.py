"""The measurer: a program's own library, replayed and timed by a helper without libc, here and on emulated cores."""

from __future__ import annotations

import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from converted import artifact, module

import edgekit
from edgekit.artifact import Artifact
from edgekit.errors import DataError, ReplayError, TargetError, ToolchainError, UsageError
from edgekit.profile.grades import MEASURED
from edgekit.profile.measurer import SOURCES, Measurable, Measurer, build_measurer, measure, program_for
from edgekit.profile.measurer_wire import FIRST_LINE, REPLAY, STEP, bucket_ns, job_bytes
from edgekit.profile.places import Here
from edgekit.profile.stimulus import Stimulus, selftest_stimulus
from edgekit.profile.timing import MeasurePlan, time_steps
from edgekit.runtime import load
from edgekit.target import load_target
from edgekit.toolchain import build_shared, find_compiler, load_image
from edgekit.toolchain.qemu_user import find_qemu

QUICK = MeasurePlan(windows=3, seconds=0.02, warm_seconds=0.01)
CORES = {"raspberrypi4": ("aarch64", "cortex-a72"), "stm32mp157": ("armv7", "cortex-a7")}
STRICT = ("-Wall", "-Wextra", "-Werror")


@cache
def integer(target: str = "host") -> Artifact:
    return edgekit.convert(module("l2mu"), target=target, precision="int8", calib="synthetic", name="whole")


@contextmanager
def emulated(target: str) -> Iterator[Here]:
    """This computer, running programs of a board through qemu's user mode."""
    arch, core = CORES[target]
    qemu = find_qemu(arch)
    if qemu is None:
        pytest.skip("qemu-user is not installed")
    with Here(through=[qemu, "-cpu", core], arch=arch) as place:
        yield place


def same_bytes(converted: Artifact, place: Here, engine: str) -> None:
    """A replay gives the bytes that an engine gives for the same stream: outputs, and states after it."""
    stimulus = selftest_stimulus(converted)
    outputs, state, agree = Measurer(place).replay(program_for(place, converted), stimulus)
    stream = load(converted, engine=engine).engine_stream
    stream.reset()
    for got, wanted in zip(outputs, stream.run(list(stimulus.streams[0])), strict=True):
        assert got.dtype == wanted.dtype
        assert got.tobytes() == wanted.tobytes()
    assert state == stream.save()
    assert agree == stimulus.steps


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_replay_here_gives_the_bytes_of_the_program_in_this_process(precision):
    with Here() as place:
        same_bytes(artifact("l2mu") if precision == "fp32" else integer(), place, "native")


@pytest.mark.parametrize("target", CORES)
def test_a_replay_on_an_emulated_board_gives_the_bytes_of_another_runner_there(target):
    for converted in (artifact("l2mu", target=target), integer(target)):
        with emulated(target) as place:
            same_bytes(converted, place, "qemu")


@pytest.mark.parametrize("target", CORES)
def test_a_board_is_measured_from_self_test_to_conditions(target):
    converted = integer(target)
    with emulated(target) as place:
        found = measure(place, converted, selftest_stimulus(converted), replace(QUICK, rate_hz=100, paced_seconds=0.1))
    assert found.selftest.worst_error == 0.0
    assert found.place.startswith("this computer, through qemu-")
    assert found.engine.startswith("native (cortex_a")
    assert [t.name for t in found.timings] == [
        "one step a call",
        "one step a call, raw to real",
        "many steps a call",
    ]
    assert found.paced is not None
    assert found.paced.steps >= 1
    assert found.before.kernel


def test_a_measurement_here_has_every_figure_with_its_count_and_its_time():
    converted = artifact("l2mu")
    stimulus = selftest_stimulus(converted)
    begin = time.monotonic_ns()
    with Here() as place:
        found = measure(place, converted, stimulus, QUICK)
    end = time.monotonic_ns()
    assert found.selftest.steps == 32
    assert found.place == "this computer"
    assert found.engine == load(converted).engine
    assert 0 < found.clock.ns < 10_000
    single, many = found.timings
    assert many.steps_each % 32 == 0
    assert found.paced is None
    for timing in found.timings:
        assert timing.grade == MEASURED
        assert len(timing.windows) == 3
        assert timing.spread.n == sum(timing.histogram.counts) > 10
        assert 0 < timing.spread.min <= timing.spread.p50 <= timing.spread.p99 <= timing.spread.max
        assert timing.preempted is not None
        read = timing.steps_each * timing.median_us * 1e3
        assert found.clock.ns < read / 10, "the clock is a small part of a reading"
    assert len(found.marks) == 6
    for before, after in pairwise(found.marks):
        assert before.begin_ns < before.end_ns <= after.begin_ns
    assert begin < found.marks[0].begin_ns, "the clock is that of this process"
    assert found.marks[-1].end_ns < end
    for mark in found.marks:
        assert mark.end_ns - mark.begin_ns >= 20_000_000
        assert mark.steps > 0
    assert found.before.kernel == found.after.kernel == Path("/proc/sys/kernel/osrelease").read_text().strip()
    python, _ = time_steps(load(converted), stimulus, QUICK)
    assert single.spread.min < python.spread.min, "no interpreter around it"


def test_the_border_of_an_integer_program_is_timed_beside_its_step():
    converted = integer()
    with Here() as place:
        _, timings, paced, _ = Measurer(place).time(
            program_for(place, converted),
            selftest_stimulus(converted),
            replace(QUICK, rate_hz=200, paced_seconds=0.05),
        )
    step, border, _ = timings
    assert step.how == "the program alone, stored integers"
    assert border.how == "the program alone: quantize, step, dequantize"
    assert border.spread.min > step.spread.min * 0.7
    assert paced is not None
    assert paced.how == border.how, "a sensor gives raw values"


def test_raw_values_are_those_that_the_border_turns_into_the_stored_ones():
    converted = integer()
    stimulus = selftest_stimulus(converted)
    stored = stimulus.streams[0][0]
    job = job_bytes(converted.graph, stimulus, QUICK, STEP | 2)
    raw = np.frombuffer(job[-4 * stored.size :], "<f4").reshape(stored.shape)  # the last of it, 384 bytes
    codec = load(converted).codec
    assert codec is not None
    assert np.abs(codec.quantize([raw])[0].astype(int) - stored).max() <= 1


def test_streams_are_walked_as_one_and_a_refusal_names_the_step():
    converted = artifact("l2mu")
    first, second = np.zeros((5, 3), np.float32), np.zeros((7, 3), np.float32)
    second[4, 1] = np.nan
    stimulus = Stimulus("two", ((first,), (second,)), 12)
    with Here() as place:
        measurer, program = Measurer(place), program_for(place, converted)
        with pytest.raises(TargetError, match="refuses an input with NaN or Inf at step 9"):
            measurer.time(program, stimulus, QUICK)
        with pytest.raises(DataError, match="has no steps"):
            measurer.time(program, Stimulus("none", ((first[:0],),), 0), QUICK)


def test_a_program_that_is_wrong_fails_its_self_test_before_anything_is_timed():
    converted = artifact("l2mu")
    outputs = {name: array.copy() for name, array in converted.selftest.outputs.items()}
    next(iter(outputs.values()))[7] += 0.5
    manifest = {key: value for key, value in converted.manifest.items() if key != "members"}
    files = {name: made for name, made in converted.file.members.items() if name.startswith(("native/", "c/"))}
    wrong = Artifact.build(manifest, converted.graph, replace(converted.selftest, outputs=outputs), files)
    with Here() as place, pytest.raises(ReplayError, match=r"this computer: native.*at step 7 of 32"):
        measure(place, wrong, selftest_stimulus(wrong), QUICK)


def test_code_that_is_not_trusted_is_not_what_runs_here(tmp_path, monkeypatch):
    path = artifact("l2mu").save(tmp_path / "m.edge")
    monkeypatch.setenv("EDGEKIT_HOME", str(tmp_path / "somebody-else"))
    stranger = Artifact.open(path)
    with Here() as place:
        assert program_for(place, stranger).engine == load(stranger).engine
        assert "rebuilt from the graph" in program_for(place, stranger).engine
    pi = Artifact.open(artifact("l2mu", target="raspberrypi4").save(tmp_path / "pi.edge"))
    monkeypatch.setenv("EDGEKIT_HOME", str(tmp_path / "another"))
    with emulated("raspberrypi4") as place:  # what it runs, runs here
        assert program_for(place, pi).engine.startswith("rebuilt from the graph (cortex_a72")


def test_a_program_for_another_machine_is_refused():
    with emulated("stm32mp157") as place, pytest.raises(UsageError, match=r"raspberrypi4 \(aarch64\).*is armv7"):
        program_for(place, artifact("l2mu", target="raspberrypi4"))


def test_a_program_that_crashes_says_how():
    converted = artifact("l2mu", target="raspberrypi4")
    library = bytearray(converted.file.members[converted.manifest["program"]["library"]])
    (offset, _, address) = next(
        struct.unpack_from("<3Q", library, at + 8)
        for at in range(64, 64 + 56 * 7, 56)
        if struct.unpack_from("<2I", library, at) == (1, 5)
    )
    step = next(f for f in load_image(bytes(library)).functions if f.name == "ek_l2mu_fp32_step")
    library[step.address - address + offset :][:4] = bytes(4)
    at = step.address - address + offset
    library[at : at + 4] = bytes(4)  # no instruction
    program = Measurable(converted.graph, bytes(library), "broken")
    with (
        emulated("raspberrypi4") as place,
        pytest.raises(TargetError, match=r"signal 4: an instr.*does not have; convert"),
    ):
        Measurer(place).replay(program, selftest_stimulus(converted))


# --- the helper itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "compiler"), [("host", "zig"), ("host", "gcc"), ("aarch64", "zig"), ("armv7", "zig")])
def test_it_builds_without_a_warning(arch, compiler):
    host = load_target("host")
    try:
        find_compiler(host, compiler)
    except ToolchainError:
        pytest.skip(f"{compiler} is not installed")
    arch = host.arch if arch == "host" else arch
    made = build_measurer(arch, compiler=compiler, extra_flags=STRICT)
    assert made[:4] == b"\x7fELF"
    assert len(made) < 40_000
    assert b"libc" not in made


def answer_to(folder: Path, job: bytes, library: bytes) -> tuple[int, bytes]:
    """How the measurer ends with a job and a library that nobody has looked at before, and what it says."""
    for name, contents in (("measurer", build_measurer(load_target("host").arch)), ("job", job), ("so", library)):
        (folder / name).write_bytes(contents)
    (folder / "measurer").chmod(0o700)
    done = subprocess.run([folder / "measurer", "job", folder / "job", folder / "so"], capture_output=True, check=False)
    assert done.stdout.startswith(FIRST_LINE)
    return done.returncode, done.stdout[len(FIRST_LINE) :]


def test_a_malformed_library_is_refused_before_it_runs(tmp_path):
    converted = artifact("l2mu")
    job = job_bytes(converted.graph, selftest_stimulus(converted), QUICK, REPLAY)
    good = converted.file.members[converted.manifest["program"]["library"]]
    assert answer_to(tmp_path, job, good)[0] == 0
    segments = [at for at in range(64, 64 + 56 * 7, 56) if struct.unpack_from("<I", good, at)[0] == 1]

    def changed(at: int, form: str, value: int) -> bytes:
        made = bytearray(good)
        struct.pack_into(form, made, at, value)
        return bytes(made)

    code = next(at for at in segments if struct.unpack_from("<I", good, at + 4)[0] == 5)
    cases = {
        "too short": good[:40],
        "not one for this machine": b"\0" + good[1:],
        "for another machine": changed(18, "<H", 243),
        "tables that lie outside": changed(32, "<Q", len(good)),
        "tables that lie outside ": changed(40, "<Q", 2**64 - 1),
        "a segment that lies outside": changed(code + 8, "<Q", len(good)),
        "a segment that lies outside ": changed(code + 40, "<Q", 2**63),
        "segments that share a page": changed(code + 16, "<Q", 64),
        "both writable and executable": changed(code + 4, "<I", 7),
        "thread-local storage": changed(segments[0], "<I", 7),
        "nothing to load": changed(56, "<H", 1),
        "lacks a function": good.replace(b"ek_l2mu_fp32_sizeof", b"ek_l2mu_fp32_sizeov"),
    }
    for said, library in cases.items():
        ended, answer = answer_to(tmp_path, job, library)
        assert ended == 2, said
        assert said.strip().encode() in answer, said
    for length in range(0, len(good), 977):
        ended, answer = answer_to(tmp_path, job, good[:length])
        assert ended == 2, length


def test_a_library_with_relocations_is_placed_and_one_that_needs_a_loader_is_not(tmp_path):
    """Tables of addresses: relative ones it can fix, others it refuses."""
    converted = artifact("l2mu")
    stimulus = selftest_stimulus(converted)
    table = """
static int one(void) { return 0; }
static int two(void) { return 1; }
int (*const volatile ek_table[2])(void) = {one, two};
"""
    prefix = f"ek_{converted.graph.name}"
    source = (
        "#include <stdint.h>\n"
        + table
        + f"""
#define EXPORT __attribute__((visibility("default")))
EXPORT uint32_t {prefix}_sizeof(void) {{ return 64; }}
EXPORT uint32_t {prefix}_state_bytes(void) {{ return 4; }}
EXPORT int {prefix}_init(void *m) {{ return (void)m, ek_table[0](); }}
EXPORT int {prefix}_reset(void *m) {{ return (void)m, ek_table[0](); }}
EXPORT int {prefix}_step(void *m, const float *x, float *y) {{ (void)m; y[0] = x[0] + (float)ek_table[1](); return 0; }}
EXPORT int {prefix}_run(void *m, uint32_t n, const float *x, float *y) {{
    uint32_t i; for (i = 0; i < n; ++i) {prefix}_step(m, x + 3 * i, y + 4 * i); return 0; }}
EXPORT int {prefix}_save(const void *m, uint8_t *b) {{ (void)m; b[0] = 7; return 0; }}
"""
    )
    library = build_shared({"t.c": source}, "t.c", load_target("host"))
    with Here() as place:
        outputs, state, agree = Measurer(place).replay(Measurable(converted.graph, library, "by hand"), stimulus)
    assert np.array_equal(outputs[0][:, 0], stimulus.streams[0][0][:, 0] + 1)
    assert state == b"\7\0\0\0"
    assert agree == stimulus.steps
    kind = {"x86_64": 8, "aarch64": 1027}.get(load_target("host").arch, 23)
    one = next(f.address for f in load_image(library).functions if f.name == "one")
    changed = library.replace(struct.pack("<2Q", kind, one), struct.pack("<2Q", 1, one))
    assert changed != library
    job = job_bytes(converted.graph, stimulus, QUICK, REPLAY)
    ended, answer = answer_to(tmp_path, job, changed)
    assert (ended, b"a relocation that needs a loader, type" in answer) == (2, True)


def by_hand(converted: Artifact, step: str, run: str) -> Measurable:
    """A program without states that stands for a converted one, with these bodies of its functions."""
    prefix = f"ek_{converted.graph.name}"
    run = run.replace("STEP", f"{prefix}_step")
    source = f"""
#include <stdint.h>
#define EXPORT __attribute__((visibility("default")))
EXPORT uint32_t {prefix}_sizeof(void) {{ return 64; }}
EXPORT uint32_t {prefix}_state_bytes(void) {{ return 0; }}
EXPORT int {prefix}_init(void *m) {{ (void)m; return 0; }}
EXPORT int {prefix}_reset(void *m) {{ (void)m; return 0; }}
EXPORT int {prefix}_step(void *m, const float *x, float *y) {{ (void)m; {step} }}
EXPORT int {prefix}_run(void *m, uint32_t n, const float *x, float *y) {{ (void)m; {run} }}
EXPORT int {prefix}_save(const void *m, uint8_t *b) {{ (void)m; (void)b; return 0; }}
"""
    return Measurable(converted.graph, build_shared({"t.c": source}, "t.c", load_target("host")), "by hand")


def test_a_run_that_differs_from_single_steps_is_found():
    converted = artifact("mlp")
    program = by_hand(
        converted,
        step="y[0] = x[0]; return 0;",
        run="uint32_t i; for (i = 0; i < n; ++i) y[4 * i] = i < 11 ? x[3 * i] : 99.0f; return 0;",
    )
    with Here() as place, pytest.raises(ReplayError, match="a run gives other bytes than single steps, from step 11"):
        Measurer(place).selftest(program, converted)


def test_messages_beside_the_answer_do_not_hold_it_up(tmp_path):
    """More of them than a pipe holds, before the program starts."""
    (loud := tmp_path / "loud").write_text('#!/bin/sh\nhead -c 300000 /dev/zero | tr "\\000" x >&2\nexec "$@"\n')
    loud.chmod(0o700)
    converted = artifact("mlp")
    with Here(through=[str(loud)], arch=load_target("host").arch) as place:
        found = Measurer(place).selftest(program_for(place, converted), converted)
    assert found.steps == len(converted.selftest.inputs["x"])


def test_runs_of_slow_steps_are_short():
    converted = artifact("mlp")
    program = by_hand(
        converted,
        step="volatile int i; for (i = 0; i < 10000000; ++i) {} y[0] = x[0]; return 0;",
        run="uint32_t i; for (i = 0; i < n; ++i) STEP(m, x + 3 * i, y + 4 * i); return 0;",
    )
    with Here() as place:
        _, (single, many), _, _ = Measurer(place).time(program, selftest_stimulus(converted), QUICK)
    assert single.steps_each == 1
    assert 1 <= many.steps_each < 32
    assert many.spread.min > single.spread.min / 4


@pytest.mark.parametrize("damage", [b"", b"EKJOB002" + bytes(1000), "cut", "ports", "many"])
def test_a_malformed_job_is_refused(tmp_path, damage):
    converted = artifact("mlp")
    good = job_bytes(converted.graph, selftest_stimulus(converted), QUICK, REPLAY)
    job = damage if isinstance(damage, bytes) else bytearray(good)
    if damage == "cut":
        job = good[: len(good) // 2]
    elif damage == "ports":
        struct.pack_into("<Q", job, 16, 15)
    elif damage == "many":
        struct.pack_into("<Q", job, 32, 2**40)
    ended, answer = answer_to(tmp_path, bytes(job), converted.file.members["native/mlp_fp32.so"])
    assert ended == 2
    assert b"job" in answer


def test_the_buckets_are_exact_below_half_a_microsecond_and_fine_above():
    exact = bucket_ns(np.arange(512))
    assert np.array_equal(exact, np.arange(512))
    middle = bucket_ns(np.arange(512, 512 + 32 * 256))
    assert middle[0] == 512.5, "512 and 513 ns"
    assert middle[256] == 1024 + 1.5
    assert np.all(np.diff(middle) > 0)
    assert np.max(np.diff(middle) / middle[1:]) < 0.005


def test_files_are_sampled_with_times_until_told_to_stop(tmp_path):
    counter, done = tmp_path / "counter", threading.Event()
    counter.write_text("0\n")

    def advance() -> None:
        """A counter that really advances."""
        n = 0
        while not done.wait(0.002):
            n += 1
            (tmp_path / "new").write_text(f"{n}\n")
            (tmp_path / "new").replace(counter)

    thread = threading.Thread(target=advance)
    thread.start()
    try:
        names = [str(counter), str(tmp_path / "none"), "!cat " + str(counter) + "; echo and more"]
        with Here() as place, Measurer(place).sampler(names, period_ms=10) as sampler:
            time.sleep(0.3)
    finally:
        done.set()
        thread.join()
    assert sampler.error is None
    files, missing, commands = ([s for s in sampler.samples if s.name == name] for name in names)
    assert len(files) >= 5
    assert len(files) == len(missing) == len(commands)
    values = [int(s.text or "") for s in files]
    assert values == sorted(values)
    assert values[-1] > values[0]
    assert all(a.end_ns <= b.begin_ns for a, b in pairwise(files))
    assert {(s.text, s.error) for s in missing} == {(None, 2)}
    assert all((s.text or "").endswith("\nand more\n") for s in commands)


def test_a_command_that_fails_is_no_reading():
    with Here() as place:
        found = Measurer(place).once(["!echo so far; exit 3", "!no-such-command-anywhere", "!echo good"])
    assert [(sample.text, sample.error) for sample in found] == [(None, 5), (None, 2), ("good\n", 0)]


def test_nothing_is_left_when_a_measurement_is_given_up():
    converted = artifact("mlp")
    long = MeasurePlan(windows=1000, seconds=0.05, warm_seconds=0.0)
    with Here() as place:
        measurer, program = Measurer(place), program_for(place, converted)

        def stop(_stage: str, done: int, _total: int | None) -> None:
            if done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            measurer.time(program, selftest_stimulus(converted), long, stop)
        folder = place._path
        assert running_in(folder) == []
    assert not folder.exists()


def running_in(folder: Path) -> list[str]:
    """Processes that are started from a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (process / "cmdline").read_text():
                found.append(process.name)
        except OSError:
            continue
    return found


def test_the_sources_travel_with_the_package():
    folder = Path(edgekit.__file__).parent / "profile"
    assert {path.name for path in folder.glob("measurer*.[ch]")} == set(SOURCES)


class Slow(Here):
    """This computer, so busy that a program runs for a while before whoever started it goes on."""

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        process = super().start(command)
        time.sleep(0.1)
        return process


def test_files_are_read_once_however_late_the_end_is_told(tmp_path):
    (tmp_path / "a").write_text("1")
    names = [str(tmp_path / "a"), str(tmp_path / "none"), "!echo 2"]
    with Slow() as place:
        found = Measurer(place).once(names)
    assert [(sample.name, sample.text) for sample in found] == [(names[0], "1"), (names[1], None), (names[2], "2\n")]
