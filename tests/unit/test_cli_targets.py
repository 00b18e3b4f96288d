"""`edgekit targets` and `edgekit doctor`: what people read, whole and in units."""

from __future__ import annotations

import json

import pytest
from converted import edgekit_main

from edgekit.target import list_targets, load_target

CROSS = {"aarch64": "aarch64-linux-gnu", "armv7": "arm-linux-gnueabihf", "thumb": "arm-none-eabi"}


def test_the_list_has_a_line_for_every_target():
    lines = edgekit_main("targets").stdout.splitlines()
    for name in list_targets():
        (line,) = (line for line in lines if line.split(maxsplit=1)[:1] == [name])
        target = load_target(name)
        assert target.cpu in line
        assert (target.emulated_core or "-") in line
    (pi,) = (line for line in lines if line.startswith("raspberrypi5"))
    for shown in ("4 x cortex_a76", "neon", "2,400 MHz", "1 GiB", "cortex-a76", "BCM2712"):
        assert shown in pi
    assert "jetson is short for jetson-orin-nano" in lines[-1]


@pytest.mark.parametrize("name", ["jetson", "stm32mp157", "raspberrypi-zero2w"])
def test_one_target_is_shown_in_units_with_its_sources_uncut(name):
    shown, target = edgekit_main("targets", name).stdout, load_target(name)
    rows = dict(line.split(maxsplit=1) for line in shown.split("sources")[0].splitlines() if " " in line.strip())
    assert rows["name"].strip() == target.name
    assert rows["ram_bytes"].strip() == {4 << 30: "4 GiB", 512 << 20: "512 MiB"}[target.ram_bytes]
    assert rows["l1d_bytes"].strip() == f"{target.l1d_bytes // 1024} KiB"
    assert rows["flash_bytes"].strip() == "-"
    for figure, source in target.sources.items():
        assert f"{figure}: {source}\n" in shown


def test_json_has_plain_numbers_and_the_aliases():
    document = json.loads(edgekit_main("targets", "jetson", "--json").stdout)
    (target,) = document["targets"]
    assert target["memory_bytes_per_s"] == 34_000_000_000
    assert target["flash_bytes"] is None
    assert document["aliases"] == {"jetson": "jetson-orin-nano", "smartwatch": "smartwatch-m33"}
