"""Event weights side by side: which linears share rows and lists, within a step and from one step to the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgekit.backends.c.integer.context import Context, carried, listed
from edgekit.backends.c.integer.forms import Group, Product
from edgekit.backends.c.integer.portable import is_listed
from edgekit.backends.c.layout import roots
from edgekit.ir import Entry, Graph, Op
from edgekit.ir.widths import is_width

Fill = Callable[
    [Context, Entry, str, str, int], str
]  # the line that lists the n spikes of a value that lies at a place


def joint_groups(graph: Graph, entry: Entry, group: Callable[[Graph, Sequence[Op]], Group | None]) -> dict[str, Group]:
    """A group for each spike vector whose linears `group` can put side by side.

    A state and its new value have one group, where the list of the one can be that of the other in the next step.
    """
    view, readers = roots(entry), dict[str, list[int]]()
    for at, op in enumerate(entry.ops):
        if (x := listed(graph, op)) is not None:
            readers.setdefault(view.get(x, x), []).append(at)
    found = {}
    joint = {s: v for s, v in _lasting(graph, entry).items() if s in readers and v in readers}
    joint = {s: v for s, v in joint.items() if max(readers[s]) < min(readers[v])}
    alone = [(v,) for v in readers]
    for values in (*joint.items(), *alone):
        if all(v not in found for v in values):
            made = group(graph, [entry.ops[at] for v in values for at in readers[v]])
            found.update(dict.fromkeys(values, made) if made is not None else {})
    return found


def groups_of(graph: Graph, groups: Callable[[Graph, Entry], dict[str, Group]]) -> dict[str, dict[str, Group]]:
    """The groups of each entry; those of a nested width are the ones of the full step, which hold its weights too."""
    found = {entry.name: groups(graph, entry) for entry in graph.entries.values()}
    for name in filter(is_width, found):
        for value, group in found[name].items():
            same = (other for other in found["step"].values() if other.numbered == group.numbered and group.weights)
            found[name][value] = next((o for o in same if set(group.weights) <= set(o.weights)), group)
    return found


def _lasting(graph: Graph, entry: Entry) -> dict[str, str]:
    """The new value of each state that this entry alone sets, with lists that no other entry writes over."""
    others = [e for e in graph.entries.values() if e.name != entry.name]
    if any(listed(graph, op) for e in others for op in e.ops):
        return {}
    view, made = roots(entry), {name for op in entry.ops for name in op.outputs}
    news = {s: view.get(v, v) for s, v in entry.updates.items() if not any(s in e.updates for e in others)}
    return {s: v for s, v in news.items() if v in made and list(news.values()).count(v) == 1}


def group_of(ctx: Context, product: Product) -> Group | None:
    """The group that the weights of a product are in."""
    p = product
    return ctx.groups[p.entry.name].get(ctx.root(p.entry, p.x)) if is_listed(ctx, p) else None


def list_of(ctx: Context, entry: Entry, value: str) -> tuple[str, str]:
    """The C names of the list of a value and of its length."""
    slot = ctx.layout.lists[entry.name][ctx.root(entry, value)].slot
    return f"m->list{slot}", f"m->count[{slot}]"


def filled(ctx: Context, product: Product, fill: Fill) -> list[str]:
    """The line that lists the neurons that fired, in the op that reads them first."""
    p, root = product, ctx.root(product.entry, product.x)
    if ctx.layout.lists[p.entry.name][root].made != p.at:
        return []
    return [fill(ctx, p.entry, root, ctx.pointer(p.entry, p.x), ctx.tensor(p.x).size)]


def carried_lists(ctx: Context, fill: Fill) -> list[str]:
    """The lines that fill the lists that a step takes over from the one before it."""
    return [
        fill(ctx, entry, state, ctx.pointer(entry, state), ctx.tensor(state).size)
        for entry in ctx.graph.entries.values()
        for state in carried(entry, ctx.groups[entry.name]).values()
    ]
