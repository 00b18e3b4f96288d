"""A program as a folder of C: the sources that were proven, and how to compile and call them."""

from __future__ import annotations

from math import prod

from edgekit._version import __version__
from edgekit.convert.pipeline import Conversion
from edgekit.ir import Graph

_CTYPES = {"float32": "float", "int8": "int8_t", "int16": "int16_t", "int32": "int32_t"}


def c_folder(done: Conversion) -> dict[str, bytes]:
    """The files of a program's C by their path below the folder, a README among them."""
    return {path: text.encode() for path, text in done.program.files.items()} | {"README.md": _readme(done).encode()}


def _readme(done: Conversion) -> str:
    manifest, graph = done.artifact.manifest, done.artifact.graph
    name, program, sizes = f"ek_{graph.name}", manifest["program"], manifest["sizes"]
    source = manifest["provenance"].get("file")
    flags = " ".join(program["flags"])
    of = f" from `{source}`" if source else ""
    return f"""# {graph.name} in C

Written by edgekit {__version__}{of} for {manifest["target"]}, {manifest["precision"]}.
One C99 source with its headers: no libc, no heap, no globals. The caller owns the struct `{name}`.

## Compile

    cc -std=c99 -O2 -ffp-contract=off -I . -c {name}.c

That is right everywhere; with the flags of the processor its vector instructions are used. Compiled by
{program["compiler"]} for {program["cpu"]} with

    {flags}

this program reproduced the reference for {done.selftest.steps} steps on {done.selftest.engine}
(worst error {done.selftest.worst_error:.2g}).

## Call

```c
#include "{name}.h"

{_call(name, graph)}```

`{name}_reset` starts again, `{name}_run` takes many steps at once, `{name}_save` and `{name}_restore` carry the
state; the header says what each takes and returns.

## Sizes

Flash {sizes["flash_bytes"]:,} bytes, struct {sizes["ram_bytes"]:,} bytes (states {sizes["state_bytes"]:,}).
"""


def _call(name: str, graph: Graph) -> str:
    """One step from raw values to real ones; in an integer program by way of its entries quantize and dequantize."""
    entries = [graph.entries[e] for e in ("quantize", "step", "dequantize") if e in graph.entries]
    lines, calls, before = [f"static {name} model;"], [f"    if ({name}_init(&model)) return 1;"], list[str]()
    for at, entry in enumerate(entries):
        given = before or [f"x{i}" for i in range(len(entry.inputs))]
        if not before:
            lines += [_buffer(graph, v, n) for v, n in zip(entry.inputs, given, strict=True)]
        stem = "y" if at == len(entries) - 1 else f"stored{at}_"
        got = [f"{stem}{i}" for i in range(len(entry.outputs))]
        lines += [_buffer(graph, v, n) for v, n in zip(entry.outputs, got, strict=True)]
        calls.append(f"    if ({name}_{entry.name}({', '.join(['&model', *given, *got])})) return 1;")
        before = got
    body = "\n".join([*lines, "", "int main(void) {", *calls, "    return 0;", "}"])
    return f"{body}\n"


def _buffer(graph: Graph, value: str, name: str) -> str:
    return f"static {_CTYPES[graph.port_dtype(value).name]} {name}[{prod(graph.tensors[value].shape)}];"
