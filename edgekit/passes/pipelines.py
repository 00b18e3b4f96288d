"""The passes in order, with the reason for each position. Every pass returns a verified graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekit.ir.graph import Graph
from edgekit.passes.broadcast import materialise_broadcasts
from edgekit.passes.flush import flush_states
from edgekit.passes.fold import fold_constants
from edgekit.passes.fold_affine import fold_affine
from edgekit.passes.fuse import fuse_elementwise
from edgekit.passes.gathered_sums import sums_as_linear
from edgekit.passes.integer_convolutions import convolutions_as_linears
from edgekit.passes.memory_update import share_memory_update
from edgekit.passes.merge_filters import merge_filters
from edgekit.passes.pool_spikes import pool_spikes
from edgekit.passes.rename import with_output_names
from edgekit.passes.running_sums import linear_as_running_sums
from edgekit.passes.simplify import simplify
from edgekit.passes.sink_transposes import sink_transposes
from edgekit.passes.spike_states import narrow_spike_states
from edgekit.passes.split_concat import split_concat
from edgekit.passes.state_cleanup import clean_states
from edgekit.passes.state_moves import copy_moved_states

Pass = Callable[[Graph], Graph]

# Model-level rewrites: the graph keeps its meaning in terms of layers; quantisation comes after these.
OPTIMISE: Sequence[Pass] = (
    clean_states,
    fold_constants,  # first, so that the others see decay factors and transposed weights as constants
    merge_filters,  # before sums become linears: it hands the sum on to what drives the filters
    sums_as_linear,  # before simplify, which joins the decayed state to the linear as its addend
    narrow_spike_states,  # before simplify: casts of spike states are what simplify sinks towards the linears
    simplify,
    fold_affine,  # after simplify has joined addends, so that a batch norm finds linear + bias as one op
    split_concat,  # after fold_affine, which scales the rows of one linear and not of a chain of them
    fold_constants,
    simplify,
    linear_as_running_sums,  # before the memory update takes the matrix
    share_memory_update,  # after addends are joined: it looks for a linear whose addend is a linear
)

# What an integer program is made of: sums are linears there, so that there is one way to round them.
FOR_INTEGERS: Sequence[Pass] = (
    pool_spikes,  # before windows and linears hide which spikes a convolution reads
    convolutions_as_linears,
    sink_transposes,  # one convolution hands the next its places with channels last, as both want them
)

# Backend-level rewrites: what an engine without broadcasting and with one elementwise kernel needs.
LOWER: Sequence[Pass] = (
    pool_spikes,  # before fusion: the comparison behind a pool of floats would be part of a loop
    copy_moved_states,  # before the plan decides what is updated in place
    flush_states,  # before fusion, so that the flush is part of the loop that writes the state
    materialise_broadcasts,  # before fusion: a fused op reads values of its own shape
    fold_constants,
    fuse_elementwise,  # last: it ends the life of single elementwise ops
)


def run_passes(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """Apply passes in order; outputs keep their names."""
    before = graph
    for apply in passes:
        graph = apply(graph)
    return with_output_names(graph, before)
