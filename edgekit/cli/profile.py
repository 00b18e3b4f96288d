"""`edgekit profile`: what a step of an artifact costs: counted in the emulator, timed here, or measured on a board."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.arrays import read_data
from edgekit.cli.imports import MODEL_HELP, ConfigOption, FactoryOption
from edgekit.cli.output import JsonOption, Output, QuietOption, VerboseOption
from edgekit.cli.profile_tables import print_comparison, print_profile
from edgekit.cli.run import PROGRAM_HELP
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.profile.counts import Progress
    from edgekit.profile.power import PowerOption
    from edgekit.profile.report import Profile
    from edgekit.profile.timing import MeasurePlan
    from edgekit.verify.over_time import ErrorOverTime

HOST, EMULATOR, SSH = "host", "emulator", "ssh://"
PLACES = (HOST, EMULATOR, "ssh://user@host")
RATE = re.compile(r"(?P<number>[0-9]*\.?[0-9]+)\s*(?P<unit>Hz|kHz)?", re.IGNORECASE)
MOST_HZ = 100_000.0
NOISE = 32, 50  # windows and their steps, where an error is asked for without an input


def profile(
    artifact: Annotated[Path | None, typer.Argument(help=PROGRAM_HELP)] = None,
    on: Annotated[
        str,
        typer.Option(
            help="host: time here; emulator: exact instructions of the target's own machine code; "
            "ssh://user@host[:port]: a board, which needs nothing installed."
        ),
    ] = HOST,
    input_file: Annotated[
        Path | None,
        typer.Option(
            "--input", "-i", help="Raw units, .npy or .npz: [T, …] or [N, T, …]. Default: its self-test, or noise."
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Take at most so many steps of the input.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="5 windows of 10 s each, MLPerf-Tiny-style; the default is a first look.")
    ] = False,
    paced: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Also a step at each deadline of a sensor, such as 20Hz, with real sleeps."),
    ] = None,
    power: Annotated[
        str,
        typer.Option(
            help="auto: a sensor of the place, if any; none; csv:FILE of a meter; sysfs:FOLDER; or a kind of sensor."
        ),
    ] = "auto",
    reference: Annotated[
        Path | None, typer.Option(help=f"Also the error against this model at each step. {MODEL_HELP}")
    ] = None,
    config: ConfigOption = None,
    factory: FactoryOption = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures to this file.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A.json B.json", help="Two profiles that --json wrote, side by side; no artifact then."),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Say what a step costs: instructions or time, memory, operations, energy. Every figure says how it came about."""
    out = Output(as_json=json, quiet=quiet)
    _check_html(html, [artifact, input_file, reference, *(compare or ())])
    if compare is not None:
        given = {
            "--input": input_file,
            "--steps": steps,
            "--paced": paced,
            "--reference": reference,
            "--config": config,
            "--factory": factory,
            "ARTIFACT": artifact,
        }
        extra = [name for name, value in given.items() if value is not None]
        extra += ["--strict"] * strict + ["--on"] * (on != HOST) + ["--power"] * (power != "auto")
        if extra:
            raise UsageError(
                "--compare", f"reads two finished profiles: {extra[0]} has no meaning there", "leave it out"
            )
        _compare(out, compare, html)
        return
    if artifact is None:
        raise UsageError("ARTIFACT", "is missing", "give an .edge, .onnx or .tflite file, or --compare A.json B.json")
    plan = _plan(strict, paced)
    option = _checked(artifact, on, plan, explicit=strict or paced is not None, power=power)
    error = None
    if reference is not None or factory is not None:  # first: a model that does not fit is no reason to measure
        error = _error(out, artifact, reference, input_file, config, factory, steps=steps).to_dict()
    elif config is not None:
        raise UsageError("--config", "describes a --reference", "name the model too, or leave it out")
    found = replace(_profile(out, artifact, on, input_file, steps=steps, plan=plan, option=option), error=error)
    document = {**found.to_dict(), "artifact": str(artifact)}
    if html is not None:
        from edgekit.profile.html import write_html

        with out.stages() as progress:
            progress("draw the page")
            write_html(document, html)
    out.answer(document, lambda console: print_profile(console, found, verbose=verbose, html=html))


def _checked(artifact: Path, on: str, plan: MeasurePlan, *, explicit: bool, power: str) -> PowerOption:
    """The option of power; UsageError for options that do not go together."""
    from edgekit.profile.power import parse_power_option
    from edgekit.runtime.exported import is_exported

    if on not in (HOST, EMULATOR) and not on.startswith(SSH):
        raise UsageError(f"--on {on}", "is not known", f"known are {', '.join(PLACES)}")
    if on == EMULATOR and explicit:
        raise UsageError(f"--on {on}", "counts instructions and takes no time", "leave out --strict and --paced")
    option = parse_power_option(power)
    if is_exported(artifact):
        if on != HOST:
            raise UsageError(
                f"--on {on}", f"{artifact} is no machine code", "profile it on the host, or the .edge file"
            )
        if plan.rate_hz is not None or option.kind not in ("auto", "none"):
            raise UsageError(str(artifact), "runs in another runtime, from Python", "leave out --paced and --power")
    return option


def _profile(
    out: Output,
    artifact: Path,
    on: str,
    input_file: Path | None,
    *,
    steps: int | None,
    plan: MeasurePlan,
    option: PowerOption,
) -> Profile:
    from edgekit.artifact import Artifact
    from edgekit.profile.report import Given, profile_board, profile_emulated, profile_exported, profile_host
    from edgekit.profile.ssh import Ssh
    from edgekit.runtime.exported import is_exported

    given = None if input_file is None else Given(str(input_file), read_data(input_file).x)
    with out.stages() as stages:
        progress: Progress = stages
        if is_exported(artifact):
            stages("time steps")
            return profile_exported(artifact, given, steps=steps, plan=plan)
        opened = Artifact.open(artifact)
        if on == EMULATOR:
            return profile_emulated(opened, given, steps=steps, power=option, progress=progress)
        timed: dict[str, Any] = {"steps": steps, "plan": plan, "power": option, "progress": progress}
        if on == HOST:
            return profile_host(opened, given, **timed)
        return profile_board(Ssh(on), opened, given, **timed)


def _plan(strict: bool, paced: str | None) -> MeasurePlan:
    from edgekit.profile.timing import MeasurePlan

    rate = None
    if paced is not None:
        match = RATE.fullmatch(paced.strip())
        rate = float(match["number"]) * (1000 if (match["unit"] or "").lower() == "khz" else 1) if match else 0.0
        if not 0 < rate <= MOST_HZ:
            raise UsageError(f"--paced {paced}", "is no rate", f"give one such as 20Hz, at most {MOST_HZ:,.0f} Hz")
    return MeasurePlan.strict(rate) if strict else MeasurePlan(rate_hz=rate)


def _error(
    out: Output,
    artifact: Path,
    reference: Path | None,
    input_file: Path | None,
    config: Any,
    factory: str | None,
    *,
    steps: int | None,
) -> ErrorOverTime:
    from edgekit.convert import original_of
    from edgekit.frontends import import_file
    from edgekit.runtime import load
    from edgekit.runtime.noise import noise
    from edgekit.verify.over_time import error_over_time

    with out.stages() as progress:
        progress("import the original")
        session = load(artifact, learned=False)
        original = original_of(import_file(reference, config=config, factory=factory))
        progress("compare with the original")
        windows, length = NOISE
        if input_file is None:
            x = noise(session.facts, windows, *((length,) if session.stateful else ()))[0]
        else:
            x = session.arrange(read_data(input_file).x)
            axes = x.ndim - len(next(iter(session.facts.inputs.values())))
            if session.stateful and axes == 1:
                x, axes = x[None], 2
            if steps is not None and axes == 2:  # whole windows, or the beginning of one
                x = x[: max(1, steps // x.shape[1])][:, : max(1, steps)]
            elif steps is not None and axes == 1:
                x = x[: max(1, steps)]
        return error_over_time(session, original, x, str(reference or "the original model"))


def _compare(out: Output, files: tuple[Path, Path], html: Path | None) -> None:
    from edgekit.profile.compare import compare_profiles, read_profile
    from edgekit.profile.html import write_comparison_html

    a, b = files
    comparison = compare_profiles(read_profile(a), read_profile(b), (str(a), str(b)))
    if html is not None:
        write_comparison_html(comparison, html)
    out.answer(comparison.to_dict(), lambda console: print_comparison(console, comparison, html=html))


def _check_html(html: Path | None, read: Sequence[Path | None]) -> None:
    """Before anything takes time; `read` are files that the page must not replace."""
    if html is None:
        return
    from edgekit.profile.html import check_html

    if not html.parent.is_dir():
        raise UsageError(f"--html {html}", "is in a folder that does not exist")
    if html.is_dir():
        raise UsageError(f"--html {html}", "is a folder", "name a file")
    if html.resolve() in [path.resolve() for path in read if path is not None]:
        raise UsageError(f"--html {html}", "is a file that is read, and would be replaced", "name another one")
    check_html(html)
