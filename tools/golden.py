"""Golden L2MU files through the command line: convert, run here and on the emulated core, compare every spike.

python -m tools.golden [FILE.npz …] [--target raspberrypi4] [--samples 40]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("EDGEKIT_SHARED", ROOT / ".." / "shared")).resolve()


def edgekit(*arguments: str) -> dict[str, Any]:
    """Run the command line and return its JSON answer."""
    done = subprocess.run(
        [sys.executable, "-c", "from edgekit.cli import main; main()", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"edgekit {' '.join(arguments)}: exit code {done.returncode}\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def vectors(path: Path, samples: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Inputs [N, T, n], what is expected of the outputs, and whether that is the spikes or their counts."""
    with np.load(path, allow_pickle=False) as z:
        if json.loads(str(z["meta"]))["kind"] == "L2MU_trained":  # inputs [sample, T, n], counts over time
            return z["X"][:samples].astype(np.float32), z["out_spike_count"][:samples], "counts"
        return z["X"].swapaxes(0, 1).astype(np.float32), z["spk_output"].swapaxes(0, 1), "spikes"


def check(path: Path, target: str, samples: int) -> tuple[int, int, bool]:
    """(samples, steps, whether every spike is equal) of one file, on this computer and on the emulated core."""
    x, expected, kind = vectors(path, samples)
    equal = True
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", x)
        for device, on in (("host", "host"), (target, "emulator")):
            artifact, out = f"{folder}/{device}.edge", f"{folder}/{on}.npy"
            edgekit("convert", str(path), "--target", device, "-o", artifact)
            edgekit("run", artifact, "--input", f"{folder}/x.npy", "-o", out, "--on", on, "--no-count")
            y = np.load(out)
            equal &= bool(np.array_equal(y.sum(axis=1) if kind == "counts" else y, expected))
    return x.shape[0], x.shape[1], equal


def main() -> int:
    """Check the files; exit code 1 when a spike differs."""
    parser = argparse.ArgumentParser(prog="python -m tools.golden", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--target", default="raspberrypi4")
    parser.add_argument("--samples", type=int, default=40, help="of the trained file's 40")
    options = parser.parse_args()
    files = options.files or sorted((SHARED / "golden").glob("l2mu_*.npz"))
    if not files:
        raise SystemExit(f"error: no l2mu_*.npz in {SHARED / 'golden'}; set EDGEKIT_SHARED")
    rows = Table("file", "samples", "steps", f"host and emulated {options.target}")
    failed = 0
    for path in files:
        samples, steps, equal = check(path, options.target, options.samples)
        rows.add_row(path.name, str(samples), str(steps), "every spike equal" if equal else "SPIKES DIFFER")
        failed += not equal
    Console(width=120).print(rows)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
