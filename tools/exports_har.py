"""The seven-class HAR models as .edge, .onnx and .tflite: the same windows, the same predictions.

python -m tools.exports_har                 the real test windows of split B (EDGEKIT_SHARED)
python -m tools.exports_har --split synthetic
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from edgekit.convert import Options
from edgekit.convert.exports import Wanted, convert_to
from edgekit.convert.original import original_of
from edgekit.demo.har.data import SPLITS, load_windows
from edgekit.errors import EdgekitError
from edgekit.frontends.options import ImportOptions
from edgekit.runtime import load
from examples.har.recipes import RECIPES

CHECKPOINTS = Path(__file__).parent.parent / "examples" / "har" / "checkpoints"
FORMATS = ("edge", "onnx", "tflite")
PROGRAMS = (*FORMATS, "onnx sequence")


@dataclass(frozen=True)
class Compared:
    """One program of one model: how many of `windows` it decides as PyTorch does and as the .edge does."""

    model: str
    program: str
    engine: str
    windows: int
    like_pytorch: int
    like_edge: int
    correct: int
    worst_error: float


def compare_model(family: str, split: str, windows: int | None, folder: Path) -> list[Compared]:
    """Convert one shipped checkpoint every way, and run the test windows through each in its own runtime."""
    name = f"{family}_{split}"
    data, sides = load_windows(split)
    x, y = data.x[sides.test][:windows], data.y[sides.test][:windows]
    done = convert_to(CHECKPOINTS / f"{name}.pt", Wanted(FORMATS, sequence=True), Options(), ImportOptions())
    paths = Wanted(FORMATS, sequence=True).paths(folder / name, name)
    done.write(paths)
    sessions = {program: load(paths[program]) for program in PROGRAMS}
    edge = sessions["edge"]
    before = np.asarray(original_of(done.prepared.imported).run(edge.arrange(x)))
    pytorch, reference = edge.decide(before), edge.decide(edge.run(x))
    rows = []
    for program, session in sessions.items():
        outputs = session.run(x)
        classes: npt.NDArray[np.int64] = session.decide(outputs)
        rows.append(
            Compared(
                model=name,
                program=program,
                engine=session.engine,
                windows=len(x),
                like_pytorch=int(np.sum(classes == pytorch)),
                like_edge=int(np.sum(classes == reference)),
                correct=int(np.sum(classes == y)),
                worst_error=float(np.max(np.abs(outputs - before) / np.maximum(1.0, np.abs(before)))),
            )
        )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Print the table; 0 when every program decides every window as PyTorch does, 1 when not, 2 without data."""
    parser = argparse.ArgumentParser(prog="python -m tools.exports_har", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--split", default="B", choices=SPLITS)
    parser.add_argument("--windows", type=int, help="only the first so many test windows")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    rows: list[Compared] = []
    try:
        with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
            os.environ["EDGEKIT_HOME"] = folder  # what is made here and thrown away is on no user's trust list
            for family in RECIPES:
                rows += compare_model(family, options.split, options.windows, Path(folder))
    except EdgekitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"schema_version": 1, "rows": [asdict(row) for row in rows]}, indent=1))
    else:
        _show(rows)
    return 0 if all(row.like_pytorch == row.like_edge == row.windows for row in rows) else 1


def _show(rows: list[Compared]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("model", "program", "windows", "= PyTorch", "= .edge", "correct", "worst error", "engine"):
        table.add_column(column, justify="left" if column in ("model", "program", "engine") else "right")
    for row in rows:
        counts = (f"{n:,}" for n in (row.windows, row.like_pytorch, row.like_edge, row.correct))
        table.add_row(row.model, row.program, *counts, f"{row.worst_error:.2g}", row.engine)
    Console(width=None if sys.stdout.isatty() else 140, highlight=False).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
