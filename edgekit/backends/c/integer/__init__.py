"""Integer programs as C: the same kernels of exact sums on every core, in forms that each core is fast at."""

from edgekit.backends.c.integer.emit import emit_integer
from edgekit.backends.c.integer.flavour import FLAVOURS, Flavour, flavour_of

__all__ = ["FLAVOURS", "Flavour", "emit_integer", "flavour_of"]
