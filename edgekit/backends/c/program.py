"""What the C backend hands out: the files of a program, and what is known about it before it is compiled."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from edgekit.backends.c.layout import Layout

KERNELS = Path(__file__).parent / "kernels"


@dataclass(frozen=True)
class KernelUse:
    """Which kernel runs an op: `op` is its number in the entry, `symbol` the C function that instructions count to."""

    entry: str
    op: int
    kind: str
    kernel: str
    symbol: str
    source: str = ""


@dataclass(frozen=True)
class Constant:
    """A constant array of the C: `uses` are what it is written for, each the tensors and a word on the form."""

    symbol: str
    uses: tuple[tuple[str, ...], ...]
    nbytes: int


@dataclass(frozen=True)
class Program:
    """C sources of a model. `files` maps paths below the C folder to texts; `main` is the one to compile.

    `struct_bytes` is the memory that the caller owns (states, arena, inputs, event lists), `const_bytes` the constants,
    `blob_bytes` the size of a saved state. Of the constants `coded_bytes` are entropy-coded, and `decoded_bytes` of the
    struct hold them decoded. `layout` says where everything lies in the struct, `constants` what the
    constants are, `ticked` which functions the counters of a program compiled with EK_TICKS belong to.
    """

    name: str
    files: Mapping[str, str]
    kernels: tuple[KernelUse, ...]
    struct_bytes: int
    const_bytes: int
    blob_bytes: int
    layout: Layout
    constants: tuple[Constant, ...]
    ticked: tuple[str, ...]
    coded_bytes: int = 0
    decoded_bytes: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))

    @property
    def main(self) -> str:
        return f"ek_{self.name}.c"


SHARED = (
    "base.h",
    "blob.h",
    "int_coded.h",
    "ticks.h",
    "walk.h",
)  # headers that programs of floats and of integers are both written with


@lru_cache(maxsize=2)
def kernel_files(*, integer: bool = False) -> Mapping[str, str]:
    """The kernel headers of float or of integer programs by their path below the C folder: `ek/linear.h`, …"""
    headers = [h for h in sorted(KERNELS.rglob("*.h")) if h.name in SHARED or h.name.startswith("int_") == integer]
    return MappingProxyType({f"ek/{h.relative_to(KERNELS).as_posix()}": h.read_text("utf-8") for h in headers})


@lru_cache(maxsize=1)
def kernel_names() -> frozenset[str]:
    """Every identifier of the kernels that a model's functions could be mistaken for."""
    texts = [*kernel_files().values(), *kernel_files(integer=True).values()]
    return frozenset(name for text in texts for name in re.findall(r"\bek_\w+", text))
