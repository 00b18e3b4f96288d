"""Graph and memory plan to a C program: data, shapes and the call sequence. Every loop is in the kernels."""

from __future__ import annotations

from dataclasses import replace

from edgekit.backends.c.coding import Coding
from edgekit.backends.c.context import Constants, Context
from edgekit.backends.c.data import PAD_I8
from edgekit.backends.c.entries import entry_text, parameters, run_text
from edgekit.backends.c.header import check_faults, declared, header_text
from edgekit.backends.c.integer import emit_integer, flavour_of
from edgekit.backends.c.layout import make_layout
from edgekit.backends.c.learned import learned_files
from edgekit.backends.c.program import KernelUse, Program, kernel_files, kernel_names
from edgekit.backends.c.select import FLOAT_OPS, MAX_EVENTS, TOGETHER, windows_listed
from edgekit.backends.c.states import blob_bytes, state_text
from edgekit.backends.c.widths import width_functions, width_text
from edgekit.errors import GraphError
from edgekit.ir import FLOAT32, INT8, SPIKE, Graph, Plan
from edgekit.ir.plan import ALIGN

MAX_SPIKE_RESULTS = 8  # of one fused op: EK_MAX_SPIKES in kernels/map.h
OWN_FUNCTIONS = ("sizeof", "init", "reset", "run", "state_bytes", "save", "restore", "hash", "ticks", "ticks_cost")
PADS = (8, PAD_I8)
KERNEL_HEADERS = (
    "conv",
    "copy",
    "distance",
    "dot",
    "io",
    "linear",
    "map",
    "math",
    "memory",
    "plastic",
    "reduce",
    "simd",
    "sparse",
    "state",
    "ticks",
)


def emit(
    graph: Graph,
    plan: Plan,
    *,
    pad: int = 8,
    dot: int = 0,
    name: str | None = None,
    simd: str = "portable",
    coded: bool = False,
) -> Program:
    """Write a lowered graph as C99.

    `plan` is the memory plan of the same graph. `pad` is what the outputs of a float32 linear are padded to: 8, or 16
    where AVX-512 may run. int8 weights of dense linears with at least `dot` inputs (0: of none) are packed for integer
    dot products, which are right everywhere and fast where the target has them (Armv8.2 asimddp, AVX2). `name` is the
    model's C identifier, by default the graph's name. An integer graph is laid out for the instruction set `simd`. With
    `coded`, larger constants of integers lie in flash entropy-coded, and `init` decodes them into the struct, if that
    saves more than the code that does it takes.

    Raises UnsupportedError that lists every op and value for which there is no kernel.
    """
    if pad not in PADS:
        raise GraphError(f"padding {pad}", "is not possible", f"choose one of {PADS}")
    name = name or graph.name
    if f"ek_{name}" in kernel_names():
        raise GraphError(f"model name {name!r}", f"is taken: the kernels define ek_{name}", "choose another name")
    if graph.is_integer:
        return emit_integer(graph, plan, flavour_of(simd), name, coded=coded)
    _check(graph)
    coding = Coding(ALIGN) if coded else None
    consts = Constants(f"ek_{name}", coding=coding)
    ctx = Context(graph, plan, make_layout(graph, plan), f"ek_{name}", pad, dot, consts)
    texts, kernels = [], list[KernelUse]()
    for entry in graph.entries.values():
        text, uses = entry_text(ctx, entry)
        texts.append(text)
        kernels += uses
    if coding is not None and not coding.pays:
        return emit(graph, plan, pad=pad, dot=dot, name=name)
    if coding is not None:
        coding.close()
        ctx = replace(ctx, layout=replace(ctx.layout, others=(*ctx.layout.others, *coding.fields)))
    texts += [run_text(ctx, graph.entries["step"]), state_text(ctx)]
    texts += [*width_text(ctx.prefix, graph), ctx.ticks.text(ctx.prefix)]
    files = {
        f"ek_{name}.h": _header(ctx),
        f"ek_{name}_data.h": _data(ctx),
        f"ek_{name}.c": _source(ctx, texts),
        **kernel_files(),
        **learned_files(graph),
    }
    return Program(
        name=name,
        files=files,
        kernels=tuple(kernels),
        struct_bytes=max(ctx.layout.struct_bytes, 1),
        const_bytes=ctx.consts.nbytes,
        blob_bytes=blob_bytes(graph),
        layout=ctx.layout,
        constants=tuple(ctx.consts.arrays.values()),
        ticked=tuple(ctx.ticks.symbols),
        coded_bytes=coding.nbytes if coding else 0,
        decoded_bytes=coding.decoded_bytes if coding else 0,
    )


def _check(graph: Graph) -> None:
    """Everything that has no kernel, in one list."""
    faults = []
    for entry, op in graph.ops():
        origin = f"{op.kind} in entry {entry.name} (from {op.source or 'the graph'})"
        if op.kind not in FLOAT_OPS:
            faults.append(f"{origin}: no kernel; has the graph been lowered?")
        elif op.kind == "fused" and sum(graph.tensors[n].dtype is SPIKE for n in op.outputs) > MAX_SPIKE_RESULTS:
            faults.append(f"{origin}: more than {MAX_SPIKE_RESULTS} spike results")
        elif windows_listed(graph, op)[0] > TOGETHER * MAX_EVENTS:
            faults.append(f"{origin}: more than {MAX_EVENTS:,} spikes in one window")
    for tensor in graph.tensors.values():
        weights = tensor.dtype is INT8 and tensor.is_const
        if tensor.dtype not in (FLOAT32, SPIKE) and not weights:
            faults.append(f"{tensor.name}: values of dtype {tensor.dtype}")
    check_faults(graph, faults, (*OWN_FUNCTIONS, *width_functions(graph)))


def _header(ctx: Context) -> str:
    p, entries, step = ctx.prefix, list[str](), ctx.graph.entries["step"]
    for entry in ctx.graph.entries.values():
        ports = [f"in{i}: {n} {list(ctx.tensor(n).shape)}" for i, n in enumerate(entry.inputs)]
        ports += [f"out{i}: {n} {list(ctx.tensor(n).shape)}" for i, n in enumerate(entry.outputs)]
        entries.append(declared(p, entry.name, "; ".join(ports), parameters(entry)))
    return header_text(
        p,
        ctx.graph,
        ctx.layout,
        ctx.ticks,
        ALIGN,
        says=""" * Arrays are row-major float32; spikes are 0.0 and 1.0. Functions return 0, or:
 *     1  an input holds NaN or Inf: nothing was changed
""",
        more="",
        entries="".join(entries),
        run=parameters(step),
    )


def _data(ctx: Context) -> str:
    head = f"/* The constants of {ctx.graph.name}: {ctx.consts.nbytes} bytes. Panels are described in ek/linear.h. */"
    return f"{head}\n\n{ctx.consts.text()}"


def _source(ctx: Context, texts: list[str]) -> str:
    headers = (*KERNEL_HEADERS, *(["int_coded"] if ctx.consts.coding else []))
    includes = "".join(f'#include "ek/{h}.h"\n' for h in headers)
    head = (
        f"/* {ctx.graph.name}: written by edgekit; see {ctx.prefix}.h. One function per op, called in order below. */\n"
    )
    return (
        f'{head}#define EK_PAD {ctx.pad}\n#include "{ctx.prefix}.h"\n\n{includes}\n'
        f'#include "{ctx.prefix}_data.h"\n\n' + "\n".join(texts)
    )
