"""The element types of the IR: one row each, everything about a dtype is derived from its row."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np


@dataclass(frozen=True)
class DType:
    """An element type: `bits` of one element stored packed, `ctype` the element in C, `numpy` the one in arrays."""

    name: str
    bits: int
    numpy: np.dtype[np.generic]
    ctype: str

    @property
    def is_float(self) -> bool:
        return self.numpy.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.numpy.kind == "i"

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest value of an integer dtype."""
        return -(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1

    def __str__(self) -> str:
        return self.name


# A spike is one bit: a comparison yields it, and an event-driven op skips the zeros. In numpy it is a bool,
# in C a word of 32 neurons. int4 is a storage type only: two elements a byte, int8 in numpy.
SPIKE = DType("spike", 1, np.dtype(np.bool_), "uint32_t")
INT4 = DType("int4", 4, np.dtype(np.int8), "uint8_t")
INT8 = DType("int8", 8, np.dtype(np.int8), "int8_t")
INT16 = DType("int16", 16, np.dtype(np.int16), "int16_t")
INT32 = DType("int32", 32, np.dtype(np.int32), "int32_t")
FLOAT16 = DType("float16", 16, np.dtype(np.float16), "uint16_t")
FLOAT32 = DType("float32", 32, np.dtype(np.float32), "float")

DTYPES = MappingProxyType({d.name: d for d in (SPIKE, INT4, INT8, INT16, INT32, FLOAT16, FLOAT32)})
