"""The members an artifact may hold: their names, their order in the file and their size caps, in one table."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekit.errors import ArtifactError

MIB = 1 << 20

MAX_FILE_BYTES = 512 * MIB
MAX_TOTAL_BYTES = 512 * MIB  # of all members together, unpacked
MAX_MEMBERS = 256
MAX_NAME_BYTES = 96

MANIFEST = "manifest.json"
GRAPH = "graph.json"
WEIGHTS = "weights.safetensors"
SELFTEST = "selftest.safetensors"


@dataclass(frozen=True)
class MemberKind:
    """A row of the table: `pattern` matches the whole name, `max_bytes` caps the unpacked size."""

    pattern: str
    max_bytes: int
    required: bool = False


_FILE = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,47}"

# In the order of the file; members of one row are sorted by name.
KINDS = (
    MemberKind(re.escape(MANIFEST), 1 * MIB, required=True),
    MemberKind(re.escape(GRAPH), 16 * MIB, required=True),
    MemberKind(re.escape(WEIGHTS), 256 * MIB, required=True),
    MemberKind(re.escape(SELFTEST), 64 * MIB, required=True),
    MemberKind(rf"native/(lib)?{_FILE}\.(so|elf|bin|a|h)", 256 * MIB),
    MemberKind(rf"native/{_FILE}/{_FILE}\.so", 256 * MIB),
    MemberKind(rf"c/{_FILE}\.[ch]", 256 * MIB),
    MemberKind(rf"c/ek/{_FILE}\.h", 1 * MIB),
    MemberKind(rf"c/ek/simd/{_FILE}\.h", 1 * MIB),
    MemberKind(r"model\.onnx", 256 * MIB),
    MemberKind(r"model\.tflite", 256 * MIB),
    MemberKind(r"model\.nir", 256 * MIB),
)


def row_of(name: str) -> int:
    """Return the index in KINDS of the row that `name` belongs to; raises ArtifactError when there is none."""
    for row, kind in enumerate(KINDS):
        if re.fullmatch(kind.pattern, name):
            return row
    raise ArtifactError(f"member {name[:MAX_NAME_BYTES]!r}", "is not a name that an artifact may hold")


def position(name: str) -> tuple[int, str]:
    """Return the sort key that puts members into the order of the file."""
    return row_of(name), name


def max_bytes(name: str) -> int:
    """Return the cap on the unpacked size of the member `name`, bytes."""
    return KINDS[row_of(name)].max_bytes


def missing(names: set[str]) -> list[str]:
    """Return the required members that are not among `names`."""
    return [n for n in (MANIFEST, GRAPH, WEIGHTS, SELFTEST) if n not in names]
