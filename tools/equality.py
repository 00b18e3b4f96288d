"""Random integer programs on every engine, byte for byte: a table of what was compared.

python -m tools.equality [--programs 20] [--first 0] [--engine A72 …]
python -m tools.equality --shrink SEED --engine A72        the fewest ops with which that program still differs
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the generator and the comparison live with the tests

from integer_engines import Engine, every, opened
from integer_equality import STEPS, batches, check, expected, label, reference_of
from random_integer import FULL, describe, smallest

from edgekit.ir import Graph, to_text
from edgekit.passes.pipelines import LOWER, run_passes


def compare(engine: Engine, numbers: Sequence[int]) -> list[str]:
    """What differs from the reference, one line a program."""
    faults = []
    for batch in batches(numbers, engine.at_once):
        with opened(engine, [expected(n).graph for n in batch]) as stream:
            for n in batch:
                try:
                    check(stream(expected(n).graph), expected(n), label(n, engine.name))
                except AssertionError as error:
                    faults.append(str(error).splitlines()[0])
    return faults


def shrunk(engine: Engine, seed: int) -> str:
    """How to get the smallest beginning of a program that differs, what differs, and its text."""
    found: dict[int, str] = {}

    def differs(graph: Graph) -> bool:
        wanted = reference_of(run_passes(graph, LOWER), seed)
        with opened(engine, [wanted.graph]) as stream:
            try:
                check(stream(wanted.graph), wanted, engine.name)
            except AssertionError as error:
                found[0] = f"{error}\n{to_text(wanted.graph)}"
                return True
        return False

    ops = smallest(seed, differs)
    return f"{describe(seed, ops)}: {found[0]}" if found else f"{describe(seed, FULL)} does not differ on {engine.name}"


def main() -> int:
    """Compare, print the table, and return 1 when a byte differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=20, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--engine", nargs="*", choices=list(every()), help="all of them unless named")
    parser.add_argument("--shrink", type=int, metavar="SEED", help="make a program that differs as small as it gets")
    options = parser.parse_args()
    if options.shrink is not None:
        for name in options.engine or every():
            print(shrunk(every()[name], options.shrink))
        return 0
    numbers = range(options.first, options.first + options.programs)
    ops = sum(len(expected(n).graph.entries["step"].ops) for n in numbers)
    print(f"{len(numbers)} programs, {ops} ops after fusion, {STEPS} steps each, against the reference interpreter")
    differing = 0
    for name, engine in every().items():
        if options.engine and name not in options.engine:
            continue
        if not engine.there:
            print(f"{name:14} what it needs is not installed")
            continue
        started = time.monotonic()
        faults = compare(engine, numbers)
        differing += len(faults)
        verdict = f"{len(faults)} differ" if faults else "every byte equal"
        print(f"{name:14} {engine.target:14} {verdict}, {time.monotonic() - started:.0f} s", flush=True)
        for fault in faults:
            print(f"  {fault}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
