"""`edgekit search --sensitivity`: what each thing loses and saves when it alone is held otherwise than in int8."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from edgekit.cli.budget import Asked
from edgekit.cli.output import Output, table
from edgekit.cli.search_work import check_files, kept, read_problem, workers
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.frontends.options import ImportOptions


def check_alone(promised: tuple[object, ...], others: Mapping[str, object]) -> None:
    """UsageError for options of a search that ends with an artifact."""
    named = ["--max-…"] * any(value is not None for value in promised)
    if wrong := [*named, *(option for option, value in others.items() if value is not None)]:
        raise UsageError(
            "--sensitivity", f"writes no artifact and knows no limits: not with {wrong[0]}", "leave it out"
        )


def tell_sensitivity(out: Output, model: Path | None, importing: ImportOptions, asked: Asked) -> None:
    """Try plain int8 and every single change, keep the trials, and tell what they come to."""
    from edgekit.frontends.files import import_with
    from edgekit.search.engine import Search, Settings
    from edgekit.search.storage import Storage
    from edgekit.search.tables import CHANGES, change_cells

    check_files({"the trials": asked.storage}, model, importing, asked)
    with out.stages() as progress:
        progress("import")
        problem, _, words = read_problem(import_with(model, importing, None), asked, train=False)
        settings = Settings(vary=asked.vary)
        with (
            Storage(asked.storage, problem.identity) as storage,
            kept(storage),
            workers(problem, asked, progress) as pool,
        ):
            found = Search(problem, asked.limits, settings, pool, storage, progress).sensitivity()
    document = {
        "model": problem.graph.name,
        "target": problem.target_name,
        "judged": {"what": problem.jury.what, "windows": problem.quick_jury.windows, "which": words},
        "storage": str(asked.storage),
        **found.to_dict(),
    }

    def human(console: Console) -> None:
        plain = found.plain
        console.print(f"{problem.graph.name} for {problem.target_name}", style="bold")
        console.print(
            f"plain int8: {plain.drop:.2f} points of {problem.jury.what} lost on {plain.windows:,} windows, "
            f"{plain.weights:,} bytes of weights, {plain.flash:,} of flash"
        )
        rows = table(*CHANGES, right=tuple(range(2, len(CHANGES))))
        for change in found.to_dict()["changes"]:
            rows.add_row(*change_cells(change))
        console.print(rows)
        console.print(f"the trials are kept in {asked.storage}, which a search goes on from", soft_wrap=True)

    out.answer(document, human)
