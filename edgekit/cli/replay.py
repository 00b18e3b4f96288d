"""An artifact of a search made again from the recipe in its manifest, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgekit.cli.arrays import check_output
from edgekit.cli.budget import Asked, read_problem
from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.output import Output
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.frontends.options import ImportOptions


def replay(out: Output, model: Path | None, importing: ImportOptions, artifact: Path, asked: Asked) -> None:
    """Make an artifact again from the same model and windows; exit code 1 where a bit of it differs."""
    from edgekit.artifact import Artifact
    from edgekit.compress.recipe_file import read_recipe
    from edgekit.frontends.files import import_with
    from edgekit.search.program import convert_compressed

    check_output(asked.output)
    if asked.output.exists() and asked.output.samefile(artifact):
        raise UsageError(str(asked.output), "is what is made again", "name another output with -o")
    before, recipe = Artifact.open(artifact), read_recipe(artifact)
    if before.manifest["target"] != asked.target_name:
        raise UsageError(f"--target {asked.target}", f"{artifact} is for {before.manifest['target']}", "give that")
    with out.stages() as progress:
        progress("import")
        imported = import_with(model, importing, None)
        problem, _, _ = read_problem(imported, asked, train=recipe.tuning.epochs > 0)
        made = convert_compressed(problem, imported, recipe, progress).artifact
        made.save(asked.output)
    is_same = made.packed == before.packed
    words = "the same bits" if is_same else "other bits: another model, other windows, or another compiler or edgekit"
    document = {"artifact": str(asked.output), "sha256": made.sha256, "before": before.sha256, "same": is_same}
    out.answer(document, lambda console: console.print(f"{asked.output}: {words}", soft_wrap=True))
    if not is_same:
        raise typer.Exit(ANSWER_IS_NO)
