"""How weights lie for sums in whole registers: blocks of outputs, or the few neighbouring inputs of each output."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.data import Array
from edgekit.backends.c.integer.context import weight_bits
from edgekit.ir import Graph, Op, Tensor
from edgekit.ir.plan import LANES

MOST_INPUTS = 2**16  # where a span begins has 16 bits
SPAN = 16  # inputs of one step of a span
# instructions of a Cortex-A76 by bits of x and w: per input of each unit of outputs and of each block, and per unit
UNIT_INPUT = {(8, 8): 0.75, (16, 8): 1.3, (8, 16): 2.65, (16, 16): 2.65}
BLOCK_INPUT, UNIT_FIXED = {(8, 8): 0.3, (16, 8): 0.45, (8, 16): 1.0, (16, 16): 1.0}, 25
RARE = 0.4  # of them where most inputs are zero
# per step of an output's span, and per output
SPAN_STEP, SPAN_FIXED = {(8, 8): 3, (16, 8): 8, (8, 16): 6.7, (16, 16): 6.7}, 4
UNIT, BLOCK = 8, 32  # outputs that are summed side by side; of a block of weights
GROUP_BYTES = 4  # weights of one output that lie together
EVENT_UNIT = 16  # outputs of one register of event weights
LIFT = 128  # what products of bytes are moved by where one factor has to be unsigned


def is_spanned(graph: Graph, op: Op, x: str, w: str) -> bool:
    """Whether each output reads so few neighbouring inputs that it is summed by itself."""
    (n_out, n_in), data = graph.tensors[w].shape, graph.tensors[w].data
    if data is None or graph.tensors[x].size > n_in or n_in > MOST_INPUTS:
        return False
    _, steps = spans(data, -(-n_in // LANES) * LANES)
    kind, units = (graph.tensors[x].dtype.bits, stored_bits(graph.tensors[w])), -(-n_out // UNIT)
    in_blocks = n_in * (UNIT_INPUT[kind] * units + BLOCK_INPUT[kind] * -(-n_out // BLOCK)) + UNIT_FIXED * units
    rare = op.attrs.get("form") == "sparse"
    return n_out * (SPAN_STEP[kind] * steps + SPAN_FIXED) < in_blocks * (RARE if rare else 1)


def stored_bits(w: Tensor) -> int:
    """Bits of a weight as it lies in memory: int4 as bytes, because taking them apart costs more than reading them."""
    return max(8, weight_bits(w))


def spans(w: Array, room: int) -> tuple[Array, int]:
    """Where each output's span of inputs begins, and the sixteens of the longest; `room`: inputs with padding."""
    taken = w != 0
    begin = np.where(taken.any(1), taken.argmax(1), 0)
    end = np.where(taken.any(1), w.shape[1] - taken[:, ::-1].argmax(1), 0)
    steps = max(1, -(-int((end - begin).max()) // SPAN))
    return np.minimum(begin, room - SPAN * steps), steps


def blocks(w: Array, bits: int) -> Array:
    """W[out, in] in blocks of outputs, each [groups of inputs][outputs][inputs of a group], padded with zeros."""
    per = 8 * GROUP_BYTES // bits
    rows = np.pad(w, ((0, -w.shape[0] % UNIT), (0, -w.shape[1] % per)))
    parts = [rows[at : at + BLOCK] for at in range(0, rows.shape[0], BLOCK)]
    return np.concatenate([part.reshape(len(part), -1, per).swapaxes(0, 1).reshape(-1) for part in parts])


def lifts(w: Array) -> Array:
    """What each output's weights add when every input is moved by 128, in whole units."""
    sums = LIFT * w.astype(np.int64).sum(axis=1)
    return np.pad(sums, (0, -sums.size % UNIT)).astype(np.int32)
