"""Where every value lives while an entry runs: the result of the memory plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgekit.ir.dtypes import SPIKE
from edgekit.ir.graph import Tensor

LANES = 32  # elements of a spike word; whole vectors of every ISA
ALIGN = 64  # one cache line, and the widest vector of any target


def buffer_bytes(tensor: Tensor, lanes: int = LANES) -> int:
    """Bytes of a value's buffer: elements rounded up to `lanes`, spikes whole 32-bit words, one bit each."""
    size = max(tensor.size, 1)
    if tensor.dtype is SPIKE:
        return -(-size // LANES) * LANES // 8
    return -(-size // lanes) * lanes * tensor.dtype.numpy.itemsize


@dataclass(frozen=True)
class Buffer:
    """A place: `space` is 'state', 'arena', 'const' or 'input'; `offset` in bytes within the state block or the arena.

    For 'const' and 'input' the place is named by `root`, and so it is for a value that is only another view (reshape).
    """

    space: str
    offset: int
    root: str


@dataclass(frozen=True)
class Plan:
    """Offsets of states and values, per entry.

    `buffers[entry][value]` is the place of each value an op reads or writes. `commits[entry]` lists `(state, value)`
    whose new value could not be written in place: they are copied when the entry's ops are done, in this order.
    Places are multiples of `align` bytes, and buffers hold a multiple of `lanes` elements.
    """

    states: Mapping[str, Buffer]
    buffers: Mapping[str, Mapping[str, Buffer]]
    commits: Mapping[str, tuple[tuple[str, str], ...]]
    state_bytes: int
    arena_bytes: int
    align: int = ALIGN
    lanes: int = LANES

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", MappingProxyType(dict(self.states)))
        object.__setattr__(
            self, "buffers", MappingProxyType({e: MappingProxyType(dict(b)) for e, b in self.buffers.items()})
        )
        object.__setattr__(self, "commits", MappingProxyType(dict(self.commits)))

    @property
    def ram_bytes(self) -> int:
        """Bytes a running model needs: states and arena."""
        return self.state_bytes + self.arena_bytes
