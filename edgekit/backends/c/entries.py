"""The exported function of an entry: take the inputs, run the ops in order, give the outputs, commit the states."""

from __future__ import annotations

from edgekit.backends.c.context import Context, function, suffix
from edgekit.backends.c.ops import kernel_use, op_function
from edgekit.backends.c.program import KernelUse
from edgekit.backends.c.widths import dispatch
from edgekit.ir import Entry


def parameters(entry: Entry) -> str:
    """The C parameters of an entry after the model: `, const float *in0, …, float *out0, …`."""
    ins = [f", const float *in{i}" for i in range(len(entry.inputs))]
    return "".join([*ins, *(f", float *out{i}" for i in range(len(entry.outputs)))])


def _arguments(entry: Entry) -> str:
    """The C arguments for those parameters, passed on."""
    return "".join([*(f", in{i}" for i in range(len(entry.inputs))), *(f", out{i}" for i in range(len(entry.outputs)))])


def entry_text(ctx: Context, entry: Entry) -> tuple[str, list[KernelUse]]:
    """The functions of an entry, and which kernel runs each op."""
    uses = [kernel_use(ctx, entry, at, op) for at, op in enumerate(entry.ops) if op.kind != "reshape"]
    texts = [op_function(ctx, entry, use, entry.ops[use.op]) for use in uses]
    base, model = f"{ctx.prefix}_{entry.name}", f"{ctx.prefix} *m"
    calls = [f"{use.symbol}(m);" for use in uses]
    if entry.inputs:
        takes = [
            f"ek_take_{suffix(ctx.tensor(n))}({ctx.pointer(entry, n)}, in{i}, {ctx.tensor(n).size}u);"
            for i, n in enumerate(entry.inputs)
        ]
        ins = [f"in{i}" for i in range(len(entry.inputs))]
        head = f"static EK_NOINLINE void {base}_take({model}{''.join(f', const float *{i}' for i in ins)})"
        texts.append(ctx.functions.once(entry.name, f"{base}_take", function(head, *takes)))
        calls.insert(0, f"{base}_take(m{''.join(f', {i}' for i in ins)});")
    gives = [
        f"ek_give_{suffix(ctx.tensor(n))}(out{i}, {ctx.pointer(entry, n)}, {ctx.tensor(n).size}u);"
        for i, n in enumerate(entry.outputs)
    ]
    outs = "".join(f", float *out{i}" for i in range(len(entry.outputs)))
    texts.append(function(f"static EK_NOINLINE void {base}_give({model}{outs})", *gives, *_commits(ctx, entry)))
    calls.append(f"{base}_give(m{''.join(f', out{i}' for i in range(len(entry.outputs)))});")
    texts.append(function(f"EK_INLINE void {base}_body({model}{parameters(entry)})", *ctx.ticks.counted(calls)))
    body = f"{base}_body(m{_arguments(entry)});"
    head = f"EK_EXPORT int {base}({model}{parameters(entry)})"
    narrow = dispatch(ctx.graph, entry.name, lambda name: [f"return {ctx.prefix}_{name}(m{_arguments(entry)});"])
    texts.append(function(head, *narrow, *_checks(ctx, entry, "{}u"), body, "return EK_OK;"))
    return "\n".join(texts), uses


def run_text(ctx: Context, entry: Entry) -> str:
    """The function that makes T steps; inputs are checked first, so that a refusal leaves all states as they were."""
    args = [f"in{i} + t * {ctx.tensor(n).size}u" for i, n in enumerate(entry.inputs)]
    args += [f"out{i} + t * {ctx.tensor(n).size}u" for i, n in enumerate(entry.outputs)]

    def call(name: str) -> list[str]:
        return [f"EK_RUN(steps, {ctx.prefix}_{name}_body({', '.join(['m', *args])}))", "return EK_OK;"]

    head = f"EK_EXPORT int {ctx.prefix}_run({ctx.prefix} *m, uint32_t steps{parameters(entry)})"
    checks = _checks(ctx, entry, "(uintptr_t)steps * {}u")
    return function(head, *checks, *dispatch(ctx.graph, entry.name, call), *call(entry.name))


def _checks(ctx: Context, entry: Entry, length: str) -> list[str]:
    """The lines that refuse inputs which are not finite; `length` is a pattern over the size of one step."""
    return [
        f"if (!ek_all_finite(in{i}, {length.format(ctx.tensor(n).size)})) return EK_NOT_FINITE;"
        for i, n in enumerate(entry.inputs)
    ]


def _commits(ctx: Context, entry: Entry) -> list[str]:
    """Copies of the new values that could not be written in place."""
    lines = []
    for state, value in ctx.plan.commits[entry.name]:
        tensor, field = ctx.tensor(state), ctx.layout.states[state].name
        lines.append(f"ek_copy_{suffix(tensor)}(m->{field}, {ctx.pointer(entry, value)}, {tensor.size}u);")
    return lines
