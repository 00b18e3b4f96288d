"""`edgekit search`: the smallest program that keeps a promise, or by how much none does, and the frontier."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli.arrays import check_output
from edgekit.cli.budget import (
    SUFFIX,
    TRIALS,
    Asked,
    EvalOption,
    JobsOption,
    MaxDropOption,
    MaxFlashOption,
    MaxWeightsOption,
    ValidOption,
    limits_of,
)
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
from edgekit.cli.output import JsonOption, Output, QuietOption
from edgekit.cli.replay import replay
from edgekit.cli.search_work import keep_promise
from edgekit.cli.sensitivity import check_alone, tell_sensitivity
from edgekit.errors import UsageError


def search(
    model: Annotated[Path | None, typer.Argument(help=MODEL_HELP)] = None,
    target: Annotated[str, typer.Option(help="Device to build for; see `edgekit targets`.")] = "host",
    max_drop: MaxDropOption = None,
    max_flash: MaxFlashOption = None,
    max_weights: MaxWeightsOption = None,
    max_ram: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Most bytes of states, scratch and stack.")
    ] = None,
    max_instructions: Annotated[
        float | None, typer.Option(help="Most instructions of a step, mean, counted on the emulated core.")
    ] = None,
    calib: Annotated[
        Path | None, typer.Option(help="Windows in raw units (.npy, .npz) that scales, and training, come from.")
    ] = None,
    valid: ValidOption = None,
    eval_: EvalOption = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=1, help=f"How many to try, beside single changes and trained ones. {TRIALS} without --minutes."
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Or how long; no trial begins after it.")] = None,
    tune: Annotated[
        int, typer.Option(metavar="EPOCHS", min=0, help="Train the most promising trials for so long; --calib has y.")
    ] = 0,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Vary only what fits, such as 'units *' or 'weights W_*'; repeatable. Default: all."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is tried; the same seed tries the same.")] = 0,
    margin: Annotated[
        float,
        typer.Option(min=0, help="Standard errors of the drop that the chosen one has to spare, if any trial has."),
    ] = 1.0,
    jobs: JobsOption = None,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A Ray cluster to work on: its address, auto, or local.")
    ] = None,
    storage: Annotated[
        Path | None,
        typer.Option(help="Where trials are kept, to go on from. Default: beside the output."),
    ] = None,
    calib_method: Annotated[
        str, typer.Option(help="How integer ranges are read off the windows: min-max, percentile or mse.")
    ] = "min-max",
    compiler: Annotated[str | None, typer.Option(help="zig, gcc or clang; default: the first that can.")] = None,
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
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="Only tell what each single change loses and saves; no limits then.")
    ] = False,
    replay_: Annotated[
        Path | None,
        typer.Option(
            "--replay",
            metavar="ARTIFACT",
            help="Do not search: make this artifact again from its recipe and the same windows; 1 where a bit differs.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The artifact to write. Default: MODEL.TARGET.edge.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find the smallest program that keeps a promise of accuracy within limits of flash, RAM and instructions.

    From plain int8 on, units are taken out and matrices held in fewer bits, at lower rank or density, as far as the
    promise allows. Exit code 1 where nothing keeps it: then the closest trials are named, and what limits.
    """
    from edgekit.search.limits import Limits

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
    promised = (max_drop, max_flash, max_weights, max_ram, max_instructions)
    asked_too = (*promised, eval_, trials, minutes, storage, html, ray, vary, jobs)
    if replay_ is not None and (any(v is not None for v in asked_too) or (tune, seed, margin) != (0, 0, 1.0)):
        raise UsageError("--replay", "does not search", "give it the model, --target, --calib and --valid alone")
    if sensitivity:
        searching = {"--trials": trials, "--minutes": minutes, "--seed": seed or None, "--tune": tune or None}
        searching["--margin"] = None if margin == 1.0 else margin
        check_alone(promised, {"--eval": eval_, "--html": html, "-o": output, "--replay": replay_, **searching})
    if not margin < inf:
        raise UsageError(f"--margin {margin:g}", "is no number of standard errors", "give one from 0")
    limits = limits_of(*promised) if replay_ is None and not sensitivity else Limits(0.0)
    if calib is None:
        raise UsageError("--calib", "is missing: scales come from windows", "--calib train.npz, with x and perhaps y")
    if output is not None:
        check_output(output)  # before others are named after it
    path = output or Path(f"{(model or weights or Path('model')).stem}.{target}.edge")
    asked = Asked(
        target=target,
        limits=limits,
        calib=calib,
        valid=valid,
        held_out=eval_,
        method=calib_method,
        compiler=compiler,
        output=path,
        storage=storage or path.with_suffix(SUFFIX),
        html=html,
        trials=trials if trials is not None or minutes is not None else TRIALS,
        minutes=minutes,
        seed=seed,
        jobs=jobs,
        ray=ray,
        epochs=tune,
        vary=tuple(vary or ()),
        margin=margin,
    )
    out = Output(as_json=json, quiet=quiet)
    if sensitivity:
        tell_sensitivity(out, model, importing, asked)
    elif replay_ is not None:
        replay(out, model, importing, replay_, asked)
    else:
        keep_promise(out, model, importing, asked)
