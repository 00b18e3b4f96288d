"""`edgekit learn`: let a program learn from labelled windows, and look after what it has learned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.learned import export_to, look_after, replay_log
from edgekit.cli.lesson import MOST_LOST, Asked, give_lesson
from edgekit.cli.output import JsonOption, Output, QuietOption
from edgekit.cli.run import PLACES
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.artifact import Artifact

ACTIONS = ("status", "rollback", "export", "reset", "forget", "replay")


def learn(
    words: Annotated[
        list[str],
        typer.Argument(metavar="[ACTION] FILE", help=f"The .edge file; an action before it: {', '.join(ACTIONS)}."),
    ],
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input",
            "-i",
            help="Windows in raw units: .npy, or .npz with x, perhaps y, and perhaps task: one ends where it changes.",
        ),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="Their classes, .npy or .npz, where the input has no y.")] = None,
    passes: Annotated[
        int | None, typer.Option(help="How often the windows of a task are gone through; 1.", show_default=False)
    ] = None,
    end_task: Annotated[
        bool, typer.Option("--end-task", help="A task ends after these windows: protect what was learned (hlop).")
    ] = False,
    detect: Annotated[
        bool,
        typer.Option(
            "--detect", help="End a task also where the windows are new for a while (converted with --detect; hlop)."
        ),
    ] = False,
    canary: Annotated[
        Path | None, typer.Option(help="Labelled windows of what was known before (.npz): looked at before a commit.")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help=f"Points of accuracy that the canary may lose; {MOST_LOST:g}. More: no commit.")
    ] = None,
    max_change: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            help="Decisions on the artifact's self-test that may change. More: no commit. Needs no data.",
        ),
    ] = None,
    history: Annotated[
        int | None, typer.Option(help="Earlier commits that a new journal keeps; 1.", show_default=False)
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            help="Also write what was learned from (.npz), windows included, to replay it; goes on with one that is "
            "there."
        ),
    ] = None,
    on: Annotated[str | None, typer.Option(help="host (default), or emulator: the target's own machine code.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Say what was learned.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Take back the newest commit.")] = False,
    to: Annotated[int | None, typer.Option(help="With rollback: the commit to go back to; 0: as it came.")] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Go back to the weights it came with; can be rolled back.")
    ] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Erase all that was learned, the history too.")] = False,
    export: Annotated[Path | None, typer.Option(help="Write an artifact with what was learned built in.")] = None,
    replay: Annotated[Path | None, typer.Option(help="Learn a log again from where it began, and compare.")] = None,
    switch: Annotated[str | None, typer.Option(help="off: refuse to learn; on: allow it again.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="With the action export: the file.")] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn from labelled windows, in the journal MODEL.edge.journal beside the artifact, which never changes.

    Nothing of the windows is kept, unless --log asks for it. A commit is whole or not there, whenever power is lost.
    """
    action, path = _words(words)
    flags = {"status": status, "rollback": rollback, "reset": reset, "forget": forget}
    flags |= {"export": export is not None, "replay": replay is not None, "switch": switch is not None}
    asked = [name for name, given in flags.items() if given]
    if action is not None and action not in asked:
        asked.insert(0, action)
    if len(asked) > 1:
        raise UsageError(" and ".join(asked), "cannot be done at once", "one after the other")
    verb = asked[0] if asked else "learn" if input_file is not None else "status"
    given = {
        "--input": input_file,
        "--labels": labels,
        "--passes": passes,
        "--end-task": end_task or None,
        "--detect": detect or None,
        "--canary": canary,
        "--max-drop": max_drop,
        "--max-change": max_change,
        "--history": history,
        "--log": log,
        "--on": on,
        "--to": to,
        "--output": output,
    }
    _check_uses(verb, {option for option, value in given.items() if value is not None}, exporting=export is not None)
    lesson = Asked(input_file or path, labels, passes, end_task, detect, canary, max_drop, max_change, history, log)
    lesson.check()
    if on not in (None, *PLACES):
        raise UsageError(f"--on {on}", "is not known", f"known are {', '.join(PLACES)}")
    artifact = _open(path)
    out = Output(as_json=json, quiet=quiet)
    if verb == "export":
        export_to(path, out, export or output)
    elif verb in ("learn", "replay"):
        from edgekit.runtime import load

        engine = PLACES[on or "host"]
        if verb == "learn":
            give_lesson(load(artifact, engine=engine), path, out, lesson)
        else:
            replay_log(load(path, engine=engine), path, out, replay)
    else:
        look_after(artifact, path, out, verb, to=to, switch=switch)


def _words(words: list[str]) -> tuple[str | None, Path]:
    """The action, if there is one, and the file."""
    if len(words) == 1:
        return None, Path(words[0])
    action, *files = words
    if action not in ACTIONS:
        raise UsageError(f"action {action!r}", "is not known", f"known are {', '.join(ACTIONS)}")
    if len(files) != 1:
        raise UsageError(f"edgekit learn {action}", f"takes one file, got {len(files)}")
    return action, Path(files[0])


_USES: dict[str, set[str]] = {
    "learn": {
        *("--input", "--labels", "--passes", "--end-task", "--detect", "--canary", "--max-drop", "--max-change"),
        *("--history", "--log", "--on"),
    },
    "replay": {"--on"},
    "rollback": {"--to"},
    "export": {"--output"},
}


def _check_uses(verb: str, given: set[str], *, exporting: bool) -> None:
    """UsageError for options that have no use with what is asked for."""
    uses = _USES.get(verb, set()) - ({"--output"} if exporting else set())
    if unused := [option for option in given if option not in uses]:
        lacks_input = verb == "status" and set(unused) <= _USES["learn"] - {"--input"}
        what = "without --input" if lacks_input else f"with {verb}"
        raise UsageError(", ".join(sorted(unused)), f"is not used {what}", "leave it out")


def _open(path: Path) -> Artifact:
    """An artifact that learns; UsageError for anything else that can be run."""
    from edgekit.artifact import Artifact
    from edgekit.runtime.exported import is_exported

    if is_exported(path):
        raise UsageError(str(path), "was exported: it holds a step alone, without learning", "use the .edge file")
    artifact = Artifact.open(path)
    if artifact.manifest.get("learning") is None or "learn" not in artifact.graph.entries:
        raise UsageError(str(path), "does not learn", "convert the model with --learn delta, or --learn hlop")
    return artifact
