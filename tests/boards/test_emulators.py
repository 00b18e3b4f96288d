"""A library's own machine code on the emulated core: right values, exact counts, confinement, and an end that comes."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from edgekit.errors import ToolchainError
from edgekit.target import load_target
from edgekit.toolchain import Emulator, QemuUser, build_shared, doctor

SOURCE = """
#include <stdint.h>

static const float W[4] = {1, 2, 3, 4};
static const float *const TABLE[2] = {W, W + 2};

__asm__(".globl ek_loop\\n.type ek_loop, %function\\nek_loop:\\n"
        "mov w1, #0\\n1: add w1, w1, #1\\ncmp w1, w0\\nb.ne 1b\\nmov w0, w1\\nret\\n"
        ".size ek_loop, . - ek_loop\\n"
        ".globl ek_system_call\\n.type ek_system_call, %function\\nek_system_call:\\n"
        "mov x8, #93\\nsvc #0\\nret\\n.size ek_system_call, . - ek_system_call\\n");
int ek_loop(int n);

uint32_t ek_sum(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, uint32_t f, uint32_t g, uint32_t h) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}

static __attribute__((noinline)) void op0(float *y, const float *x, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) y[i] = x[i] * 3.0f + TABLE[i & 1][0];
}
static __attribute__((noinline)) void op1(float *y, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) y[i] = y[i] / 7.0f;
}
__attribute__((noinline)) int ek_step(const float *x, float *y, uint32_t n) {
    op0(y, x, n);
    op1(y, n);
    op1(y, n);
    return 0;
}
int ek_run(uint32_t steps, const float *x, float *y, uint32_t n) {
    for (uint32_t t = 0; t < steps; t++) ek_step(x, y, n);
    return 0;
}
int ek_forever(volatile int *x) { for (;;) *x = 1; }
int ek_read(const volatile int *x) { return *x; }
int ek_write(volatile int *x) { return *x = 1; }
int ek_write_constant(void) { *(volatile float *)(uintptr_t)W = 5; return 0; }
int ek_jump(int (*f)(void)) { return f() + 1; }
int ek_recurse(volatile int *x) { volatile char pad[4096]; pad[0] = (char)*x; return ek_recurse(x) + pad[0]; }
"""

PI = load_target("raspberrypi4")
needs_qemu = pytest.mark.skipif(
    not next(row for row in doctor() if row.tool == "qemu-aarch64").ok, reason="qemu-user-static is not installed"
)
ENGINES = [Emulator, pytest.param(QemuUser, marks=needs_qemu)]


@pytest.fixture(scope="module")
def library():
    return build_shared({"m.c": SOURCE}, "m.c", PI)


@pytest.fixture(params=ENGINES)
def machine(request, library):
    with request.param(library, PI, timeout_s=20) as machine:
        yield machine


@pytest.fixture
def emulator(library):
    with Emulator(library, PI, timeout_s=20) as emulator:
        yield emulator


def test_names_the_core_and_the_engine(machine):
    assert machine.core == "cortex-a72"
    assert machine.engine.startswith("unicorn " if machine.counts else "qemu-user")


def test_arguments_and_results(machine):
    assert machine.call("ek_sum", range(1, 9)).value == sum(i * i for i in range(1, 9))
    assert machine.call("ek_sum", [2**32 - 1, 1]).value == 1
    with pytest.raises(ToolchainError, match="at most 8 arguments"):
        machine.call("ek_sum", range(9))
    with pytest.raises(ToolchainError, match="is not in the library"):
        machine.call("ek_absent")


def test_memory(machine):
    addresses = [machine.alloc(n, align) for n, align in ((1, 64), (5000, 64), (0, 8), (4096, 4096))]
    assert [a % align for a, align in zip(addresses, (64, 64, 8, 4096), strict=True)] == [0, 0, 0, 0]
    data = bytes(range(256)) * 20
    assert machine.read(addresses[1], 5000) == bytes(5000)
    machine.write(addresses[1], data[:5000])
    assert machine.read(addresses[1], 5000) == data[:5000]
    with pytest.raises(ToolchainError, match="cap"):
        machine.alloc(1 << 31)
    with pytest.raises(ToolchainError, match="not possible"):
        machine.alloc(8, 3)


def _outputs(machine, x):
    source, result = machine.alloc(x.nbytes), machine.alloc(x.nbytes)
    machine.write(source, x.tobytes())
    assert machine.call("ek_step", [source, result, x.size]).value == 0
    return machine.read(result, x.nbytes)


def test_values_are_those_of_float32_arithmetic(machine):
    x = np.concatenate([np.linspace(-3, 3, 77), [0.0, -0.0, 1e-45, 1e-38, 3e38, np.inf, -np.inf]]).astype(np.float32)
    offsets = np.tile(np.float32([1, 3]), x.size // 2)
    with np.errstate(over="ignore"):
        expected = (x * np.float32(3) + offsets) / np.float32(7) / np.float32(7)
    assert _outputs(machine, x) == expected.tobytes()


@needs_qemu
def test_two_independent_emulators_agree_on_any_bits(library):
    x = np.random.default_rng(1).integers(0, 2**32, size=4096, dtype=np.uint64).astype(np.uint32).view(np.float32)
    with Emulator(library, PI) as one, QemuUser(library, PI) as other:
        assert _outputs(one, x) == _outputs(other, x)


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_counts_are_exact(emulator, n):
    """mov; n × (add, cmp, b.ne); mov; ret."""
    result = emulator.call("ek_loop", [n])
    assert result.value == n
    assert result.instructions == 3 * n + 3
    assert result.by_symbol == {"ek_loop": 3 * n + 3}


def test_counts_are_the_same_every_time_and_after_uncounted_calls(emulator):
    x = emulator.alloc(400)
    args = [x, x, 100]
    first = emulator.call("ek_step", args)
    assert emulator.call("ek_step", args, count=False).instructions is None
    assert emulator.call("ek_step", args) == first
    run = emulator.call("ek_run", [10, *args])
    assert {name: run.by_symbol[name] for name in ("op0", "op1", "ek_step")} == {
        name: 10 * count for name, count in first.by_symbol.items()
    }
    assert sum(run.by_symbol.values()) == run.instructions


def test_each_call_of_a_watched_function_gets_a_row(emulator):
    x = emulator.alloc(400)
    result = emulator.call("ek_run", [3, x, x, 100], watch="ek_step")
    assert [(row.callee, row.calls) for row in result.by_call] == [("op0", 3), ("op1", 3), ("op1", 3)]
    assert result.by_call[0].instructions == result.by_symbol["op0"]
    assert result.by_call[1].instructions + result.by_call[2].instructions == result.by_symbol["op1"]
    assert [row.offset for row in result.by_call] == sorted(row.offset for row in result.by_call)


@needs_qemu
def test_asking_qemu_user_for_counts_is_an_error(library):
    with QemuUser(library, PI) as machine:
        assert machine.call("ek_loop", [3]).instructions is None
        with pytest.raises(ToolchainError, match="cannot count"):
            machine.call("ek_loop", [3], count=True)


@pytest.mark.parametrize(
    ("name", "arg", "message"),
    [
        ("ek_read", 0, r"running ek_read: ek_read\+0x\w+: read at 0x0, outside"),
        ("ek_read", 0x7FFF_FFFF_FFFF, "read at"),
        ("ek_write", 0x10, r"ek_write\+0x\w+: write at 0x10, outside"),
        ("ek_write_constant", 0, r"ek_write_constant\+0x\w+: write at"),
        ("ek_jump", 0x1000, "execution at 0x1000, outside"),
        ("ek_system_call", 0, "one that leaves the program"),
        ("ek_recurse", None, r"ek_recurse\+0x\w+: write at"),
    ],
)
def test_faults_name_the_function_and_the_address(emulator, name, arg, message):
    arg = emulator.alloc(4) if arg is None else arg
    with pytest.raises(ToolchainError, match=message):
        emulator.call(name, [arg])
    with pytest.raises(ToolchainError, match="is closed"):
        emulator.read(0, 1)


def test_data_are_not_executable(emulator):
    code = emulator.alloc(4)
    emulator.write(code, struct.pack("<I", 0xD65F03C0))  # ret
    with pytest.raises(ToolchainError, match="execution at"):
        emulator.call("ek_jump", [code])


@pytest.mark.parametrize("kind", ENGINES)
def test_an_overrun_of_a_buffer_is_a_fault(library, kind):
    with kind(library, PI) as machine:
        x = machine.alloc(64)
        machine.call("ek_write", [x + 60])
        with pytest.raises(ToolchainError):
            machine.call("ek_write", [x + 64])


@pytest.mark.parametrize("kind", ENGINES)
def test_endless_loops_end(library, kind, monkeypatch):
    monkeypatch.setattr("edgekit.toolchain.machine.GRACE_S", 0.5)
    with kind(library, PI, timeout_s=0.5) as machine:
        started = time.monotonic()
        with pytest.raises(ToolchainError, match=r"running ek_forever: took more than 0\.5 s"):
            machine.call("ek_forever", [machine.alloc(4)])
        assert time.monotonic() - started < 10
        assert machine._process.poll() is not None


def test_the_wrong_library_or_target_is_refused(library):
    host = load_target("host")
    with pytest.raises(ToolchainError, match="has no emulated core"):
        Emulator(library, host)
    with pytest.raises(ToolchainError, match="is malformed"):
        Emulator(b"nothing", PI)
    if host.arch != PI.arch:
        with pytest.raises(ToolchainError, match="is built for x86_64, target 'raspberrypi4' is aarch64"):
            Emulator(build_shared({"m.c": "int f(void) { return 1; }"}, "m.c", host), PI)


def test_missing_emulators_say_how_to_get_them(library, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ToolchainError, match=r"pip install .*edgekit\[emulate\]"):
        Emulator(library, PI)
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(ToolchainError, match="apt install qemu-user-static"):
        QemuUser(library, PI)


def test_an_unknown_core_is_named(library):
    from dataclasses import replace

    with pytest.raises(ToolchainError, match="unicorn has no core 'cortex-z1'"):
        Emulator(library, replace(PI, emulated_core="cortex-z1"))


def _gone(pid):
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_no_process_is_left_behind(library):
    with pytest.raises(RuntimeError), Emulator(library, PI) as emulator:
        raise RuntimeError
    assert _gone(emulator._process.pid)
    emulator.close()


_SCRIPT = """
import sys
from pathlib import Path
from edgekit.target import load_target
from edgekit.toolchain import Emulator
emulator = Emulator(Path(sys.argv[1]).read_bytes(), load_target("raspberrypi4"), timeout_s=30)
x = emulator.alloc(4)
print(emulator._process.pid, flush=True)
with emulator:
    emulator.call("ek_forever", [x])
"""


@pytest.mark.parametrize(("sent", "patience"), [(signal.SIGINT, 5), (signal.SIGTERM, 5)])
def test_ctrl_c_ends_both_processes(library, tmp_path, sent, patience):
    path = tmp_path / "m.so"
    path.write_bytes(library)
    script = _SCRIPT if sent == signal.SIGINT else _SCRIPT.replace("ek_forever", "ek_read")
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with parent:
        worker = int(parent.stdout.readline())
        parent.send_signal(sent)
        parent.wait(timeout=patience)
    assert _gone(worker)
