"""The width of a model with nested widths: chosen once, after which its step and its runs are those of the width."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekit.backends.c.context import function
from edgekit.ir import Graph
from edgekit.ir.widths import FULL, narrow_widths, width_entry, widths_of

OWN_FUNCTION = "init_width"  # of programs with several widths alone


def width_functions(graph: Graph) -> tuple[str, ...]:
    """The names of functions that such a program has of its own."""
    return (OWN_FUNCTION,) if narrow_widths(graph) else ()


def width_declared(prefix: str, graph: Graph) -> str:
    """What the header says of it; '' for a model with one width."""
    if not narrow_widths(graph):
        return ""
    known = ", ".join(map(str, sorted(widths_of(graph))))
    return f"""/* {prefix}_init, and from there on {prefix}_step and {prefix}_run with the first units alone:
 * {known} per cent of them. Units beyond the width keep what they have: their first values, or what a blob of a wider
 * one brought; a blob may be restored at every width. Returns 3, and has done nothing, for another width. Who
 * knows the width beforehand calls the step of that width, so that a linker can leave out the others.
 */
int {prefix}_init_width({prefix} *m, uint32_t percent);
"""


def width_text(prefix: str, graph: Graph) -> list[str]:
    """The function that chooses the width, in a list that is empty for a model that has one."""
    if not narrow_widths(graph):
        return []
    known = " && ".join(f"percent != {percent}u" for percent in widths_of(graph))
    head = f"EK_EXPORT int {prefix}_init_width({prefix} *m, uint32_t percent)"
    kept = f"m->width[0] = percent == {FULL}u ? 0u : percent;"
    lines = (f"if ({known}) return EK_NO_WIDTH;", "{", f"    const int code = {prefix}_init(m);", f"    {kept}")
    return [function(head, *lines, "    return code;", "}")]


def dispatch(graph: Graph, entry: str, call: Callable[[str], Sequence[str]]) -> list[str]:
    """The lines by which the full step hands over to that of the width; `call` gives what an entry is called by."""
    if entry != "step":
        return []
    lines = []
    for percent in narrow_widths(graph):
        lines += [f"if (m->width[0] == {percent}u) {{", *(f"    {line}" for line in call(width_entry(percent))), "}"]
    return lines
