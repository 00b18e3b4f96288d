"""`edgekit compress`: a model is made smaller by a recipe, trained to bear it, and converted."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from edgekit.cli.apart import check_apart
from edgekit.cli.arrays import check_output, read_finite
from edgekit.cli.imports import (
    MODEL_HELP,
    ConfigOption,
    ConstantOption,
    ConventionOption,
    DtOption,
    FactoryOption,
    ResetOption,
    RoundDelaysOption,
    ShapeOption,
    StateOption,
    WeightsOption,
    import_options,
)
from edgekit.cli.output import JsonOption, Output, QuietOption, kilobytes, table
from edgekit.cli.tuning_bar import tuning_bar
from edgekit.errors import DataError, UsageError

if TYPE_CHECKING:
    from edgekit.compress.rules import Compression
    from edgekit.tune.outcome import Outcome
    from edgekit.tune.windows import Windows


def compress(
    model: Annotated[Path | None, typer.Argument(help=MODEL_HELP)] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(help="What goes and how the rest is held and trained (.toml), or an .edge that tells its own."),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Labelled windows in raw units (.npz with x, y): trained on, and scales.")
    ] = None,
    valid: Annotated[Path | None, typer.Option(help="The same, of others: they choose the epoch.")] = None,
    eval_: Annotated[
        Path | None, typer.Option("--eval", help="The same, of again others: what comes out is judged on them once.")
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="A model file whose scores are learned from; default: the model itself. Repeatable."),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(help="package.module:function(x, generator) that varies windows for training: RUNS that code."),
    ] = None,
    target: Annotated[str, typer.Option(help="Device to build for; see `edgekit targets`.")] = "host",
    seed: Annotated[int | None, typer.Option(min=0, help="Of the training, in place of the recipe's.")] = None,
    epochs: Annotated[int | None, typer.Option(min=0, help="Of the training, in place of the recipe's.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run with the same arguments was interrupted.")
    ] = False,
    config: ConfigOption = None,
    factory: FactoryOption = None,
    weights: WeightsOption = None,
    dt: DtOption = None,
    state: StateOption = None,
    shape: ShapeOption = None,
    constant: ConstantOption = None,
    reset: ResetOption = None,
    convention: ConventionOption = None,
    round_delays: RoundDelaysOption = False,
    compiler: Annotated[str | None, typer.Option(help="zig, gcc or clang; default: the first that can.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The .edge to write; beside it STEM.pt, the tuned model as a model file."),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compress a model by a recipe, fine-tune it with the compression in the loop, and convert it.

    After each epoch a checkpoint beside the output keeps all that the next one needs. What is written was verified as
    `convert` does it, and can be made again from the same model and data with --recipe and the .edge itself.
    """
    from edgekit.artifact.trust import trust_own
    from edgekit.compress.recipe_file import read_recipe
    from edgekit.frontends.files import import_with
    from edgekit.tune.code import augment_of
    from edgekit.tune.fitting import Hooks
    from edgekit.tune.model import Run
    from edgekit.tune.outcome import Asked, outcome
    from edgekit.tune.teachers import teachers_of

    importing = import_options(
        config=config,
        factory=factory,
        weights=weights,
        dt=dt,
        state=state,
        shape=shape,
        constant=constant,
        reset=reset,
        convention=convention,
        round_delays=round_delays,
    )
    needed = {"--recipe": recipe, "--train": train, "--valid": valid}
    if missing := [name for name, path in needed.items() if path is None]:
        raise UsageError(", ".join(missing), "is missing" if len(missing) == 1 else "are missing", "see -h")
    assert recipe is not None
    assert train is not None
    assert valid is not None
    sources = (model, weights, config, recipe, train, valid, eval_, *(teacher or ()))
    paths = _paths(output, model or weights, target, sources)
    started = time.perf_counter()
    out = Output(as_json=json, quiet=quiet)
    rules = _asked(read_recipe(recipe), seed, epochs)
    training = {"--teacher": teacher, "--augment": augment, "--resume": resume, "--seed": seed is not None}
    if not rules.tuning.epochs and (given := [name for name, value in training.items() if value]):
        cause = f"{'is' if len(given) == 1 else 'are'} for training, and the recipe has none"
        raise UsageError(", ".join(given), cause, "add [tuning] to the recipe, or --epochs")
    hooks = Hooks() if augment is None else Hooks(augment=augment_of(augment), augment_name=augment)
    if resume and not paths["checkpoint"].is_file():
        cause = f"{paths['checkpoint']} does not exist: no interrupted run to go on with"
        raise UsageError("--resume", cause, "leave --resume out to start over")
    windows = {path: _windows(path) for path in (train, valid, *([eval_] if eval_ else ()))}
    with tuning_bar(out, rules.tuning.epochs) as (stage, on_epoch):
        stage("import")
        imported = import_with(model, importing, None)
        others = [(path.name, import_with(path, type(importing)(), None)) for path in teacher or ()]
        taught = teachers_of(others, imported, windows[train])
        asked = Asked(
            compression=rules,
            train=windows[train],
            valid=windows[valid],
            test=None if eval_ is None else windows[eval_],
            target=target,
            teachers=tuple(path.name for path in teacher or ()),
            compiler=compiler,
        )
        run = Run(taught, dataclasses.replace(hooks, on_epoch=on_epoch), paths["checkpoint"], resume)
        done = outcome(imported, asked, run, progress=stage)
    replaced = done.write(paths["edge"], paths["model"])
    trust_own(done.conversion.artifact.sha256, paths["edge"].name, replaced)
    if rules.tuning.epochs:
        paths["checkpoint"].unlink(missing_ok=True)
    seconds = time.perf_counter() - started

    def human(console: Console) -> None:
        _print(console, done, paths)
        console.print(f"done in {seconds:.1f} s")

    out.answer({**done.document(), **_files(paths), "seconds": round(seconds, 3)}, human)


def _asked(rules: Compression, seed: int | None, epochs: int | None) -> Compression:
    """The recipe with what the command line replaces in it; UsageError for what no recipe could hold."""
    from edgekit.compress.rules import check_compression

    tuning = rules.tuning
    tuning = tuning if seed is None else dataclasses.replace(tuning, seed=seed)
    tuning = tuning if epochs is None else dataclasses.replace(tuning, epochs=epochs)
    asked = dataclasses.replace(rules, tuning=tuning)
    check_compression(asked)
    return asked


def _paths(output: Path | None, source: Path | None, target: str, sources: Sequence[Path | None]) -> dict[str, Path]:
    """Where things are written: the artifact, the tuned model beside it, and what an interrupted run needs.

    UsageError where one of them is among the `sources`, or would take the place of a model that was not tuned here.
    """
    from edgekit.frontends.graph_files import holds_graph

    edge = output or Path(f"{source.stem if source else 'model'}.{target}.edge")
    if edge.suffix != ".edge":
        raise UsageError(f"-o {edge}", "is not the name of an .edge file", f"name it {edge.name}.edge")
    paths = {"edge": edge, "model": edge.with_suffix(".pt"), "checkpoint": edge.with_suffix(".tuning")}
    for path in paths.values():
        check_output(path)
    check_apart(paths, sources)
    if paths["model"].exists() and not holds_graph(paths["model"]):
        cause = f"is a file that compress has not written, and the tuned model of {edge} has its name"
        raise UsageError(str(paths["model"]), cause, "name another output with -o, or move it away")
    return paths


def _files(paths: dict[str, Path]) -> dict[str, str]:
    return {"artifact": str(paths["edge"]), "model": str(paths["model"])}


def _windows(path: Path) -> Windows:
    from edgekit.tune.windows import Windows

    found = read_finite(path)
    if found.y is None:
        raise DataError(str(path), "has no labels", "give a .npz with x and y, a class for each window")
    return Windows(found.x, found.y)


def _print(console: Console, done: Outcome, paths: dict[str, Path]) -> None:
    asked, fitted = done.asked, done.tuned.fitted
    console.print(f"{done.conversion.artifact.name} for {asked.target}", style="bold")
    rows = table("", "float", "int8", "compressed", right=(1, 2, 3))
    for what, values in done.rows():
        if any(value is not None for value in values):
            rows.add_row(what, *(_shown(what, value) for value in values))
    console.print(rows)
    side = done.compressed
    console.print(f"instructions: {f'emulated, {side.core}' if side.core else f'unavailable: {side.uncounted}'}")
    if fitted is not None:
        from_epoch = f"epoch {fitted.best} of {len(fitted.history)}" if fitted.best else "before training"
        console.print(f"the best on validation windows: {from_epoch}, seed {asked.compression.tuning.seed}")
    for note in done.notes:
        console.print(f"note: {note}")
    console.print(f"{paths['edge']}, and the tuned model as {paths['model']}", soft_wrap=True)


def _shown(what: str, value: float | None) -> str:
    if value is None:
        return "-"
    if what.startswith("accuracy"):
        return f"{value:.2f} %"
    return f"{value:,.0f}" if what.startswith("instructions") else kilobytes(int(value))
