"""Targets: every TOML file is sound and sourced, `host` is this machine, and mistakes are all named."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest

from edgekit import target as module
from edgekit.errors import TargetError
from edgekit.target import FIGURES, list_targets, load_target, target_from_table

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
        ("x86_64", " ".join(sorted(module.X86_64_V4 - {"avx512vl"})), "x86_64_v3", "avx2"),
        ("aarch64", "fp asimd crc32", "generic", "neon"),
    ],
)
def test_host_features_decide_the_simd(monkeypatch, machine, flags, cpu, simd):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(module, "_cpu_features", lambda: frozenset(flags.split()))
    target = load_target("host")
    assert (target.arch, target.cpu, target.simd) == (machine, cpu, simd)


def test_host_elsewhere_is_refused(monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Plan9")
    with pytest.raises(TargetError, match="Plan9"):
        load_target("host")


@pytest.mark.parametrize("name", ["nope", "jetson", "smartwatch", "../raspberrypi4", ""])
def test_unknown_targets_list_the_known(name):
    with pytest.raises(TargetError, match="is not known") as caught:
        load_target(name)
    assert caught.value.items == tuple(list_targets())


def test_an_alias_says_what_it_stands_for():
    with pytest.raises(TargetError, match="alias of jetson-orin-nano"):
        load_target("jetson")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clok_hz": 1}, "unknown key 'clok_hz'"),
        ({"arch": "vax"}, "arch must be one of"),
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
