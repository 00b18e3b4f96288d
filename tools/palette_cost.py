"""What weights of few distinct values cost: bytes of flash, and instructions a weight, on the emulated cores.

python -m tools.palette_cost [--targets smartwatch-m4,smartwatch-m33,…] [--page docs/PALETTES.md]

One product of a matrix of 128 x 128, on A-class cores and here 512 x 512, with a vector of int8, of int16, and of
spikes a quarter of which fired; sums are int32, those of spikes int16. Every program gave the bytes of the numpy
reference before it was counted; on the host instructions are counted one by one. With --page the tables take the place
of those that the page has between two marks.
"""

from __future__ import annotations

import argparse
import ctypes
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.artifact.atomic import write_atomic
from edgekit.ir import INT4, INT8, INT16, SPIKE, DType, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.profile.grades import EMULATED, MEASURED
from edgekit.runtime.build import build_program, emitted_for
from edgekit.runtime.load import program_stream
from edgekit.runtime.streams import MachineStream, ReferenceStream
from edgekit.target import load_target
from tools.single_step import count_functions

SMALL, LARGE = 128, 512  # inputs and outputs; of A-class cores, on which only large matrices are stored so
ACTIVITY = 0.25
MARK = "<!-- tables: python -m tools.palette_cost -->"
TARGETS = ("smartwatch-m4", "smartwatch-m33", "smartwatch-m55", "raspberrypi4", "host")
# what the weights are: how many distinct values, of which dtype; of few neighbouring ones, or anywhere
WEIGHTS: dict[str, tuple[tuple[int, ...], DType]] = {
    "int8": (tuple(range(-127, 128)), INT8),
    "int4": (tuple(range(-7, 8)), INT4),
    "16 levels": ((-128, -99, -76, -55, -40, -27, -15, -4, 0, 9, 20, 33, 48, 66, 91, 127), INT8),
    "8 levels": ((-90, -61, -31, -9, 0, 18, 51, 97), INT8),
    "4 levels": ((-60, -13, 0, 41), INT8),
    "ternary": ((-1, 0, 1), INT4),
}
INPUTS: dict[str, DType] = {"int8": INT8, "int16": INT16, "spikes": SPIKE}


@dataclass(frozen=True)
class Cost:
    """Of one product: its kernel, the bytes of its constants, its weights, and the instructions for each."""

    kernel: str
    nbytes: int
    weights: int
    each: float


def product(weights: str, inputs: str, n: int) -> Graph:
    """One linear with such weights and inputs."""
    levels, dtype = WEIGHTS[weights]
    rng, b = np.random.default_rng(1), GraphBuilder(f"cost_{weights.replace(' ', '_')}_{inputs}")
    data = rng.choice(levels, (n, n))
    data.reshape(-1)[: len(levels)] = levels
    total = "int16" if INPUTS[inputs] is SPIKE else "int32"
    b.output(b.op("linear", b.input("x", (n,), INPUTS[inputs]), b.const("w", data, dtype), accumulate=total))
    return run_passes(b.build(), LOWER)


def stimulus(inputs: str, steps: int, n: int) -> np.ndarray:
    """Inputs of so many steps; of spikes just the quarter that fires."""
    rng = np.random.default_rng(2)
    if INPUTS[inputs] is SPIKE:
        fired = np.arange(n) < ACTIVITY * n
        return np.stack([rng.permutation(fired) for _ in range(steps)]).astype(np.int8)
    low, high = INPUTS[inputs].limits
    return rng.integers(low, high + 1, (steps, n)).astype(INPUTS[inputs].numpy)


def cost(target: str, weights: str, inputs: str) -> Cost:
    """Build, check and count one product."""
    device = load_target(target)
    n = SMALL if device.is_bare else LARGE
    graph = product(weights, inputs, n)
    emitted, _ = emitted_for(graph, device)
    use = next(use for use in emitted.kernels if use.kind == "linear")
    program = build_program(graph, device)
    stream = program_stream(graph, program, device)
    x = stimulus(inputs, 4, n)
    wanted = [ReferenceStream(graph).call("step", [row])[0] for row in x]
    for row, right in zip(x, wanted, strict=True):
        if not np.array_equal(stream.call("step", [row])[0], right):
            raise SystemExit(f"{graph.name} on {target} is not what the reference says")
    done = n * n * (ACTIVITY if INPUTS[inputs] is SPIKE else 1)
    if isinstance(stream, MachineStream):
        _, counted = stream.measure("step", [x[-1]])
        instructions = sum(site.instructions for site in counted.by_call if site.callee == use.symbol)
    else:
        instructions = _here(graph, emitted.struct_bytes, program.library, use.symbol, x[-1])
    return Cost(use.kernel, emitted.const_bytes, n * n, instructions / done)


def _here(graph: Graph, nbytes: int, library: bytes, symbol: str, x: np.ndarray) -> int:
    """Instructions of a function in one step on this computer."""
    y = graph.tensors[graph.entries["step"].outputs[0]]
    struct, out, prefix = np.zeros(nbytes + 64, np.uint8), np.zeros(y.shape, y.dtype.numpy), f"ek_{graph.name}"
    at = ctypes.c_void_p(-(-struct.ctypes.data // 64) * 64)

    def call(handle: ctypes.CDLL) -> None:
        handle[f"{prefix}_init"](at)
        handle[f"{prefix}_step"](at, ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(out.ctypes.data))

    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder) / "program.so"
        path.write_bytes(library)
        return count_functions(path, {symbol: symbol}, call)[symbol]


def lines(target: str) -> Iterator[str]:
    """A table of one target."""
    device = load_target(target)
    core, grade = (device.cpu, MEASURED) if device.is_host else (device.emulated_core, EMULATED)
    yield f"**{target}** ({core}): instructions a weight, {grade}."
    yield ""
    yield f"| weights | bits each | bytes | {' | '.join(f'x {x}' for x in INPUTS)} | kernels |"
    yield f"|---|---:|---:|{'---:|' * len(INPUTS)}---|"
    for weights in WEIGHTS:
        found = [cost(target, weights, inputs) for inputs in INPUTS]
        kernels = ", ".join(dict.fromkeys(f"`{f.kernel.removeprefix('linear_')}`" for f in found))
        nbytes, costs = found[0].nbytes, [f"{f.each:.3f}" for f in found]
        yield f"| {' | '.join([weights, f'{8 * nbytes / found[0].weights:.2f}', f'{nbytes:,}', *costs, kernels])} |"
    yield ""


def main() -> None:
    """Print a table of each target, or write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    tables = []
    for target in args.targets.split(","):
        for line in lines(target):
            print(line, flush=True)
            tables.append(line)
    if args.page is not None:
        before, _, after = args.page.read_text(encoding="utf-8").split(MARK)
        text = "\n".join([f"{before}{MARK}", "", *tables]) + f"{MARK}{after}"
        write_atomic(args.page, text.encode())


if __name__ == "__main__":
    main()
