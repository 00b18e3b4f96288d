"""`edgekit verify`: the original against the artifact, layer by layer and step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from edgekit.cli.arrays import check_labels, read_data
from edgekit.cli.exits import ANSWER_IS_NO
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
from edgekit.cli.output import JsonOption, Output, QuietOption, table
from edgekit.cli.run import PROGRAM_HELP, WidthOption, engine_of
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.verify import LayerReport

SHOWN = 10
NOISE_WINDOWS, NOISE_STEPS = 32, 50


def verify(
    artifact: Annotated[Path, typer.Argument(help=PROGRAM_HELP)],
    reference: Annotated[Path | None, typer.Option(help=f"What it was made from. {MODEL_HELP}")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Windows in raw units (.npy, .npz with x, y); default: noise.")
    ] = None,
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
    on: Annotated[str, typer.Option(help="host, or emulator: the target's own machine code.")] = "host",
    engine: Annotated[str | None, typer.Option(help="On the host: native, rebuilt, reference or qemu.")] = None,
    width: WidthOption = 100,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only the first N windows.")] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare a program with its original: per layer and time step the first divergence and the worst error, and on
    labelled data the accuracy before and after. Exit code 1 when it does not pass.
    """
    from edgekit.convert import original_of
    from edgekit.frontends.files import import_with
    from edgekit.runtime import load
    from edgekit.runtime.noise import noise
    from edgekit.verify import verify_artifact

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
    if reference is None and factory is None:
        raise UsageError("--reference", "is missing", "give the model file that the program was made from")
    out = Output(as_json=json, quiet=quiet)
    session = load(artifact, engine=engine_of(artifact, on, engine), learned=False, width=width / 100)
    found = None if data is None else read_data(data)
    with out.stages() as progress:
        progress("import the original")
        imported = import_with(reference, importing, session.facts.name)
        original = original_of(imported)
        axes = (NOISE_WINDOWS, *((NOISE_STEPS,) if session.stateful else ()))
        x = noise(session.facts, *axes)[0] if found is None else found.x
        y = None if found is None else found.y
        if data is not None:
            check_labels(data, y, session.output_shapes[0])
        x, y = x[:limit], None if y is None else y[:limit]
        progress(f"compare on {session.engine}")
        report = verify_artifact(session, original, x, y)

    def human(console: Console) -> None:
        what = "windows of noise" if found is None else "windows"
        console.print(
            f"{report.windows} {what} x {report.steps} steps, {report.precision}, on {report.engine}", markup=False
        )
        if session.width != 100:
            console.print(f"width: {session.width} % of the units")
        if report.layers:
            console.print(_layer_table(report.layers))
        else:
            why = "holds no graph of edgekit's" if session.facts.graph is None else "has not the units of the original"
            console.print(f"layers are not compared: the file {why}")
        if report.unmatched_states:
            names = ", ".join(report.unmatched_states)
            console.print(f"isolated errors are not available: the original has no state like {names}")
        console.print(
            f"worst output error of the program {report.worst_output_error:.3g}; "
            f"{report.windows_differing} of {report.windows} windows have an output beyond the tolerance"
        )
        for d in report.divergences[:SHOWN]:
            cause = "no threshold explains it"
            if d.margin is not None:
                cause = f"first differs at step {d.step}, float64 margin {d.margin:.2g}"
            console.print(f"  window {d.window}: {cause}")
        if report.agreement is not None:
            console.print(f"decisions equal on {100 * report.agreement:.2f} % of windows")
        if report.accuracy_before is not None and report.accuracy_after is not None:
            before, after = 100 * report.accuracy_before, 100 * report.accuracy_after
            console.print(f"accuracy: original {before:.2f} %, artifact {after:.2f} % ({after - before:+.2f} points)")
        for name in report.widen:
            console.print(f"  widen first: {name}", markup=False)
        console.print(f"{'passed' if report.passed else 'FAILED'}: {report.rule}")

    out.answer({**report.to_dict(), "width": session.width}, human)
    if not report.passed:
        raise typer.Exit(ANSWER_IS_NO)


def _layer_table(layers: Sequence[LayerReport]) -> Table:
    """Errors in the reference interpreter: relative to the larger of 1 and the original's value; of spikes 0 or 1."""
    columns = "layer", "dtype", "worst", "isolated", "first step", "window", "windows", "over time", "module"
    rows = table(*columns, right=(2, 3, 4, 5, 6))
    for r in layers:
        isolated = "n/a" if r.isolated is None else f"{r.isolated:.2g}"
        first = ("-", "-") if r.step is None else (str(r.step), str(r.window))
        name = r.name.removeprefix("step.")
        rows.add_row(
            name, r.kind, f"{r.worst:.2g}", isolated, *first, str(r.windows), sparkline(r.by_step), r.source or "-"
        )
    return rows


def sparkline(errors: Sequence[float], width: int = 16) -> str:
    """Errors over the steps as a row of bars: logarithmic, from 1e-8 (lowest) to 1 (highest), a dot for no error."""
    chunks = np.array_split(np.asarray(errors), min(width, len(errors)))
    bars = ""
    for worst in (float(c.max()) for c in chunks):
        bars += "·" if worst == 0 else "▁▂▃▄▅▆▇█"[int(np.clip(8 + np.log10(worst), 0, 7))]
    return bars
