"""`edgekit deploy`: an artifact onto boards over ssh, all or nothing; what is there; back again; off again."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edgekit.cli.deploy_tables import print_changes, print_list, print_outcomes
from edgekit.cli.exits import ANSWER_IS_NO, BAD_INPUT, OK
from edgekit.cli.output import JsonOption, Output, QuietOption
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.deploy import Change, Destination, Installed, Outcome, Result
    from edgekit.profile.counts import Progress as Stages
    from edgekit.profile.ssh_stop import Stop

Found = TypeVar("Found")
AT_ONCE, ENDS = 4, ("done", "failed")
ADDRESS = "ssh://[user@]host[:port][/folder]"


def deploy(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar=f"[FILE] {ADDRESS}…",
            help="An .edge file, and the boards; the folder there is ~/edgekit if none is.",
        ),
    ],
    list_them: Annotated[bool, typer.Option("--list", help="Say what is deployed there; no FILE then.")] = False,
    rollback: Annotated[
        str | None, typer.Option(metavar="NAME", help="Go back to the version before; no FILE then.")
    ] = None,
    remove: Annotated[str | None, typer.Option(metavar="NAME", help="Remove an artifact there; no FILE then.")] = None,
    no_service: Annotated[
        str | None,
        typer.Option("--no-service", metavar="NAME", help="Stop and remove its systemd unit alone; no FILE then."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Ask the boards whether the program fits; copy nothing.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Deploy what is there already, too.")] = False,
    window: Annotated[
        int | None, typer.Option(help="Steps of a window of a stream, where the program says nothing.")
    ] = None,
    stride: Annotated[int | None, typer.Option(help="Steps from one window to the next; the program's own.")] = None,
    service: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="Also a systemd unit that decides about the samples of a FIFO, device or serial:/dev/ttyX@BAUD there.",
        ),
    ] = None,
    tensorrt: Annotated[
        Path | None,
        typer.Option(
            metavar="ONNX", help="Also an engine of this exported step, built and tried there. Untested on device."
        ),
    ] = None,
    at_once: Annotated[int, typer.Option(help="Boards at a time.")] = AT_ONCE,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Put an artifact onto boards: checked, copied, tried there, switched in one rename; the version before is kept.

    With several boards exit code 1 says that some failed; those that have the file already are left as they are.
    """
    from edgekit.deploy import destinations, end_service, list_installed, roll_back
    from edgekit.deploy import remove as take_off

    out = Output(as_json=json, quiet=quiet)
    asked = {"--list": list_them, "--rollback": rollback is not None, "--remove": remove is not None}
    asked["--no-service"] = no_service is not None
    verbs = [option for option, given in asked.items() if given]
    if len(verbs) > 1:
        raise UsageError(verbs[1], f"does not go with {verbs[0]}", "one at a time")
    streamed = {"--window": window is not None, "--stride": stride is not None, "--service": service is not None}
    streamed["--tensorrt"] = tensorrt is not None
    extra = [o for o, given in {"--check": check, "--again": again, **streamed}.items() if given]
    if verbs and extra:
        raise UsageError(extra[0], f"does not go with {verbs[0]}", "leave it out")
    if check and (again or any(streamed.values())):
        raise UsageError("--check", f"deploys nothing, {extra[1]} has no meaning", "leave it out")
    file, addresses = _split(words, needs_file=not verbs)
    to = destinations(addresses)
    on = partial(_on_each, out, to, at_once)
    answer = partial(_answer, out, verb=None)
    if list_them:
        return answer(on(lambda where, _, stop: list_installed(where, stop=stop)), _list_document, print_list)
    for verb, name, act in (
        ("--rollback", rollback, roll_back),
        ("--remove", remove, take_off),
        ("--no-service", no_service, end_service),
    ):
        if name is not None:
            results = on(partial(_managed, act, name))
            return _answer(out, results, _to_dict, print_changes, verb=f"{verb} {name}")
    work = _work(file, check=check, again=again, window=window, stride=stride, service=service, tensorrt=tensorrt)
    return answer(on(work), _to_dict, print_outcomes)


def _managed(act: Callable[..., Change], name: str, to: Destination, progress: Stages, stop: Stop) -> Change:
    return act(to, name, progress, stop=stop)


def _split(words: Sequence[str], *, needs_file: bool) -> tuple[Path, list[str]]:
    """The file, where there must be one, and the addresses."""
    addresses = [word for word in words if word.startswith("ssh://")]
    files = [word for word in words if not word.startswith("ssh://")]
    if not needs_file and files:
        raise UsageError(files[0], "is neither needed nor an address", f"an address is written {ADDRESS}")
    if needs_file and len(files) != 1:
        cause = "names no file to deploy" if not files else f"names {len(files)} files: {', '.join(files)}"
        raise UsageError("edgekit deploy", cause, f"give one .edge file; an address is written {ADDRESS}")
    if not addresses:
        raise UsageError("edgekit deploy", "names no board", f"an address is written {ADDRESS}")
    return Path(files[0] if files else ""), addresses


def _work(
    file: Path,
    *,
    check: bool,
    again: bool,
    window: int | None,
    stride: int | None,
    service: str | None,
    tensorrt: Path | None,
) -> Callable[[Destination, Stages, Stop], Outcome]:
    """What is done on each board."""
    from edgekit.artifact import Artifact
    from edgekit.deploy import Wish, check_source, deploy, look, read_step, stream_of
    from edgekit.streaming import Options

    artifact = Artifact.open(file)
    if check:
        return lambda to, _, stop: look(to, artifact, stop=stop)
    if service is not None:
        check_source(service)
    needed = window is not None or stride is not None or service is not None
    stream = stream_of(artifact, Options(window=window, stride=stride), needed=needed)
    step = None if tensorrt is None else read_step(tensorrt, artifact)
    wish = Wish(artifact, stream, service, step, again)
    return lambda to, progress, stop: deploy(to, wish, progress, stop=stop)


def _on_each(
    out: Output, to: Sequence[Destination], at_once: int, work: Callable[[Destination, Stages, Stop], Found]
) -> list[Result[Found]]:
    from edgekit.deploy import on_each

    left = list[str]()

    def tell(where: Destination, known: str | None) -> None:
        look = f"edgekit deploy --list {shlex.quote(where.address)} tells"
        unknown = f"may have been changed: {look}; a deploy goes on with the same command"
        left.append(f"interrupted: {where}: {known or unknown}")

    try:
        with _shown(out, to) as show:
            results = on_each(to, work, show, at_once, tell)
    finally:
        for line in left:
            print(line, file=sys.stderr)
    if len(results) == 1 and (error := results[0].error) is not None and not out.as_json:
        raise error
    return results


@contextmanager
def _shown(out: Output, to: Sequence[Destination]) -> Iterator[Callable[[int, str], None]]:
    """What goes on at each board, a row for each; nothing where progress is not shown."""
    columns = (
        SpinnerColumn(),
        *(TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[stage]}")),
    )
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=out.is_bare) as progress:
        rows = [progress.add_task(str(where), total=1, stage="waits") for where in to]

        def show(number: int, stage: str) -> None:
            progress.update(rows[number], stage=stage, completed=stage in ENDS)

        yield show


def _answer(
    out: Output,
    results: list[Result[Found]],
    document: Callable[[Found], Any],
    human: Callable[[Console, list[Result[Found]]], None],
    *,
    verb: str | None,
) -> int:
    """Print what became of each board; the exit code says whether all is well.

    `verb` is what was asked where it cannot be asked again of those that have done it.
    """
    rows = [
        {
            "address": str(one.to),
            "ok": one.error is None,
            **({"error": str(one.error)} if one.error is not None else {}),
            **({"found": document(one.found)} if one.found is not None else {}),
        }
        for one in results
    ]
    errors = [one.error for one in results if one.error is not None]
    if out.as_json and len(errors) == len(results) == 1:
        out.answer(
            {"error": str(errors[0]).split("\n  - ")[0], "items": errors[0].items, "boards": rows}, lambda _: None
        )
        print(f"error: {errors[0]}", file=sys.stderr)
        return BAD_INPUT

    def show(console: Console) -> None:
        human(console, results)

    out.answer({"boards": rows}, show)
    if not out.as_json:  # with --quiet too: there is no other word of it
        for one in results:
            if one.error is not None:
                print(f"failed: {one.to}: {one.error}", file=sys.stderr)
        if errors:
            those = " ".join(shlex.quote(one.to.address) for one in results if one.error is not None)
            again = f"for those alone: edgekit deploy {verb} {those}" if verb else "the same command goes on with those"
            print(f"{len(errors)} of {len(results)} boards failed; {again}", file=sys.stderr)
    return ANSWER_IS_NO if errors else OK


def _to_dict(found: Outcome | Change) -> dict[str, Any]:
    return found.to_dict()


def _list_document(found: tuple[Installed, ...]) -> list[dict[str, Any]]:
    return [one.to_dict() for one in found]
