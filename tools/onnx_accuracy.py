"""Accuracy of ONNX files: the HAR checkpoints of split B in ONNX Runtime, in every precision.

python -m tools.onnx_accuracy [--model mlp l2mu lmu elm] [--precision fp32 w8 int8]

int8 is calibrated on the validation subjects; accuracy and decisions are of the test subjects. Decisions are compared
with those of the reference interpreter over the same windows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from edgekit.backends.onnx import PRECISIONS, OnnxRuntime, calibrate_onnx, export_onnx, make_program, tensorrt_faults
from edgekit.convert.agreement import DECISIONS, decisions
from tools.integer_accuracy import FAMILIES, Model, har

Array = npt.NDArray[Any]


def row(model: Model, precision: str, right: Array) -> str:
    """One line: accuracy, decisions equal to the reference's, size of the step file, and what is int8 in it."""
    graph, labels = model.exact, model.labels
    calibration = calibrate_onnx(graph, model.calibration) if precision == "int8" else None
    files = {
        form: export_onnx(graph, meta=model.meta, precision=precision, form=form, calibration=calibration)
        for form in ("step", "sequence")
    }
    engine = OnnxRuntime(files["sequence"])
    streams = len(next(iter(model.test.values())))
    outputs = engine.run({**model.test, **engine.initial_state(streams)})
    found = DECISIONS[str(model.rule)](outputs[engine.document.outputs[0].name]).argmax(axis=-1)
    held = make_program(graph, precision, calibration).quantisation
    faults = sum(len(tensorrt_faults(data)) for data in files.values())
    accuracy = float((found == labels).mean()) if labels is not None else float("nan")
    return (
        f"{model.name:5} {precision:5} accuracy {accuracy:.2%}, decisions equal {float((found == right).mean()):.2%}, "
        f"{len(files['step']):,} bytes, int8: {len(held.operands)} operands, {len(held.states)} states; "
        f"beyond TensorRT 8.5: {faults}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.onnx_accuracy", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", nargs="+", default=FAMILIES, choices=FAMILIES)
    parser.add_argument("--precision", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    options = parser.parse_args(arguments)
    for name in options.model:
        model = har(name)
        right = decisions(model.exact, model.test, str(model.rule))
        for precision in options.precision:
            print(row(model, precision, right), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
