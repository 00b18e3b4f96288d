"""Integer graph and memory plan to a C program: data, shapes and the call sequence. Every loop is in the kernels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgekit.backends.c.coding import Coding
from edgekit.backends.c.context import Constants
from edgekit.backends.c.header import check_faults, declared, header_text
from edgekit.backends.c.integer.context import FIELDS, Context, listed, make_layout
from edgekit.backends.c.integer.entries import entry_text, parameters, run_text, state_text
from edgekit.backends.c.integer.event_groups import groups_of
from edgekit.backends.c.integer.flavour import Flavour
from edgekit.backends.c.integer.forms import Forms
from edgekit.backends.c.integer.ops import BORDER, SUPPORTED
from edgekit.backends.c.integer.pairs import PAIRS
from edgekit.backends.c.integer.portable import fired_list
from edgekit.backends.c.integer.vectors import VECTORS
from edgekit.backends.c.integer.wide import WIDE
from edgekit.backends.c.learned import learned_files, saturated_text
from edgekit.backends.c.program import KernelUse, Program, kernel_files
from edgekit.backends.c.states import blob_bytes
from edgekit.backends.c.widths import width_functions, width_text
from edgekit.ir import FLOAT32, INT4, SPIKE, Graph, Plan

OWN_FUNCTIONS = (
    *("sizeof", "init", "reset", "run", "state_bytes", "save", "restore", "hash", "ticks", "ticks_cost"),
    *("nonfinite", "saturated"),
)
FORMS: Mapping[str, Forms] = {"portable": Forms(fired_list), "dsp": PAIRS, "mve": VECTORS, "wide": WIDE}
KERNEL_HEADERS = ("int_core", "int_distance", "int_io", "int_linear", "int_ops", "int_plastic", "ticks")


def emit_integer(graph: Graph, plan: Plan, flavour: Flavour, name: str, *, coded: bool = False) -> Program:
    """Write a lowered integer graph as C99; UnsupportedError lists every op and value for which there is no kernel.

    With `coded`, its larger constants are entropy-coded, and `init` decodes them into the struct, if that pays.
    """
    _check(graph)
    rows = max((graph.tensors[x].shape[-1] for x in _listed_in_rows(graph)), default=0)
    forms = FORMS[flavour.name]
    groups = groups_of(graph, lambda graph, entry: forms.groups(graph, entry, flavour))
    layout = make_layout(graph, plan, rows, forms.scratch(graph), groups)
    coding = Coding(plan.align) if coded else None
    consts = Constants(f"ek_{name}", plan.align, coding)
    ctx = Context(graph, plan, flavour, forms, layout, f"ek_{name}", consts, groups)
    texts, kernels = [], list[KernelUse]()
    for entry in graph.entries.values():
        text, uses = entry_text(ctx, entry)
        texts.append(text)
        kernels += uses
    if coding is not None and not coding.pays:
        return emit_integer(graph, plan, flavour, name)
    if coding is not None:
        coding.close()
        ctx = replace(ctx, layout=replace(layout, others=(*layout.others, *coding.fields)))
    texts += [run_text(ctx, graph.entries["step"]), state_text(ctx)]
    texts += width_text(ctx.prefix, graph)
    texts += [*saturated_text(ctx.prefix, graph, layout.states), ctx.ticks.text(ctx.prefix)]
    files = {
        f"ek_{name}.h": _header(ctx),
        f"ek_{name}_data.h": _data(ctx),
        f"ek_{name}.c": _source(ctx, texts),
        **kernel_files(integer=True),
        **learned_files(graph),
    }
    return Program(
        name=name,
        files=files,
        kernels=tuple(kernels),
        struct_bytes=ctx.layout.struct_bytes,
        const_bytes=consts.nbytes,
        blob_bytes=blob_bytes(graph),
        layout=ctx.layout,
        constants=tuple(consts.arrays.values()),
        ticked=tuple(ctx.ticks.symbols),
        coded_bytes=coding.nbytes if coding else 0,
        decoded_bytes=coding.decoded_bytes if coding else 0,
    )


def _listed_in_rows(graph: Graph) -> list[str]:
    """Spike values whose rows are listed one after the other."""
    found = []
    for _, op in graph.ops():
        if op.kind in ("linear", "memory_update") and listed(graph, op) is None:
            found += [n for n in op.inputs[:3:2] if graph.tensors[n].dtype is SPIKE]
        elif op.kind == "matvec" and graph.tensors[op.inputs[0]].dtype is SPIKE:
            found.append(op.inputs[0])
    return found


def _check(graph: Graph) -> None:
    """Everything that has no kernel, in one list."""
    faults = []
    for entry, op in graph.ops():
        origin = f"{op.kind} in entry {entry.name} (from {op.source or 'the graph'})"
        if op.kind not in SUPPORTED | BORDER:
            faults.append(f"{origin}: no kernel; has the graph been lowered?")
        elif op.kind not in ("fused", "reshape", "quantize", "dequantize"):
            reals = [n for n in (*op.inputs, *op.outputs) if graph.tensors[n].dtype is FLOAT32]
            faults += [f"{origin}: {n} is float32 in an integer program" for n in reals]
    weights = {w for _, op in graph.ops() if op.kind in ("linear", "memory_update") for w in op.inputs[1::2]}
    for tensor in graph.tensors.values():
        if tensor.dtype is INT4 and tensor.name not in weights:
            faults.append(f"{tensor.name}: values of dtype {tensor.dtype}")
    check_faults(graph, faults, (*OWN_FUNCTIONS, *width_functions(graph)))


def _header(ctx: Context) -> str:
    p, entries, step = ctx.prefix, list[str](), ctx.graph.entries["step"]
    for entry in ctx.graph.entries.values():
        ports = [f"in{i}: {_port(ctx, n)}" for i, n in enumerate(entry.inputs)]
        ports += [f"out{i}: {_port(ctx, n)}" for i, n in enumerate(entry.outputs)]
        entries.append(declared(p, entry.name, "; ".join(ports), parameters(ctx, entry)))
    return header_text(
        p,
        ctx.graph,
        ctx.layout,
        ctx.ticks,
        ctx.plan.align,
        says=f""" * The step computes with integers alone. Arrays are row-major, spikes bytes 0 and 1.
 * {p}_quantize makes its inputs of raw floats, {p}_dequantize real numbers of its outputs. Functions return 0, or:
""",
        more=f"""/* how many inputs of {p}_quantize were NaN or Inf since {p}_init */
uint32_t {p}_nonfinite(const {p} *m);
""",
        entries="".join(entries),
        run=parameters(ctx, step),
    )


def _port(ctx: Context, name: str) -> str:
    tensor = ctx.tensor(name)
    return f"{name} {list(tensor.shape)} {FIELDS[tensor.dtype] if tensor.dtype is not SPIKE else 'spike'}"


def _data(ctx: Context) -> str:
    head = f"/* The constants of {ctx.graph.name}: {ctx.consts.nbytes} bytes. */"
    return f"{head}\n\n{ctx.consts.text()}"


def _source(ctx: Context, texts: list[str]) -> str:
    define = f"#define {ctx.flavour.define} 1\n" if ctx.flavour.define else ""
    headers = (*KERNEL_HEADERS, *ctx.flavour.headers, *(["int_coded"] if ctx.consts.coding else []))
    includes = "".join(f'#include "ek/{h}.h"\n' for h in headers)
    head = (
        f"/* {ctx.graph.name}: written by edgekit; see {ctx.prefix}.h. One function per op, called in order below. */\n"
    )
    return f'{head}{define}#include "{ctx.prefix}.h"\n\n{includes}\n#include "{ctx.prefix}_data.h"\n\n' + "\n".join(
        texts
    )
