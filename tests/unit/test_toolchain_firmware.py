"""Firmware as a file: where its parts lie, what is refused, its static library, and the sizes of a model's object."""

from __future__ import annotations

import io
import shutil
import struct
from dataclasses import replace

import pytest
from elftools.elf.elffile import ELFFile
from images import build_image

from edgekit.errors import ToolchainError
from edgekit.target import firmware_files, load_target
from edgekit.toolchain import (
    Sizes,
    build_archive,
    build_firmware,
    build_object,
    build_shared,
    emulator_for,
    load_image,
    object_sizes,
)
from edgekit.toolchain.elf import EXECUTE, READ, WRITE

WATCHES = ("smartwatch-m4", "smartwatch-m33", "smartwatch-m55")
COMPILERS = [n for n in ("zig", "gcc") if n == "zig" or shutil.which("arm-none-eabi-gcc")]
SOURCE = """
#include <stdint.h>
const int32_t ek_table[100] = {1, 2, 3};
int32_t ek_at(uint32_t i) { return ek_table[i]; }
int32_t ek_twice(int32_t x) { return 2 * x; }
"""
WITH_DATA = (
    SOURCE + "int32_t ek_count = 5;\nint32_t ek_room[50];\nint32_t ek_next(void) { return ++ek_count + ek_room[0]; }"
)


@pytest.fixture(params=WATCHES)
def watch(request):
    return load_target(request.param)


@pytest.fixture(params=COMPILERS)
def compiler(request):
    return request.param


def test_parts_lie_in_their_memories(watch, compiler):
    firmware = build_image({"m.c": WITH_DATA}, "m.c", watch, compiler=compiler)
    image, elf = load_image(firmware), ELFFile(io.BytesIO(firmware))
    vectors, flash, ram = image.segments
    assert (vectors.access, flash.access, ram.access) == (READ, READ | EXECUTE, READ | WRITE)
    stack, reset = struct.unpack_from("<2I", vectors.data)
    assert elf.header["e_entry"] == reset == image.function("Reset").address | 1
    assert stack == image.data["ek_stack_top"]
    assert image.data["ek_stack_top"] - image.data["ek_stack_bottom"] == 64 << 10
    names = {f.name: f.address for f in image.functions}
    for name in ("ek_at", "ek_twice", "ek_next", "Reset", "main"):
        assert flash.address <= names[name] < flash.address + flash.size
    assert ram.address <= image.data["ek_count"] < image.data["ek_room"] < ram.address + ram.size
    assert struct.unpack_from("<I", ram.data, image.data["ek_count"] - ram.address) == (5,)
    assert flash.address <= image.data["ek_data_load"] < flash.address + flash.size + 4096
    assert image.arch == "thumb"


@pytest.mark.parametrize("name", WATCHES)
def test_floats_travel_in_registers(name):
    elf = ELFFile(io.BytesIO(build_image({"m.c": "float f(float x) { return x + 1; }"}, "m.c", load_target(name))))
    assert elf.header["e_flags"] & 0x400  # EF_ARM_ABI_FLOAT_HARD


def test_sizes_are_those_of_the_model_alone(watch, compiler):
    made = build_object({"m.c": SOURCE}, "m.c", watch, compiler=compiler)
    sizes = object_sizes(made)
    assert (sizes.constants, sizes.data, sizes.zeros) == (400, 0, 0)
    assert 8 <= sizes.code <= 40
    assert (sizes.flash, sizes.ram) == (sizes.code + 400, 0)
    more = object_sizes(build_object({"m.c": WITH_DATA}, "m.c", watch, compiler=compiler))
    assert (more.constants, more.data, more.zeros) == (400, 4, 200)
    assert (more.flash, more.ram) == (more.code + 404, 204)


def test_sizes_want_an_object():
    for wrong in (b"", b"\x7fELF", build_image({"m.c": SOURCE}, "m.c", load_target("smartwatch-m4"))):
        with pytest.raises(ToolchainError, match=r"object: is (malformed|not a relocatable)"):
            object_sizes(wrong)
    assert Sizes(1, 2, 4, 8).flash == 7
    assert Sizes(1, 2, 4, 8).ram == 12


def test_the_static_library_is_the_same_every_time_and_links(watch, compiler, tmp_path, monkeypatch):
    archives = []
    for folder in ("one", "two"):
        monkeypatch.setenv("EDGEKIT_CACHE", str(tmp_path / folder))
        made = build_object({"m.c": SOURCE}, "m.c", watch, compiler=compiler)
        archives.append(build_archive({"ek_m.o": made}, watch, compiler=compiler))
    assert archives[0] == archives[1]
    assert archives[0].startswith(b"!<arch>\n/")  # an index of symbols comes first
    assert all(name in archives[0][:300] for name in (b"ek_at", b"ek_twice", b"ek_table"))
    assert made in archives[0]


def test_what_the_model_lacks_is_an_error(watch, compiler):
    made = build_object(
        {"m.c": "float expf(float); float f(float x) { return expf(x); }"}, "m.c", watch, compiler=compiler
    )
    with pytest.raises(ToolchainError) as caught:
        build_firmware(made, firmware_files(), watch, compiler=compiler)
    assert any("expf" in line for line in caught.value.items)


def test_what_does_not_fit_is_an_error(watch, compiler):
    made = build_object({"m.c": "const char ek_big[9 << 20] = {1};"}, "m.c", watch, compiler=compiler)
    with pytest.raises(ToolchainError) as caught:
        build_firmware(made, firmware_files(), watch, compiler=compiler)
    assert any("FLASH" in line for line in caught.value.items)


def test_a_watch_has_no_shared_libraries_and_a_board_no_firmware(watch):
    with pytest.raises(ToolchainError, match="has no shared libraries"):
        build_shared({"m.c": SOURCE}, "m.c", watch)
    made = build_object({"m.c": SOURCE}, "m.c", watch)
    with pytest.raises(ToolchainError, match="has no emulated board"):
        build_firmware(made, firmware_files(), replace(watch, emulated_core="cortex-m85"))
    with pytest.raises(ToolchainError, match="has no emulated board"):
        build_firmware(made, firmware_files(), load_target("raspberrypi4"))


def test_the_emulator_is_unicorn_wherever_it_has_the_core():
    names = {name: emulator_for(load_target(name)).__name__ for name in (*WATCHES, "raspberrypi4", "stm32mp157")}
    expected = dict.fromkeys(names, "Emulator") | {"smartwatch-m55": "QemuSystem"}
    assert names == expected


def _changed(firmware: bytes, at: int, form: str, value: int) -> bytes:
    return firmware[:at] + struct.pack(form, value) + firmware[at + struct.calcsize(form) :]


def test_damaged_firmware_is_refused():
    """Program headers of a 32-bit ELF: type, offset, address, load address, stored, size, flags, align."""
    firmware = build_image({"m.c": SOURCE}, "m.c", load_target("smartwatch-m4"))
    (first,) = struct.unpack_from("<I", firmware, 28)
    cases = {
        "lies outside": _changed(firmware, first + 4, "<I", len(firmware)),
        "overlap or share a page": _changed(firmware, first + 32 + 8, "<I", 0),
        "both writable and executable": _changed(firmware, first + 32 + 24, "<I", 7),
        "has tables of an unknown form": _changed(firmware, 42, "<H", 8),
        "is not a little-endian ELF": _changed(firmware, 16, "<H", 1),
    }
    for message, damaged in cases.items():
        with pytest.raises(ToolchainError, match=message):
            load_image(damaged)
    peripheral = _changed(_changed(firmware, first + 64 + 8, "<I", 0xB000_0000), first + 64 + 20, "<I", 16)
    with pytest.raises(ToolchainError, match="lies outside"):
        load_image(peripheral)
    for end in range(0, len(firmware), 997):
        with pytest.raises(ToolchainError):
            load_image(firmware[:end])
