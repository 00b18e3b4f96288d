"""Which kernel runs an op: one table row per combination of input dtype, weights and form."""

from __future__ import annotations

from math import prod

from edgekit.backends.c.recurrence import is_recurrence
from edgekit.backends.c.sparse import runs_of
from edgekit.ir import FLOAT32, INT8, OPS, SPIKE, Graph, Op

# What is left of a float program after the lowering passes: elementwise ops come as `fused`.
FLOAT_OPS = frozenset(
    {"fused", "linear", "memory_update", "sum", "amax", "cumsum"}
    | {"reshape", "transpose", "expand", "slice", "concat", "gather"}
    | {"conv", "pad", "windows"}
    | {"matvec_t", "distance", "outer_add"}
)

MAX_EVENTS = 2**16  # an event list holds 16-bit indices
TABLE_BITS = 8  # a memory update over this many spikes is a table of at most 256 rows
FEW_OUTPUTS = 4  # groups of fewer outputs are convolved with neighbouring places in a vector, not with outputs
TOGETHER = 4  # places: EK_TOGETHER in kernels/conv.h
WORD = 32  # spikes
SMALL_ORDER = 16  # a memory update over floats of at most this order keeps its weights in registers
LONG_SUM = 64  # inputs: EK_LONG in kernels/linear.h; a recurrence over more is summed with compensation

_FORMS = {
    (FLOAT32, "auto"): "dense",
    (FLOAT32, "dense"): "dense",
    (SPIKE, "auto"): "event",
    (SPIKE, "event"): "event",
    (SPIKE, "dense"): "masked",
    (FLOAT32, "sparse"): "sparse",
    (SPIKE, "sparse"): "sparse",
}
_WEIGHTS = {FLOAT32: "f32", INT8: "i8"}
_COMPENSATED = {"linear_dense_f32": "linear_compensated_f32"}


def linear_kernel(graph: Graph, x: str, w: str, form: str = "auto") -> str:
    """`linear_<form>_<weights>`, or `plastic_<form>_f32` where the weights are a value of the program.

    Sparse weights over floats that lie in blocks have a form of their own, `runs`.
    """
    chosen = _FORMS[graph.tensors[x].dtype, form]
    if not graph.tensors[w].is_const:
        return "plastic_dense_f32" if chosen == "dense" else "plastic_event_f32"
    if chosen == "event" and graph.tensors[x].shape[-1] > MAX_EVENTS:
        chosen = "masked"  # the same bits, found without a list
    data = graph.tensors[w].data
    if chosen == "sparse" and graph.tensors[x].dtype is FLOAT32 and data is not None and runs_of(data):
        chosen = "runs"
    return f"linear_{chosen}_{_WEIGHTS[graph.tensors[w].dtype]}"


def conv_kernel(graph: Graph, op: Op) -> str:
    """`conv_<form>_<weights>`."""
    x, w = (graph.tensors[n] for n in op.inputs[:2])
    few = w.shape[0] // OPS["conv"].attr(op.attrs, "groups") < FEW_OUTPUTS
    form = "event" if x.dtype is SPIKE else "wide" if few else "dense"
    return f"conv_{form}_{_WEIGHTS[w.dtype]}"


def kernel_of(graph: Graph, op: Op) -> str:
    """The kernel that runs an op; a reshape needs none and gives ''."""
    if op.kind == "linear":
        kernel = linear_kernel(graph, op.inputs[0], op.inputs[1], OPS["linear"].attr(op.attrs, "form"))
        long = graph.tensors[op.inputs[0]].shape[-1] > LONG_SUM
        return _COMPENSATED.get(kernel, kernel) if long and is_recurrence(graph, op) else kernel
    if op.kind == "conv":
        return conv_kernel(graph, op)
    spike = graph.tensors[op.outputs[0]].dtype is SPIKE
    if op.kind == "memory_update":
        m, a, u, _ = op.inputs
        order, inputs = graph.tensors[m].shape[1], graph.tensors[u].shape[1]
        both = graph.tensors[m].dtype is SPIKE and graph.tensors[u].dtype is SPIKE
        if both and order + inputs <= TABLE_BITS:
            return "memory_table_f32"
        neither = graph.tensors[m].dtype is FLOAT32 and graph.tensors[u].dtype is FLOAT32
        if neither and max(order, inputs) <= SMALL_ORDER:
            return "memory_small_f32"
        kernel = linear_kernel(graph, m, a)
        return (_COMPENSATED.get(kernel, kernel) if order > LONG_SUM else kernel).replace("linear", "memory")
    if op.kind == "fused":
        spikes = any(graph.tensors[n].dtype is SPIKE for n in (*op.inputs, *op.outputs))
        return "map_spike" if spikes else "map_f32"
    if op.kind in ("sum", "amax", "cumsum", "matvec_t", "distance", "outer_add"):
        return f"{op.kind}_{'spike' if spike else 'f32'}"
    if op.kind == "reshape":
        return ""
    return ("gather" if op.kind == "gather" else "walk") + ("_spike" if spike else "_f32")


def taps_run(graph: Graph, op: Op) -> int:
    """How many taps of a convolution in a row are neighbours in its input, and fit a word of spikes."""
    taps = graph.tensors[op.inputs[1]].shape[-1]
    return taps if op.attrs["dilation"][-1] == 1 and taps <= WORD else 1


def windows_listed(graph: Graph, op: Op) -> tuple[int, int]:
    """Spikes that a convolution lists at once, and runs of them that it looks at: 0 for any other op."""
    if op.kind != "conv" or graph.tensors[op.inputs[0]].dtype is not SPIKE:
        return 0, 0
    seen = prod(graph.tensors[op.inputs[1]].shape[1:])
    return TOGETHER * seen, seen // taps_run(graph, op)


def event_inputs(graph: Graph, op: Op) -> list[tuple[str, str]]:
    """The (spikes, weights) of an op that are summed from a list of the neurons that fired."""
    if op.kind == "linear":
        pairs = [(op.inputs[0], op.inputs[1])] if "_event_" in kernel_of(graph, op) else []
    elif op.kind == "memory_update" and kernel_of(graph, op) not in ("memory_table_f32", "memory_small_f32"):
        m, a, u, b = op.inputs
        pairs = [(x, w) for x, w in ((u, b), (m, a)) if "_event_" in linear_kernel(graph, x, w)]
    else:
        pairs = []
    return pairs
