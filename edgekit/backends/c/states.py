"""The functions around the entries: size, first values, reset, and the state blob."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.context import Context, function, suffix
from edgekit.backends.c.data import c_array, padded, spike_words
from edgekit.backends.c.layout import value_ctype
from edgekit.ir import SPIKE, Graph, State

HEADER_BYTES = 40  # magic, version, hash: EK_BLOB_HEADER of kernels/state.h


def blob_bytes(graph: Graph) -> int:
    """Size of a saved state: a spike is one byte there."""
    return HEADER_BYTES + sum(stored_bytes(graph, s) for s in graph.states)


def stored_bytes(graph: Graph, state: State) -> int:
    """Size of one state in a blob."""
    tensor = graph.tensors[state.tensor]
    return tensor.size * (1 if tensor.dtype is SPIKE else tensor.dtype.numpy.itemsize)


def state_text(ctx: Context) -> str:
    """sizeof, init, reset, state_bytes, save, restore."""
    p, total = ctx.prefix, blob_bytes(ctx.graph)
    save, good, restore, at = [], [f"ek_good_header(blob, {p}_hash)"], [], HEADER_BYTES
    for state in ctx.graph.states:
        kind, where = suffix(ctx.tensor(state.tensor)), f"m->{ctx.layout.states[state.tensor].name}"
        n = ctx.tensor(state.tensor).size
        save.append(f"ek_save_{kind}(blob + {at}u, {where}, {n}u);")
        good.append(f"ek_good_{kind}(blob + {at}u, {n}u)")
        restore.append(f"ek_restore_{kind}({where}, blob + {at}u, {n}u);")
        at += stored_bytes(ctx.graph, state)
    fresh = [line for s in ctx.graph.states if s.reset != "keep" for line in _first(ctx, s)]
    kept = [line for s in ctx.graph.states if s.reset == "keep" for line in _first(ctx, s)]
    # Padding too starts as zero: it is computed on, and denormals there would be slow.
    coding = ctx.consts.coding
    decoded = coding.fields if coding else []
    clear = [f"ek_zero_{f.ctype}(m->{f.name}, {f.length}u);" for f in ctx.layout.fields if f not in decoded]
    clear += coding.lines if coding else []
    digest = np.frombuffer(bytes.fromhex(ctx.graph.hash()), np.uint8)
    unused = [] if ctx.graph.states else ["(void)m;"]
    texts = [
        c_array("uint8_t", f"{p}_hash", digest),
        function(f"EK_EXPORT uint32_t {p}_sizeof(void)", f"return (uint32_t)sizeof({p});"),
        function(f"EK_EXPORT int {p}_reset({p} *m)", *(fresh or ["(void)m;"]), "return EK_OK;"),
        function(f"EK_EXPORT int {p}_init({p} *m)", *clear, ctx.ticks.clear, *kept, f"return {p}_reset(m);"),
        function(f"EK_EXPORT uint32_t {p}_state_bytes(void)", f"return {total}u;"),
        function(
            f"EK_EXPORT int {p}_save(const {p} *m, uint8_t *blob)",
            *unused,
            f"ek_save_header(blob, {p}_hash);",
            *save,
            "return EK_OK;",
        ),
        function(
            f"EK_EXPORT int {p}_restore({p} *m, const uint8_t *blob, uint32_t n)",
            *unused,
            f"if (n != {total}u) return EK_BAD_BLOB;",
            f"if (!({' && '.join(good)})) return EK_BAD_BLOB;",
            *restore,
            "return EK_OK;",
        ),
    ]
    return "\n".join(texts)


def _first(ctx: Context, state: State) -> list[str]:
    """The line that gives a state its first value."""
    tensor, field, init = ctx.tensor(state.tensor), ctx.layout.states[state.tensor].name, state.init
    if not init.any() and not np.signbit(init).any():
        return [f"ek_zero_{suffix(tensor)}(m->{field}, {tensor.size}u);"]
    spike = tensor.dtype is SPIKE
    first = ctx.consts.add(
        (state.tensor, "first value"), value_ctype(tensor), lambda: spike_words(init) if spike else padded(init)
    )
    return [f"ek_copy_{suffix(tensor)}(m->{field}, {first}, {tensor.size}u);"]
