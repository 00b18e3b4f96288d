"""Random changes of a journal, cut at random and restarted: what was found, by operation.

python -m tools.power_loss [--cycles 10000] [--seed 0] [--history 0 1 2] [--unit 4]

A cut comes at any byte that is written and in any page that is being erased. Writes are torn (some bytes of a unit,
some bits of it, some units of a write), erases leave a page half done in seven ways, noise among them; one time in
five everything since the last sync is there or not, as on a disk. After the restart the state has to be the old one or
the new one, and all commits that the history promises have to be in reach. `done` counts changes that came to their
end, also where there was nothing to change.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))  # the flash that loses power lives with the tests

from journal_cuts import run_cycles
from journal_engines import ENGINES


def main() -> int:
    """Run the cycles in Python and in C, print the tables, and return 1 when a state was neither old nor new."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=10_000, help="how many, for each history and language")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--history", type=int, nargs="*", default=[0, 1, 2], help="how many earlier commits are kept")
    parser.add_argument(
        "--unit", type=int, default=4, choices=(1, 2, 4, 8, 16, 32), help="bytes that are written at once"
    )
    options = parser.parse_args()
    failed = False
    for kind in ENGINES:
        for history in options.history:
            started = time.monotonic()
            tally = run_cycles(kind, options.cycles, options.seed, history=history, unit=options.unit)
            done, in_erases, in_writes = sum(tally.counts.values()), tally.ended_in["erase"], tally.ended_in["write"]
            print(
                f"{kind.name}, history {history}, units of {options.unit} bytes: {done:,} cycles, {tally.cuts:,} cuts "
                f"({in_erases:,} in erases, {in_writes:,} in writes), {time.monotonic() - started:.0f} s"
            )
            print("\n".join(tally.rows()), flush=True)
            for fault in tally.faults:
                print(f"  {fault}")
            failed |= bool(tally.faults)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
