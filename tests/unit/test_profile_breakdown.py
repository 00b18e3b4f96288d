"""Counters of a program's calls: nothing of them without the flag, the same results with it, and times that add up."""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Mapping

import numpy as np
import pytest
from converted import CLASSES, INPUTS, artifact, module, stream

import edgekit
from edgekit.artifact import Artifact
from edgekit.errors import UnsupportedError, UsageError
from edgekit.ir import Graph, GraphBuilder
from edgekit.profile import breakdown
from edgekit.profile.breakdown import FLAG, Ticked, break_down, op_times, ticked_program
from edgekit.profile.grades import MEASURED
from edgekit.profile.ops import step_calls
from edgekit.profile.stimulus import given_stimulus, selftest_stimulus
from edgekit.runtime import load
from edgekit.runtime.build import build_program, emitted_for
from edgekit.runtime.streams import MachineStream, NativeProgram, NativeStream
from edgekit.target import firmware_files, load_target
from edgekit.toolchain import Machine, QemuSystem, QemuUser, build_firmware, build_object, build_shared
from edgekit.toolchain.qemu_system import find_qemu_system
from edgekit.toolchain.qemu_user import find_qemu

STRICT = ("-Wall", "-Wextra", "-Werror")


@pytest.fixture(scope="module", params=["mlp", "l2mu", "integers"])
def program(request: pytest.FixtureRequest) -> Artifact:
    """A float program without states, one with spikes and states, and an integer program."""
    if request.param != "integers":
        return artifact(request.param)
    return edgekit.convert(module("l2mu"), target="host", precision="int8", calib="synthetic", name="integers")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakdown, "TIMED_NS", 2 * 10**8)


def without_ticks(files: Mapping[str, str]) -> dict[str, str]:
    """The C as it would be had nobody thought of counters."""
    plain = {}
    for path, text in files.items():
        whole = re.sub(r"^#if defined\(EK_TICKS\).*?^#endif\n", "", text, flags=re.M | re.S)
        lines = re.sub(r'^ *(EK_TICKS_\w+.*;|#include "ek/ticks.h")\n', "", whole, flags=re.M)
        plain[path] = re.sub(r"EK_TICK\(m->ticks\[\d+\], (.*)\);", r"\1;", lines)
        assert path == "ek/ticks.h" or "tick" not in plain[path].lower(), path
    del plain["ek/ticks.h"]
    return plain


def sums_of(running: NativeStream, calls: int, native: NativeProgram) -> list[int]:
    sums = (ctypes.c_uint64 * calls)()
    assert native.function("ticks")(running.struct, sums) == calls
    return list(sums)


@pytest.mark.drawn(2)
def test_without_the_flag_not_a_byte_of_the_machine_code_is_another(program):
    for name in ("host", "raspberrypi4", "stm32mp157"):
        emitted, _ = emitted_for(program.graph, target := load_target(name))
        plain = without_ticks(emitted.files)
        assert build_shared(emitted.files, emitted.main, target) == build_shared(plain, emitted.main, target)
    for name in ("smartwatch-m4", "smartwatch-m55"):
        emitted, _ = emitted_for(program.graph, target := load_target(name))
        plain = without_ticks(emitted.files)
        assert build_object(emitted.files, emitted.main, target) == build_object(plain, emitted.main, target)


def test_every_call_of_every_entry_is_a_line_with_a_counter_of_its_own(program):
    emitted, _ = emitted_for(program.graph, load_target("host"))
    lines = re.findall(r"EK_TICK\(m->ticks\[(\d+)\], (\w+)\(m.*\);", emitted.files[emitted.main])
    assert [int(number) for number, _ in lines] == list(range(len(emitted.ticked)))
    assert tuple(call for _, call in lines) == emitted.ticked
    assert {use.symbol for use in emitted.kernels} < set(emitted.ticked)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("compiler", ["zig", "gcc", "clang"])
def test_a_program_with_counters_does_the_same_and_counts(program, compiler):
    graph, host = program.graph, load_target("host")
    emitted, _ = emitted_for(graph, host)
    flags = (FLAG, *STRICT)
    library = build_shared(emitted.files, emitted.main, host, compiler=compiler, extra_flags=flags)
    native = NativeProgram(graph, library, "with counters")
    running, plain = NativeStream(native), NativeStream(NativeProgram(graph, build_program(graph, host).library, ""))
    calls = len(emitted.ticked)
    assert native.struct_bytes >= emitted.struct_bytes + 8 * calls
    assert sums_of(running, calls, native) == [0] * calls, "init clears them"
    (inputs,) = selftest_stimulus(program).streams
    for ours, theirs in zip(running.run(inputs), plain.run(inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert running.save() == plain.save()
    mine = step_calls(graph, emitted.ticked)
    counted = dict(zip(emitted.ticked, sums_of(running, calls, native), strict=True))
    assert all((counted[call] > 0) == (call in mine) for call in emitted.ticked), "no other entry has run"
    assert sums_of(running, calls, native) == [0] * calls, "to read them is to start again"
    cost = native.function("ticks_cost")
    cost.restype = ctypes.c_uint64
    assert min(cost(20_000) for _ in range(5)) > min(cost(1_000) for _ in range(5)) > 0, "but for other programs' time"


@pytest.mark.drawn(2)
@pytest.mark.parametrize("board", ["raspberrypi4", "stm32mp157"])
def test_a_library_for_a_board_with_linux_counts_there(program, board):
    target = load_target(board)
    if find_qemu(target.arch) is None:
        pytest.skip(f"qemu's user mode for {target.arch} is not installed")
    ticked = ticked_program(program.graph, target)
    with QemuUser(ticked.library, target) as machine:
        sums = counted_on(machine, program, ticked.calls)
    mine = step_calls(program.graph, ticked.calls)
    assert all(taken > 0 for call, taken in zip(ticked.calls, sums, strict=True) if call in mine)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("watch", ["smartwatch-m4", "smartwatch-m55"])
def test_firmware_counts_cycles_where_there_is_a_counter_and_else_nothing(program, watch):
    target = load_target(watch)
    with pytest.raises(UsageError, match=f"target '{watch}'.*no system.*-DEK_TICKS"):
        ticked_program(program.graph, target)
    if find_qemu_system() is None:
        pytest.skip("qemu's boards are not installed")
    emitted, _ = emitted_for(program.graph, target)
    made = build_object(emitted.files, emitted.main, target, extra_flags=(FLAG, *STRICT))
    with QemuSystem(build_firmware(made, firmware_files(), target), target) as machine:
        assert counted_on(machine, program, emitted.ticked) == [0] * len(emitted.ticked), "qemu has no CYCCNT"


def counted_on(machine: Machine, program: Artifact, calls: tuple[str, ...]) -> list[int]:
    """The sums after the self-test, which goes as it went elsewhere."""
    running = MachineStream(program.graph, machine, "emulated")
    (inputs,) = selftest_stimulus(program).streams
    outputs = running.run(inputs)
    plain = load(program, engine="reference").engine_stream.run(inputs)
    for ours, theirs in zip(outputs, plain, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    sums = machine.alloc(8 * len(calls))
    symbol = f"ek_{program.name}_ticks"
    assert machine.call(symbol, [running._struct, sums], count=False).value == len(calls)
    return [int(n) for n in np.frombuffer(machine.read(sums, 8 * len(calls)), "<u8")]


def test_an_entry_cannot_have_the_name_of_what_gives_the_counters():
    b = GraphBuilder("clash")
    b.output(b.op("sum", b.input("x", (4,)), axis=0))
    b.entry("ticks")
    b.output(b.op("sum", b.input("y", (4,)), axis=0))
    with pytest.raises(UnsupportedError, match="entry ticks: a function of that name"):
        emitted_for(b.build(), load_target("host"))


def test_a_breakdown_names_the_ops_and_adds_up(program, quick):
    found = break_down(program)
    named = {row["op"]: row["kernel"] for row in program.manifest["kernels"] if row["entry"] == "step"}
    assert {row.op: row.kernel for row in found.ops if row.kernel} == named
    assert [row.op for row in found.ops if not row.kernel] == ["take", "give"]
    assert all(row.layer for row in found.ops if row.kernel)
    assert all(0 <= row.low <= row.microseconds <= row.high for row in found.ops)
    assert sum(row.share for row in found.ops) == pytest.approx(1)
    assert sum(row.microseconds for row in found.ops) + found.rest == pytest.approx(found.plain)
    assert found.overhead == pytest.approx(found.ticked / found.plain - 1)
    assert found.readings == len(found.ops) + 1, "one at the start"
    assert found.counting == pytest.approx(max(found.ticked - found.plain, 0) / found.readings)
    assert 0 < found.resolution < 0.1, "a tenth of a microsecond at most"
    assert 0 < found.reading < 10
    assert found.rounds >= 5
    assert (found.steps, found.stimulus) == (32, "the self-test stream of the artifact")
    assert found.grade == MEASURED
    document = json.loads(json.dumps(found.to_dict()))
    assert {"ops", "overhead", "counting", "rest", "counter", "resolution", "grade"} <= set(document)


def test_the_op_that_does_the_work_has_the_time(quick):
    torch = pytest.importorskip("torch")
    from edgekit import models

    torch.manual_seed(0)
    wide = edgekit.convert(models.MLP([INPUTS, 512, 512, CLASSES]).eval(), target="host", name="wide")
    found = break_down(wide)
    most = max(found.ops, key=lambda row: row.share)
    assert most.layer == "network.2"
    assert most.share > 0.7
    assert found.overhead < 1, "a step of so many microseconds hardly feels it"
    assert abs(found.rest) < found.plain / 3


def test_windows_begin_anew_and_a_lead_in_is_not_counted(quick):
    program = artifact("l2mu")
    session = load(program)
    windows = given_stimulus(session, np.stack([stream(8, seed) for seed in range(3)]), "x")
    found = break_down(program, windows)
    assert (found.steps, found.stimulus) == (24, "x")
    led = type(windows)("led", windows.streams[:1], 8, lead_in=(np.tile(stream(8), (500, 1)),))
    assert sum(row.microseconds for row in break_down(program, led).ops) < 20 * found.plain


def test_the_time_of_an_op_is_its_ticks_without_what_counting_costs():
    graph = _two_ops()
    calls = ("take", "op0_sum_f32", "op1_sum_f32", "give")
    names = tuple(f"ek_two_step_{call}" for call in calls)
    ticked = Ticked(b"", ("ek_two_learn_take", *names), {names[1]: "sum_f32", names[2]: "sum_f32"})
    sums = np.array([[9e9, 10, 110, 50, 10]] * 9 + [[9e9, 10, 310, 50, 10]])
    rows = op_times(graph, ticked, sums, tick=0.5, counting=5)
    assert [row.op for row in rows] == list(calls), "calls of other entries are left out"
    assert [row.microseconds for row in rows] == [0, 50, 20, 0]
    assert [row.share for row in rows] == pytest.approx([0, 50 / 70, 20 / 70, 0])
    assert rows[1].low == 50 < rows[1].high <= 150
    assert [row.kernel for row in rows] == ["", "sum_f32", "sum_f32", ""]


def _two_ops() -> Graph:
    b = GraphBuilder("two")
    b.output(b.op("sum", b.op("sum", b.input("x", (4, 4)), axis=0), axis=0))
    return b.build()
