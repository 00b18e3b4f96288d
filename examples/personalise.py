"""A watch that goes on learning: a new gesture from a few windows, old activities kept, and all of it taken back.

    python examples/personalise.py
    python examples/personalise.py --precision fp32 --windows 8

The shipped ELM classifier with prototypes beside it learns by a local rule, in integers, one window at a time. What it
learns lies in a journal beside the artifact, which never changes. Motion is synthetic: that it works here says nothing
about real gestures; those are in examples/har/README.md.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from road import packages, parser, profiled, run

import edgekit
from edgekit.demo.har.checkpoints import checkpoint
from edgekit.demo.har.data import load_windows
from edgekit.demo.har.synthetic import GESTURE, gesture
from edgekit.errors import UsageError
from edgekit.runtime import Session
from edgekit.runtime.learned import journal_of, take_over

with packages():
    from edgekit.demo.har.watch import Watch

WEARER, LATER, OLD = 1, 20, 140  # the seed of the wearer, later windows of the gesture, windows of old activities


def main() -> None:
    arguments = parser(__doc__, target="host", precision="int8")
    arguments.add_argument("--windows", type=int, default=5, help="windows of the gesture to learn from, 2 s each (5)")
    options = arguments.parse_args()
    if options.windows < 1:
        raise UsageError("--windows", "is less than 1")
    data, sides = load_windows("synthetic")
    known = len(data.class_names)
    watch = Watch(data, sides.train, known, options.precision, options.target, checkpoint("elm_synthetic"))
    artifact = watch.prototypes(tasks=1, reserve=1)
    shown = gesture(WEARER, options.windows + LATER)
    held_out = np.random.default_rng(0).permutation(sides.test)[:OLD]

    with tempfile.TemporaryDirectory() as folder:
        path = options.output or Path(folder) / "watch.edge"
        artifact.save(path)
        session, reference = edgekit.load(path), edgekit.load(path, engine="reference")
        print(f"converted  {path.name}: {path.stat().st_size:,} bytes, {options.precision}, on {session.engine}")

        def tell(when: str) -> None:
            old = np.mean(session.decide(session.run(data.x[held_out])) == data.y[held_out])
            new = np.sum(session.decide(session.run(shown[options.windows :])) == known)
            print(f"{when:<11}{GESTURE} in {new} of {LATER} later windows, old activities {old:.1%}")

        tell("as it came")
        for window in shown[: options.windows]:
            session.learn(window, known)
            reference.learn(window, known)
        with journal_of(artifact, path) as journal:
            journal.commit(session.learned())  # whole, or not at all
        tell("taught")
        alike = same(session, reference, shown[options.windows :])
        print(f"verified   program and reference learned and decide the same: {alike}")
        with journal_of(artifact, path) as journal:
            journal.rollback()
            take_over(session, journal, path)
        tell("undone")
    profiled(artifact, data.x[held_out])
    if not alike:
        raise SystemExit(1)


def same(session: Session, reference: Session, windows: np.ndarray) -> bool:
    """Whether both decide alike about windows [N, T, 6], and integers were learned to the byte."""
    decisions = [each.decide(each.run(windows)) for each in (session, reference)]
    bytes_too = session.facts.precision == "fp32" or session.learned() == reference.learned()
    return bytes_too and np.array_equal(*decisions)


if __name__ == "__main__":
    run(main)
