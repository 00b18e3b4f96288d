"""A dense associative memory from PyTorch to an integer program that stores patterns on the device.

    python examples/memory.py
    python examples/memory.py --target smartwatch -o memory.edge

Patterns are +1 and -1; a cue is a pattern with some bits turned, and the memory completes it. First how much is
completed by memories of different power, then the program: it stores new patterns itself, by a rule that is part of it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from road import packages, parser, profiled, run

import edgekit

with packages():
    import torch

    from edgekit.models import Memory

SIZE, KNOWN, NEW, FLIPPED, STEPS = 64, 8, 24, 8, 4


def damaged(patterns: torch.Tensor, flipped: int) -> torch.Tensor:
    """The patterns with some of their bits turned."""
    where = torch.rand(patterns.shape).argsort(dim=1) < flipped
    return torch.where(where, -patterns, patterns)


def main() -> None:
    options = parser(__doc__, target="host", precision="int8").parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    patterns = torch.where(torch.rand(200, SIZE) < 0.5, -1.0, 1.0)
    cues = damaged(patterns, FLIPPED)
    for name, power in (("power 2 (Hopfield)", 2), ("power 3", 3), ("exponential", None)):
        counts = []
        for stored in (4, 40, 200):
            memory = Memory(inputs=SIZE, capacity=stored, power=power)
            memory.store(patterns[:stored])
            whole = (memory.recall(cues[:stored], STEPS) == patterns[:stored]).all(dim=1)
            counts.append(f"{int(whole.sum())} of {stored}")
        print(f"{name}: completed {', '.join(counts)} patterns of {SIZE} bits, {FLIPPED} of them turned")

    model = Memory(inputs=SIZE, capacity=KNOWN + NEW)
    model.store(patterns[:KNOWN])
    model.eval()
    given = cues[:, None].expand(-1, STEPS, -1).numpy()
    artifact = edgekit.convert(
        model, target=options.target, precision=options.precision, calib=given, learn="store", name="memory"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = options.output or Path(folder) / "memory.edge"
        artifact.save(path)
        session, reference = edgekit.load(path), edgekit.load(path, engine="reference")
        print(f"converted  {path.name}: {path.stat().st_size:,} bytes, {options.precision}, on {session.engine}")

    before = session.run(given[: KNOWN + NEW])[:, -1] > 0
    known = (before[:KNOWN] == (patterns[:KNOWN] > 0).numpy()).all(axis=1).sum()
    print(f"as it was converted: {known} of {KNOWN} completed")
    for pattern in patterns[KNOWN : KNOWN + NEW].numpy():
        for each in (session, reference):
            each.learn(pattern)
    after = session.run(given[: KNOWN + NEW])[:, -1] > 0
    right = (after == (patterns[: KNOWN + NEW] > 0).numpy()).all(axis=1)
    print(f"learned on the device: {right[KNOWN:].sum()} of {NEW}, still known: {right[:KNOWN].sum()} of {KNOWN}")
    same = session.learned() == reference.learned()
    print(f"verified   program and reference hold the same bytes: {same}")
    profiled(artifact, given)
    if not same:
        raise SystemExit(1)


if __name__ == "__main__":
    run(main)
