"""What weights that change cost: instructions per weight on emulated cores, of products and of updates.

python -m tools.plastic_counts [--cores smartwatch-m33,smartwatch-m4] [--sizes 64x64,128x240] [--compiler gcc]

`zero` is with three quarters of the vector zero in one piece, as when a mask keeps those rows from learning; `dense` is
`linear` on the same weights, which floats have in the place of `matvec`.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgekit.ir import FLOAT32, INT16, DType, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.runtime.build import build_program
from edgekit.runtime.streams import MachineStream
from edgekit.target import load_target
from edgekit.toolchain.emulator import emulator_for

SHIFTS = {"matvec": 17, "matvec_t": 17, "outer_add": 18}
KINDS = {INT16: ("matvec", "matvec_t", "outer_add"), FLOAT32: ("dense", "matvec_t", "outer_add")}


def program(kind: str, dtype: DType, height: int, width: int) -> Graph:
    """One op over a state of weights [height, width]."""
    b = GraphBuilder("weights")
    rows = np.random.default_rng(0).normal(size=(height, width))
    numbers = np.floor(rows / np.linalg.norm(rows, axis=1, keepdims=True) * 2**14)  # of length one, as lateral rows are
    w = b.state("w", numbers if dtype is INT16 else numbers / 2**15, dtype, reset="keep")
    tall, wide = b.input("a", (height,), dtype), b.input("b", (width,), dtype)
    shift: dict[str, Any] = {"shift": SHIFTS[kind]} if dtype is INT16 else {}
    to: dict[str, Any] = {"to": "int16"} if dtype is INT16 else {}
    if kind == "outer_add":
        b.update(w, b.op(kind, w, tall, wide, **shift))
        b.output(b.op("neg", wide))
    elif kind == "matvec_t":
        b.output(b.op(kind, tall, w, **shift, **to))
    elif kind == "matvec":
        b.output(b.op(kind, wide, w, **shift, **to))
    else:
        b.output(b.op("linear", wide, w))
    return run_passes(b.build(), LOWER)


@contextlib.contextmanager
def running(graph: Graph, core: str, compiler: str | None) -> Iterator[MachineStream]:
    """The program on the emulated core of a target."""
    target = load_target(core)
    library = build_program(graph, target, compiler=compiler).library
    with emulator_for(target)(library, target) as machine:
        yield MachineStream(graph, machine, core)


def per_weight(kind: str, dtype: DType, size: tuple[int, int], core: str, compiler: str | None) -> tuple[float, float]:
    """Instructions of the op's call for each weight: all of the vector at work, and a quarter of it."""
    graph, rng = program(kind, dtype, *size), np.random.default_rng(1)
    whole = [rng.integers(-9000, 9000, n) for n in size]
    counts = []
    with running(graph, core, compiler) as stream:
        for rest in (0, 3 * size[0] // 4):
            given = [
                v if dtype is INT16 else v / 2**15 for v in (np.where(np.arange(size[0]) < rest, 0, whole[0]), whole[1])
            ]
            _, counted = stream.measure(
                "step", [v.astype(graph.port_dtype(n)) for v, n in zip(given, "ab", strict=True)]
            )
            of = "_plastic_dense" if kind == "dense" else f"_{kind}_"
            counts.append(sum(s.instructions for s in counted.by_call if of in s.callee) / (size[0] * size[1]))
    return counts[0], counts[1]


def main() -> None:
    """Print a table for each core."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cores", default="smartwatch-m4,smartwatch-m33,smartwatch-m55,raspberrypi4")
    parser.add_argument("--sizes", default="64x64,128x240")
    parser.add_argument("--compiler", choices=("zig", "gcc", "clang"))
    asked = parser.parse_args()
    for core in asked.cores.split(","):
        for dtype, kinds in KINDS.items():
            for kind in kinds:
                for size in asked.sizes.split(","):
                    height, width = map(int, size.split("x"))
                    dense, zero = per_weight(kind, dtype, (height, width), core, asked.compiler)
                    part = "" if kind in ("dense", "matvec") else f", zero {zero:.2f}"
                    print(
                        f"{core:16} {dtype!s:8} {kind:10} {size:8} {dense:.2f} instructions a weight{part}", flush=True
                    )


if __name__ == "__main__":
    main()
