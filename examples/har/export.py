"""Write one side of a split as a data file for `edgekit run` and `edgekit verify`.

python -m examples.har.export --split B --side test -o test.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from edgekit.cli.exits import answered
from edgekit.demo.har.data import SPLITS, load_windows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.har.export", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--split", required=True, choices=SPLITS)
    parser.add_argument("--side", default="test", choices=["train", "validation", "test"])
    parser.add_argument("--data", help="publisher's unpacked folder or .npz (default: EDGEKIT_SHARED)")
    parser.add_argument("-o", "--output", type=Path, required=True, help=".npz to write: x, y, subject")
    options = parser.parse_args(arguments)
    return answered(lambda: _write(options))


def _write(options: argparse.Namespace) -> int:
    windows, split = load_windows(options.split, options.data)
    chosen = getattr(split, options.side)
    np.savez_compressed(options.output, x=windows.x[chosen], y=windows.y[chosen], subject=windows.subject[chosen])
    print(f"{options.output}: {windows.source}, split {options.split}, {options.side}: {len(chosen)} windows")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
