"""What a program needs on the device, bytes."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.convert import Conversion
from edgekit.toolchain import load_image
from edgekit.toolchain.elf import EXECUTE


@dataclass(frozen=True)
class Footprint:
    """`code_bytes` and `constant_bytes` (weights, tables, and about a kilobyte of names) are the parts of the library
    that are loaded; `ram_bytes` is the struct that the caller owns, without the stack.
    """

    code_bytes: int
    constant_bytes: int
    ram_bytes: int


def footprint(conversion: Conversion) -> Footprint:
    """Look into the library of a conversion."""
    image = load_image(conversion.program.library)
    code = sum(len(segment.data) for segment in image.segments if segment.access & EXECUTE)
    return Footprint(code, image.loaded_bytes - code, conversion.program.struct_bytes)
