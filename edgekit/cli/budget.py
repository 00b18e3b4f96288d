"""A promise of the command line, kept by a search: what `edgekit search` and `edgekit convert --max-drop` share."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.arrays import check_output, read_array, read_finite
from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.output import Output
from edgekit.cli.search_tables import print_answer
from edgekit.errors import DataError, UsageError
from edgekit.target import load_target

if TYPE_CHECKING:
    from edgekit.convert.progress import Progress
    from edgekit.frontends import Imported
    from edgekit.frontends.options import ImportOptions
    from edgekit.search.limits import Limits
    from edgekit.search.pool import Pool
    from edgekit.search.problem import Problem, Windows

FLASH_HELP = "Most bytes of flash for the program, code and constants, such as 24kB (1000 bytes), 16KiB or 24000."
MaxFlashOption = Annotated[str | None, typer.Option(metavar="SIZE", help=FLASH_HELP)]
MaxWeightsOption = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Most bytes of its constants alone: weights as stored, and tables.")
]
MaxDropOption = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="Points of accuracy that may be lost where windows have labels (y), else of agreement with the original.",
    ),
]
EvalOption = Annotated[
    Path | None,
    typer.Option("--eval", help="Windows that nothing else has seen: what was chosen is judged on them, once."),
]
ValidOption = Annotated[
    Path | None,
    typer.Option(help="Windows that trials are judged on. Default: a fifth of --calib, held out and then not used."),
]
JobsOption = Annotated[int, typer.Option(min=1, help="Trials at once, each on a core of its own.")]
UNITS: Mapping[str, int] = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2}
SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
TRIALS = 200  # where neither their number nor the time was given
SUFFIX = ".search"  # of the file that trials are kept in, beside the output


@dataclass(frozen=True)
class Asked:
    """What a promise is to be kept with: limits, windows, how long to search, and where to write."""

    target: str
    limits: Limits
    calib: Path
    valid: Path | None
    held_out: Path | None
    method: str
    compiler: str | None
    output: Path
    storage: Path
    html: Path | None = None
    trials: int | None = None
    minutes: float | None = None
    seed: int = 0
    jobs: int = 1
    ray: str | None = None
    epochs: int = 0
    vary: tuple[str, ...] = ()
    margin: float = 1.0

    @property
    def target_name(self) -> str:
        """The target, by its own name where an alias was given."""
        return load_target(self.target).name


def bytes_of(option: str, text: str | None) -> int | None:
    """A size in bytes: 24kB is 24,000 of them, 16KiB 16,384; UsageError for what is no size above 0."""
    if text is None:
        return None
    found = SIZE.fullmatch(text.strip())
    factor = UNITS.get(found["unit"].lower()) if found else None
    count = 0 if found is None or factor is None else int(float(found["number"]) * factor)
    if count < 1:
        raise UsageError(f"{option} {text}", "is no size", "give bytes, or such as 24kB, 16KiB, 1.5MB")
    return count


def limits_of(
    drop: float | None,
    flash: str | None,
    weights: str | None,
    ram: str | None = None,
    instructions: float | None = None,
) -> Limits:
    """The promise that options make; UsageError for one that is out of range, or without a drop."""
    from edgekit.search.limits import Limits

    if drop is None:
        raise UsageError("--max-drop", "is missing: how many points may be lost?", "for example --max-drop 1")
    if not 0 <= drop <= 100:
        raise UsageError(f"--max-drop {drop:g}", "is no number of points", "give one from 0 to 100")
    if instructions is not None and instructions <= 0:
        raise UsageError(f"--max-instructions {instructions:g}", "is not above 0")
    sizes = (("flash", flash), ("weights", weights), ("ram", ram))
    return Limits(drop, instructions=instructions, **{n: bytes_of(f"--max-{n}", text) for n, text in sizes})


def asked_of_convert(
    *,
    max_drop: float | None,
    max_flash: str | None,
    max_weights: str | None,
    valid: Path | None,
    held_out: Path | None,
    target: str,
    calib: str | None,
    method: str | None,
    compiler: str | None,
    output: Path | None,
    others: Mapping[str, object],
) -> Asked | None:
    """The promise that a conversion is asked to keep, None where it is asked for none.

    UsageError for `others`, options of a conversion that a search decides itself or cannot follow.
    """
    promised: dict[str, object] = {"--max-drop": max_drop, "--max-flash": max_flash, "--max-weights": max_weights}
    promised |= {"--valid": valid, "--eval": held_out}
    named = [option for option, value in promised.items() if value is not None]
    if not named:
        return None
    for option, value in others.items():
        if value:
            cause = f"does not go with {named[0]}: a search decides that, or has no use for it"
            raise UsageError(option, cause, "leave one of them out")
    if calib is None or calib == "synthetic":
        raise UsageError(named[0], "needs windows: scales and losses are measured on them", "--calib train.npz")
    assert output is not None  # the only format is edge
    return Asked(
        target=target,
        limits=limits_of(max_drop, max_flash, max_weights),
        calib=Path(calib),
        valid=valid,
        held_out=held_out,
        method=method or "min-max",
        compiler=compiler,
        output=output,
        storage=output.with_suffix(SUFFIX),
        trials=TRIALS,
    )


def keep_promise(out: Output, model: Path | None, importing: ImportOptions, asked: Asked) -> None:
    """Search, write the artifact that keeps the promise, and answer; exit code 1 where nothing keeps it."""
    from edgekit.frontends.files import import_with
    from edgekit.profile.html import check_html
    from edgekit.search.answer import answer
    from edgekit.search.engine import Search, Settings
    from edgekit.search.html import write_search_html
    from edgekit.search.storage import Storage

    for path in filter(None, (asked.output, asked.storage, asked.html)):
        check_output(path)
    if asked.html is not None:
        check_html(asked.html)
    with out.stages() as progress:
        progress("import")
        imported = import_with(model, importing, None)
        problem, held_out, words = read_problem(imported, asked, train=asked.epochs > 0)
        settings = Settings(asked.trials, asked.minutes, asked.seed, epochs=asked.epochs, vary=asked.vary)
        with (
            Storage(asked.storage, problem.identity) as storage,
            kept(storage),
            workers(problem, asked, progress) as pool,
        ):
            search = Search(problem, asked.limits, settings, pool, storage, progress)
            found = answer(search, imported, held_out, margin=asked.margin, progress=progress)
        document = {**found.to_dict(), "validation": words}
        if found.is_kept and found.conversion is not None:
            progress("write")
            found.conversion.artifact.save(asked.output)
            document["artifact"] = str(asked.output)
            document["sha256"] = found.conversion.artifact.sha256
        if asked.html is not None:
            write_search_html(document, asked.html)
            document["html"] = str(asked.html)
    out.answer(document, lambda console: print_answer(console, found, document))
    if not found.is_kept:
        raise typer.Exit(ANSWER_IS_NO)


def read_problem(imported: Imported, asked: Asked, *, train: bool) -> tuple[Problem, Windows | None, str]:
    """The problem that files make of a model, what is held out, and in words what trials are judged on.

    DataError for windows that do not fit it, or that have no labels where compressions are to be trained.
    """
    from edgekit.search.holdout import hold_out
    from edgekit.search.problem import Problem

    rest = _windows(asked.calib)
    if asked.valid is not None:
        validation, words = _windows(asked.valid), str(asked.valid)
    else:
        subject = read_array(asked.calib, "subject") if asked.calib.suffix == ".npz" else None
        rest, validation, which = hold_out(rest, subject)
        words = f"{which} of {asked.calib}, held out; if the model was trained on them, they flatter it"
    if train and (rest.y is None or validation.y is None):
        raise DataError(str(asked.calib), "has no labels to train with", "give .npz files with x and y")
    training = rest if train else None
    problem = Problem.of(
        imported,
        asked.target,
        rest.x,
        validation,
        training=training,
        method=asked.method,
        compiler=asked.compiler,
    )
    held_out = None if asked.held_out is None else _windows(asked.held_out)
    if held_out is not None:
        problem.check_windows(held_out)
        if (held_out.y is None) != (validation.y is None):
            cause = "and the windows for validation differ: one has labels, the other has none"
            raise DataError(str(asked.held_out), cause, "a promise is about one of accuracy and agreement")
    return problem, held_out, words


def _windows(path: Path) -> Windows:
    from edgekit.search.problem import Windows

    found = read_finite(path)
    return Windows(found.x, found.y)


@contextmanager
def workers(problem: Problem, asked: Asked, progress: Progress) -> Iterator[Pool]:
    """The workers that are asked for, which are ended with the context."""
    from edgekit.search.pool import Processes
    from edgekit.search.ray_pool import RayPool

    progress("start workers")
    count = asked.jobs if asked.ray is None or asked.jobs > 1 else None
    pool: Pool = Processes(problem, asked.jobs) if asked.ray is None else RayPool(problem, asked.ray, count)
    try:
        yield pool
    finally:
        pool.close()


@contextmanager
def kept(storage: Any) -> Iterator[None]:
    """Say after an interrupt what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"{len(storage):,} trials are kept in {storage.path}"
        print(f"{kept}: the same command goes on from there", file=sys.stderr, flush=True)
        raise
