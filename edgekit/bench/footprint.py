"""What a program needs on the device, bytes."""

from __future__ import annotations

from dataclasses import dataclass

from edgekit.artifact import Artifact
from edgekit.profile.memory import program_memory


@dataclass(frozen=True)
class Footprint:
    """`code_bytes` and `constant_bytes` (weights, tables, and what a loader reads) are the parts of the program that
    are loaded; `ram_bytes` is the struct that the caller owns, `stack_bytes` the most that a step was seen to use.
    """

    code_bytes: int
    constant_bytes: int
    ram_bytes: int
    stack_bytes: int | None = None

    @property
    def flash_bytes(self) -> int:
        """Code and constants."""
        return self.code_bytes + self.constant_bytes


def footprint(artifact: Artifact, stack: int | None = None) -> Footprint:
    """Look into the program of an artifact."""
    memory = program_memory(artifact, stack)
    return Footprint(memory.code, memory.constants, memory.struct, memory.stack)
