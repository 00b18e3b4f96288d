"""A dense associative memory from PyTorch to an integer program that stores patterns on the device.

python examples/memory.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

import edgekit
from edgekit.models import Memory

SIZE, KNOWN, NEW, FLIPPED, STEPS = 64, 8, 24, 8, 4


def damaged(patterns: torch.Tensor, flipped: int) -> torch.Tensor:
    """The patterns with some of their bits turned."""
    where = torch.rand(patterns.shape).argsort(dim=1) < flipped
    return torch.where(where, -patterns, patterns)


def main() -> None:
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
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.host.edge"
        edgekit.convert(model, target="host", precision="int8", calib=given, learn="store").save(path)
        session = edgekit.load(path)
        print(f"{path.name}: {path.stat().st_size:,} bytes, engine {session.engine}")

        before = session.run(given[: KNOWN + NEW])[:, -1] > 0
        known = (before[:KNOWN] == (patterns[:KNOWN] > 0).numpy()).all(axis=1).sum()
        print(f"as it was converted: {known} of {KNOWN} completed")
        reference = edgekit.load(path, engine="reference")
        for pattern in patterns[KNOWN : KNOWN + NEW].numpy():
            for each in (session, reference):
                each.learn(pattern)
        after = session.run(given[: KNOWN + NEW])[:, -1] > 0
        right = (after == (patterns[: KNOWN + NEW] > 0).numpy()).all(axis=1)
        print(f"learned on the device: {right[KNOWN:].sum()} of {NEW}, still known: {right[:KNOWN].sum()} of {KNOWN}")
        print(f"native and reference hold the same bytes {session.learned() == reference.learned()}")


if __name__ == "__main__":
    main()
