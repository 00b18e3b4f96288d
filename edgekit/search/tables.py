"""The rows of a search for people: the frontier, the changes one by one, and the promise in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekit.search.limits import points

Document = Mapping[str, Any]

COLUMNS: Mapping[str, str] = {
    "drop": "points lost",
    "error": "±",
    "weights": "weights, B",
    "flash": "flash, B",
    "ram": "RAM, B",
    "instructions": "instructions",
    "words": "what differs from int8",
}
"""Of the table of trials: the key of each in the document, and its title."""
CHANGES = ("held", "as", "points lost", "±", "weights saved", "flash saved", "instructions saved")
"""The columns of the table of single changes."""
NEAR = 2.0  # points beyond the promise that trials are shown up to before the others
UNITS = {"flash": " bytes of flash", "weights": " bytes of weights", "ram": " bytes of RAM"}


def cells(trial: Document) -> tuple[str, ...]:
    """One trial as a row of COLUMNS."""
    told = trial["instructions"]
    return (
        f"{trial['drop']:.2f}",
        f"{trial['error']:.2f}",
        f"{trial['weights']:,}",
        f"{trial['flash']:,}",
        f"{trial['ram']:,}",
        "unavailable" if told is None else f"{told:,.0f}",
        str(trial["words"]),
    )


def change_cells(change: Document) -> tuple[str, ...]:
    """One single change as a row: what, how, and what that loses and saves."""
    if change["failed"]:
        return (change["name"], change["option"], change["failed"], "", "", "", "")
    saved = change["instructions"]
    return (
        change["name"],
        change["option"],
        f"{change['lost']:+.2f}",
        f"{change['error']:.2f}",
        f"{change['weights']:,}",
        f"{change['flash']:,}",
        "unavailable" if saved is None else f"{saved:,.0f}",
    )


def promise_words(document: Document) -> str:
    """The promise in one line."""
    limits = document["limits"]
    found = [f"at most {limits[name]:,}{unit}" for name, unit in UNITS.items() if limits[name] is not None]
    if limits["instructions"] is not None:
        found.append(f"at most {limits['instructions']:,.0f} instructions per step")
    lost = f"at most {points(limits['drop'])} of {document['judged']['what']} lost"
    return "; ".join([lost, *found]) if found else f"{lost}, as small as can be"


def miss_words(trial: Document) -> str:
    """By how much a trial misses the promise."""
    misses = []
    for name, by in trial["excess"].items():
        if name == "drop":
            misses.append(f"{by:.2f} points too many")
        else:
            misses.append(f"{by:,.0f}{UNITS.get(name, ' ' + name)} too many")
    return ", ".join(misses) or "nothing"
