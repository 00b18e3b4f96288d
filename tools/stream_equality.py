"""Every window of the HAR data streamed sample by sample, against the same windows run at once.

python -m tools.stream_equality [--families mlp,lmu,l2mu,elm] [--precisions int8,fp32] [--every 1]

The recordings of all wearers (the smartwatch data where they are, else made-up motion) go through the front door as
20 Hz samples with times; label and scores of each decision are compared with those of `Session.run` and
`Session.decide` over all windows in a session of its own. Prints a line for each program; returns 1 if one differs.
"""

from __future__ import annotations

import argparse
import sys
import time

from edgekit.demo.har.checkpoints import FAMILIES
from edgekit.demo.har.windows import RATE_HZ
from edgekit.streaming import Decision, FrontDoor, Sample
from tools.soak import batch, prepare


def different(family: str, precision: str, every: int) -> tuple[int, int, str]:
    """How many windows were decided otherwise than in the batch, how many there are, and where they are from."""
    session, alone, windows, source = prepare(family, "host", precision, everyone=True)
    windows = windows[::every]
    labels, scores = batch(alone, windows)
    door, made, wrong = FrontDoor(session), 0, 0
    for at, row in enumerate(windows.reshape(-1, windows.shape[-1]).tolist()):
        for found in door.feed(Sample(at / RATE_HZ, tuple(row))):
            if not isinstance(found, Decision):
                raise AssertionError(f"a clean stream has an event: {found}")
            wrong += found.label != labels[made] or found.scores != tuple(map(float, scores[made]))
            made += 1
    door.finish()
    return wrong + abs(len(windows) - made), len(windows), source


def main(arguments: list[str] | None = None) -> int:
    """Stream through each program, print what differed; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--precisions", default="int8,fp32")
    parser.add_argument("--every", type=int, default=1, help="take every n-th window alone")
    options = parser.parse_args(arguments)
    total = 0
    for family in options.families.split(","):
        for precision in options.precisions.split(","):
            started = time.perf_counter()
            wrong, windows, source = different(family, precision, options.every)
            total += wrong
            seconds = time.perf_counter() - started
            print(
                f"{family} {precision}: {windows:,} windows of {source}, {wrong} different, {seconds:.0f} s", flush=True
            )
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
