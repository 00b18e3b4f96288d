"""Building: libc-free libraries for every target, the same bytes every time, and clear words when it fails."""

from __future__ import annotations

import ctypes
import io
import shutil
import subprocess
import sys

import pytest
from elftools.elf.elffile import ELFFile
from images import build_image

from edgekit.errors import ToolchainError
from edgekit.target import FEATURES, list_targets, load_target
from edgekit.toolchain import (
    COMPILERS,
    Compiler,
    build_flags,
    build_shared,
    cache_dir,
    doctor,
    find_compiler,
    load_image,
)

SOURCES = {
    "add.c": '#include "ek/twice.h"\nint ek_add(int a, int b) { return ek_twice(a) + b; }\n',
    "ek/twice.h": "static int ek_twice(int a) { return 2 * a; }\n",
}


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def host():
    return load_target("host")


def compilers():
    for target in map(load_target, list_targets()):
        for name in COMPILERS:
            try:
                find_compiler(target, name)
            except ToolchainError:
                continue
            yield pytest.param(target, name, id=f"{target.name}-{name}")


def test_zig_is_there_for_every_target():
    """Without it the tests below would silently shrink."""
    for name in list_targets():
        assert find_compiler(load_target(name)).name == "zig"


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("target", "compiler"), list(compilers()))
def test_every_compiler_builds_for_every_target(target, compiler):
    library = build_image(SOURCES, "add.c", target, compiler=compiler)
    elf = ELFFile(io.BytesIO(library))
    machine = {"aarch64": "AArch64", "x86_64": "x64", "armv7": "ARM", "thumb": "ARM"}
    assert elf.get_machine_arch() == machine[target.arch]
    assert elf.get_section_by_name(".symtab") is not None
    assert elf.get_section_by_name(".debug_info") is None
    around = {"Reset", "main", "ek_stop"} if target.is_bare else set()
    assert load_image(library).exported == {"ek_add"} | around


def test_the_host_library_runs(host, tmp_path):
    path = tmp_path / "add.so"
    path.write_bytes(build_shared(SOURCES, "add.c", host))
    assert ctypes.CDLL(str(path)).ek_add(20, 2) == 42


@pytest.mark.drawn(3)
@pytest.mark.parametrize(("target", "compiler"), list(compilers()))
def test_same_input_gives_same_bytes(target, compiler, tmp_path, monkeypatch):
    libraries = []
    for folder in ("one", "another/deeper"):
        monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / folder))
        libraries.append(build_image(SOURCES, "add.c", target, compiler=compiler))
    assert libraries[0] == libraries[1]


# Features of a target that change its code, and what a compiler that may use them defines. The compiler knows more
# of a core than the core may have (cryptography on a Raspberry Pi), but does not use that of its own accord.
MACROS = {
    "asimddp": "__ARM_FEATURE_DOTPROD",
    "atomics": "__ARM_FEATURE_ATOMICS",
    "asimdhp": "__ARM_FEATURE_FP16_VECTOR_ARITHMETIC",
    "asimdrdm": "__ARM_FEATURE_QRDMX",
    "asimd": "__ARM_NEON",
    "neon": "__ARM_NEON",
    "vfpv4": "__ARM_FEATURE_FMA",
    "dsp": "__ARM_FEATURE_DSP",
    "fp32": "__ARM_FP",
    "mve": "__ARM_FEATURE_MVE",
}


@pytest.mark.drawn(2)
@pytest.mark.parametrize(("target", "compiler"), [p for p in compilers() if not p.values[0].is_host])
def test_compilers_use_the_features_that_the_target_names(target, compiler):
    known = {feature: macro for feature, macro in MACROS.items() if feature in FEATURES[target.arch]}
    lines = [f"#if{'n' if f in target.features else ''}def {macro}\n#error {f}\n#endif" for f, macro in known.items()]
    build_image({"m.c": "\n".join([*lines, "int ek_one(void) { return 1; }"])}, "m.c", target, compiler=compiler)


def test_no_compiler_turns_loops_into_calls_of_libc(host):
    loops = """
    void ek_zero(float *x, int n) { for (int i = 0; i < n; i++) x[i] = 0.0f; }
    void ek_copy(float *restrict y, const float *restrict x, int n) { for (int i = 0; i < n; i++) y[i] = x[i]; }
    float ek_root(float x) { return __builtin_sqrtf(x); }
    """
    for name in COMPILERS:
        if name == "zig" or shutil.which(name):
            build_shared({"m.c": loops}, "m.c", host, compiler=name)


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_undefined_functions_are_an_error(host, compiler):
    if compiler == "gcc" and not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    with pytest.raises(ToolchainError, match="expf"):
        build_shared({"m.c": "float expf(float); float f(float x) { return expf(x); }"}, "m.c", host, compiler=compiler)


def test_no_contraction_into_fma(host, tmp_path):
    """(1 + e)(1 - e) - 1 is 0 when the product is rounded first, and -e² when it is fused."""
    source = {"m.c": "float f(float a, float b, float c) { return a * b + c; }"}
    path = tmp_path / "m.so"
    path.write_bytes(build_shared(source, "m.c", host))
    function = ctypes.CDLL(str(path)).f
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    assert function(1 + 2.0**-13, 1 - 2.0**-13, -1.0) == 0.0


def test_diagnostics_are_shown(host):
    with pytest.raises(ToolchainError, match=r"compiling m\.c: failed") as caught:
        build_shared({"m.c": "int f(void) { return y; }"}, "m.c", host)
    assert any("m.c:1" in line and "undeclared" in line for line in caught.value.items)


@pytest.mark.parametrize("name", ["../m.c", "/m.c", "m.py", "a/../m.c", "-m.c.o", ""])
def test_source_names_stay_inside_the_folder(host, name):
    with pytest.raises(ToolchainError, match="not a relative path of a C file"):
        build_shared({"m.c": "", name: ""}, "m.c", host)


def test_unknown_names(host):
    with pytest.raises(ToolchainError, match="known are zig, gcc, clang"):
        find_compiler(host, "tcc")
    with pytest.raises(ToolchainError, match="not among the files"):
        build_shared(SOURCES, "other.c", host)


def test_missing_compilers_say_how_to_get_one(host, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ToolchainError, match=r"pip install .*edgekit\[convert\]"):
        find_compiler(host)
    assert all(not row.ok and row.remedy for row in doctor())


def test_a_build_is_cached_until_its_input_changes(host, monkeypatch):
    first = build_shared(SOURCES, "add.c", host)
    monkeypatch.setattr("edgekit.toolchain.compilers._run", lambda *_: pytest.fail("was compiled again"))
    assert build_shared(SOURCES, "add.c", host) == first
    with pytest.raises(pytest.fail.Exception):
        build_shared(SOURCES, "add.c", host, extra_flags=("-DX",))
    with pytest.raises(pytest.fail.Exception):
        build_shared({**SOURCES, "ek/twice.h": SOURCES["ek/twice.h"] + "\n"}, "add.c", host)


def test_a_damaged_cache_entry_is_built_again(host):
    first = build_shared(SOURCES, "add.c", host)
    (entry,) = (cache_dir() / "build").iterdir()
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    assert build_shared(SOURCES, "add.c", host) == first


def test_flags_depend_on_the_target():
    pi, host = load_target("raspberrypi4"), load_target("host")
    assert "-mcpu=cortex_a72" in build_flags(pi, find_compiler(pi, "zig"))
    for target in (pi, host):
        flags = build_flags(target, find_compiler(target))
        assert "-ffp-contract=off" in flags
        assert not any("fast" in flag for flag in flags)


def test_every_compiler_is_told_the_core_in_its_own_words():
    def machine(target, name):
        flags = build_flags(load_target(target), Compiler(name, (name,), "1"))
        return [flag for flag in flags if flag.startswith(("-m", "-target"))]

    assert machine("raspberrypi5", "gcc") == ["-mcpu=cortex-a76"]
    assert machine("jetson-orin-nano", "clang") == ["-mcpu=cortex-a78ae"]
    assert machine("jetson-xavier-nx", "zig") == ["-target", "-mcpu=carmel"]
    assert machine("jetson-xavier-nx", "gcc") == ["-march=armv8.2-a+fp16+crypto"]
    assert machine("stm32mp157", "zig") == ["-target", "-mcpu=cortex_a7"]
    assert machine("stm32mp157", "gcc") == ["-mcpu=cortex-a7", "-marm", "-mfpu=neon-vfpv4", "-mfloat-abi=hard"]
    assert machine("smartwatch-m4", "zig") == ["-target", "-mcpu=cortex_m4+vfp4d16sp"]
    hard = ["-mthumb", "-mfloat-abi=hard"]
    assert machine("smartwatch-m4", "gcc") == ["-mcpu=cortex-m4", *hard, "-mfpu=fpv4-sp-d16"]
    assert machine("smartwatch-m33", "gcc") == ["-mcpu=cortex-m33", *hard, "-mfpu=fpv5-sp-d16"]
    assert machine("smartwatch-m55", "gcc") == ["-mcpu=cortex-m55", *hard]


def test_armv7_floats_travel_in_registers_and_no_code_is_thumb():
    """The procedure call standard with VFP registers, as the sources of a Linux of hard floats expect it."""
    library = build_shared({"m.c": "float f(float x) { return x + 1; }"}, "m.c", load_target("stm32mp157"))
    elf = ELFFile(io.BytesIO(library))
    assert elf.header["e_flags"] & 0x400  # EF_ARM_ABI_FLOAT_HARD
    names = {s.name for s in elf.get_section_by_name(".symtab").iter_symbols()}
    assert "$a" in names
    assert "$t" not in names


def test_doctor_finds_what_this_test_runs_with():
    rows = {row.tool: row for row in doctor()}
    assert rows["zig"].ok
    assert rows["unicorn"].ok
    for row in rows.values():
        assert row.ok == (row.remedy == "")


def test_import_is_light():
    heavy = "{'torch', 'numpy', 'unicorn', 'elftools', 'ziglang'}"
    code = f"import sys, edgekit.toolchain; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "source", ["extern int y; int *f(void) { return &y; }", "static __thread int y; int f(void) { return y++; }"]
)
def test_libraries_that_need_a_loader_are_refused(host, source):
    with pytest.raises(ToolchainError, match=r"undefined|thread-local"):
        build_shared({"m.c": source}, "m.c", host)
