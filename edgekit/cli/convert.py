"""`edgekit convert`: a model file in, verified files out: an artifact, C, ONNX, TFLite, NIR."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from edgekit.cli.apart import check_apart
from edgekit.cli.arrays import check_output, read_data
from edgekit.cli.budget import (
    EvalOption,
    MaxDropOption,
    MaxFlashOption,
    MaxWeightsOption,
    ValidOption,
    asked_of_convert,
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
from edgekit.cli.learned import learning_lines
from edgekit.cli.learning import (
    BaselineOption,
    BudgetOption,
    ClassesOption,
    DetectOption,
    EligibilityOption,
    GateOption,
    IterationsOption,
    KnownOption,
    LearningRateOption,
    LearnOption,
    LearnWindowOption,
    MarginOption,
    ModulationOption,
    MomentumOption,
    PlasticOption,
    RowsOption,
    SubspaceOption,
    SubspaceRateOption,
    SynapseOption,
    TasksOption,
    TauOption,
    TraceOption,
    learning_of,
    with_labels,
)
from edgekit.cli.ops import op_table
from edgekit.cli.output import JsonOption, Output, QuietOption, VerboseOption, kilobytes, table
from edgekit.cli.quantisation import quantisation_lines
from edgekit.cli.search_work import keep_promise
from edgekit.cli.sizes import size_rows
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.convert.exports import Exports
    from edgekit.convert.pipeline import Conversion


def convert(
    model: Annotated[Path | None, typer.Argument(help=MODEL_HELP)] = None,
    target: Annotated[str, typer.Option(help="Device to build for; see `edgekit targets`.")] = "host",
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="LIST",
            help="Comma-separated: edge; onnx (a step, states as ports); tflite; nir; c (a folder of sources).",
        ),
    ] = "edge",
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, the default; w8: int8 weights, float arithmetic; integers alone: int8 (int16 states), int8s8 "
            "(int8 states), int4 (int4 weights), auto (int8, wider where --min-agreement asks for it). onnx and tflite "
            "have fp32, w8 and int8, nir has fp32."
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            help="Rules that make the model smaller (.toml), with the precision that they start from; or an .edge file "
            "to take them from. See `inspect MODEL --units` for the names that rules match."
        ),
    ] = None,
    calib: Annotated[
        str | None,
        typer.Option(
            help="Windows in raw units (.npy, .npz): spike rates and integer scales are measured on them. "
            "synthetic: noise instead, stamped into the manifest."
        ),
    ] = None,
    calib_method: Annotated[
        str | None, typer.Option(help="How integer ranges are read off the windows: min-max, percentile or mse.")
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            help="With --precision auto: per cent of equal decisions to reach; 98.5. Windows that the model was "
            "trained on flatter it: give others with --calib."
        ),
    ] = None,
    widen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=BITS", help="Bits of one weight, state or operand, as verify names them; repeatable."
        ),
    ] = None,
    max_drop: MaxDropOption = None,
    max_flash: MaxFlashOption = None,
    max_weights: MaxWeightsOption = None,
    valid: ValidOption = None,
    eval_: EvalOption = None,
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
    sequence: Annotated[
        bool, typer.Option("--sequence", help="onnx: also write STEM.seq.onnx, which takes whole windows [N, T, …].")
    ] = False,
    tflite_states: Annotated[
        str, typer.Option(help="tflite: io, each state is an input and an output; resource, the model keeps them.")
    ] = "io",
    approximate: Annotated[
        bool, typer.Option("--approximate", help="nir: write what NIR cannot express as well as it can; says how far.")
    ] = False,
    learn: LearnOption = None,
    learning_rate: LearningRateOption = None,
    plastic: PlasticOption = None,
    subspace: SubspaceOption = None,
    tasks: TasksOption = None,
    subspace_rate: SubspaceRateOption = None,
    synapse_budget: SynapseOption = None,
    iterations: IterationsOption = None,
    momentum: MomentumOption = None,
    learn_window: LearnWindowOption = None,
    trace: TraceOption = None,
    detect: DetectOption = False,
    modulation: ModulationOption = None,
    eligibility: EligibilityOption = None,
    baseline: BaselineOption = None,
    rows: RowsOption = None,
    classes: ClassesOption = None,
    tau: TauOption = None,
    gate: GateOption = None,
    margin: MarginOption = None,
    known: KnownOption = None,
    learn_budget_ram: BudgetOption = None,
    flash_coding: Annotated[
        bool,
        typer.Option(
            "--flash-coding", help="Integer constants lie in flash entropy-coded; init decodes them into RAM."
        ),
    ] = False,
    compiler: Annotated[str | None, typer.Option(help="zig, gcc or clang; default: the first that can.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="The file (for c: the folder) to write; of several formats the common stem. Default: MODEL.TARGET.…",
        ),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Turn a model into verified files: import, optimise, quantise, compile, prove, pack.

    The original is replayed against the imported graph, and everything that was made against the reference, before
    anything is written.
    """
    from edgekit.compress.recipe_file import read_recipe
    from edgekit.convert import Options
    from edgekit.convert.exports import C, Wanted, convert_to, parse_formats
    from edgekit.convert.options import AUTO, FLOAT_PRECISIONS, SYNTHETIC
    from edgekit.convert.writing import check_folder

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
    wanted = Wanted(parse_formats(format_), sequence, tflite_states, approximate)
    name = _name(model, weights, factory)
    paths = wanted.paths(output, f"{name}.{target}")
    for what, path in paths.items():
        (check_folder if what == C else check_output)(path)
    file = Path(calib) if calib not in (None, SYNTHETIC) else None
    check_apart(paths, (model, weights, config, recipe, file, valid, eval_))
    started = time.perf_counter()
    compression = None if recipe is None else read_recipe(recipe)
    given_precision = precision
    precision = precision or (compression.precision if compression else Options.precision)
    out = Output(as_json=json, quiet=quiet)
    learning = learning_of(
        learn,
        rate=learning_rate,
        plastic=plastic,
        subspace=subspace,
        tasks=tasks,
        subspace_rate=subspace_rate,
        budget=synapse_budget,
        iterations=iterations,
        momentum=momentum,
        window=learn_window,
        trace=trace,
        detect=detect or None,
        modulation=modulation,
        eligibility=eligibility,
        baseline=baseline,
        rows=rows,
        classes=classes,
        tau=tau,
        gate=gate,
        margin=margin,
        known=known,
        ram=learn_budget_ram,
    )
    promise = asked_of_convert(
        max_drop=max_drop,
        max_flash=max_flash,
        max_weights=max_weights,
        valid=valid,
        held_out=eval_,
        target=target,
        calib=calib,
        method=calib_method,
        compiler=compiler,
        output=paths.get("edge"),
        others={
            "--precision": given_precision,
            "--recipe": recipe,
            "--learn": learn,
            "--widen": widen,
            "--min-agreement": min_agreement,
            "--flash-coding": flash_coding,
            "--format": None if format_ == "edge" else format_,
            "--sequence": sequence,
            "--tflite-states": None if tflite_states == "io" else tflite_states,
            "--approximate": approximate,
            "-v": verbose,
        },
    )
    if promise is not None:
        keep_promise(out, model, importing, promise)
        return
    if min_agreement is not None and precision != AUTO:
        raise UsageError("--min-agreement", f"is not used with precision {precision!r}", "add --precision auto")
    if calib_method is not None and precision in FLOAT_PRECISIONS:
        raise UsageError("--calib-method", f"is not used with precision {precision!r}", "it is for integer programs")
    windows = None if file is None else read_data(file)
    options = Options(
        target=target,
        precision=precision,
        calib=calib if windows is None else windows.x,
        calib_method=calib_method or Options.calib_method,
        min_agreement=Options.min_agreement if min_agreement is None else min_agreement / 100,
        widen=dict(map(_bits, widen or ())),
        compression=compression,
        learn=with_labels(learning, file, windows),
        compiler=compiler,
        flash_coding=flash_coding,
    )
    with out.stages() as progress:
        done = convert_to(model, wanted, options, importing, name=name, progress=progress)
        done.write(paths)
    seconds = time.perf_counter() - started

    def human(console: Console) -> None:
        _print(console, done, paths, target, precision, verbose=verbose)
        console.print(f"done in {seconds:.1f} s")

    out.answer({**_document(done, paths, target, precision), "seconds": round(seconds, 3)}, human)


def _name(model: Path | None, weights: Path | None, factory: str | None) -> str:
    """What a model is called: after its file, or its weights, or the function that makes it."""
    source = model or weights
    if source is not None:
        return source.stem
    return (factory or "model").rpartition(":")[2] or "model"


def _document(done: Exports, paths: Mapping[str, Path], target: str, precision: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "files": [
            {
                "format": made.format,
                "path": str(paths[made.format]),
                "bytes": made.size,
                "checked": made.checked,
                "check": made.check,
                "worst_error": made.worst,
            }
            for made in done.made
        ],
        "precision": precision,
        "target": target,
        "replay": {
            "steps": done.prepared.imported.report.steps,
            "worst_error": done.prepared.imported.report.worst_error,
        },
        "assumed": {key: str(value) for key, value in done.prepared.imported.assumed.items()},
        "notes": list(done.notes),
    }
    if done.conversion is None:
        return document
    artifact, manifest = done.conversion.artifact, done.conversion.artifact.manifest
    packed = {"artifact": str(paths["edge"]), "sha256": artifact.sha256} if "edge" in paths else {}
    return {
        **document,
        **packed,
        "sizes": _sizes(done.conversion),
        "target": manifest["target"],
        "kernels": manifest["kernels"],
        "verification": manifest["verification"],
        "quantisation": manifest.get("quantisation"),
        "compression": manifest.get("compression"),
        "learning": manifest.get("learning"),
        "assumed": manifest.get("assumed", {}),
        "activity": dict(done.conversion.activity),
    }


def _sizes(conversion: Conversion) -> dict[str, int]:
    return {"artifact_bytes": len(conversion.artifact.packed), **conversion.artifact.manifest["sizes"]}


def _print(
    console: Console, done: Exports, paths: Mapping[str, Path], target: str, precision: str, *, verbose: bool
) -> None:
    imported, conversion = done.prepared.imported, done.conversion
    report = imported.report
    console.print(f"{imported.graph.name} for {target}, {precision}", style="bold")
    rows = table("file", "size", "worst error", "checked", right=(1, 2))
    for made in done.made:
        worst = "" if made.worst is None else f"{made.worst:.2g}"
        rows.add_row(f"{paths[made.format].name}{'/' * (made.format == 'c')}", kilobytes(made.size), worst, made.check)
    console.print(rows)
    folder = paths[done.made[0].format].parent
    if folder != Path():
        console.print(f"in {folder}", soft_wrap=True)
    if conversion is not None:
        rows = table("", "", right=(1,))
        rows.show_header = False
        for what, count in size_rows(_sizes(conversion)):
            rows.add_row(what, kilobytes(count))
        console.print(rows)
    spikes = f", {report.spikes_differing} of {report.spikes_compared} spikes differ" * bool(report.spikes_compared)
    console.print(
        f"replay of the original: {report.steps} steps x {report.batch} streams, worst error "
        f"{report.worst_error:.2g}{spikes}"
    )
    if conversion is not None:
        console.print(
            f"self-test on {conversion.selftest.engine}: {conversion.selftest.steps} steps, "
            f"worst error {conversion.selftest.worst_error:.2g}"
        )
        for line in (*learning_lines(conversion.artifact.manifest), *quantisation_lines(conversion.artifact.manifest)):
            console.print(line)
    for key, value in imported.assumed.items():
        console.print(f"assumed: {key} = {value}")
    for note in done.notes:
        console.print(f"note: {note}")
    if conversion is not None:
        _print_kernels(console, conversion, verbose=verbose)


def _print_kernels(console: Console, conversion: Conversion, *, verbose: bool) -> None:
    manifest = conversion.artifact.manifest
    if verbose:
        console.print(op_table(manifest["kernels"], conversion.artifact.graph))
        for name, rate in conversion.activity.items():
            console.print(f"activity of {name}: {rate:.1%}")
    else:
        kernels = Counter(k["kernel"] for k in manifest["kernels"])
        console.print("kernels: " + ", ".join(f"{n} x {k}" for k, n in kernels.most_common()))


def _bits(text: str) -> tuple[str, int]:
    """A name and its bits from NAME=BITS."""
    name, _, bits = text.rpartition("=")
    if not name or not bits.isdecimal():
        raise UsageError(f"--widen {text}", "is not NAME=BITS", "for example --widen W_h.weight=16")
    return name, int(bits)
