"""A model as firmware of your own: convert for a Cortex-M, verify, profile, build with make, run in qemu.

    sudo apt install gcc-arm-none-eabi make qemu-system-arm
    python examples/cortex_m.py
    python examples/cortex_m.py --core m55 -o firmware

The project is examples/cortex-m: a Makefile, a main.c, and the C out of the .edge file; nothing of edgekit runs in it.
What the firmware says in qemu-system-arm is compared with the reference. Untested on device. The model is the shipped
spiking classifier of wrist motion, trained on synthetic windows.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from road import parser, run, travel

import edgekit
from edgekit.demo.har.checkpoints import checkpoint
from edgekit.demo.har.data import load_windows
from edgekit.errors import ToolchainError
from edgekit.frontends import import_file

PROJECT = Path(__file__).resolve().parent / "cortex-m"
CORES = {"m4": "smartwatch-m4", "m33": "smartwatch-m33", "m55": "smartwatch-m55"}
TOOLS = {
    "make": "make",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}  # and Debian's package of each
WINDOWS, STEPS, CHANNELS = 48, 40, 6


def main() -> None:
    arguments = parser(__doc__, target=None, precision=None, output="FOLDER")
    arguments.add_argument("--core", default="m33", choices=CORES, help="(m33)")
    options = arguments.parse_args()
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            raise ToolchainError(tool, "is not installed", f"apt install {package}")
    windows, sides = load_windows("synthetic")
    test = np.random.default_rng(0).permutation(sides.test)[:WINDOWS]
    imported = import_file(checkpoint("l2mu_synthetic"))
    print(f"trained    l2mu_synthetic on {windows.source}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.output or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        options.target, options.precision = CORES[options.core], "int8"
        options.output = folder / "model.edge"
        travel(options, imported, windows.x[test], windows.y[test], windows.x[sides.train[::8]])
        print(make("all", options.core, folder).strip())
        said = make("run", options.core, folder)
        print(said.strip())
        agrees = said.split("class")[0].split()[1:] == expected(options.output)
    print(f"the firmware says what the reference says: {agrees}")
    if not agrees:
        raise SystemExit(1)


def make(goal: str, core: str, folder: Path) -> str:
    """What make prints; ToolchainError when it fails."""
    command = ["make", "-s", "-C", str(PROJECT), goal, f"CORE={core}", f"ARTIFACT={folder}/model.edge"]
    done = subprocess.run([*command, f"BUILD={folder}/build"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ToolchainError(f"make {goal}", "failed", "what it says stands below", done.stderr.splitlines()[-20:])
    return done.stdout


def expected(artifact: Path) -> list[str]:
    """How often each output fires over the window that main.c makes up."""
    t, i = np.arange(STEPS)[:, None], np.arange(CHANNELS)
    raw = ((t * (i + 3) % 17 - 8) * 0.5).astype(np.float32)
    return [str(int(count)) for count in edgekit.load(artifact, engine="reference").run(raw).sum(axis=0)]


if __name__ == "__main__":
    run(main)
