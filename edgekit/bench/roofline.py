"""The memory limit of a step, measured beside it: how long this computer takes to read the program's constants once.

The loop of read.c takes turns with the subjects and reads the constants where the program has them, so that they come
from the same level of the caches as in a loop of steps. A program that reads every constant in every step cannot be
faster; one that skips the weights of silent neurons or of zero inputs can, and then reaches more than 100 %.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.bench.clock import Turn, clock
from edgekit.bench.native import COUNT, POINTER, native_function
from edgekit.bench.timing import Spread
from edgekit.runtime.streams import ALIGN

BLOCK = 8 * 64  # what one round of the loop reads at most, bytes


@dataclass(frozen=True)
class Roofline:
    """`read_us` is the limit, `share` how much of the time of a step it is (limit over step, paired by round);
    `gigabytes_per_s` is the bandwidth behind it, median.
    """

    read_us: Spread
    gigabytes_per_s: float
    share: Spread
    grade: str = "measured"


def limit_name(precision: str) -> str:
    """What the read loop of a precision is called."""
    return f"limit {precision}"


class ReadLoop:
    """Reads `size` bytes at an address once per step: whole blocks of BLOCK bytes between two aligned addresses."""

    def __init__(self, name: str, address: int, size: int) -> None:
        self.name = name
        self._read = native_function("read.c", "ek_bench_read", (POINTER, COUNT, COUNT))
        self._read.restype = ctypes.c_uint64
        self._start = -(-address // ALIGN) * ALIGN
        self.size = (address + size - self._start) // BLOCK * BLOCK

    def turn(self, steps: int) -> Turn:
        """So many passes over the constants."""
        return clock(lambda passes: self._read(self._start, self.size, passes), steps)


def roofline(size: int, read_us: npt.NDArray[np.float64], step_us: npt.NDArray[np.float64]) -> Roofline:
    """The limit from the rounds [rounds] in which `size` bytes were read, and those in which the program stepped."""
    limit = Spread.of(read_us)
    return Roofline(limit, size / limit.median / 1e3, Spread.of(read_us / step_us))
