"""Firmware on emulated Cortex-M boards: calls, exact counts, faults, time-outs, and self-tests from reset."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from disassembly import reachable
from graph_samples import busy_graph
from images import build_image, second_emulator
from integer_equality import lowered
from integer_streams import random_stream

from edgekit.artifact import SelfTest
from edgekit.errors import ToolchainError
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.runtime.build import build_program
from edgekit.runtime.firmware import firmware_result, with_selftest
from edgekit.runtime.selftest import make_selftest
from edgekit.target import firmware_files, load_target
from edgekit.toolchain import Emulator, QemuSystem, emulator_for, find_compiler

SOURCE = r"""
#include <stdint.h>
__asm__(".syntax unified\n.thumb\n.globl ek_loop\n.type ek_loop, %function\nek_loop:\n"
        "movs r1, #0\n1: add.w r1, r1, #1\ncmp r1, r0\nite eq\nmoveq r2, r1\nmovne r3, r1\nbne 1b\nmov r0, r1\nbx lr\n"
        ".size ek_loop, . - ek_loop\n");
uint32_t ek_sum(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, uint32_t f, uint32_t g, uint32_t h) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}
static __attribute__((noinline)) void op0(float *y, const float *x, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] * 3.0f + 1.0f;
}
static __attribute__((noinline)) void op1(float *y, uint32_t n) {
    uint32_t i;
    for (i = 0; i < n; i++)
        if (y[i] > 3.0f) y[i] = y[i] / 7.0f;
}
__attribute__((noinline)) int ek_step(const float *x, float *y, uint32_t n) {
    op0(y, x, n);
    op1(y, n);
    op1(y, n);
    return 0;
}
int ek_run(uint32_t steps, const float *x, float *y, uint32_t n) {
    uint32_t t;
    for (t = 0; t < steps; t++) ek_step(x, y, n);
    return 0;
}
int ek_used(int n) {
    volatile int pad[100];
    int i;
    for (i = 0; i < 100; i++) pad[i] = n;
    return pad[n];
}
int ek_forever(volatile int *x) { for (;;) *x = 1; }
int ek_read(const volatile int *x) { return *x; }
int ek_jump(int (*f)(void)) { return f() + 1; }
int ek_recurse(volatile int *x) { volatile char pad[4096]; pad[0] = (char)*x; return ek_recurse(x) + pad[0]; }
int ek_undefined(void) { __asm__ volatile("udf #0"); return 0; }
int ek_pair(uint32_t *x) {
    uint32_t a, b;
    __asm__ volatile("ldrd %0, %1, [%2]" : "=r"(a), "=r"(b) : "r"(x));
    return (int)(a + b);
}
/* what a debugger's host would do: open a file of this computer for writing */
int ek_open(const char *name) {
    const void *arguments[3] = {name, (void *)4, (void *)5};
    register int r0 __asm__("r0") = 1;
    register const void *r1 __asm__("r1") = arguments;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}
"""

WATCHES = ("smartwatch-m4", "smartwatch-m33", "smartwatch-m55")
MACHINES = [
    pytest.param((name, kind), id=f"{name}-{kind.__name__}")
    for name in WATCHES
    for kind in (Emulator, QemuSystem)
    if kind is QemuSystem or emulator_for(load_target(name)) is Emulator
]


def image(name: str, **support: bytes) -> bytes:
    return build_image({"m.c": SOURCE}, "m.c", load_target(name), support=support)


@pytest.fixture(params=MACHINES)
def machine(request):
    """Every watch on every emulator that has its core."""
    name, kind = request.param
    if kind is QemuSystem:
        second_emulator(load_target(name))
    with kind(image(name), load_target(name), timeout_s=20) as running:
        yield running


@pytest.fixture(params=WATCHES)
def watch(request):
    target = load_target(request.param)
    second_emulator(target)
    return target


def test_names_the_core_and_the_engine(machine):
    assert machine.core == machine.device.emulated_core
    boards = {"cortex-m4": "mps2-an386", "cortex-m33": "mps2-an505", "cortex-m55": "mps3-an547"}
    if isinstance(machine, QemuSystem):
        assert machine.engine.startswith("qemu-system-arm ")
        assert machine.engine.endswith(boards[machine.core])
    else:
        assert machine.engine.startswith("unicorn ")


def test_arguments_results_and_memory(machine):
    assert machine.call("ek_sum", range(1, 9)).value == sum(i * i for i in range(1, 9))
    assert machine.call("ek_sum", [2**32 - 1, 1]).value == 1
    big = machine.alloc(200_000)
    assert machine.read(big, 200_000) == bytes(200_000)
    data = np.random.default_rng(0).bytes(200_000)
    machine.write(big, data)
    assert machine.read(big, 200_000) == data
    with pytest.raises(ToolchainError, match="cap"):
        machine.alloc(1 << 31)


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_counts_are_exact_for_instructions_of_either_size_and_for_conditional_ones(machine, n):
    """movs; n × (add.w, cmp, ite, moveq, movne, bne); mov; bx: what a condition skips is executed all the same."""
    result = machine.call("ek_loop", [n])
    assert (result.value, result.instructions) == (n, 6 * n + 3)
    assert result.by_symbol == {"ek_loop": 6 * n + 3}


def test_each_call_of_a_watched_function_gets_a_row_and_counts_repeat(machine):
    x = machine.alloc(400)
    machine.write(x, np.linspace(-3, 9, 100).astype("<f4").tobytes())
    y = machine.alloc(400)
    result = machine.call("ek_run", [3, x, y, 100], watch="ek_step", stack=True)
    assert [(row.callee, row.calls) for row in result.by_call] == [("op0", 3), ("op1", 3), ("op1", 3)]
    assert result.by_call[0].instructions == result.by_symbol["op0"]
    assert result.by_call[1].instructions + result.by_call[2].instructions == result.by_symbol["op1"]
    assert sum(result.by_symbol.values()) == result.instructions
    assert machine.call("ek_run", [3, x, y, 100], count=False).instructions is None
    assert machine.call("ek_run", [3, x, y, 100], watch="ek_step", stack=True) == result


@pytest.mark.parametrize("name", WATCHES[:2])
def test_two_independent_emulators_agree_on_every_count_and_every_bit(name):
    second_emulator(load_target(name))
    x = np.random.default_rng(1).integers(0, 2**32, size=500, dtype=np.uint64).astype("<u4")
    found = []
    for kind in (Emulator, QemuSystem):
        with kind(image(name), load_target(name)) as running:
            given, result = running.alloc(2000), running.alloc(2000)
            running.write(given, x.tobytes())
            counted = running.call("ek_run", [2, given, result, 500], watch="ek_step", stack=True)
            found.append((counted, running.read(result, 2000)))
    assert found[0] == found[1]


def test_the_stack_is_measured_by_what_changed(machine):
    assert machine.call("ek_sum", range(1, 9), stack=True).stack_bytes <= 40
    assert 400 <= machine.call("ek_used", [7], stack=True).stack_bytes <= 440
    assert machine.call("ek_used", [7]).stack_bytes is None
    assert machine.call("ek_sum", range(1, 9), stack=True).stack_bytes <= 40  # it is painted anew


NOWHERE = 0xF000_0000


@pytest.mark.drawn(2)
@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("ek_read", NOWHERE, r"running ek_read: ek_read\+0x\w+: read.* at 0xf0000000, outside"),
        ("ek_jump", NOWHERE + 1, "not an instruction|execution at 0xf0000000"),
        ("ek_jump", 0x1000_0000, "not an instruction|execution at"),  # an even address: not Thumb
        ("ek_undefined", 0, r"ek_undefined\+0x\w+: not an instruction that the core has"),
        ("ek_open", 0, r"ek_open\+0x\w+: not an instruction that the core has|ended|stopped"),
    ],
)
def test_faults_name_the_function(machine, name, argument, message):
    with pytest.raises(ToolchainError, match=message):
        machine.call(name, [argument])
    with pytest.raises(ToolchainError, match="is closed"):
        machine.read(0, 1)


def test_boards_fault_where_the_core_wants_multiples(watch):
    with QemuSystem(image(watch.name), watch) as board:
        at = board.alloc(64)
        with pytest.raises(ToolchainError, match=r"ek_pair\+0x\w+: an access to an address that is no multiple"):
            board.call("ek_pair", [at + 1])


@pytest.mark.parametrize("name", WATCHES[1:])
def test_boards_with_a_stack_limit_say_that_the_stack_is_full(name):
    """The Cortex-M4 has no limit, and below its board's RAM writes go nowhere."""
    second_emulator(load_target(name))
    with QemuSystem(image(name), load_target(name), timeout_s=20) as board:
        x = board.alloc(4)
        with pytest.raises(ToolchainError, match="the stack is full"):
            board.call("ek_recurse", [x])


def test_a_floating_point_unit_that_nobody_switched_on_is_found_by_qemu_only():
    target = load_target("smartwatch-m4")
    second_emulator(target)
    startup = firmware_files()["startup.c"]
    without = startup.replace(b'"str r1, [r0]\\n"', b'"nop\\n"')
    assert without != startup
    broken = image(target.name, **{"startup.c": without})
    for kind, fails in ((Emulator, False), (QemuSystem, True)):
        with kind(broken, target) as running:
            assert running.call("ek_sum", range(1, 9)).value == 204
            x = running.alloc(4)
            if fails:
                with pytest.raises(ToolchainError, match=r"op0\+0x\w+: not an instruction that the core has"):
                    running.call("ek_step", [x, x, 1])
            else:
                assert running.call("ek_step", [x, x, 1]).value == 0


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.drawn(2)
def test_endless_loops_end_and_leave_no_process(machine):
    kind, device = type(machine), machine.device
    with kind(image(device.name), device, timeout_s=1.5) as running:
        workers = [running._process.pid, *_children(running._process.pid)]
        x, started = running.alloc(4), time.monotonic()
        with pytest.raises(ToolchainError, match=r"running ek_forever: took more than 1\.5 s"):
            running.call("ek_forever", [x])
        assert time.monotonic() - started < 10
        assert all(map(_gone, workers))


_SCRIPT = """
import sys
from pathlib import Path
from edgekit.target import load_target
from edgekit.toolchain import QemuSystem
board = QemuSystem(Path(sys.argv[1]).read_bytes(), load_target("smartwatch-m4"), timeout_s=60)
x = board.alloc(4)
worker = board._process.pid
print(worker, Path(f"/proc/{worker}/task/{worker}/children").read_text(), flush=True)
board.call("ek_forever", [x])
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_qemu_ends_with_whoever_started_it(tmp_path, sent):
    second_emulator(load_target("smartwatch-m4"))
    path = tmp_path / "m.elf"
    path.write_bytes(image("smartwatch-m4"))
    command = [sys.executable, "-c", _SCRIPT, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        worker, qemu = map(int, parent.stdout.readline().split())
        time.sleep(0.3)
        parent.send_signal(sent)
        parent.wait(timeout=5)
    assert _gone(worker)
    assert _gone(qemu)


def test_a_worker_that_is_killed_takes_qemu_with_it():
    target = load_target("smartwatch-m4")
    second_emulator(target)
    with QemuSystem(image(target.name), target) as board:
        (qemu,) = _children(board._process.pid)
        os.kill(board._process.pid, signal.SIGKILL)
        with pytest.raises(ToolchainError, match="was ended by SIGKILL"):
            board.read(0, 4)
        assert _gone(qemu)


def test_firmware_cannot_reach_this_computer(watch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with QemuSystem(image(watch.name), watch) as board:
        name = board.alloc(16)
        board.write(name, b"pwned\0")
        with pytest.raises(ToolchainError):
            board.call("ek_open", [name])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.drawn(2)
def test_a_main_that_does_not_end_or_faults_is_an_error_at_the_start(watch):
    endless = image(watch.name, **{"idle.c": b'int main(void) { for (;;) __asm__ volatile(""); }'})
    with pytest.raises(ToolchainError, match="starting: took more than 1 s"):
        QemuSystem(endless, watch, timeout_s=1)
    faulty = image(watch.name, **{"idle.c": b'int main(void) { __asm__ volatile("udf #0"); return 0; }'})
    with pytest.raises(ToolchainError, match=r"starting: main\+0x\w+: not an instruction"):
        QemuSystem(faulty, watch)


def test_the_wrong_firmware_is_refused(watch):
    with pytest.raises(ToolchainError, match="is built for armv7, target"):
        QemuSystem(build_image({"m.c": "int f(void) { return 1; }"}, "m.c", load_target("stm32mp157")), watch)
    with pytest.raises(ToolchainError, match="is malformed"):
        QemuSystem(b"nothing", watch)
    other = load_target("smartwatch-m4" if watch.name != "smartwatch-m4" else "smartwatch-m33")
    with pytest.raises(ToolchainError, match="starting"):  # it is linked for another board's memory
        QemuSystem(image(other.name), watch, timeout_s=2)


def test_missing_emulators_say_how_to_get_them(monkeypatch):
    target = load_target("smartwatch-m55")
    library = image(target.name)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ToolchainError, match="qemu-system-arm: is not installed; cortex-m55 needs it; apt install"):
        emulator_for(target)(library, target)


# --- self-tests


@pytest.fixture(scope="module")
def integer_program():
    graph = lowered(3)
    inputs = random_stream(graph, 3, 12)
    selftest = make_selftest(graph, {n: a[None] for n, a in zip(graph.entries["step"].inputs, inputs, strict=True)})
    return graph, selftest


@pytest.fixture(scope="module")
def float_program():
    graph = run_passes(run_passes(busy_graph(), OPTIMISE), LOWER)
    stimulus = np.random.default_rng(0).normal(size=(4, 12, 3)).astype(np.float32)
    return graph, make_selftest(graph, {graph.entries["step"].inputs[0]: stimulus})


def compilers(target):
    for name in ("zig", "gcc"):
        try:
            find_compiler(target, name)
        except ToolchainError:
            continue
        yield name


@pytest.mark.drawn(4)
@pytest.mark.parametrize("kind", ["integer_program", "float_program"])
def test_firmware_tests_itself_from_reset_and_in_every_emulator(request, watch, kind):
    graph, selftest = request.getfixturevalue(kind)
    for compiler in compilers(watch):
        program = with_selftest(
            graph, build_program(graph, watch, compiler=compiler), selftest, watch, compiler=compiler
        )
        with QemuSystem(program.library, watch) as board:
            found = firmware_result(board, graph)
        assert (found.passed, found.steps, found.output, found.cycles) == (True, 12, None, None)
        assert 0 < found.stack_bytes < 4096
        if emulator_for(watch) is Emulator:
            with Emulator(program.library, watch) as emulator:
                with pytest.raises(ToolchainError, match="has not come to the end"):
                    firmware_result(emulator, graph)
                assert emulator.call("main").value == 0
                assert firmware_result(emulator, graph).passed


def damaged(graph, selftest: SelfTest, what: str) -> SelfTest:
    """The same self-test with another expectation: one element of an output at step 7, or one byte of the state."""
    if what == "state":
        state = bytearray(selftest.final_state)
        state[-1] ^= 1
        return SelfTest(selftest.inputs, selftest.outputs, bytes(state))
    outputs = {name: array.copy() for name, array in selftest.outputs.items()}
    flat = outputs[what][7].reshape(-1)
    flat[-1] = flat[-1] + 1
    return SelfTest(selftest.inputs, outputs, selftest.final_state)


@pytest.mark.parametrize("kind", ["integer_program", "float_program"])
def test_a_wrong_byte_fails_the_self_test_and_is_named(request, kind):
    target = load_target("smartwatch-m4")
    graph, selftest = request.getfixturevalue(kind)
    program = build_program(graph, target)
    last = graph.entries["step"].outputs[-1]
    for what in (last, *(["state"] if graph.is_integer else [])):
        broken = with_selftest(graph, program, damaged(graph, selftest, what), target)
        with Emulator(broken.library, target) as emulator:
            assert emulator.call("main").value == 1
            found = firmware_result(emulator, graph)
        assert (found.passed, found.steps, found.output) == (False, *((12, None) if what == "state" else (7, last)))


@pytest.mark.drawn(3)
@pytest.mark.parametrize("name", ["selftest", "stop", "report", "cycles", "output", "main"])
def test_a_model_may_have_any_name(integer_program, name):
    graph, selftest = integer_program
    target, graph = load_target("smartwatch-m4"), graph.replace(name=name)
    again = make_selftest(graph, {n: a[None] for n, a in selftest.inputs.items()})  # a state blob names its program
    program = with_selftest(graph, build_program(graph, target), again, target)
    with Emulator(program.library, target) as emulator:
        assert emulator.call("main").value == 0
        assert firmware_result(emulator, graph).passed


def test_firmware_without_a_self_test_has_no_result(integer_program):
    target = load_target("smartwatch-m4")
    graph, selftest = integer_program
    with Emulator(build_program(graph, target).library, target) as emulator, pytest.raises(ToolchainError) as caught:
        firmware_result(emulator, graph)
    assert "has no self-test" in str(caught.value)
    pi = load_target("raspberrypi4")
    with pytest.raises(ToolchainError, match="has no firmware"):
        with_selftest(graph, build_program(graph, pi), selftest, pi)


# --- what the code is made of


@pytest.mark.drawn(3)
@pytest.mark.parametrize("seed", range(8))
def test_the_step_of_an_integer_program_has_no_float_instruction_and_no_call_outside(seed):
    target = load_target("smartwatch-m4")
    graph = lowered(seed)
    for compiler in compilers(target):
        program = build_program(graph, target, compiler=compiler)
        code = reachable(program.library, f"ek_{graph.name}_step")
        own = {i.function for i in code}
        assert all(name.startswith("ek_") for name in own), own
        floats = [str(i) for i in code if i.mnemonic.startswith("v")]
        assert not floats, floats[:5]
        assert len(code) > 50


def test_the_border_of_an_integer_program_has_float_instructions():
    """So that the test above can fail: the same search finds them in `quantize`."""
    target = load_target("smartwatch-m4")
    graph = next(g for g in map(lowered, range(20)) if "quantize" in g.entries)
    code = reachable(build_program(graph, target).library, f"ek_{graph.name}_quantize")
    assert any(i.mnemonic.startswith("vmul") for i in code)


def test_addresses_in_the_vector_table_are_those_of_the_functions():
    target = load_target("smartwatch-m4")
    with Emulator(image(target.name), target) as emulator:
        stack, reset, *handlers = struct.unpack("<16I", emulator.read(0, 64))
        assert stack == emulator.image.data["ek_stack_top"]
        assert reset == emulator.image.function("Reset").address | 1
        assert {h for h in handlers if h} == {emulator.image.function("fault").address | 1}
