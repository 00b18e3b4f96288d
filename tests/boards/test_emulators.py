"""A library's own machine code on the emulated core: right values, exact counts, confinement, and an end that comes."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from edgekit.errors import ToolchainError
from edgekit.target import load_target
from edgekit.toolchain import Emulator, QemuUser, build_shared
from edgekit.toolchain.qemu_user import find_qemu

SOURCE = """
#include <stdint.h>

static const float W[4] = {1, 2, 3, 4};
static const float *const TABLE[2] = {W, W + 2};

#if defined(__aarch64__)
#define LOOP "mov w1, #0\\n1: add w1, w1, #1\\ncmp w1, w0\\nb.ne 1b\\nmov w0, w1\\nret\\n"
#define SYSTEM_CALL "mov x8, #93\\nsvc #0\\nret\\n"
#else
#define LOOP "mov r1, #0\\n1: add r1, r1, #1\\ncmp r1, r0\\nbne 1b\\nmov r0, r1\\nbx lr\\n"
#define SYSTEM_CALL "mov r7, #1\\nsvc #0\\nbx lr\\n"
#endif
__asm__(".globl ek_loop\\n.type ek_loop, %function\\nek_loop:\\n" LOOP ".size ek_loop, . - ek_loop\\n"
        ".globl ek_system_call\\n.type ek_system_call, %function\\nek_system_call:\\n"
        SYSTEM_CALL ".size ek_system_call, . - ek_system_call\\n");
int ek_loop(int n);

uint32_t ek_sum(uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t e, uint32_t f, uint32_t g, uint32_t h) {
    return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h;
}
uint32_t ek_sum16(float *a, float *b, float *c, float *d, float *e, float *f, float *g, float *h, uint32_t i,
                  uint32_t j, uint32_t k, uint32_t l, uint32_t m, uint32_t n, uint32_t o, uint32_t p) {
    return ek_sum((uint32_t)(uintptr_t)a, (uint32_t)(uintptr_t)b, (uint32_t)(uintptr_t)c, (uint32_t)(uintptr_t)d,
                  (uint32_t)(uintptr_t)e, (uint32_t)(uintptr_t)f, (uint32_t)(uintptr_t)g, (uint32_t)(uintptr_t)h) +
           9 * i + 10 * j + 11 * k + 12 * l + 13 * m + 14 * n + 15 * o + 16 * p;
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
RETURN = {"aarch64": 0xD65F03C0, "armv7": 0xE12FFF1E}
QEMU_IS_THERE = {arch: find_qemu(arch) is not None for arch in RETURN}


@pytest.fixture(scope="module", params=["raspberrypi4", "stm32mp157"])
def target(request):
    """One target of 64 and one of 32 bits."""
    return load_target(request.param)


@pytest.fixture(scope="module")
def library(target):
    return build_shared({"m.c": SOURCE}, "m.c", target)


@pytest.fixture(params=[Emulator, QemuUser])
def kind(request, target):
    if request.param is QemuUser:
        require_qemu(target)
    return request.param


def require_qemu(target):
    if not QEMU_IS_THERE[target.arch]:
        pytest.skip("qemu-user-static is not installed")


@pytest.fixture
def machine(kind, library, target):
    with kind(library, target, timeout_s=20) as machine:
        yield machine


@pytest.fixture
def emulator(library, target):
    with Emulator(library, target, timeout_s=20) as emulator:
        yield emulator


def test_names_the_core_and_the_engine(machine, target):
    assert machine.core == {"raspberrypi4": "cortex-a72", "stm32mp157": "cortex-a7"}[target.name]
    assert machine.engine.startswith("unicorn " if machine.counts else "qemu-user")


def test_arguments_and_results(machine):
    assert machine.call("ek_sum", range(1, 9)).value == sum(i * i for i in range(1, 9))
    assert machine.call("ek_sum", [2**32 - 1, 1]).value == 1
    assert machine.call("ek_sum16", range(1, 17)).value == sum(i * i for i in range(1, 17))
    assert machine.call("ek_sum16", range(1, 9)).value == sum(i * i for i in range(1, 9))
    with pytest.raises(ToolchainError, match="at most 16 arguments"):
        machine.call("ek_sum", range(17))
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


def test_two_independent_emulators_agree_on_any_bits(library, target):
    require_qemu(target)
    x = np.random.default_rng(1).integers(0, 2**32, size=4096, dtype=np.uint64).astype(np.uint32).view(np.float32)
    with Emulator(library, target) as one, QemuUser(library, target) as other:
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


def test_asking_qemu_user_for_counts_is_an_error(library, target):
    require_qemu(target)
    with QemuUser(library, target) as machine:
        assert machine.call("ek_loop", [3]).instructions is None
        with pytest.raises(ToolchainError, match="cannot count"):
            machine.call("ek_loop", [3], count=True)


@pytest.mark.drawn(2)
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


def test_data_are_not_executable(emulator, target):
    code = emulator.alloc(4)
    emulator.write(code, struct.pack("<I", RETURN[target.arch]))
    with pytest.raises(ToolchainError, match="execution at"):
        emulator.call("ek_jump", [code])


def test_an_overrun_of_a_buffer_is_a_fault(library, kind, target):
    with kind(library, target) as machine:
        x = machine.alloc(64)
        machine.call("ek_write", [x + 60])
        with pytest.raises(ToolchainError):
            machine.call("ek_write", [x + 64])


@pytest.mark.drawn(2)
def test_endless_loops_end(library, kind, target, monkeypatch):
    monkeypatch.setattr("edgekit.toolchain.machine.GRACE_S", 0.5)
    with kind(library, target, timeout_s=0.5) as machine:
        started = time.monotonic()
        with pytest.raises(ToolchainError, match=r"running ek_forever: took more than 0\.5 s"):
            machine.call("ek_forever", [machine.alloc(4)])
        assert time.monotonic() - started < 10
        assert machine._process.poll() is not None


def test_the_wrong_library_or_target_is_refused(library, target):
    host, other = load_target("host"), load_target("raspberrypi4" if target.arch == "armv7" else "stm32mp157")
    with pytest.raises(ToolchainError, match="has no emulated core"):
        Emulator(library, host)
    with pytest.raises(ToolchainError, match="is malformed"):
        Emulator(b"nothing", target)
    with pytest.raises(ToolchainError, match=f"is built for {target.arch}, target '{other.name}' is {other.arch}"):
        Emulator(library, other)
    with pytest.raises(ToolchainError, match="has no emulated core"):
        Emulator(library, replace(host, arch="x86_64", emulated_core="max"))


def test_missing_emulators_say_how_to_get_them(library, target, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ToolchainError, match=r"pip install .*edgekit\[emulate\]"):
        Emulator(library, target)
    monkeypatch.setattr("shutil.which", lambda _: None)
    name = {"aarch64": "qemu-aarch64-static", "armv7": "qemu-arm-static"}[target.arch]
    with pytest.raises(ToolchainError, match=f"{name}: is not installed; apt install qemu-user-static"):
        QemuUser(library, target)


def test_an_unknown_core_is_named(library, target):
    with pytest.raises(ToolchainError, match="unicorn has no core 'cortex-z1'"):
        Emulator(library, replace(target, emulated_core="cortex-z1"))


DOTS = """
#include <arm_neon.h>
int ek_dot(const int8_t *a, const int8_t *b) {
    return vaddvq_s32(vdotq_s32(vdupq_n_s32(0), vld1q_s8(a), vld1q_s8(b)));
}
"""


def test_a_core_that_unicorn_lacks_has_a_stand_in_with_its_instructions():
    """An Armv8.2-A dot product runs for the Cortex-A76, by either engine, and faults on the Cortex-A72."""
    target = load_target("raspberrypi5")
    library = build_shared({"m.c": DOTS}, "m.c", target)
    values = bytes(range(16))

    def dot(machine):
        address = machine.alloc(16)
        machine.write(address, values)
        return machine.call("ek_dot", [address, address]).value

    with Emulator(library, target) as emulator:
        assert emulator.core == "cortex-a76 (model max)"
        assert dot(emulator) == sum(v * v for v in values)
    with Emulator(library, PI) as emulator, pytest.raises(ToolchainError, match="not an instruction that the core has"):
        dot(emulator)
    require_qemu(target)
    with QemuUser(library, target) as machine:
        assert machine.core == "cortex-a76"
        assert dot(machine) == sum(v * v for v in values)


def test_addresses_of_a_32_bit_machine_have_32_bits(machine, target):
    """A library of 64 bits, on the other hand, lies beyond 4 GiB, so that a pointer cut short is a fault."""
    assert (machine.alloc(4) < 2**32) == (target.arch == "armv7")
    assert (machine.image.function("ek_sum").address < 2**32) == (target.arch == "armv7")


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("sent", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGRTMIN + 3, "signal 37")])
def test_a_machine_killed_in_the_middle_of_a_call_is_an_error(library, kind, target, sent, name):
    with kind(library, target) as machine:
        x = machine.alloc(4)
        killer = threading.Timer(0.3, os.kill, (machine._process.pid, sent))
        killer.start()
        with pytest.raises(ToolchainError, match=f"running ek_forever: the machine was ended by {name}"):
            machine.call("ek_forever", [x])
        with pytest.raises(ToolchainError, match="is closed"):
            machine.read(x, 4)
        killer.join()


def _gone(pid):
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_no_process_is_left_behind(library, target):
    with pytest.raises(RuntimeError), Emulator(library, target) as emulator:
        raise RuntimeError
    assert _gone(emulator._process.pid)
    emulator.close()


_SCRIPT = """
import sys
from pathlib import Path
from edgekit.target import load_target
from edgekit.toolchain import Emulator
emulator = Emulator(Path(sys.argv[1]).read_bytes(), load_target(sys.argv[2]), timeout_s=30)
x = emulator.alloc(4)
print(emulator._process.pid, flush=True)
with emulator:
    emulator.call("ek_forever", [x])
"""


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("sent", "patience"), [(signal.SIGINT, 5), (signal.SIGTERM, 5)])
def test_ctrl_c_ends_both_processes(library, target, tmp_path, sent, patience):
    path = tmp_path / "m.so"
    path.write_bytes(library)
    script = _SCRIPT if sent == signal.SIGINT else _SCRIPT.replace("ek_forever", "ek_read")
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(path), target.name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with parent:
        worker = int(parent.stdout.readline())
        parent.send_signal(sent)
        parent.wait(timeout=patience)
    assert _gone(worker)
