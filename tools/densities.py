"""From which density on kernels of blocks beat dense ones: counted for each instruction set, and what L2MU makes of it.

python -m tools.densities [--only dsp,mve] [--table] [--page]

`--table` counts again and writes edgekit/backends/c/integer/densities.py, of the instruction sets in `--only` or of all
that this computer can count for; `--page` counts for four of them, or those in `--only`, and writes
docs/DENSITY.md and its picture. Figures are emulated: counted exactly
on the core; those of x86 are counted on this computer, instruction by instruction.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from edgekit.artifact.atomic import write_atomic
from edgekit.backends.c.integer import flavour_of
from edgekit.backends.c.integer.densities import DENSITIES
from tools.density_counts import CORES, FORMS, TILED, Case, Core, Counted, count, is_here
from tools.density_page import write_page

TABLE = Path(__file__).parent.parent / "edgekit" / "backends" / "c" / "integer" / "densities.py"
COVERAGES = (0.05, 0.15, 0.3, 0.5, 0.75, 1.0)
LENGTHS = (32, 64, 128, 256, 512)
MOST_HERE = 128  # numbers of a row that are counted one by one on this computer
SUMS = {True: (16, 32), False: (32,)}  # bits of sums over spikes, and over numbers: there they make no difference

HEAD = '''"""How much of a matrix its blocks may cover for their kernel to take fewer instructions than the dense one.

Written by `python -m tools.densities --table` from counted instructions: by instruction set, form, and length of a row.
"""

from __future__ import annotations

from collections.abc import Mapping

Thresholds = Mapping[str, Mapping[int, float]]  # by form, then by the length of a row at which it was measured

DENSITIES: Mapping[str, Thresholds] = {
'''


def crossing(counted: Sequence[Counted]) -> float:
    """The coverage at which blocks take as many instructions as the whole matrix, rounded down to hundredths."""
    points = sorted((c.case.coverage, c.blocks - c.whole) for c in counted)
    if not points or points[0][1] >= 0:
        return 0.0
    for (low, below), (high, above) in pairwise(points):
        if above >= 0:
            return math.floor(100 * (low + (high - low) * -below / (above - below))) / 100
    return math.floor(100 * points[-1][0]) / 100  # no higher one is in blocks


def measured(simd: str, forms: Sequence[str], lengths: Sequence[int], core: Core) -> list[Counted]:
    """Every form at every length and coverage on one core."""
    flavour, found = flavour_of(simd), list[Counted]()
    for form in forms:
        for bits in SUMS[form.startswith("event")]:
            for part in [[n] for n in lengths] if form.startswith("event") else [lengths]:  # rows of a group are short
                found += count([Case(flavour, form, bits, n, share) for n in part for share in COVERAGES], core)
    return found


def thresholds(simd: str, lengths: Sequence[int] = LENGTHS) -> dict[str, dict[int, float]]:
    """By form and length: how much blocks may cover to be worth it on every core and for sums of every width."""
    forms = (*FORMS, *(TILED if flavour_of(simd).name == "wide" else ()))
    found: dict[str, dict[int, float]] = {}
    for core in CORES[simd]:
        here = [n for n in lengths if core.target != "host" or n <= MOST_HERE]
        counted = measured(simd, forms, here, core)
        for form in forms:
            for n in here:
                mine = [c for c in counted if (c.case.form, c.case.length) == (form, n)]
                least = min(crossing([c for c in mine if c.case.bits == b]) for b in SUMS[form.startswith("event")])
                known = found.setdefault(form, {}).get(n, 1.0)
                found[form][n] = min(known, least)
    return found


def table_text(table: Mapping[str, Mapping[str, Mapping[int, float]]]) -> str:
    """The module that holds the table."""
    lines = [HEAD]
    for simd, forms in table.items():
        lines.append(f'    "{simd}": {{\n')
        for form, lengths in forms.items():
            inside = ", ".join(f"{n}: {share:.2f}" for n, share in sorted(lengths.items()))
            lines.append(f'        "{form}": {{{inside}}},\n')
        lines.append("    },\n")
    return "".join([*lines, "}\n"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="instruction sets, with commas between them")
    parser.add_argument("--table", action="store_true", help="count, and write the table of the compiler")
    parser.add_argument("--page", action="store_true", help="count, and write docs/DENSITY.md")
    chosen = parser.parse_args(arguments)
    names = chosen.only.split(",") if chosen.only else list(CORES)
    if unknown := [name for name in names if name not in CORES]:
        parser.error(f"no instruction set {unknown[0]!r}: choose among {', '.join(CORES)}")
    if chosen.table:
        table = dict(DENSITIES)
        for simd in names:
            if all(map(is_here, CORES[simd])):
                print(f"counting {simd}", file=sys.stderr)
                table[simd] = thresholds(simd)
                write_atomic(TABLE, table_text({name: table[name] for name in CORES if name in table}).encode())
            else:
                print(f"{simd} is left as it was: this computer does not have it", file=sys.stderr)
    if chosen.page:
        if chosen.table:
            parser.error("--page is of the table as it is: write that first")
        write_page(names, lambda text: print(text, file=sys.stderr))


if __name__ == "__main__":
    main()
