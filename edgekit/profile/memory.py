"""What a program needs on the device, bytes: code and constants in flash, the struct and the stack in RAM."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgekit.artifact import Artifact
from edgekit.profile.grades import DERIVED, EMULATED, UNAVAILABLE
from edgekit.toolchain import load_image
from edgekit.toolchain.elf import EXECUTE


@dataclass(frozen=True)
class Memory:
    """`code` and `constants` are what is loaded of the program, `struct` the memory that the caller owns: `states`,
    `arena`, constants that init has `decoded`, and copies of inputs with lists of neurons that fired. `stack` is the
    most that a step used where it was emulated, else None.
    """

    code: int
    constants: int
    struct: int
    states: int
    arena: int
    stack: int | None = None
    decoded: int = 0

    @property
    def flash(self) -> int:
        """Code and constants."""
        return self.code + self.constants

    @property
    def ram(self) -> int:
        """The struct, and the stack where it is known."""
        return self.struct + (self.stack or 0)

    @property
    def lists(self) -> int:
        """What of the struct is neither states nor arena nor decoded."""
        return self.struct - self.states - self.arena - self.decoded

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        grades = {"grade": DERIVED, "stack_grade": UNAVAILABLE if self.stack is None else EMULATED}
        return {**asdict(self), "flash": self.flash, "ram": self.ram, "lists": self.lists, **grades}


def program_memory(artifact: Artifact, stack: int | None = None) -> Memory:
    """Read the sizes of an artifact's program off its library and its memory plan; `stack` was measured elsewhere."""
    sizes: dict[str, Any] = artifact.manifest["sizes"]
    code, flash = _flash(artifact, sizes)
    struct, states, arena = (int(sizes[f"{name}_bytes"]) for name in ("ram", "state", "arena"))
    return Memory(code, flash - code, struct, states, arena, stack, int(sizes.get("decoded_bytes", 0)))


def _flash(artifact: Artifact, sizes: dict[str, Any]) -> tuple[int, int]:
    """Bytes of code, and of code and constants; of firmware those of the program alone, as conversion found them."""
    if "text_bytes" in sizes:
        return int(sizes["text_bytes"]), int(sizes["flash_bytes"])
    image = load_image(artifact.file.members[artifact.manifest["program"]["library"]])
    return sum(len(segment.data) for segment in image.segments if segment.access & EXECUTE), image.loaded_bytes
