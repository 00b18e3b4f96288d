"""Activities of a wrist: a shipped MLP, LMU, L2MU or ELM on windows of an accelerometer and a gyroscope, to a program.

    python examples/wrist.py lmu
    python examples/wrist.py l2mu --target smartwatch --precision int8
    python examples/wrist.py elm --split B --windows 200        # real recordings, where they are: see examples/har

How the checkpoints were trained: `python -m examples.har.train`. Synthetic windows are made up, and a checkpoint
trained on them says nothing about real activities; the two are never mixed.
"""

from __future__ import annotations

import numpy as np
from road import CALIBRATION, parser, run, travel

from edgekit.demo.har.checkpoints import FAMILIES, checkpoint
from edgekit.demo.har.data import load_windows
from edgekit.errors import UsageError
from edgekit.frontends import import_file


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("family", choices=FAMILIES)
    arguments.add_argument("--split", default="synthetic", choices=("synthetic", "B"), help="(synthetic)")
    arguments.add_argument("--data", metavar="FILE.npz", help="WISDM, for split B; default: below EDGEKIT_SHARED")
    arguments.add_argument("--windows", type=int, default=64, help="test windows to verify (64)")
    options = arguments.parse_args()
    if options.windows < 1:
        raise UsageError("--windows", "is less than 1")
    windows, sides = load_windows(options.split, options.data)
    imported = import_file(checkpoint(f"{options.family}_{options.split}"))
    print(f"trained    {options.family}_{options.split} on {windows.source}")

    test = np.random.default_rng(0).permutation(sides.test)[: options.windows]
    x, calib = windows.x[test], windows.x[sides.train[:: max(1, len(sides.train) // CALIBRATION)]]
    if options.family == "mlp":  # which takes a window at once
        x, calib = x.reshape(len(x), -1), calib.reshape(len(calib), -1)
    travel(options, imported, x, windows.y[test], calib)


if __name__ == "__main__":
    run(main)
