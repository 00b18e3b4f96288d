"""A model to TFLite for a Wear OS watch: export, verify in LiteRT, time it; libraries for Android come with the .edge.

    pip install -c constraints.txt -e ".[convert,tflite]"
    python examples/wear_os.py
    python examples/wear_os.py l2mu --states resource -o watch.tflite

States are inputs and outputs of a step (`io`), or variables inside the model (`resource`). `edgekit convert MODEL
--target wear-os` makes an .edge file with shared libraries for both of Android's ABIs on Arm, and this .tflite in it.
Untested on device. The model is a shipped classifier of wrist motion, on synthetic windows.
"""

from __future__ import annotations

import numpy as np
from road import parser, run, travel_with

from edgekit.convert.exports import TFLITE_STATES, Wanted
from edgekit.demo.har.checkpoints import checkpoint
from edgekit.demo.har.data import load_windows
from edgekit.frontends import import_file

WINDOWS = 32


def main() -> None:
    arguments = parser(__doc__, target=None, output="FILE.tflite")
    arguments.add_argument("family", nargs="?", default="lmu", choices=("lmu", "l2mu", "elm"), help="(lmu)")
    arguments.add_argument("--states", default=TFLITE_STATES[0], choices=TFLITE_STATES, help=f"({TFLITE_STATES[0]})")
    options = arguments.parse_args()
    windows, sides = load_windows("synthetic")
    test = np.random.default_rng(0).permutation(sides.test)[:WINDOWS]
    imported = import_file(checkpoint(f"{options.family}_synthetic"))
    print(f"trained    {options.family}_synthetic on {windows.source}")

    wanted = Wanted(("tflite",), tflite_states=options.states)
    (file,) = travel_with(wanted, options, imported, windows.x[test], windows.y[test])
    print(f"written    {file}")


if __name__ == "__main__":
    run(main)
