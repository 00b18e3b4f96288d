"""A model in a Zephyr application: convert for a Cortex-M, verify, profile, and lay out a folder that west builds.

    python examples/zephyr_app.py -o my_watch
    cd my_watch && west build -b nrf5340dk/nrf5340/cpuapp app

The folder holds examples/zephyr's module (CMake and Kconfig), its application, and the .edge file between them. The
module is tested with stand-ins for Zephyr's own functions, and its C with a cross compiler; it was never built with
Zephyr itself: untested on device. The model is the shipped spiking classifier of wrist motion, on synthetic windows.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
from road import parser, run, travel

from edgekit.demo.har.checkpoints import checkpoint
from edgekit.demo.har.data import load_windows
from edgekit.errors import UsageError
from edgekit.frontends import import_file
from edgekit.target import load_target

HERE = Path(__file__).resolve().parent / "zephyr"
WINDOWS = 48


def main() -> None:
    arguments = parser(__doc__, target="smartwatch", precision=None, output="FOLDER")
    options = arguments.parse_args()
    folder = options.output
    if folder is None:
        raise UsageError("-o", "is missing", "name a folder for the application")
    if folder.exists():
        raise UsageError(f"-o {folder}", "is there already", "name a folder that is not")
    if not load_target(options.target).is_bare:
        raise UsageError(f"--target {options.target}", "does not run Zephyr", "give smartwatch-m4, -m33 or -m55")
    windows, sides = load_windows("synthetic")
    test = np.random.default_rng(0).permutation(sides.test)[:WINDOWS]
    imported = import_file(checkpoint("l2mu_synthetic"))
    print(f"trained    l2mu_synthetic on {windows.source}")

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as unfinished:
        made = Path(unfinished) / folder.name
        for part in ("app", "module"):
            shutil.copytree(HERE / part, made / part)
        options.precision, options.output = "int8", made / "app" / "model.edge"
        travel(options, imported, windows.x[test], windows.y[test], windows.x[sides.train[::8]])
        made.rename(folder)  # whole, or not at all
    print(f"cd {folder} && west build -b nrf5340dk/nrf5340/cpuapp app    # never built with Zephyr itself")


if __name__ == "__main__":
    run(main)
