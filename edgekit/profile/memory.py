"""What a program needs on the device, bytes: code and constants in flash, the struct and the stack in RAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgekit.artifact import Artifact
from edgekit.profile.grades import DERIVED
from edgekit.toolchain import load_image
from edgekit.toolchain.elf import EXECUTE, Image


@dataclass(frozen=True)
class Size:
    """One figure; None where it is unavailable. `how` says what it counts, or why there is none; `part_of` which figure
    it is contained in.
    """

    name: str
    nbytes: int | None
    grade: str
    how: str
    part_of: str = ""


def program_sizes(artifact: Artifact) -> tuple[Size, ...]:
    """Code, constants and struct of an artifact's program, read off its library and its memory plan."""
    manifest = artifact.manifest
    image = load_image(artifact.file.members[manifest["program"]["library"]])
    sizes: dict[str, Any] = manifest["sizes"]
    code = code_bytes(image)
    states, arena, whole = (int(sizes[f"{name}_bytes"]) for name in ("state", "arena", "ram"))
    return (
        Size("code", code, DERIVED, "machine code of all functions"),
        Size("constants", image.loaded_bytes - code, DERIVED, "weights, tables, and what the loader reads"),
        Size("weights", int(sizes["weights_bytes"]), DERIVED, "weights and tables as the C stores them", "constants"),
        Size("struct", whole, DERIVED, "the memory that the caller owns"),
        Size("states", states, DERIVED, "carried from step to step", "struct"),
        Size("arena", arena, DERIVED, "values of one step, places shared", "struct"),
        Size("inputs and lists", whole - states - arena, DERIVED, "copies of inputs, neurons that fired", "struct"),
    )


def code_bytes(image: Image) -> int:
    """Bytes of machine code that are loaded."""
    return sum(len(segment.data) for segment in image.segments if segment.access & EXECUTE)
