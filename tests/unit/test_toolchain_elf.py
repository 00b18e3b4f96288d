"""The ELF reader: it agrees with pyelftools on real libraries, and never crashes on damaged ones."""

from __future__ import annotations

import io
import struct
import time
from dataclasses import replace

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from edgekit.errors import ToolchainError
from edgekit.target import load_target
from edgekit.toolchain import build_shared, load_image

SOURCE = """
static const float W[4] = {1, 2, 3, 4};
const float *ek_rows[2] = {W, W + 2};
static __attribute__((noinline)) float row(int i, int j) { return ek_rows[i & 1][j & 1]; }
float ek_get(int i, int j) { return row(i, j) + 1; }
int ek_counter = 3;
int ek_count(void) { return ++ek_counter; }
"""


@pytest.fixture(scope="module", params=["raspberrypi4", "stm32mp157", "host"])
def library(request):
    return build_shared({"m.c": SOURCE}, "m.c", load_target(request.param))


def test_agrees_with_pyelftools(library):
    image, elf = load_image(library), ELFFile(io.BytesIO(library))
    loads = [s for s in elf.iter_segments() if s["p_type"] == "PT_LOAD"]
    assert [(s.address, s.size, len(s.data)) for s in image.segments] == [
        (s["p_vaddr"], s["p_memsz"], s["p_filesz"]) for s in loads
    ]
    theirs = {
        (s.name, s["st_value"], s["st_size"])
        for s in elf.get_section_by_name(".symtab").iter_symbols()
        if s["st_info"]["type"] == "STT_FUNC"
    }
    assert {(f.name, f.address, f.size) for f in image.functions} == theirs
    assert image.exported == {"ek_get", "ek_count"}
    assert image.loaded_bytes == sum(s["p_filesz"] for s in loads)


def test_relocations_move_with_the_base(library):
    """The table of pointers must point at the floats 1 and 3, wherever the library lies."""
    elf = ELFFile(io.BytesIO(library))
    base, pointer = (0x10_0000_0000, "<Q") if elf.elfclass == 64 else (0x1000_0000, "<I")
    image, unmoved = load_image(library, base), load_image(library)

    def pointer_at(loaded, at):
        segment = next(s for s in loaded.segments if s.address <= at < s.address + len(s.data))
        return struct.unpack_from(pointer, segment.data, at - segment.address)[0]

    words = set()
    for row in next(s for s in elf.iter_sections() if s["sh_type"] in ("SHT_RELA", "SHT_REL")).iter_relocations():
        value = pointer_at(image, base + row["r_offset"])
        assert value == base + (row["r_addend"] if row.is_RELA() else pointer_at(unmoved, row["r_offset"]))
        words.add(int.from_bytes(image.code_at(value, 4), "little"))
    assert {0x3F800000, 0x40400000} <= words


def test_thumb_code_is_refused():
    source = {"m.c": "int ek_one(void) { return 1; }"}
    target = replace(load_target("stm32mp157"), triple="thumb-linux-musleabihf")
    with pytest.raises(ToolchainError, match="has Thumb code; build it for a triple that begins with arm"):
        build_shared(source, "m.c", target, compiler="zig")


def test_functions_are_found_by_name_and_address(library):
    image = load_image(library, 0x1000_0000)
    function = image.function("row")
    assert image.function_at(function.address) == function
    assert image.function_at(function.address + function.size - 1) == function
    assert image.function_at(0) is None
    with pytest.raises(ToolchainError, match="its functions are") as caught:
        image.function("ek_got")
    assert caught.value.items == ("ek_count", "ek_get")


def test_other_files_are_refused():
    for data in (b"", b"\x7fELF", b"MZ" + bytes(200), b"\x7fELF\x01\x01" + bytes(200)):
        with pytest.raises(ToolchainError):
            load_image(data)


def test_damaged_libraries_are_refused_or_read_but_never_crash(library, drawn_seed):
    rng = np.random.default_rng(drawn_seed)
    for size in range(0, len(library), 97):
        with pytest.raises(ToolchainError):
            load_image(library[:size])
    damaged = bytearray(library)
    for _ in range(3000):
        at = int(rng.integers(len(library)))
        damaged[at] = int(rng.integers(256))
        try:
            load_image(bytes(damaged))
        except ToolchainError:
            damaged = bytearray(library)


def _bomb(*, loads=1, tables=1, rows=1, kind=4, name=0, names=b"\0"):
    """An AArch64 library of `loads` segments and `tables` sections that all point at one table of so many rows."""
    row = struct.pack("<2Qq", 4096 * (loads - 1), 1027, 0) if kind == 4 else struct.pack("<I2BH2Q", name, 2, 0, 1, 0, 4)
    programs = [struct.pack("<2I6Q", 1, 4, 0, i * 4096, 0, 8, 8, 4096) for i in range(loads)]
    rows_at = 64 + 56 * loads
    names_at = rows_at + 24 * rows
    header = struct.pack(
        "<16s2HI3QI6H", b"\x7fELF\2\1\1", 3, 183, 1, 0, 64, names_at + len(names), 0, 64, 56, loads, 64, tables + 1, 0
    )
    sections = [struct.pack("<2I4Q2I2Q", 0, 3, 0, 0, names_at, len(names), 0, 0, 0, 0)]
    sections += [struct.pack("<2I4Q2I2Q", 0, kind, 2, 0, rows_at, 24 * rows, 0, 0, 0, 24)] * tables
    return header + b"".join(programs) + row * rows + names + b"".join(sections)


def test_what_the_bombs_are_made_of_is_a_library():
    assert load_image(_bomb()).segments[0].size == 8
    assert load_image(_bomb(kind=11, name=1, names=b"\0ek_f\0")).exported == {"ek_f"}


@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        ({"tables": 60_000, "rows": 60_000}, "too long"),
        ({"tables": 60_000, "rows": 60_000, "kind": 2}, "too long"),
        ({"loads": 60_000, "rows": 60_000}, "more than 64 segments"),
        ({"rows": 60_000, "kind": 2, "name": 1, "names": b"\0" + b"a" * (1 << 20)}, "a symbol whose name"),
    ],
)
def test_a_small_file_cannot_ask_for_much_work(bomb, message):
    library = _bomb(**bomb)
    started = time.monotonic()
    with pytest.raises(ToolchainError, match=message):
        load_image(library)
    assert time.monotonic() - started < 5
