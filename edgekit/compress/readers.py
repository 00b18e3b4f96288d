"""What reads the values of a step: which of them go through matrices alone, or under windows that slide."""

from __future__ import annotations

from edgekit.compress.terms import Sums

MOVES = ("reshape", "transpose", "expand", "slice", "gather", "windows")


def slides(sums: Sums, name: str) -> bool:
    """Whether windows slide over a value, as it is or moved."""
    found = [name]
    for value in found:  # grows while it is walked
        for op in sums.readers.get(value, []):
            if op.kind == "windows":
                return True
            found += op.outputs if op.kind in (*MOVES, "pad") else ()
    return False


def feeds_linears_only(sums: Sums, name: str) -> bool:
    """Whether matrices are all that a value goes to."""
    leaves = name in sums.step.outputs or name in sums.step.updates.values()
    readers = sums.readers.get(name, [])
    return not leaves and all(op.kind == "linear" and op.inputs[2:] != (name,) for op in readers)


def weights_on(sums: Sums, name: str) -> list[str]:
    """The matrices that a value or a view of it goes through."""
    views = {name, sums.view_of(name)}
    return [
        op.inputs[1]
        for op in sums.step.ops
        if op.kind == "linear" and (op.inputs[0] in views or sums.view_of(op.inputs[0]) in views)
    ]


def is_hidden(sums: Sums, name: str) -> bool:
    """Whether a relu makes a value for matrices alone, none of which learns."""
    made = sums.made.get(name)
    plain = feeds_linears_only(sums, name) and not sums.feeds_plastic(name)
    return made is not None and made.kind == "relu" and plain
