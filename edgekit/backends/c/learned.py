"""What a journal stores of a program that learns: where it lies in the struct, and the C that keeps it."""

from __future__ import annotations

from collections.abc import Mapping

from edgekit.backends.c.context import comment, function
from edgekit.backends.c.journal import journal_files
from edgekit.backends.c.layout import Field
from edgekit.backends.c.states import stored_bytes
from edgekit.ir import SPIKE, Graph, State, Tensor


def _kept(graph: Graph) -> list[tuple[State, Tensor]]:
    return [(s, graph.tensors[s.tensor]) for s in graph.states if s.reset == "keep"]


def _parts(graph: Graph) -> list[tuple[State, Tensor]]:
    """What a journal stores as it lies in the struct; nothing where spikes are kept, which are bits there."""
    kept = _kept(graph)
    return [] if any(tensor.dtype is SPIKE for _, tensor in kept) else kept


def _counted(graph: Graph) -> list[tuple[State, Tensor]]:
    """The integers that may come to the end of their range: not the number of tasks that have ended."""
    merge = graph.entries.get("merge")
    counters = set() if merge is None else {n for n in merge.updates if graph.tensors[n].size == 1}
    return [(s, t) for s, t in _parts(graph) if t.dtype.is_integer and s.tensor not in counters]


def learned_files(graph: Graph) -> dict[str, str]:
    """The sources of the journal by their path below the C folder; none for a program that keeps nothing."""
    return dict(journal_files()) if _parts(graph) else {}


def learned_header(prefix: str, graph: Graph, fields: Mapping[str, Field]) -> str:
    """What the header says of a program that learns: the parts of a journal's payload, and the order of the calls.

    '' for a program that keeps nothing. `fields` are the states by name.
    """
    p, parts, kept = prefix, _parts(graph), _kept(graph)
    if not kept:
        return ""
    if not parts:
        spikes = ", ".join(comment(state.tensor) for state, tensor in kept if tensor.dtype is SPIKE)
        return f"\n/* A reset keeps spikes, {spikes}: a journal cannot take them as they lie here, {p}_save can. */\n"
    macro = f"{p.upper()}_LEARNED"
    rows = "".join(f"        {{(m)->{fields[s.tensor].name}, {stored_bytes(graph, s)}u}}, \\\n" for s, _ in parts)
    saturated = f"""
/* how many learned integers are at the end of their range: what they learn beyond it is lost */
uint32_t {p}_saturated(const {p} *m);
"""
    return f"""
/* What is learned, as a journal stores it (ekj_journal.h): the states that a reset keeps, in this order, without the
 * padding behind them. A journal is bound to the .edge file by the SHA-256 of that file, which its C cannot know: the
 * application gives ekj_open those 32 bytes.
 *
 *     ekj_part parts[{macro}_PARTS] = {macro}(&model);
 *
{"".join(f" *     {when:<10}{what}{chr(10)}" for when, what in _calls(p, macro, graph))} */
#define {macro}_PARTS {len(parts)}u
#define {macro}_BYTES {sum(stored_bytes(graph, s) for s, _ in parts)}u
#define {macro}(m) \\
    {{ \\
{rows}    }}
{saturated if _counted(graph) else ""}"""


def _calls(p: str, macro: str, graph: Graph) -> list[tuple[str, str]]:
    """When to call what."""
    entries, windowed = graph.entries, any(s.reset == "reset" for s in graph.states)
    gather = f", {p}_gather" if "gather" in entries else ""
    calls = [
        ("start", f"{p}_init, ekj_open(..., {macro}_BYTES, history), ekj_load:"),
        ("", f"EKJ_OK what was learned, EKJ_FACTORY nothing yet, EKJ_CHANGED call {p}_init again"),
    ]
    if "learn" in entries:
        calls.append(("learn", f"for each step of a window {p}_step{gather}, then {p}_learn"))
    if "learn" in entries and windowed:
        calls.append(("", f"{p}_reset before each window, if that has more than one step"))
    if "learn" in entries and graph.is_integer:
        calls.append(("", f"not from a window in which {p}_nonfinite has grown: {p}_reset"))
    if "merge" in entries:
        calls.append(("", f"{p}_merge when a task ends, as often as there are tasks: protects what was learned before"))
    alarm = [("", f"{p}_saturated: how many have no room left")] if _counted(graph) else []
    return [
        *calls,
        ("judge", f"windows of your own that must stay right, by {p}_step; then {p}_reset"),
        *alarm,
        ("keep it", "ekj_commit: all of it or nothing, whenever power is lost"),
        ("or not", f"ekj_load, and {p}_init where it does not give EKJ_OK"),
        ("take back", f"ekj_rollback, then as above; and {p}_reset"),
    ]


def saturated_text(prefix: str, graph: Graph, fields: Mapping[str, Field]) -> list[str]:
    """The function that counts learned integers at the end of their range, in a list that is empty without any."""
    lines = ["uint32_t i, count = 0;"]
    for state, tensor in _counted(graph):
        x, most = f"m->{fields[state.tensor].name}[i]", tensor.dtype.limits[1]
        count = f"count += (uint32_t)({x} <= -{most} || {x} >= {most});"
        lines.append(f"EK_UNROLL_COLD for (i = 0; i < {tensor.size}u; ++i) {count}")
    head = f"EK_EXPORT uint32_t {prefix}_saturated(const {prefix} *m)"
    return [function(head, *lines, "return count;")] if _counted(graph) else []
