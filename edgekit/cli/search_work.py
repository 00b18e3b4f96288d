"""A promise kept by a search: what `edgekit search` and `edgekit convert --max-drop` do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgekit.cli.apart import check_apart
from edgekit.cli.arrays import check_output, read_array, read_finite
from edgekit.cli.budget import Asked
from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.output import Output
from edgekit.cli.search_tables import print_answer
from edgekit.errors import DataError

if TYPE_CHECKING:
    from edgekit.convert.progress import Progress
    from edgekit.frontends import Imported
    from edgekit.frontends.options import ImportOptions
    from edgekit.search.pool import Pool
    from edgekit.search.problem import Problem, Windows


def check_files(
    written: Mapping[str, Path | None], model: Path | None, importing: ImportOptions, asked: Asked, *more: Path
) -> None:
    """DataError for an output that cannot be written, UsageError for one that is an input or another output."""
    for path in filter(None, written.values()):
        check_output(path)
    named = (importing.config, importing.weights)
    files = [Path(given) for given in named if isinstance(given, (str, os.PathLike))]
    check_apart(written, (model, *files, asked.calib, asked.valid, asked.held_out, *more))


def keep_promise(out: Output, model: Path | None, importing: ImportOptions, asked: Asked) -> None:
    """Search, write the artifact that keeps the promise, and answer; exit code 1 where nothing keeps it."""
    from edgekit.frontends.files import import_with
    from edgekit.profile.html import check_html
    from edgekit.search.answer import answer
    from edgekit.search.engine import Search, Settings
    from edgekit.search.html import write_search_html
    from edgekit.search.storage import Storage

    settings = Settings(asked.trials, asked.minutes, asked.seed, epochs=asked.epochs, vary=asked.vary)
    written = {"the artifact": asked.output, "the trials": asked.storage, "the page": asked.html}
    check_files(written, model, importing, asked)
    if asked.html is not None:
        check_html(asked.html)
    with out.stages() as progress:
        progress("import")
        problem, held_out, words = read_problem(import_with(model, importing, None), asked, train=asked.epochs > 0)
        with (
            Storage(asked.storage, problem.identity) as storage,
            kept(storage),
            workers(problem, asked, progress) as pool,
        ):
            search = Search(problem, asked.limits, settings, pool, storage, progress)
            found = answer(search, held_out, margin=asked.margin, progress=progress)
        document = {**found.to_dict(), "validation": words}
        if found.is_kept and found.artifact is not None:
            progress("write")
            found.artifact.save(asked.output)
            document["artifact"] = str(asked.output)
            document["sha256"] = found.artifact.sha256
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
    for path, windows in ((asked.calib, rest), (asked.valid or asked.calib, validation)):
        if train and windows.y is None:
            raise DataError(str(path), "has no labels to train with", "give a .npz file with x and y")
    problem = Problem.of(
        imported, asked.target, rest, validation, train=train, method=asked.method, compiler=asked.compiler
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
    jobs = asked.jobs
    pool: Pool = Processes(problem, jobs or 1) if asked.ray is None else RayPool(problem, asked.ray, jobs)
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
        count = len(storage)
        kept = f"{count:,} trial{' is' if count == 1 else 's are'} kept in {storage.path}"
        print(f"{kept}: the same command goes on from there", file=sys.stderr, flush=True)
        raise
