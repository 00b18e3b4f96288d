"""The page of a search: the frontier as pictures of size, instructions and loss, its table, and the sensitivities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

from edgekit.profile.html import check_html
from edgekit.profile.html.page import Page, write_page
from edgekit.profile.html.parts import Badge, Cell, Figure, Section, Table, Tile, finite
from edgekit.profile.numbers import number, quantity
from edgekit.search.limits import points
from edgekit.search.tables import CHANGES, COLUMNS, NEAR, cells, change_cells, promise_words

Document = Mapping[str, Any]


def write_search_html(document: Document, path: str | PathLike[str]) -> int:
    """Write the page of a search, given as the document of its answer, and return its size in bytes.

    The file needs no other and asks the network for nothing. UsageError without the packages of the extra `web`,
    ArtifactError when it cannot be written.
    """
    check_html(path)
    return write_page(search_page(finite(document)), path)


def search_page(document: Document) -> Page:
    """The parts of the page."""
    search, judged = document["search"], document["judged"]
    facts = (
        ("Promise", promise_words(document)),
        ("Judged by", f"{judged['what']} on {judged['windows']:,} windows; the original: {judged['original']:.2f} %"),
        ("Trials", f"{search['trials']:,}, seed {search['seed']}, {search['workers']}"),
        ("Storage", str(search["storage"])),
        *(("Note", note) for note in document["notes"]),
    )
    return Page(
        kind="Search",
        title=f"{document['model']} for {document['target']}",
        lead="Every compression that was tried, and those that no other one beats.",
        sections=(_pictures(document), _frontier(document), _sensitivity(document)),
        tiles=tuple(_tiles(document)),
        facts=facts,
        warned="The promise is not kept:",
        warnings=tuple(document["reasons"]),
    )


def _tiles(document: Document) -> Iterator[Tile]:
    best, grades = document["chosen"], document["grades"]
    if best is None:
        return
    yield Tile("Weights", quantity(best["weights"], "B"), grades["weights"])
    yield Tile("Flash", quantity(best["flash"], "B"), grades["flash"], "code and constants")
    yield Tile("RAM", quantity(best["ram"], "B"), grades["ram"], "states, scratch, stack")
    if best["instructions"] is not None:
        yield Tile("Instructions per step", number(round(best["instructions"])), grades["instructions"])
    yield Tile("Lost", f"{best['drop']:.2f} points", grades["drop"], f"validation, ± {best['error']:.2f}")
    if document["evaluation"]:
        held = document["evaluation"]
        lost = f"{held['drop']:.2f} points"
        yield Tile("Lost, held out", lost, grades["drop"], f"judged once, ± {held['error']:.2f}")


def _pictures(document: Document) -> Section:
    from edgekit.search.charts import over_size

    trials, size, grades = document["trials"], document["size"], document["grades"]
    figures = [
        Figure(
            "search-drop",
            f"Points lost over {size}",
            "A dot is a trial: filled ones no other one beats; lines are the promise, the ring is what was chosen. "
            "What loses far more than was promised is not drawn.",
            over_size(document, "drop", "points lost"),
            grades["drop"],
        )
    ]
    if any(trial["instructions"] is not None for trial in trials):
        figures.append(
            Figure(
                "search-instructions",
                f"Instructions per step over {size}",
                "The same trials: what saves bytes may cost instructions, as packed weights have to be unpacked.",
                over_size(document, "instructions", "instructions per step"),
                grades["instructions"],
            )
        )
    return Section("pictures", "Size, loss, instructions", "", tuple(figures))


def _frontier(document: Document) -> Section:
    grades, most = document["grades"], document["limits"]["drop"] + NEAR
    badges: tuple[Cell, ...] = tuple(Badge(grades[name]) if name in grades else "" for name in COLUMNS)
    near = [trial for trial in document["frontier"] if trial["drop"] <= most]
    far = [trial for trial in document["frontier"] if trial["drop"] > most]

    def table(trials: Sequence[Document], fold: str = "") -> Table:
        rows: tuple[tuple[Cell, ...], ...] = tuple(map(cells, trials))
        return Table(tuple(COLUMNS.values()), (badges, *rows), tuple(range(len(COLUMNS) - 1)), fold=fold)

    lead = "In flash, weights, RAM, instructions and loss together; the first row says how the figures came about."
    more = (table(far, f"Those that lose more than {points(most)}"),) if far else ()
    return Section("frontier", "What no other trial beats", lead, tables=(table(near), *more))


def _sensitivity(document: Document) -> Section:
    changes: Sequence[Document] = document["sensitivity"]["changes"]
    table = Table(
        CHANGES, tuple(change_cells(change) for change in changes), (2, 3, 4, 5, 6), fold="All single changes"
    )
    windows = document["judged"]["quick_windows"]
    lead = f"Each thing held in another way than plain int8 holds it, alone, judged on {windows:,} of the windows."
    return Section("sensitivity", "Sensitivity", lead, tables=(table,))
