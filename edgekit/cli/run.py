"""`edgekit run`: data through an artifact, here or in the emulator, or through an exported file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from edgekit.cli.arrays import check_labels, check_output, read_data, write_array
from edgekit.cli.output import JsonOption, Output, QuietOption
from edgekit.errors import DataError, UsageError

PROGRAM_HELP = "The .edge file; or an .onnx or .tflite file that edgekit wrote."
PLACES = {"host": "auto", "emulator": "emulator"}


def engine_of(on: str, engine: str | None) -> str:
    """The engine for `--on` and `--engine`; UsageError when they contradict or are unknown."""
    if on not in PLACES:
        cause = "is not in this version yet" if on.startswith("ssh://") else "is not known"
        raise UsageError(f"--on {on}", cause, f"known are {', '.join(PLACES)}")
    if engine is not None and on != "host":
        raise UsageError("--engine", f"cannot be combined with --on {on}")
    return engine or PLACES[on]


def run(
    artifact: Annotated[Path, typer.Argument(help=PROGRAM_HELP)],
    input_file: Annotated[
        Path, typer.Option("--input", "-i", help=".npy or .npz (array x) in raw units: [T, …] or [N, T, …].")
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Where the step outputs go (.npy).")] = None,
    on: Annotated[
        str, typer.Option(help="host, or emulator: the target's machine code, instructions counted.")
    ] = "host",
    engine: Annotated[
        str | None, typer.Option(help="On the host: native, rebuilt, reference or qemu; default: the best there is.")
    ] = None,
    decide: Annotated[bool, typer.Option("--decide", help="Write one class per window instead.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Read and write stored integers (integer programs).")] = False,
    count: Annotated[bool, typer.Option(help="In the emulator: count instructions (slower).")] = True,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run data through a program. Every sample of [N, T, …] starts from a reset."""
    from edgekit.runtime import load
    from edgekit.runtime.streams import MachineStream

    if output is not None:
        check_output(output)
    session = load(artifact, engine=engine_of(on, engine))
    if raw and session.codec is None:
        raise UsageError("--raw", f"{artifact} is no integer program: it has no stored integers", "leave --raw out")
    data = read_data(input_file)
    if len(session.facts.inputs) != 1 or len(session.facts.outputs) != 1:
        raise UsageError(str(artifact), "has several inputs or outputs", "use Session.run in Python")
    check_labels(input_file, data.y, session.output_shapes[0][-1])
    counted: MachineStream | None = None
    stream = session.engine_stream
    if isinstance(stream, MachineStream) and stream.counts and count:
        counted = stream
        counted.counting = True
    out = Output(as_json=json, quiet=quiet)
    started = time.perf_counter()
    with out.stages() as progress:
        progress(f"run on {session.engine}")
        outputs = session.run(data.x, stored=raw)
    seconds = time.perf_counter() - started
    steps = int(np.prod(outputs.shape[: outputs.ndim - len(session.output_shapes[0])]))
    overflow = _first_overflow(outputs, len(session.output_shapes[0]))
    classes = session.decide(outputs) if decide or data.y is not None else None
    if output is not None:
        write_array(output, np.asarray(classes) if decide else outputs)
    correct = None
    if classes is not None and data.y is not None:
        if np.shape(classes) != data.y.shape:
            raise DataError(str(input_file), f"has {data.y.shape} labels for {np.shape(classes)} decisions")
        correct = float(np.mean(classes == data.y))
    instructions = counted.total_instructions() if counted is not None else None

    def human(console: Console) -> None:
        console.print(f"engine: {session.engine}")
        console.print(
            f"input {data.x.shape} -> output {outputs.shape} {outputs.dtype}, {steps:,} steps in {seconds:.2f} s"
        )
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
        if correct is not None:
            console.print(f"accuracy: {100 * correct:.2f} % of {len(data.y if data.y is not None else [])} windows")
        if output is not None:
            console.print(f"wrote {output}")

    document = {
        "artifact": str(artifact),
        "engine": session.engine,
        "input_shape": list(data.x.shape),
        "output_shape": list(outputs.shape),
        "steps": steps,
        "seconds": round(seconds, 4),
        "instructions": instructions,
        "nonfinite_inputs": session.nonfinite,
        "overflow_at": overflow,
        "accuracy": correct,
        "output": None if output is None else str(output),
    }
    if decide and output is None and classes is not None:
        document["decisions"] = np.atleast_1d(classes).tolist()
    out.answer(document, human)


def _first_overflow(outputs: np.ndarray, axes: int) -> list[int] | None:
    """The first step, [t] or [n, t], whose outputs (of `axes` axes) are not all finite."""
    wrong = np.argwhere(~np.isfinite(outputs))
    return [int(at) for at in wrong[0][: outputs.ndim - axes]] if len(wrong) else None
