"""The exported functions of an integer program: its entries over ports of each value's own type, and its states."""

from __future__ import annotations

import numpy as np

from edgekit.backends.c.context import function
from edgekit.backends.c.data import c_array
from edgekit.backends.c.integer.context import PORTS, SUFFIXES, Context, passed_on
from edgekit.backends.c.integer.ops import given_to, op_function
from edgekit.backends.c.program import KernelUse
from edgekit.backends.c.states import HEADER_BYTES, blob_bytes, stored_bytes
from edgekit.backends.c.widths import dispatch
from edgekit.ir import Entry, State


def parameters(ctx: Context, entry: Entry) -> str:
    """The C parameters of an entry after the model: `, const int16_t *in0, …, int8_t *out0, …`."""
    ins = [f", const {PORTS[ctx.tensor(n).dtype]} *in{i}" for i, n in enumerate(entry.inputs)]
    return "".join([*ins, *(f", {PORTS[ctx.tensor(n).dtype]} *out{i}" for i, n in enumerate(entry.outputs))])


def entry_text(ctx: Context, entry: Entry) -> tuple[str, list[KernelUse]]:
    """The functions of an entry, and which kernel runs each op."""
    done = [op_function(ctx, entry, at, op) for at, op in enumerate(entry.ops) if op.kind != "reshape"]
    uses, texts = [use for use, _ in done], [text for _, text in done]
    base, model = f"{ctx.prefix}_{entry.name}", f"{ctx.prefix} *m"
    takes = [
        f"ek_take_{SUFFIXES[ctx.tensor(n).dtype]}({ctx.pointer(entry, n)}, in{i}, {ctx.tensor(n).size}u);"
        for i, n in enumerate(entry.inputs)
        if n not in passed_on(entry)
    ]
    gives = [
        f"ek_give_{SUFFIXES[ctx.tensor(n).dtype]}(out{i}, {ctx.pointer(entry, n)}, {ctx.tensor(n).size}u);"
        for i, n in enumerate(entry.outputs)
    ]
    ins = "".join(f", const {PORTS[ctx.tensor(n).dtype]} *in{i}" for i, n in enumerate(entry.inputs))
    outs = "".join(f", {PORTS[ctx.tensor(n).dtype]} *out{i}" for i, n in enumerate(entry.outputs))
    unused = ["(void)m;"]
    elsewhere = [f"(void)in{i};" for i, n in enumerate(entry.inputs) if n in passed_on(entry)]
    take = function(f"static EK_NOINLINE void {base}_take({model}{ins})", *unused, *elsewhere, *takes)
    texts.append(ctx.functions.once(entry.name, f"{base}_take", take))
    gives += _commits(ctx, entry)
    give = function(f"static EK_NOINLINE void {base}_give({model}{outs})", *unused, *gives)
    texts.append(ctx.functions.once(entry.name, f"{base}_give", give))
    passed = [f"in{i}" for i in range(len(entry.inputs))], [f"out{i}" for i in range(len(entry.outputs))]
    calls = [
        f"{base}_take({', '.join(['m', *passed[0]])});",
        *(f"{use.symbol}({', '.join(['m', *given_to(entry, entry.ops[use.op])])});" for use in uses),
        f"{base}_give({', '.join(['m', *passed[1]])});",
    ]
    head = f"EK_EXPORT int {base}({model}{parameters(ctx, entry)})"
    arguments = ", ".join(["m", *passed[0], *passed[1]])
    narrow = dispatch(ctx.graph, entry.name, lambda name: [f"return {ctx.prefix}_{name}({arguments});"])
    texts.append(function(head, *narrow, *ctx.ticks.counted(calls), "return EK_OK;"))
    return "\n".join(texts), uses


def run_text(ctx: Context, entry: Entry) -> str:
    """The function that makes T steps."""
    args = [f"in{i} + t * {ctx.tensor(n).size}u" for i, n in enumerate(entry.inputs)]
    args += [f"out{i} + t * {ctx.tensor(n).size}u" for i, n in enumerate(entry.outputs)]
    call = f"EK_RUN(steps, {ctx.prefix}_step({', '.join(['m', *args])}))"
    head = f"EK_EXPORT int {ctx.prefix}_run({ctx.prefix} *m, uint32_t steps{parameters(ctx, entry)})"
    return function(head, call, "return EK_OK;")


def _commits(ctx: Context, entry: Entry) -> list[str]:
    """Copies of the new values that could not be written in place."""
    lines = []
    for state, value in ctx.plan.commits[entry.name]:
        tensor, suffix = ctx.tensor(state), SUFFIXES[ctx.tensor(state).dtype]
        to = ctx.pointer(entry, state)
        lines.append(f"ek_copy_{suffix}({to}, {ctx.pointer(entry, value)}, {tensor.size}u);")
    return lines


def state_text(ctx: Context) -> str:
    """sizeof, init, reset, state_bytes, save, restore, nonfinite."""
    p, total, step = ctx.prefix, blob_bytes(ctx.graph), ctx.graph.entries["step"]
    save, good, restore, at = [], [f"ek_good_header(blob, {p}_hash)"], [], HEADER_BYTES
    for state in ctx.graph.states:
        tensor = ctx.tensor(state.tensor)
        kind, where, n = SUFFIXES[tensor.dtype], ctx.pointer(step, state.tensor), tensor.size
        save.append(f"ek_save_{kind}(blob + {at}u, {where}, {n}u);")
        if kind == "spike":
            good.append(f"ek_good_spike(blob + {at}u, {n}u)")
        restore.append(f"ek_restore_{kind}({where}, blob + {at}u, {n}u);")
        at += stored_bytes(ctx.graph, state)
    fresh = [line for s in ctx.graph.states if s.reset != "keep" for line in _first(ctx, s)]
    kept = [line for s in ctx.graph.states if s.reset == "keep" for line in _first(ctx, s)]
    lists = ctx.forms.lists(ctx)
    coding = ctx.consts.coding
    words = (ctx.layout.struct_bytes - (coding.decoded_bytes if coding else 0)) // 4  # what is decoded comes last
    clear = [f"ek_zero_u32((ek_word *)m, {words}u);", *(coding.lines if coding else [])]
    digest = np.frombuffer(bytes.fromhex(ctx.graph.hash()), np.uint8)
    texts = [
        c_array("uint8_t", f"{p}_hash", digest, 4),
        function(f"EK_EXPORT uint32_t {p}_sizeof(void)", f"return (uint32_t)sizeof({p});"),
        function(f"EK_EXPORT int {p}_reset({p} *m)", "(void)m;", *fresh, *lists, "return EK_OK;"),
        function(f"EK_EXPORT int {p}_init({p} *m)", *clear, ctx.ticks.clear, *kept, f"return {p}_reset(m);"),
        function(f"EK_EXPORT uint32_t {p}_nonfinite(const {p} *m)", "return m->nonfinite[0];"),
        function(f"EK_EXPORT uint32_t {p}_state_bytes(void)", f"return {total}u;"),
        function(
            f"EK_EXPORT int {p}_save(const {p} *m, uint8_t *blob)",
            "(void)m;",
            f"ek_save_header(blob, {p}_hash);",
            *save,
            "return EK_OK;",
        ),
        function(
            f"EK_EXPORT int {p}_restore({p} *m, const uint8_t *blob, uint32_t n)",
            "(void)m;",
            f"if (n != {total}u) return EK_BAD_BLOB;",
            f"if (!({' && '.join(good)})) return EK_BAD_BLOB;",
            *restore,
            *lists,
            "return EK_OK;",
        ),
    ]
    return "\n".join(texts)


def _first(ctx: Context, state: State) -> list[str]:
    """The line that gives a state its first value."""
    tensor, step = ctx.tensor(state.tensor), ctx.graph.entries["step"]
    suffix, where = SUFFIXES[tensor.dtype], ctx.pointer(step, state.tensor)
    if not state.init.any():
        return [f"ek_zero_{suffix}({where}, {tensor.size}u);"]
    first = ctx.array((state.tensor, "first value"), tensor.dtype, state.init)
    return [f"ek_copy_{suffix}({where}, {first}, {tensor.size}u);"]
