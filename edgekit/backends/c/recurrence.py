"""Which linears are the linear recurrence of a state, and therefore remember every rounding error."""

from __future__ import annotations

from edgekit.ir import Graph, Op

_SUMS = frozenset({"flush", "add", "sub"})  # elementwise ops that pass an error on as it is


def is_recurrence(graph: Graph, op: Op) -> bool:
    """Whether y of a linear y = W s (+ c) becomes, with nothing but sums on the way, the next value of the state s."""
    entry = next(e for e in graph.entries.values() if any(o is op for o in e.ops))
    made = {name: o for o in entry.ops for name in o.outputs}
    state = op.inputs[0]
    while state in made and made[state].kind == "reshape":
        state = made[state].inputs[0]
    return state in entry.updates and _is_summed(made, op, entry.updates[state])


def _is_summed(made: dict[str, Op], op: Op, value: str) -> bool:
    """Whether the result of `op` is a term of `value`."""
    seen: set[str] = set()
    left = [value]
    while left:
        maker = made.get(left.pop())
        if maker is op:
            return True
        if maker is not None and maker.outputs[0] not in seen:
            seen.add(maker.outputs[0])
            left += _terms(maker)
    return False


def _terms(op: Op) -> tuple[str, ...]:
    """The inputs of which the result of an op is a sum, as far as they are."""
    if op.kind == "linear":
        return op.inputs[2:]
    sums = op.kind == "fused" and all(kind in _SUMS for kind, _, _ in op.attrs["body"])
    return op.inputs if sums or op.kind == "reshape" else ()
