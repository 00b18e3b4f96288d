"""Golden files through the command line: convert, run here and on emulated cores, compare with the authors' outputs.

Those of HLOP go through the entries of artifacts: see `tools.golden_hlop`.

python -m tools.golden [FILE.npz …] [--target raspberrypi4 …] [--samples 40] [--steps 1000]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).parent.parent
FOLDER = Path(os.environ.get("EDGEKIT_SHARED", ROOT / ".." / "shared")).resolve() / "golden"
TARGETS = ("host", "raspberrypi3", "raspberrypi4", "raspberrypi5")
TOLERANCE = {"ELM": 2e-5, "LMU": 1e-5}  # relative to the larger of 1 and the expected value; spikes must be equal
FAMILIES = ("l2mu", "lmu", "elm")
HLOP, PROTOCOL = "HLOP_", "HLOP_CL_reduced"  # the latter is `tools.continual_digits`

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Golden:
    """Inputs x [N, T, n] of one file and the outputs it expects at the steps `kept` (as counts: their sum over time).

    `tolerance` is the largest error allowed, 0 for spikes; `config` is what the weights in the file do not tell.
    """

    path: Path
    x: Array
    expected: Array
    kept: Array
    tolerance: float
    config: dict[str, Any] | None = None
    counts: bool = False

    def part(self, samples: int, steps: int) -> Golden:
        """The first samples and steps; counts are of all steps."""
        steps = self.x.shape[1] if self.counts else steps
        inside = self.kept < steps
        expected = self.expected[:samples] if self.counts else self.expected[:samples, inside]
        rest = self.kept[inside], self.tolerance, self.config, self.counts
        return Golden(self.path, self.x[:samples, :steps], expected, *rest)

    def error(self, y: Array) -> float:
        """The largest error of step outputs y [N, T, out]; of spikes, how many differ."""
        got = y.sum(axis=1) if self.counts else y[:, self.kept]
        if not self.tolerance:
            return float(np.abs(got - self.expected).sum())
        return float((np.abs(got - self.expected) / np.maximum(1, np.abs(self.expected))).max())


def kind_of(path: Path) -> str:
    """The kind that a file says it holds."""
    with np.load(path, allow_pickle=False) as z:
        return str(json.loads(str(z["meta"])).get("kind"))


def read_golden(path: Path) -> Golden:
    """What a file of an L2MU, LMU or ELM says."""
    with np.load(path, allow_pickle=False) as z:
        meta = json.loads(str(z["meta"]))
        kind = str(meta["kind"])
        if kind == "L2MU_trained":
            x, expected = z["X"], z["out_spike_count"]
        elif kind == "L2MU":
            x, expected = z["X"].swapaxes(0, 1), z["spk_output"].swapaxes(0, 1)
        elif kind == "ELM":
            x, expected = z["X"], z["out_raw"]
        elif kind == "LMU" and "out" in z:
            x, expected = z["x"].swapaxes(0, 1), z["out"].swapaxes(0, 1)
        elif kind == "LMU":  # without a read-out, h is what leaves
            x, expected = z["x"], z["h"]
        else:
            raise SystemExit(f"error: {path} holds {kind}, not an L2MU, LMU or ELM")
        kept = z["keep_t"] if "keep_t" in z else np.arange(x.shape[1])
    tolerance, counts = TOLERANCE.get(kind, 0.0), kind == "L2MU_trained"
    return Golden(path, x.astype(np.float32), expected, kept, tolerance, meta.get("config"), counts)


def golden_files(folder: Path, *families: str) -> list[Path]:
    """The files of these families that hold a model, in order of name."""
    found = [path for family in families for path in folder.glob(f"{family}_*.npz")]
    return sorted(path for path in found if path.name != "lmu_AB_tables.npz")


def edgekit(*arguments: object) -> dict[str, Any]:
    """Run the command line in this process and return its JSON answer."""
    from edgekit.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    words = ["edgekit", *map(str, arguments), "--json"]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.object(sys, "argv", words):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
    if code:
        raise SystemExit(f"{' '.join(words)}: exit code {code}\n{err.getvalue()}")
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def convert_and_run(golden: Golden, target: str, folder: Path) -> tuple[str, Array]:
    """The engine that ran, and step outputs [N, T, out] of the file's model converted for a target."""
    options: list[object] = []
    if golden.config is not None:
        config = folder / "config.json"
        config.write_text(json.dumps(golden.config))
        options = ["--config", config]
    artifact = folder / f"{golden.path.stem}.{target}.edge"
    edgekit("convert", golden.path, "--target", target, "-o", artifact, *options)
    np.save(folder / "x.npy", golden.x)
    on = "host" if target == "host" else "emulator"
    files = "--input", folder / "x.npy", "-o", folder / "y.npy"
    answer = edgekit("run", artifact, *files, "--on", on, "--no-count")
    return str(answer["engine"]), np.load(folder / "y.npy")


def main() -> int:
    """Check the files; exit code 1 when an error is larger than allowed."""
    parser = argparse.ArgumentParser(prog="python -m tools.golden", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--target", nargs="+")
    parser.add_argument("--samples", type=int, default=40, help="of each file, at most")
    parser.add_argument("--steps", type=int, default=1000, help="of each file, at most")
    options = parser.parse_args()
    held = [path for path in golden_files(FOLDER, "hlop") if kind_of(path) != PROTOCOL]
    files = options.files or [*golden_files(FOLDER, *FAMILIES), *held]
    if not files:
        raise SystemExit(f"error: no golden files in {FOLDER}; set EDGEKIT_SHARED")
    rules = [path for path in files if kind_of(path).startswith(HLOP)]
    failed = sum(_check_rule(path, options.target) for path in rules)
    models = [read_golden(path) for path in files if path not in rules]
    for golden in [model.part(options.samples, options.steps) for model in models]:
        for target in options.target or TARGETS:
            with tempfile.TemporaryDirectory() as folder:
                engine, y = convert_and_run(golden, target, Path(folder))
            error = golden.error(y)
            failed += error > golden.tolerance
            print(_line(golden, engine, y, error), flush=True)
    return 1 if failed else 0


def _check_rule(path: Path, targets: Sequence[str] | None) -> int:
    """Check a file of a learning rule; returns how many arrays are wrong."""
    from tools import golden_hlop

    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for engine, errors in golden_hlop.check_file(path, targets or golden_hlop.TARGETS, Path(folder)):
            print("\n".join(golden_hlop.lines(path, engine, errors)), flush=True)
            wrong += sum(not error <= golden_hlop.TOLERANCE for error in errors.values())
    return wrong


def _line(golden: Golden, engine: str, y: Array, error: float) -> str:
    if golden.tolerance:
        found = f"largest error {error:.1e} of {golden.tolerance:.0e} allowed"
    else:
        found = "every spike equal" if not error else f"{error:.0f} spikes differ"
    verdict = "" if error <= golden.tolerance else "  WRONG"
    return f"{golden.path.stem:36}{engine:48}{len(y):3} x {y.shape[1]:3} steps  {found}{verdict}"


if __name__ == "__main__":
    raise SystemExit(main())
