"""The header of a program: its struct, its entries, and the functions that every program has."""

from __future__ import annotations

from collections.abc import Sequence

from edgekit.backends.c.context import comment
from edgekit.backends.c.layout import Layout
from edgekit.backends.c.learned import learned_header
from edgekit.backends.c.ticks import Ticks
from edgekit.backends.c.widths import width_declared
from edgekit.errors import UnsupportedError
from edgekit.ir import Graph


def header_text(
    prefix: str, graph: Graph, layout: Layout, ticks: Ticks, align: int, *, says: str, more: str, entries: str, run: str
) -> str:
    """The text of a header. `says` are lines of conventions, `more` and `entries` declarations, `run` the parameters
    of a run after the number of steps.
    """
    p = prefix
    members = "".join(f"    {f.ctype} {f.name}[{f.length}]; /* {comment(f.note)} */\n" for f in layout.fields)
    return f"""/* {graph.name}: written by edgekit. Compile {p}.c with any C99 compiler:
 *     cc -std=c99 -O2 -ffp-contract=off -I . -c {p}.c
 * There is no other state than the struct, which the caller owns: no heap, no globals, no libc.
{says} *     2  a state blob is damaged or of another program: nothing was changed
 */
#ifndef {p.upper()}_H
#define {p.upper()}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#if defined(__GNUC__)
#define {p.upper()}_ALIGNED __attribute__((aligned({align})))
#else
#define {p.upper()}_ALIGNED /* align the struct to {align} bytes yourself */
#endif

typedef struct {p.upper()}_ALIGNED {p} {{
{members}{ticks.member}}} {p};

uint32_t {p}_sizeof(void);
int {p}_init({p} *m);  /* all states to their first values; call it before anything else */
int {p}_reset({p} *m); /* the same, except for states that a reset keeps */
{width_declared(p, graph)}{more}
{entries}/* T steps at once: arrays [T, ...] */
int {p}_run({p} *m, uint32_t steps{run});

uint32_t {p}_state_bytes(void);
int {p}_save(const {p} *m, uint8_t *blob);
int {p}_restore({p} *m, const uint8_t *blob, uint32_t n);
{learned_header(p, graph, layout.states)}{ticks.declared(p)}
#ifdef __cplusplus
}}
#endif
#endif
"""


def declared(prefix: str, entry: str, ports: str, parameters: str) -> str:
    """The declaration of an entry, under a comment on its ports."""
    return f"/* {comment(ports)} */\nint {prefix}_{entry}({prefix} *m{parameters});\n"


def check_faults(graph: Graph, faults: Sequence[str], own: Sequence[str]) -> None:
    """UnsupportedError that lists these faults, updates that no lowering has made copies of, and entries whose names
    are those of a program's `own` functions.
    """
    found = list(faults)
    for entry in graph.entries.values():
        moved = [s for s, value in entry.updates.items() if value in graph.state_names and value != s]
        found += [
            f"update of {s} in entry {entry.name}: takes a state as it is; has the graph been lowered?" for s in moved
        ]
    found += [f"entry {n}: a function of that name exists already" for n in graph.entries if n in own]
    if found:
        raise UnsupportedError(f"graph {graph.name!r}", "cannot be written as C", items=found)
