"""An artifact of a search made again from the recipe in its manifest, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from edgekit.cli.budget import Asked
from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.output import Output
from edgekit.cli.search_work import check_files, read_problem
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.frontends.options import ImportOptions


def replay(out: Output, model: Path | None, importing: ImportOptions, artifact: Path, asked: Asked) -> None:
    """Make an artifact again from the same model and windows; exit code 1 and no file where a bit of it differs."""
    from edgekit.artifact import Artifact
    from edgekit.compress.recipe_file import read_recipe
    from edgekit.frontends.files import import_with
    from edgekit.search.pool import Processes

    check_files({"what is made again": asked.output}, model, importing, asked, artifact)
    before, recipe = Artifact.open(artifact), read_recipe(artifact)
    if before.manifest["target"] != asked.target_name:
        raise UsageError(f"--target {asked.target}", f"{artifact} is for {before.manifest['target']}", "give that")
    with out.stages() as progress:
        progress("import")
        problem, _, _ = read_problem(import_with(model, importing, None), asked, train=recipe.tuning.epochs > 0)
        progress("make it again")
        pool = Processes(problem)  # on one thread, as all trials and artifacts of a search
        try:
            made = pool.make(recipe)
        finally:
            pool.close()
        is_same = made.packed == before.packed
        if is_same:
            made.save(asked.output)
    reasons = [] if is_same else list(_differences(before.manifest, made.manifest))
    document = {
        "artifact": str(asked.output) if is_same else None,
        "sha256": made.sha256,
        "before": before.sha256,
        "same": is_same,
        "reasons": reasons,
    }

    def human(console: Console) -> None:
        words = f"{asked.output}: the same bits" if is_same else f"other bits than {artifact}; nothing was written"
        console.print(words, soft_wrap=True)
        for reason in reasons:
            console.print(f"  {reason}", soft_wrap=True)

    out.answer(document, human)
    if not is_same:
        raise typer.Exit(ANSWER_IS_NO)


def _differences(before: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[str]:
    """What may be why an artifact came out otherwise, by what the manifests tell; else what they do not."""
    was, now = _told(before), _told(made)
    found = [f"another {what}: {was[what]} before, {now[what]} now" for what in was if was[what] != now[what]]
    yield from found or ["another model, or other windows: all else that the manifests tell is the same"]


def _told(manifest: Mapping[str, Any]) -> dict[str, Any]:
    program, integers = manifest["program"], manifest.get("quantisation") or {}
    return {
        "edgekit": manifest["edgekit"],
        "compiler": program["compiler"],
        "core": f"{program['cpu']} {program['simd']}",
        "--calib-method": integers.get("method"),
        "number of calibration windows": integers.get("windows"),
    }
