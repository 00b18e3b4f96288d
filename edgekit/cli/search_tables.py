"""The answer of a search for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgekit.cli.output import kilobytes, table

if TYPE_CHECKING:
    from edgekit.search.answer import Answer

MOST_ROWS = 16


def print_answer(console: Console, found: Answer, document: Mapping[str, Any]) -> None:
    """The answer for people: the promise, the frontier, what was chosen, and what it is like on held-out windows."""
    from edgekit.search.tables import COLUMNS, NEAR, cells, miss_words, promise_words

    judged, search = document["judged"], document["search"]
    console.print(f"{document['model']} for {document['target']}: {promise_words(document)}", style="bold")
    console.print(f"the original: {judged['original']:.2f} % {judged['what']} on {judged['windows']:,} windows")
    console.print(f"validation: {document['validation']}", soft_wrap=True)
    console.print(
        f"{search['trials']:,} trials on {search['workers']} in {search['seconds']:,.0f} s, "
        f"{search['fresh']:,} new ones with those of single changes; all are kept in {search['storage']}",
        soft_wrap=True,
    )
    for note in document["notes"]:
        console.print(f"note: {note}", soft_wrap=True)
    near = [trial for trial in document["frontier"] if trial["drop"] <= document["limits"]["drop"] + NEAR]
    left = len(document["frontier"]) - len(near[:MOST_ROWS])
    rows = table(*COLUMNS.values(), title="what no other trial beats", right=tuple(range(len(COLUMNS) - 1)))
    for trial in near[:MOST_ROWS]:
        rows.add_row(*cells(trial))
    console.print(rows)
    if left:
        console.print(f"and {left} more, larger ones or such as lose more: --json has all, --html draws them")
    best, held = document["chosen"], document["evaluation"]
    if best is not None:
        console.print(
            f"chosen: {kilobytes(best['weights'])} of weights, {kilobytes(best['flash'])} of flash; "
            f"{best['drop']:.2f} points lost, standard error {best['error']:.2f}"
        )
        console.print(f"  {best['words']}", soft_wrap=True)
        if best["drop"] + found.margin * best["error"] > document["limits"]["drop"]:
            console.print("  it has less to spare than its standard error: other windows may well say otherwise")
    if held is not None:
        console.print(
            f"held-out windows, judged once: {held['drop']:.2f} points lost of {held['windows']:,} windows, "
            f"standard error {held['error']:.2f}; {judged['what']} {held['score']:.2f} %"
        )
    elif best is not None:
        console.print("no --eval: the promise is kept on the windows that it was searched with, and no others say so")
    if not document["kept"]:
        console.print("the promise is not kept; nothing was written", style="bold")
        for reason in document["reasons"]:
            console.print(f"  {reason}", soft_wrap=True)
        if best is not None:
            console.print("  what may help: more windows for --valid, unknown to the model; a larger --margin")
        for trial in document["closest"]:
            console.print(f"  closest: {miss_words(trial)} ({trial['words']})", soft_wrap=True)
    for what in ("artifact", "html"):
        if what in document:
            console.print(f"written: {document[what]}", soft_wrap=True)
