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
from rich.console import Console

from edgekit.cli.arrays import check_output, read_array, read_data
from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.output import Output, kilobytes, table
from edgekit.errors import DataError, UsageError

if TYPE_CHECKING:
    from edgekit.convert.progress import Progress
    from edgekit.frontends import Imported
    from edgekit.frontends.options import ImportOptions
    from edgekit.search.answer import Answer
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
SHOWN = 12  # rows of the frontier that people see without -v


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
    margin: float = 1.0


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
            raise UsageError(option, f"does not go with {named[0]}: the search decides that", "leave one of them out")
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
    windows = _Files.read(asked)
    with out.stages() as progress:
        progress("import")
        imported = import_with(model, importing, None)
        problem = windows.problem(imported, asked)
        settings = Settings(asked.trials, asked.minutes, asked.seed, epochs=asked.epochs)
        with (
            Storage(asked.storage, problem.identity) as storage,
            _kept(storage),
            _pool(problem, asked, progress) as pool,
        ):
            search = Search(problem, asked.limits, settings, pool, storage, progress)
            found = answer(search, imported, windows.held_out, margin=asked.margin, progress=progress)
        document = {**found.to_dict(), "validation": windows.words}
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


@dataclass(frozen=True)
class _Files:
    """Windows as the files have them: for scales, for training, for validation, held out; and which is which."""

    calibration: Windows
    validation: Windows
    held_out: Windows | None
    words: str

    @classmethod
    def read(cls, asked: Asked) -> _Files:
        from edgekit.search.holdout import hold_out

        calib = _windows(asked.calib)
        if asked.valid is not None:
            rest, validation, words = calib, _windows(asked.valid), str(asked.valid)
        else:
            subject = read_array(asked.calib, "subject") if asked.calib.suffix == ".npz" else None
            rest, validation, which = hold_out(calib, subject)
            words = f"{which} of {asked.calib}, held out; if the model was trained on them, they flatter it"
        if asked.epochs and (rest.y is None or validation.y is None):
            raise DataError(str(asked.calib), "has no labels to train with", "give .npz files with x and y")
        return cls(rest, validation, None if asked.held_out is None else _windows(asked.held_out), words)

    def problem(self, imported: Imported, asked: Asked) -> Problem:
        """The problem of a model; DataError where windows do not fit it."""
        from edgekit.search.problem import Problem

        made = Problem.of(
            imported,
            asked.target,
            self.calibration.x,
            self.validation,
            training=self.calibration if asked.epochs else None,
            method=asked.method,
            compiler=asked.compiler,
        )
        if self.held_out is not None:
            made.check_windows(self.held_out)
            if (self.held_out.y is None) != (self.validation.y is None):
                cause = "and the windows for validation differ: one has labels, the other has none"
                raise DataError(str(asked.held_out), cause, "a promise is about one of accuracy and agreement")
        return made


def _windows(path: Path) -> Windows:
    from edgekit.search.problem import Windows

    found = read_data(path)
    return Windows(found.x, found.y)


@contextmanager
def _pool(problem: Problem, asked: Asked, progress: Progress) -> Iterator[Pool]:
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
def _kept(storage: Any) -> Iterator[None]:
    """Say after an interrupt what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = f"{len(storage):,} trials are kept in {storage.path}"
        print(f"{kept}: the same command goes on from there", file=sys.stderr, flush=True)
        raise


def print_answer(console: Console, found: Answer, document: Mapping[str, Any], *, verbose: bool = False) -> None:
    """The answer for people: the promise, the frontier, what was chosen, and what it is like on held-out windows."""
    from edgekit.search.tables import COLUMNS, cells, miss_words, promise_words

    judged, search = document["judged"], document["search"]
    console.print(f"{document['model']} for {document['target']}: {promise_words(document)}", style="bold")
    console.print(f"the original: {judged['original']:.2f} % {judged['what']} on {judged['windows']:,} windows")
    console.print(f"validation: {document['validation']}", soft_wrap=True)
    console.print(
        f"{search['trials']:,} trials on {search['workers']} in {search['seconds']:,.0f} s, "
        f"{search['fresh']:,} new ones with those of single changes; all are kept in {search['storage']}",
        soft_wrap=True,
    )
    shown = document["frontier"] if verbose else _around(document["frontier"], found)
    rows = table(*COLUMNS.values(), title="what no other trial beats", right=tuple(range(len(COLUMNS) - 1)))
    for trial in shown:
        rows.add_row(*cells(trial))
    console.print(rows)
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
            console.print(f"  {reason}")
        for trial in document["closest"]:
            console.print(f"  closest: {miss_words(trial)} ({trial['words']})", soft_wrap=True)
    for what in ("artifact", "html"):
        if what in document:
            console.print(f"written: {document[what]}", soft_wrap=True)


def _around(rows: list[Mapping[str, Any]], found: Answer) -> list[Mapping[str, Any]]:
    """The part of the frontier that is near the promise: those that lose too much by far are left out."""
    near = [row for row in rows if row["drop"] <= found.search.limits.drop + 2]
    return sorted(near, key=lambda row: row["drop"])[: 4 * SHOWN][:: max(1, len(near) // SHOWN)]
