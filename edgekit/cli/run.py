"""`edgekit run`: data through an artifact, here or in the emulator, or through an exported file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from edgekit.cli.arrays import check_arrays_output, check_labels, read_data, write_arrays
from edgekit.cli.output import JsonOption, Output, QuietOption
from edgekit.cli.run_stream import run_stream
from edgekit.cli.stream_options import (
    FormatOption,
    HysteresisOption,
    MaxGapOption,
    MinConfidenceOption,
    RateOption,
    SmoothOption,
    StampOption,
    StreamChoices,
    StreamOption,
    StrideOption,
    TimeUnitOption,
    WindowOption,
)
from edgekit.errors import DataError, UsageError

if TYPE_CHECKING:
    from edgekit.runtime.streams import MachineStream, Stream

PROGRAM_HELP = "The .edge file; or an .onnx or .tflite file that edgekit wrote."
WidthOption = Annotated[
    float, typer.Option(help="Per cent of the units of a model with nested widths; inspect lists what it has.")
]
PLACES = {"host": "auto", "emulator": "emulator"}


def engine_of(artifact: Path, on: str, engine: str | None) -> str:
    """The engine for `--on` and `--engine`; UsageError when they contradict, are unknown, or do not fit the file."""
    from edgekit.runtime.exported import is_exported

    if on not in PLACES:
        cause = "is not in this version yet" if on.startswith("ssh://") else "is not known"
        raise UsageError(f"--on {on}", cause, f"known are {', '.join(PLACES)}")
    if engine is not None and on != "host":
        raise UsageError("--engine", f"cannot be combined with --on {on}", "give one of them")
    if is_exported(artifact) and (engine is not None or on != "host"):
        option = f"--on {on}" if engine is None else f"--engine {engine}"
        raise UsageError(option, f"{artifact} runs in the runtime it was exported for", "leave it out")
    return engine or PLACES[on]


def run(
    artifact: Annotated[Path, typer.Argument(help=PROGRAM_HELP)],
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            help=".npy or .npz (array x) in raw units: [T, …] or [N, T, …]; several inputs: .npz, an array for each, "
            "named like it. With --stream: -, FILE, udp://HOST:PORT or serial:/dev/ttyX@BAUD.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Where the step outputs go: .npy, or .npz with an array for each."),
    ] = None,
    on: Annotated[
        str, typer.Option(help="host, or emulator: the target's machine code, instructions counted.")
    ] = "host",
    engine: Annotated[
        str | None, typer.Option(help="On the host: native, rebuilt, reference or qemu; default: the best there is.")
    ] = None,
    width: WidthOption = 100,
    decide: Annotated[bool, typer.Option("--decide", help="Write one class per window instead.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Read and write stored integers (integer programs).")] = False,
    count: Annotated[
        bool | None,
        typer.Option(
            "--count/--no-count", help="In the emulator: count instructions, or not (faster).  [default: count]"
        ),
    ] = None,
    stream: StreamOption = False,
    form: FormatOption = None,
    rate: RateOption = None,
    time_unit: TimeUnitOption = None,
    stamp: StampOption = False,
    window: WindowOption = None,
    stride: StrideOption = None,
    max_gap: MaxGapOption = None,
    smooth: SmoothOption = None,
    hysteresis: HysteresisOption = None,
    min_confidence: MinConfidenceOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run data through a program, or samples with --stream. Every sample of [N, T, …] starts from a reset."""
    from edgekit.runtime import load

    choices = StreamChoices(form, rate, time_unit, stamp, window, stride, max_gap, smooth, hysteresis, min_confidence)
    if stream:
        for option, asked in (("--output", output), ("--decide", decide), ("--raw", raw), ("--quiet", quiet)):
            if asked:
                raise UsageError(option, "does not go with --stream, which prints decisions", "leave it out")
        session = load(artifact, engine=engine_of(artifact, on, engine), width=width / 100)
        counted = _counted(session.engine_stream, count)
        run_stream(artifact, session, source or "-", choices, counted, as_json=json)
        return
    choices.check_unused()
    if source is None:
        raise UsageError("--input", "is missing", "give a .npy or .npz file")
    input_file = Path(source)
    if output is not None:
        check_arrays_output(output)
    session = load(artifact, engine=engine_of(artifact, on, engine), width=width / 100)
    names, shapes = list(session.facts.outputs), session.output_shapes
    if output is not None and not decide:
        check_arrays_output(output, len(names))
    if raw and session.codec is None:
        raise UsageError("--raw", f"{artifact} is no integer program: it has no stored integers", "leave --raw out")
    if decide and len(names) > 1:
        raise UsageError("--decide", f"the program has {len(names)} outputs: {', '.join(names)}", "leave --decide out")
    data = read_data(input_file, tuple(session.facts.inputs))
    labels = data.y if len(names) == 1 else None
    check_labels(input_file, labels, shapes[0])
    counted = _counted(session.engine_stream, count)
    out = Output(as_json=json, quiet=quiet)
    started = time.perf_counter()
    with out.stages() as progress:
        progress(f"run on {session.engine}")
        found = session.run(*data.inputs, stored=raw)
    seconds = time.perf_counter() - started
    results = dict(zip(names, found if len(names) > 1 else (found,), strict=True))
    outputs = results[names[0]]
    steps = int(np.prod(outputs.shape[: outputs.ndim - len(shapes[0])]))
    overflows = [_first_overflow(y, len(shape)) for y, shape in zip(results.values(), shapes, strict=True)]
    overflow = min((at for at in overflows if at is not None), default=None)
    classes = session.decide(outputs) if decide or labels is not None else None
    if output is not None:
        write_arrays(output, {"decision": np.asarray(classes)} if decide else results)
    correct = None
    if classes is not None and labels is not None:
        if np.shape(classes) != labels.shape:
            raise DataError(str(input_file), f"has {labels.shape} labels for {np.shape(classes)} decisions")
        correct = float(np.mean(classes == labels))
    instructions = counted.total_instructions() if counted is not None else None
    given = dict(zip(session.facts.inputs, data.inputs, strict=True))

    def human(console: Console) -> None:
        console.print(f"engine: {session.engine}")
        if session.width != 100:
            console.print(f"width: {session.width} % of the units")
        if session.commit is not None and not session.commit.factory:
            console.print(f"learned: commit {session.commit.source}, {session.commit.mark:,} windows")
        for text in session.commit.damaged if session.commit is not None else ():
            console.print(f"warning: the journal is damaged: {text}; what it held is not used")
        console.print(f"{_shapes('input', given)} -> {_shapes('output', results)}, {steps:,} steps in {seconds:.2f} s")
        if data.y is not None and labels is None:
            console.print("the labels are not used: they are for a program with one output")
        if session.nonfinite:
            console.print(f"warning: {session.nonfinite:,} input values were NaN or Inf: taken as 0 and as full scale")
        if overflow is not None:
            console.print(f"warning: outputs are NaN or Inf from {overflow} on: the program has overflowed")
        if instructions is not None:
            console.print(f"instructions: {instructions:,}, {instructions / steps:,.0f} per step (emulated, exact)")
        if decide and output is None and classes is not None:
            names = session.facts.io.get("classes")
            shown = [names[c] if names else str(c) for c in np.atleast_1d(classes)[:20]]
            console.print("decisions: " + " ".join(shown) + (" …" if np.size(classes) > 20 else ""))
        if correct is not None and labels is not None:
            console.print(f"accuracy: {100 * correct:.2f} % of {len(labels)} windows")
        if output is not None:
            console.print(f"wrote {output}")

    document = {
        "artifact": str(artifact),
        "engine": session.engine,
        "width": session.width,
        "commit": 0 if session.commit is None else session.commit.source,
        "input_shape": list(data.x.shape),
        "output_shape": list(outputs.shape),
        "inputs": {name: list(array.shape) for name, array in given.items()},
        "outputs": {name: list(array.shape) for name, array in results.items()},
        "steps": steps,
        "seconds": round(seconds, 4),
        "instructions": instructions,
        "instructions_grade": None if instructions is None else "emulated",
        "nonfinite_inputs": session.nonfinite,
        "overflow_at": overflow,
        "accuracy": correct,
        "output": None if output is None else str(output),
    }
    if decide and output is None and classes is not None:
        document["decisions"] = np.atleast_1d(classes).tolist()
    out.answer(document, human)


def _counted(stream: Stream, count: bool | None) -> MachineStream | None:
    """The stream whose instructions are counted, None for none; UsageError where that was asked for and is impossible.

    Counting costs time alone, and is on where the emulator can unless it was switched off.
    """
    from edgekit.runtime.streams import MachineStream

    if not isinstance(stream, MachineStream) or not stream.counts:
        if count:  # not to count is what happens anyway
            raise UsageError("--count", f"nothing is counted on {stream.engine}", "it is for --on emulator")
        return None
    if count is False:
        return None
    stream.counting = True
    return stream


def _shapes(what: str, arrays: Mapping[str, np.ndarray]) -> str:
    """Shapes of arrays, with their names where there are several."""
    if len(arrays) == 1:
        (only,) = arrays.values()
        return f"{what} {only.shape}" + f" {only.dtype}" * (what == "output")
    return f"{what}s " + ", ".join(f"{name} {array.shape}" for name, array in arrays.items())


def _first_overflow(outputs: np.ndarray, axes: int) -> list[int] | None:
    """The first step, [t] or [n, t], whose outputs (of `axes` axes) are not all finite."""
    wrong = np.argwhere(~np.isfinite(outputs))
    return [int(at) for at in wrong[0][: outputs.ndim - axes]] if len(wrong) else None
