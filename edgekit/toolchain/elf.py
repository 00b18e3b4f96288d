"""Programs built with -nostdlib: just enough of ELF to place one in memory without a loader.

A program for Linux is a shared library, one for a Cortex-M an executable that knows its addresses: a firmware image.

Every offset and count is checked before use: the library may come from an artifact that someone else wrote.
Source of the layouts: the System V ABI, generic part, and the Arm, AArch64 and x86-64 supplements.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from edgekit.errors import ToolchainError

PAGE = 4096
MAX_IMAGE_BYTES = 512 << 20
MAX_FIRMWARE_ADDRESS = 0xA000_0000  # from there on a Cortex-M has nothing that can be executed
MAX_ROWS = 1 << 16  # of symbols, and of relocations, however many sections they come in
MAX_NAME_BYTES = 1 << 10
MAX_SEGMENTS = 64

READ, WRITE, EXECUTE = 1, 2, 4

_PT_LOAD, _PT_TLS = 1, 7
_SHT_PROGBITS, _SHT_NOBITS, _SHF_WRITE, _SHF_EXEC, _ET_REL = 1, 8, 1, 4, 1
_SHT_SYMTAB, _SHT_RELA, _SHT_REL, _SHT_DYNSYM, _SHT_RELR = 2, 4, 9, 11, 19
_SHF_ALLOC, _SHN_UNDEF, _STT_FUNC, _STB_LOCAL = 2, 0, 2, 0
_ET_EXEC, _ET_DYN = 2, 3


@dataclass(frozen=True)
class _Layout:
    """The tables of one machine's ELF files. Rows come out in the field order of the 64-bit class.

    `relative` is the one relocation that needs no symbol, *place = base + addend; the addend is part of the relocation
    when `relocations` is SHT_RELA, and lies at the place when it is SHT_REL.
    """

    arch: str
    bits: int
    relative: int
    relocations: int
    kind: int = _ET_DYN
    header: str = "<16s2HI3QI6H"
    program: str = "<2I6Q"
    section: str = "<2I4Q2I2Q"
    symbol: str = "<I2BH2Q"
    relocation: str = "<2Qq"
    program_order: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6, 7)
    symbol_order: tuple[int, ...] = (0, 1, 2, 3, 4, 5)


_ARMV7 = _Layout(
    "armv7",
    32,
    relative=23,
    relocations=_SHT_REL,
    header="<16s2H5I6H",
    program="<8I",
    section="<10I",
    symbol="<3I2BH",
    relocation="<2I",
    program_order=(0, 6, 1, 2, 3, 4, 5, 7),
    symbol_order=(0, 3, 4, 5, 1, 2),
)
# by ELF class (1 is 32 bits, 2 is 64), machine number, and kind of file
_LAYOUTS = {
    (2, 62, _ET_DYN): _Layout("x86_64", 64, relative=8, relocations=_SHT_RELA),
    (2, 183, _ET_DYN): _Layout("aarch64", 64, relative=1027, relocations=_SHT_RELA),
    (1, 40, _ET_DYN): _ARMV7,
    (1, 40, _ET_EXEC): replace(_ARMV7, arch="thumb", kind=_ET_EXEC),
}


@dataclass(frozen=True)
class Segment:
    """`size` bytes at `address`, the first of which are `data` and the rest zero; `access` is a sum of READ, …"""

    address: int
    size: int
    data: bytes
    access: int


@dataclass(frozen=True)
class Function:
    """A function symbol: `size` bytes of code at `address`."""

    name: str
    address: int
    size: int


@dataclass(frozen=True)
class Section:
    """A section of a relocatable object: whether it is loaded, its bytes stored in the file, writable, or code."""

    size: int
    loaded: bool
    stored: bool
    writable: bool
    code: bool


@dataclass(frozen=True)
class Image:
    """A library at its place in memory; `functions` are sorted by address, and their addresses are those of code."""

    arch: str
    segments: tuple[Segment, ...]
    functions: tuple[Function, ...]
    exported: frozenset[str]
    data: Mapping[str, int] = field(default_factory=dict)  # the addresses of what firmware exports beside functions

    @property
    def loaded_bytes(self) -> int:
        """Bytes of the file that are needed at run time: code and constants (what a flash would hold)."""
        return sum(len(segment.data) for segment in self.segments)

    def function(self, name: str) -> Function:
        """Return the exported or local function called `name`; raises ToolchainError when there is none."""
        for candidate in self.functions:
            if candidate.name == name:
                return candidate
        raise ToolchainError(f"function {name!r}", "is not in the library", "its functions are:", sorted(self.exported))

    def function_at(self, address: int) -> Function | None:
        """Return the function whose code holds `address`."""
        at = bisect_right(self.functions, address, key=lambda f: f.address) - 1
        if at >= 0 and address < self.functions[at].address + self.functions[at].size:
            return self.functions[at]
        return None

    def code_at(self, address: int, nbytes: int) -> bytes:
        """Return the bytes at `address`, zeros where nothing is."""
        for segment in self.segments:
            if segment.address <= address <= segment.address + len(segment.data) - nbytes:
                return segment.data[address - segment.address :][:nbytes]
        return bytes(nbytes)

    def instructions(self, address: int, nbytes: int) -> list[int]:
        """Return the address of each instruction of a piece of code."""
        if self.arch != "thumb":
            return list(range(address, address + nbytes, 4))
        code, starts, at = self.code_at(address, nbytes), list[int](), 0
        while at + 1 < nbytes:
            starts.append(address + at)
            at += thumb_size(code[at + 1])
        return starts


def thumb_size(second_byte: int) -> int:
    """Return the bytes of a Thumb instruction, 2 or 4, of which `second_byte` is the second (Armv7-M ARM, A5.1)."""
    return 4 if second_byte >> 3 >= 0x1D else 2


def load_image(library: bytes, base: int = 0) -> Image:
    """Return the library placed at `base` (a multiple of 64 KiB), its relocations applied; firmware at its own place.

    Raises ToolchainError when it is neither a little-endian shared library for a known machine nor firmware of a
    Cortex-M, is malformed, has an undefined symbol, has Thumb code where there should be none, or needs a loader (other
    relocations, thread-local storage).
    """
    try:
        return _load(library, base)
    except (struct.error, OverflowError) as error:
        raise ToolchainError("library", f"is malformed ({error})") from error


def sections_of(relocatable: bytes) -> list[Section]:
    """Return the sections with bytes of a program in a relocatable object; ToolchainError when it is none."""
    ident, kind, machine = struct.unpack_from("<16s2H", relocatable)
    layout = _LAYOUTS.get((ident[4], machine, _ET_DYN))
    if ident[:4] != b"\x7fELF" or kind != _ET_REL or layout is None:
        raise ToolchainError("object", "is not a relocatable ELF file for a known machine")
    (*_, shoff, _, _, _, _, shsize, shnum, _) = struct.unpack_from(layout.header, relocatable)
    rows = [struct.unpack_from(layout.section, relocatable, shoff + i * shsize) for i in range(shnum)]
    return [
        Section(
            size, bool(flags & _SHF_ALLOC), kind == _SHT_PROGBITS, bool(flags & _SHF_WRITE), bool(flags & _SHF_EXEC)
        )
        for _, kind, flags, _, _, size, *_ in rows
        if kind in (_SHT_PROGBITS, _SHT_NOBITS)
    ]


def _load(library: bytes, base: int) -> Image:
    ident, kind, machine = struct.unpack_from("<16s2H", library)
    layout = _LAYOUTS.get((ident[4], machine, kind))
    if ident[:4] != b"\x7fELF" or ident[5:7] != b"\x01\x01" or layout is None:
        known = ", ".join(known.arch for known in _LAYOUTS.values() if known.kind == _ET_DYN)
        raise ToolchainError("library", f"is not a little-endian ELF shared library for one of {known}, nor firmware")
    (*_, phoff, shoff, _, _, phsize, phnum, shsize, shnum, _) = struct.unpack_from(layout.header, library)
    if phsize != struct.calcsize(layout.program) or shsize != struct.calcsize(layout.section):
        raise ToolchainError("library", "has tables of an unknown form")
    headers = [struct.unpack_from(layout.program, library, phoff + i * phsize) for i in range(phnum)]
    firmware = layout.kind == _ET_EXEC
    last = MAX_FIRMWARE_ADDRESS if firmware else MAX_IMAGE_BYTES
    segments = _segments(library, [tuple(row[at] for at in layout.program_order) for row in headers], last)
    sections = [struct.unpack_from(layout.section, library, shoff + i * shsize) for i in range(shnum)]
    local, exported = (_symbols(library, sections, layout, table) for table in (_SHT_SYMTAB, _SHT_DYNSYM))
    undefined = sorted({name for name, section, *_ in exported if section == _SHN_UNDEF and name})
    if undefined:
        raise ToolchainError("library", "calls functions that are not in it", "the C must be libc-free", undefined)
    functions = {
        (name, address & ~1 if firmware else address): size
        for name, section, info, address, size in (*local, *exported)
        if info & 15 == _STT_FUNC and section != _SHN_UNDEF
    }
    if layout.arch == "armv7" and any(address & 1 for _, address in functions):
        raise ToolchainError("library", "has Thumb code", "build it for a triple that begins with arm, or with -marm")
    if firmware:
        base, exported = 0, [symbol for symbol in local if symbol[2] >> 4 != _STB_LOCAL]
    return Image(
        layout.arch,
        _relocated(segments, _relocations(library, sections, layout), layout, base),
        tuple(
            Function(name, base + address, size)
            for (name, address), size in sorted(functions.items(), key=lambda item: item[0][1])
        ),
        frozenset(name for name, section, info, *_ in exported if info & 15 == _STT_FUNC and section != _SHN_UNDEF),
        {name: at for name, _, info, at, _ in exported if firmware and info & 15 != _STT_FUNC},
    )


def _segments(library: bytes, headers: list[tuple[int, ...]], last: int) -> list[Segment]:
    segments: list[Segment] = []
    page = 0
    for kind, flags, offset, address, _, stored, size, _ in headers:
        if kind == _PT_TLS:
            raise ToolchainError("library", "has thread-local storage, which needs a loader")
        if kind != _PT_LOAD:
            continue
        if stored > size or offset + stored > len(library) or address + size > last:
            raise ToolchainError("library", "has a segment that lies outside it")
        if len(segments) == MAX_SEGMENTS:
            raise ToolchainError("library", f"has more than {MAX_SEGMENTS} segments")
        if address // PAGE < page:
            raise ToolchainError("library", "has segments that overlap or share a page")
        page = -(-(address + size) // PAGE)
        access = (READ if flags & 4 else 0) | (WRITE if flags & 2 else 0) | (EXECUTE if flags & 1 else 0)
        if access & WRITE and access & EXECUTE:
            raise ToolchainError("library", "has a segment that is both writable and executable")
        segments.append(Segment(address, size, library[offset : offset + stored], access))
    segments = [segment for segment in segments if segment.size]
    if sum(segment.size for segment in segments) > MAX_IMAGE_BYTES:
        raise ToolchainError("library", f"takes more than {MAX_IMAGE_BYTES:,} bytes")
    if not segments:
        raise ToolchainError("library", "has nothing to load")
    return segments


def _rows(library: bytes, sections: list[tuple[int, ...]], form: str) -> Iterator[tuple[tuple[int, ...], ...]]:
    """(section, row) of every row of some tables: many sections may share one table, so rows are counted over all."""
    row, left = struct.Struct(form), MAX_ROWS
    for section in sections:
        offset, size = section[4], section[5]
        left -= size // row.size
        if offset + size > len(library) or left < 0:
            raise ToolchainError("library", "has a table that lies outside it, or is too long")
        for at in range(offset, offset + size - row.size + 1, row.size):
            yield section, row.unpack_from(library, at)


def _symbols(
    library: bytes, sections: list[tuple[int, ...]], layout: _Layout, kind: int
) -> list[tuple[str, int, int, int, int]]:
    """(name, section, info, address, size) of every symbol of the table of that kind; empty when there is none."""
    found = []
    for section, row in _rows(library, [section for section in sections if section[1] == kind], layout.symbol):
        name, info, _, index, address, size = (row[at] for at in layout.symbol_order)
        if section[6] >= len(sections):
            raise ToolchainError("library", "has symbols without names")
        names_at, names_size = sections[section[6]][4:6]
        first, end = names_at + name, min(names_at + names_size, len(library))
        last = library.find(b"\0", first, min(end, first + MAX_NAME_BYTES))
        if last < 0:
            raise ToolchainError("library", "has a symbol whose name lies outside it, or is too long")
        found.append((library[first:last].decode("ascii", "replace"), index, info, address, size))
    return found


def _relocations(library: bytes, sections: list[tuple[int, ...]], layout: _Layout) -> list[tuple[int, int | None]]:
    """(address, addend) of every relocation, the addend None where it lies at the address."""
    kinds = (_SHT_RELA, _SHT_REL, _SHT_RELR)
    loaded = [section for section in sections if section[2] & _SHF_ALLOC and section[1] in kinds]
    if any(section[1] != layout.relocations for section in loaded):
        raise ToolchainError("library", "has relocations of an unknown form")
    found: list[tuple[int, int | None]] = []
    for _, (address, info, *addend) in _rows(library, loaded, layout.relocation):
        if info != layout.relative:
            raise ToolchainError("library", f"has a relocation of type {info & 0xFFFFFFFF}, which needs a loader")
        found.append((address, addend[0] if addend else None))
    return found


def _relocated(
    segments: list[Segment], relocations: list[tuple[int, int | None]], layout: _Layout, base: int
) -> tuple[Segment, ...]:
    contents = [bytearray(segment.data) for segment in segments]
    nbytes = layout.bits // 8
    for address, addend in relocations:
        for segment, content in zip(segments, contents, strict=True):
            at = address - segment.address
            if 0 <= at <= len(content) - nbytes:
                offset = int.from_bytes(content[at : at + nbytes], "little") if addend is None else addend
                content[at : at + nbytes] = ((base + offset) % 2**layout.bits).to_bytes(nbytes, "little")
                break
        else:
            raise ToolchainError("library", "has a relocation outside its data")
    return tuple(
        replace(segment, address=base + segment.address, data=bytes(content))
        for segment, content in zip(segments, contents, strict=True)
    )
