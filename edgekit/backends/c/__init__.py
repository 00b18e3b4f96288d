"""The C backend: libc-free C99 over a caller-owned struct, from kernels written once per idea (see kernels/)."""

from edgekit.backends.c.emit import emit
from edgekit.backends.c.integer.ops import BORDER, CHANGING
from edgekit.backends.c.program import KernelUse, Program, kernel_files, kernel_names
from edgekit.backends.c.select import FLOAT_OPS

SUPPORTED = FLOAT_OPS | BORDER | CHANGING  # the ops of which there is a kernel, in float programs or in integer ones

__all__ = ["SUPPORTED", "KernelUse", "Program", "emit", "kernel_files", "kernel_names"]
