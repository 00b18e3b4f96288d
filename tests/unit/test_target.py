"""Targets: every TOML file is sound and sourced, `host` is this machine, and mistakes are all named."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import pytest

from edgekit import target as module
from edgekit.errors import TargetError
from edgekit.target import FIGURES, POWER_FIGURES, Range, firmware_files, list_targets, load_target, target_from_table

GOOD = {
    "name": "board",
    "description": "a board",
    "arch": "aarch64",
    "triple": "aarch64-linux-gnu.2.31",
    "cpu": "cortex_a72",
    "simd": "neon",
    "alignment": 64,
}


@pytest.mark.parametrize("name", list_targets())
def test_every_target_loads_and_sources_its_figures(name):
    target = load_target(name)
    assert target.name == name
    assert json.loads(json.dumps(target.to_dict()))["name"] == name
    for figure in FIGURES:
        if getattr(target, figure):
            assert target.sources[figure]
    for figure in POWER_FIGURES:
        found = getattr(target.power, figure)
        if found:
            assert 0 < found.low <= found.typical <= found.high
            assert re.search(r"https?://\S+", target.power.sources[figure]), "a reader can look it up"


def test_names_are_those_of_the_files():
    folder = Path(__file__).parents[2] / "targets"
    assert list_targets() == ["host", *sorted(path.stem for path in folder.glob("*.toml"))]
    assert "raspberrypi4" in list_targets()


def test_raspberrypi4():
    target = load_target("raspberrypi4")
    assert (target.arch, target.simd, target.cpu, target.emulated_core) == (
        "aarch64",
        "neon",
        "cortex_a72",
        "cortex-a72",
    )
    assert target.clock_hz == 1_500_000_000
    assert target.cores == 4
    assert target.flash_bytes is None
    assert not target.is_host


@pytest.mark.parametrize(
    ("name", "arch", "cpu", "cores", "emulated_core"),
    [
        ("raspberrypi-zero2w", "aarch64", "cortex_a53", 4, "cortex-a53"),
        ("raspberrypi3", "aarch64", "cortex_a53", 4, "cortex-a53"),
        ("raspberrypi5", "aarch64", "cortex_a76", 4, "cortex-a76"),
        ("jetson-nano", "aarch64", "cortex_a57", 4, "cortex-a57"),
        ("jetson-xavier-nx", "aarch64", "carmel", 6, "cortex-a76"),
        ("jetson-orin-nano", "aarch64", "cortex_a78ae", 6, "cortex-a76"),
        ("stm32mp157", "armv7", "cortex_a7", 2, "cortex-a7"),
    ],
)
def test_linux_boards(name, arch, cpu, cores, emulated_core):
    target = load_target(name)
    assert (target.arch, target.cpu, target.cores, target.emulated_core) == (arch, cpu, cores, emulated_core)
    assert target.clock_hz >= 650_000_000
    assert target.ram_bytes >= 512 << 20
    assert target.l1d_bytes < target.l2_bytes < target.ram_bytes


@pytest.mark.parametrize("name", [name for name in list_targets() if name != "host"])
def test_dot_products_are_claimed_where_the_core_has_them(name):
    """Carmel is an Armv8.2-A core without them, the Cortex-A76 and its successors have them."""
    target = load_target(name)
    assert ("asimddp" in target.features) == (target.cpu in ("cortex_a76", "cortex_a78ae"))


def test_jetson_is_short_for_the_orin_nano():
    assert load_target("jetson") == load_target("jetson-orin-nano")


def test_host_is_this_machine():
    target = load_target("host")
    assert target.is_host
    assert target.arch == {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    assert target.ram_bytes > 1 << 20


@pytest.mark.parametrize(
    ("machine", "flags", "cpu", "simd"),
    [
        ("x86_64", "fpu sse2", "x86_64", "portable"),
        ("x86_64", " ".join(sorted(module.X86_64_V3)), "x86_64_v3", "avx2"),
        ("x86_64", " ".join(sorted(module.X86_64_V3 - {"fma"})), "x86_64", "portable"),
        ("x86_64", " ".join(sorted(module.X86_64_V4)), "x86_64_v4", "avx512"),
        ("x86_64", " ".join(sorted(module.X86_64_V4 | {module.VNNI})), "x86_64_v4", "vnni"),
        ("x86_64", " ".join(sorted(module.X86_64_V4 - {"avx512vl"})), "x86_64_v3", "avx2"),
        ("aarch64", "fp asimd crc32", "generic", "neon"),
        ("aarch64", "uscat " + " ".join(sorted(module.CORTEX_A76)), "cortex_a76", "neon"),
        ("aarch64", " ".join(sorted(module.CORTEX_A76 - {"aes"})), "generic", "neon"),
    ],
)
def test_host_features_decide_the_simd(monkeypatch, machine, flags, cpu, simd):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(module, "_cpu_features", lambda: frozenset(flags.split()))
    target = load_target("host")
    assert (target.arch, target.cpu, target.simd) == (machine, cpu, simd)
    # Weights are packed for dot products only where the compiler may use them: without, that kernel is 30 times slower.
    assert ("asimddp" in target.features) == (cpu == "cortex_a76")


def test_host_elsewhere_is_refused(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Plan9")
    with pytest.raises(TargetError, match="Plan9"):
        load_target("host")


@pytest.mark.parametrize(
    ("machine", "maxsize", "flags"),
    [
        ("armv7l", 2**31 - 1, "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae"),
        ("armv8l", 2**31 - 1, "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae"),
        ("aarch64", 2**31 - 1, "fp asimd evtstrm crc32 cpuid"),
    ],
)
def test_a_python_of_32_bits_makes_an_arm_host_of_32_bits(monkeypatch, machine, maxsize, flags):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(module.sys, "maxsize", maxsize)
    monkeypatch.setattr(module, "_cpu_features", lambda: frozenset(flags.split()))
    target, board = load_target("host"), load_target("stm32mp157")
    assert (target.arch, target.triple, target.cpu) == (board.arch, board.triple, board.cpu)
    assert target.simd == board.simd


def test_a_32_bit_arm_host_without_neon_is_refused(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "armv7l")
    monkeypatch.setattr(module, "_cpu_features", lambda: frozenset({"vfpv3", "vfpv3d16"}))
    with pytest.raises(TargetError, match="lacks NEON, VFPv4 or integer division"):
        load_target("host")


@pytest.mark.parametrize("name", ["nope", "smartwatch-m7", "../raspberrypi4", ""])
def test_unknown_targets_list_the_known(name):
    with pytest.raises(TargetError, match="is not known") as caught:
        load_target(name)
    assert caught.value.items == tuple(list_targets())


def test_smartwatch_is_short_for_the_cortex_m33():
    assert load_target("smartwatch") == load_target("smartwatch-m33")


def test_an_alias_of_no_target_says_what_it_stands_for(monkeypatch):
    monkeypatch.setitem(module.ALIASES, "phone", "phone-x")
    with pytest.raises(TargetError, match="alias of phone-x"):
        load_target("phone")


@pytest.mark.parametrize(
    ("name", "core", "figures"),
    [
        ("smartwatch-m4", ("cortex_m4+vfp4d16sp", "dsp", "cortex-m4"), (96_000_000, 384 << 10, 1 << 20)),
        ("smartwatch-m33", ("cortex_m33+dsp+fp_armv8d16sp", "dsp", "cortex-m33"), (128_000_000, 512 << 10, 1 << 20)),
        ("smartwatch-m55", ("cortex_m55+mve_fp+fp_armv8d16", "mve", "cortex-m55"), (250_000_000, 3584 << 10, 4 << 20)),
    ],
)
def test_watches_are_bare_cores_with_floats_in_hardware(name, core, figures):
    """A bare `cortex_m4` would silently be soft float."""
    target = load_target(name)
    assert target.is_bare
    assert (target.cpu, target.simd, target.emulated_core) == core
    assert (target.clock_hz, target.ram_bytes, target.flash_bytes) == figures
    assert not load_target("host").is_bare


def test_firmware_is_made_of_start_up_code_and_linker_scripts():
    files = firmware_files()
    assert {"startup.c", "idle.c", "selftest.h", "sections.ld", "mps2-an386.ld"} <= set(files)
    assert b"INCLUDE sections.ld" in files["mps3-an547.ld"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clok_hz": 1}, "unknown key 'clok_hz'"),
        ({"arch": "vax"}, "arch must be one of x86_64, aarch64, armv7, thumb, not 'vax'"),
        ({"arch": ["aarch64"]}, "arch must be one of"),
        ({"simd": "avx2"}, "simd on aarch64 must be one of portable, neon, not 'avx2'"),
        ({"features": ["asimddpp"], "sources": {"features": "a book"}}, "feature 'asimddpp' is not known for aarch64"),
        ({"features": ["neon"], "sources": {"features": "a book"}}, "feature 'neon' is not known for aarch64"),
        ({"memory_bytes_per_s": 10}, r"memory_bytes_per_s has no entry in \[sources\]"),
        ({"l2_bytes": 0}, "l2_bytes must be a positive integer"),
        ({"alignment": 48}, "alignment must be a power of two"),
        ({"cores": True}, "cores must be a positive integer"),
        ({"clock_hz": 1.5e9}, "clock_hz must be a positive integer"),
        ({"cflags": "-O3"}, "cflags must be a list of texts"),
        ({"clock_hz": 10}, r"clock_hz has no entry in \[sources\]"),
        ({"sources": {"clock_hz": "a book"}}, "names 'clock_hz', which is not a figure here"),
        ({"name": "other"}, "the file is board.toml"),
    ],
)
def test_faults_of_a_file_are_named(change, message):
    with pytest.raises(TargetError, match=message):
        target_from_table({**GOOD, **change}, where="board.toml", name="board")


def test_all_faults_are_listed_at_once():
    with pytest.raises(TargetError) as caught:
        target_from_table({"name": 3, "odd": 1}, where="board.toml", name="board")
    assert len(caught.value.items) == 8


def test_a_figure_with_its_source_is_taken():
    table = {**GOOD, "clock_hz": 10, "sources": {"clock_hz": "a book"}}
    assert target_from_table(table, where="board.toml", name="board").clock_hz == 10


RANGE = [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("power", "message"),
    [
        ({"core_wats": RANGE}, "unknown key 'power.core_wats'"),
        ({"core_watts": RANGE}, r"power.core_watts has no entry in \[power.sources\]"),
        ({"core_watts": 3.0, "sources": {"core_watts": "a book"}}, "power.core_watts must be three rising positive"),
        ({"core_watts": [3.0, 2.0, 1.0], "sources": {"core_watts": "a book"}}, "three rising positive"),
        ({"core_watts": [0, 2.0, 3.0], "sources": {"core_watts": "a book"}}, "three rising positive"),
        ({"core_watts": [1.0, True, 3.0], "sources": {"core_watts": "a book"}}, "three rising positive"),
        ({"core_watts": [1.0, 2.0, float("inf")], "sources": {"core_watts": "a book"}}, "three rising positive"),
        ({"sources": {"idle_watts": "a book"}}, "names 'idle_watts', which is not a figure here"),
        ({"sources": ["a book"]}, "power.sources must be a table of texts"),
        ({"conditions": 3}, "power.conditions must be a text"),
        ([], "power must be a table"),
    ],
)
def test_figures_of_power_are_ranges_with_sources(power, message):
    with pytest.raises(TargetError, match=message):
        target_from_table({**GOOD, "power": power}, where="board.toml", name="board")


def test_a_range_of_power_with_its_source_is_taken():
    power = {"core_watts": RANGE, "conditions": "warm", "sources": {"core_watts": "a book"}}
    target = target_from_table({**GOOD, "power": power}, where="board.toml", name="board")
    assert target.power.core_watts == Range(1.0, 2.0, 3.0)
    assert target.power.joules_per_cycle is None
    assert target.to_dict()["power"]["core_watts"] == {"low": 1.0, "typical": 2.0, "high": 3.0}


def test_wear_os_is_two_machines_of_android():
    target = load_target("wear-os")
    assert (target.arch, target.triple, target.grade) == ("aarch64", "aarch64-linux-android", "untested on device")
    assert target.exports == ("tflite",)
    (other,) = target.also.values()
    assert (other.name, other.arch, other.triple) == ("wear-os-armv7", "armv7", "arm-linux-musleabihf")
    assert target.ldflags == other.ldflags == ("-Wl,-z,max-page-size=16384",)
    assert target.to_dict()["also"]["armv7"]["cpu"] == "cortex_a7"
    assert not load_target("raspberrypi4").also


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"also": {"vax": {}}}, "also must be a table of targets"),
        ({"also": {"armv7": {"arch": "armv7"}}}, r"board.toml: also.armv7"),
        ({"also": {"armv7": {**GOOD, "arch": "armv7"}}}, "simd on armv7 must be one of"),
        ({"exports": ["pickle"]}, "exports must be a list of onnx, tflite"),
        ({"ldflags": "-s"}, "ldflags must be a list of texts"),
        ({"grade": ""}, "grade must be a text"),
    ],
)
def test_faults_of_further_machines_are_named(change, message):
    with pytest.raises(TargetError, match=message):
        target_from_table({**GOOD, **change}, where="board.toml", name="board")
