"""`edgekit profile`: what a step of an artifact costs, counted in the emulator or timed on this computer."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from edgekit.cli.arrays import read_data
from edgekit.cli.output import JsonOption, Output, QuietOption, VerboseOption, table
from edgekit.cli.run import PROGRAM_HELP
from edgekit.errors import UsageError
from edgekit.profile.grades import DERIVED, EMULATED, MEASURED, UNAVAILABLE

if TYPE_CHECKING:
    from edgekit.profile.counts import StepCounts
    from edgekit.profile.report import Profile

PLACES = ("host", "emulator")
WIDTH = 100  # of what is printed


def profile(
    artifact: Annotated[Path, typer.Argument(help=PROGRAM_HELP)],
    on: Annotated[
        str, typer.Option(help="host: wall time here; emulator: exact instructions of the target's own machine code.")
    ] = "host",
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", "-i", help="Raw units, .npy or .npz: [T, …] or [N, T, …]. Default: its self-test, or noise."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Take at most so many steps of the input.")] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say what a step costs: instructions or time, flash, RAM, energy. Every figure says how it came about."""
    from edgekit.artifact import Artifact
    from edgekit.profile.report import Given, profile_emulated, profile_exported, profile_host
    from edgekit.runtime.exported import is_exported

    if on not in PLACES:
        cause = "is not in this version yet" if on.startswith("ssh://") else "is not known"
        raise UsageError(f"--on {on}", cause, f"known are {', '.join(PLACES)}")
    exported = is_exported(artifact)
    if exported and on != "host":
        raise UsageError(f"--on {on}", f"{artifact} is no machine code", "profile it on the host, or the .edge file")
    given = None if input_file is None else Given(str(input_file), read_data(input_file).x)
    out = Output(as_json=json, quiet=quiet)
    with out.stages() as progress:
        if exported:
            progress("time steps")
            found = profile_exported(artifact, given, steps=steps)
        elif on == "emulator":
            found = profile_emulated(Artifact.open(artifact), given, steps=steps, progress=progress)
        else:
            progress("time steps")
            found = profile_host(Artifact.open(artifact), given, steps=steps)
    out.answer({**found.to_dict(), "artifact": str(artifact)}, lambda console: _print(console, found, verbose=verbose))


def _print(console: Console, found: Profile, *, verbose: bool) -> None:
    console.print(f"{found.artifact}: {found.precision} for {found.target}", style="bold")
    console.print(f"engine: {found.engine}")
    part = "" if found.steps == found.available else f" of {found.available:,} (more with --steps N)"
    console.print(f"input: {found.stimulus}, {found.steps:,} steps{part}")
    if found.counts:
        _print_counts(console, found.counts, verbose=verbose)
    if found.host:
        load = found.host.load_average
        busy = " (others were busy)" if load > 1.5 else ""
        console.print(f"on {found.host.processor}, {found.host.system}, warm, back to back, load {load:.1f}{busy}")
    for rows in (_timing_table(found), _memory_table(found), _estimate_table(found)):
        if rows.row_count:
            console.print()
            console.print(rows)
    for estimate in found.estimates:
        for note in (*estimate.sources, *(f"assumed: {text}" for text in estimate.assumptions)):
            console.print(fill(note, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False))


def _print_counts(console: Console, counts: StepCounts, *, verbose: bool) -> None:
    whole = counts.to_dict()
    rows = table("instructions", "min", "median", "max", "mean", "grade", right=(1, 2, 3, 4))
    for what, spread in (("a step", whole["a_step"]), (f"a window, {len(counts.windows)} whole", whole["a_window"])):
        if spread:
            rows.add_row(what, *(f"{spread[key]:,.0f}" for key in ("min", "median", "max", "mean")), whole["grade"])
    for entry, once in counts.border.items():
        rows.add_row(f"{entry}, one call", "", f"{once:,}", "", "", whole["grade"])
    if counts.update is not None and counts.window > 1:
        rows.add_row(f"learning from {counts.window} steps", "", f"{counts.update:,}", "", "", whole["grade"])
    console.print()
    console.print(rows)
    rows = table("op", "kernel", "from", "mean", "share", "most", right=(3, 4, 5))
    for op in counts.ops:
        share = f"{op.instructions / counts.total:.1%}"
        rows.add_row(op.op.split("_")[0], op.kernel, op.layer, f"{op.instructions:,.0f}", share, f"{op.most:,}")
    rows.add_row("calls", "", "", f"{counts.calls:,.0f}", f"{counts.calls / counts.total:.1%}", "")
    console.print()
    console.print(rows)
    if verbose:
        rows = table("function, without those it calls", "mean", "share", right=(1, 2))
        for name, instructions in counts.functions.items():
            rows.add_row(name, f"{instructions:,.0f}", f"{instructions / counts.total:.1%}")
        console.print()
        console.print(rows)


def _timing_table(found: Profile) -> Table:
    rows = table("µs per step", "p50", "p90", "p99", "readings", "grade", "how", right=(1, 2, 3, 4))
    for t in found.timings:
        readings = f"{t.samples:,}" if t.steps_each == 1 else f"{t.samples:,} of {t.steps_each} steps"
        rows.add_row(t.name, *(f"{us:,.2f}" for us in (t.p50, t.p90, t.p99)), readings, t.grade, t.how)
    return rows


def _memory_table(found: Profile) -> Table:
    memory = found.memory
    if memory is None:
        rows = table("memory", "bytes", "grade", "what", right=(1,))
        rows.add_row("file", f"{found.file_bytes or 0:,}", MEASURED, "weights and graph, as they are on disk")
        rows.add_row("RAM", "", UNAVAILABLE, "what the runtime takes")
        rows.add_row("instructions", "", UNAVAILABLE, "counted for artifacts alone, in the emulator")
        return rows
    stack, ram = (UNAVAILABLE, "measured in the emulator only"), (DERIVED, "struct")
    if memory.stack is not None:
        stack, ram = (EMULATED, "most that a step used, by the bytes it changed"), (EMULATED, "struct and stack")
    rows = table("memory", "bytes", "grade", "what", right=(1,))
    for name, nbytes, grade, what in (
        ("flash", memory.flash, DERIVED, "what is loaded: code and constants"),
        ("  code", memory.code, DERIVED, "machine code of all functions"),
        ("  constants", memory.constants, DERIVED, "weights, tables, and what a loader reads"),
        ("RAM", memory.ram, *ram),
        ("  struct", memory.struct, DERIVED, "what the caller owns, of which"),
        ("    states", memory.states, DERIVED, "carried from step to step"),
        ("    arena", memory.arena, DERIVED, "values of one step, places shared"),
        ("    lists", memory.lists, DERIVED, "neurons that fired, copies of inputs"),
        ("  stack", memory.stack, *stack),
    ):
        rows.add_row(name, "" if nbytes is None else f"{nbytes:,}", grade, what)
    return rows


def _estimate_table(found: Profile) -> Table:
    rows = table("estimate", "", "grade", "formula", right=(1,))
    for e in found.estimates:
        rows.add_row(e.name, "" if e.value is None else _engineering(e.value, e.unit), e.grade, e.formula)
    return rows


def _engineering(value: float, unit: str) -> str:
    """Three digits and a prefix."""
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "µ")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value / 1e-9:.3g} n{unit}"
