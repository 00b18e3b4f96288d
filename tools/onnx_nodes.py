"""The table of onnx's node tests: what runs, at which opset, and why any other does not.

python -m tools.onnx_nodes [--check] [-o FILE]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the cases live with the tests

import numpy as np
from onnx_nodes import lowered, running, table

from edgekit.reference import Interpreter


def wrong() -> list[str]:
    """What differs from the expected values in the reference, one line a test."""
    faults = []
    for case in map(lowered, running()):
        try:
            with np.errstate(all="ignore"):
                case.check(Interpreter(case.graph).execute(case.fed(), {})[0])
        except AssertionError as error:
            faults.append(" ".join(str(error).split())[:200])
    return faults


def main() -> int:
    """Write the table; with --check return 1 when a test differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="run them through the reference too")
    parser.add_argument("-o", type=Path, help="write the table to a file")
    options = parser.parse_args()
    text = table()
    if options.o is None:
        print(text, end="")
    else:
        options.o.write_text(text, encoding="utf-8")
    faults = wrong() if options.check else []
    print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
