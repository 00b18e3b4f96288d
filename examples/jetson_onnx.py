"""A model to ONNX for a Jetson: export a step and a sequence, verify in ONNX Runtime, check what TensorRT documents.

    pip install -c constraints.txt -e ".[convert,onnx]"
    python examples/jetson_onnx.py
    python examples/jetson_onnx.py lmu --precision int8 -o watch.onnx

Makes `.onnx`, one step with its states as inputs and outputs, and `.seq.onnx`, whole windows in a Scan. The engine is
built on the device, by examples/jetson/build_engine.py with trtexec; that part is untested on device. The model is a
shipped classifier of wrist motion, on synthetic windows.
"""

from __future__ import annotations

import numpy as np
from road import parser, run, travel_with

from edgekit.backends.onnx import tensorrt_faults
from edgekit.convert.exports import Wanted
from edgekit.demo.har.checkpoints import checkpoint
from edgekit.demo.har.data import load_windows
from edgekit.frontends import import_file

WINDOWS = 64


def main() -> None:
    arguments = parser(__doc__, target=None, output="FILE.onnx")
    arguments.add_argument("family", nargs="?", default="elm", choices=("lmu", "l2mu", "elm"), help="(elm)")
    options = arguments.parse_args()
    windows, sides = load_windows("synthetic")
    test = np.random.default_rng(0).permutation(sides.test)[:WINDOWS]
    imported = import_file(checkpoint(f"{options.family}_synthetic"))
    print(f"trained    {options.family}_synthetic on {windows.source}")

    files = travel_with(Wanted(("onnx",), sequence=True), options, imported, windows.x[test], windows.y[test])
    for file in files:
        faults = tensorrt_faults(file.read_bytes())
        print(f"tensorrt   {file.name}: {'; '.join(faults) or 'all of it is documented for TensorRT 8.5'}")
    step = files[0]
    print("on the Jetson (untested on device):")
    print(f"    scp {step} examples/jetson/build_engine.py jetson:")
    print(f"    ssh jetson python3 build_engine.py {step.name}{' --int8' if options.precision == 'int8' else ''}")


if __name__ == "__main__":
    run(main)
