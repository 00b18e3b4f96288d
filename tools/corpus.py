"""The corpus of models in every format beside the originals, as a table.

python -m tools.corpus [--only TEXT] [-o docs/CORPUS.md]
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the models and the comparison live with the tests

from corpus.cases import CASES, family, imported
from corpus.compare import ENGINES, STEPS, TOLERANCE, Outcome, compare

HEAD = f"""# What comes in and goes out exactly

Written by `python -m tools.corpus -o docs/CORPUS.md`: {{count}} models with seeded random weights, each imported and
replayed, converted to {len(ENGINES)} programs (C here, C on an emulated Cortex-A72, ONNX in ONNX Runtime, TFLite in
LiteRT), and run for {STEPS} steps beside the original. Spikes have to be equal, floats within
{TOLERANCE:g} · max(1, |y|); a step in which a comparison is within 1e-5 of a tie in float64 may differ and is listed
with its margin. A cell shows the worst float error, with `=` where all outputs are spikes or equal to the bit.

{{passed}} of {{total}} conversions pass; {{excused}} steps are excused.

| model | from | states | spikes | {" | ".join(ENGINES)} |
|---|---|---|---|{"---|" * len(ENGINES)}
"""


def cell(outcome: Outcome | str) -> str:
    """One engine's result in a table."""
    if isinstance(outcome, str):
        return f"**{outcome}**"
    shown = "=" if outcome.worst == 0 else f"{outcome.worst:.1e}"
    margins = ", ".join(f"step {t}: {margin:.1e}" for t, margin in outcome.excused)
    return f"{shown} ({margins})" if margins else shown


def main() -> int:
    """Compare, print the table, and return 1 when a model differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="models whose name has this text")
    parser.add_argument("-o", type=Path, help="write the table to a file")
    options = parser.parse_args()
    warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, which Norse still uses
    rows, passed, total, excused = [], 0, 0, 0
    names = [name for name in CASES if options.only in name]
    for at, name in enumerate(names):
        started, model = time.perf_counter(), imported(name)
        cells, fired = [], 0
        for kind in ENGINES:
            total += 1
            try:
                outcome: Outcome | str = compare(name, model, kind)
            except Exception as error:  # whatever it is belongs into the table
                outcome = f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"
            if isinstance(outcome, Outcome):
                passed, excused, fired = passed + 1, excused + len(outcome.excused), outcome.fired
            cells.append(cell(outcome))
        rows.append(f"| {name} | {family(name)} | {len(model.graph.states)} | {fired} | {' | '.join(cells)} |")
        print(
            f"{at + 1}/{len(names)} {name}: {', '.join(cells)} ({time.perf_counter() - started:.1f} s)", file=sys.stderr
        )
    head = HEAD.format(count=len(names), passed=passed, total=total, excused=excused)
    text = head + "\n".join(rows) + "\n"
    if options.o is None:
        print(text, end="")
    else:
        options.o.write_text(text, encoding="utf-8")
    return 0 if passed == total else 1


if __name__ == "__main__":
    sys.exit(main())
