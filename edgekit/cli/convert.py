"""`edgekit convert`: a model file in, one verified artifact out."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edgekit.cli.arrays import check_output, read_data
from edgekit.cli.ops import op_table
from edgekit.cli.output import JsonOption, Output, QuietOption, VerboseOption, kilobytes, table
from edgekit.cli.quantisation import quantisation_lines
from edgekit.cli.sizes import size_rows
from edgekit.errors import UsageError


def convert(
    model: Annotated[
        Path, typer.Argument(help="A file of edgekit.save, or a state_dict: .pt .pth .ckpt .safetensors .npz")
    ],
    target: Annotated[str, typer.Option(help="Device to build for; see `edgekit targets`.")] = "host",
    precision: Annotated[
        str,
        typer.Option(
            help="fp32; w8: int8 weights, float arithmetic; integers alone: int8 (int16 states), int8s8 (int8 states), "
            "int4 (int4 weights), auto (int8, wider where --min-agreement asks for it)."
        ),
    ] = "fp32",
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
    config: Annotated[Path | None, typer.Option(help="JSON with what the weights do not tell.")] = None,
    factory: Annotated[
        str | None, typer.Option(help="package.module:function that returns (module, example): RUNS that code.")
    ] = None,
    learn: Annotated[str | None, typer.Option(help="Add an entry that learns on the device: delta.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Step size of the learning rule; 0.01.")] = None,
    compiler: Annotated[str | None, typer.Option(help="zig, gcc or clang; default: the first that can.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Default: MODEL.TARGET.edge, here.")] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Turn a model into a verified artifact: import, optimise, quantise, compile, prove, pack.

    The original is replayed against the imported graph, and the compiled program against the reference, before
    anything is written.
    """
    from edgekit.convert import Options, convert_file
    from edgekit.convert.options import AUTO, FLOAT_PRECISIONS, SYNTHETIC

    path = output or Path(f"{model.stem}.{target}.edge")
    check_output(path)
    started = time.perf_counter()
    out = Output(as_json=json, quiet=quiet)
    if learning_rate is not None and learn is None:
        raise UsageError("--learning-rate", "is not used without a learning rule", "add --learn delta")
    if min_agreement is not None and precision != AUTO:
        raise UsageError("--min-agreement", f"is not used with precision {precision!r}", "add --precision auto")
    if calib_method is not None and precision in FLOAT_PRECISIONS:
        raise UsageError("--calib-method", f"is not used with precision {precision!r}", "it is for integer programs")
    options = Options(
        target=target,
        precision=precision,
        calib=read_data(Path(calib)).x if calib not in (None, SYNTHETIC) else calib,
        calib_method=calib_method or Options.calib_method,
        min_agreement=Options.min_agreement if min_agreement is None else min_agreement / 100,
        widen=dict(map(_bits, widen or ())),
        learn=learn,
        learning_rate=Options.learning_rate if learning_rate is None else learning_rate,
        compiler=compiler,
    )
    with out.stages() as progress:
        done = convert_file(model, options, config=config, factory=factory, progress=progress)
        done.artifact.save(path)
    seconds = time.perf_counter() - started
    manifest, report = done.artifact.manifest, done.imported.report
    sizes = {"artifact_bytes": path.stat().st_size, **manifest["sizes"]}

    def human(console: Console) -> None:
        console.print(f"{path}: {manifest['name']} for {manifest['target']}, {precision}", style="bold")
        rows = table("", "", right=(1,))
        rows.show_header = False
        for what, count in size_rows(sizes):
            rows.add_row(what, kilobytes(count))
        console.print(rows)
        spikes = f", {report.spikes_differing} of {report.spikes_compared} spikes differ" * bool(report.spikes_compared)
        console.print(
            f"replay of the original: {report.steps} steps x {report.batch} streams, worst error "
            f"{report.worst_error:.2g}{spikes}"
        )
        console.print(
            f"self-test on {done.selftest.engine}: {done.selftest.steps} steps, "
            f"worst error {done.selftest.worst_error:.2g}"
        )
        for line in quantisation_lines(manifest):
            console.print(line)
        for key, value in done.imported.assumed.items():
            console.print(f"assumed: {key} = {value}")
        for note in done.notes:
            console.print(f"note: {note}")
        if verbose:
            console.print(op_table(manifest["kernels"], done.artifact.graph))
            for name, rate in done.activity.items():
                console.print(f"activity of {name}: {rate:.1%}")
        else:
            kernels = Counter(k["kernel"] for k in manifest["kernels"])
            console.print("kernels: " + ", ".join(f"{n} x {k}" for k, n in kernels.most_common()))
        console.print(f"done in {seconds:.1f} s")

    document = {
        "artifact": str(path),
        "sha256": done.artifact.sha256,
        "seconds": round(seconds, 3),
        "sizes": sizes,
        "precision": precision,
        "target": manifest["target"],
        "kernels": manifest["kernels"],
        "verification": manifest["verification"],
        "quantisation": manifest.get("quantisation"),
        "assumed": manifest.get("assumed", {}),
        "notes": list(done.notes),
        "activity": dict(done.activity),
    }
    out.answer(document, human)


def _bits(text: str) -> tuple[str, int]:
    """A name and its bits from NAME=BITS."""
    name, _, bits = text.rpartition("=")
    if not name or not bits.isdecimal():
        raise UsageError(f"--widen {text}", "is not NAME=BITS", "for example --widen W_h.weight=16")
    return name, int(bits)
