"""Products of matrices in blocks and of whole ones: instructions of each, by instruction set, coverage and length.

A program holds many linears over matrices of which blocks cover so much; it is written twice, in blocks and whole, and
the instructions of each linear are counted on the core, with all that it calls.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.c import Program
from edgekit.backends.c.integer import Flavour, emit_integer
from edgekit.backends.c.integer.blocks import LINES
from edgekit.errors import ToolchainError
from edgekit.ir import INT4, INT8, INT16, SPIKE, DType, Graph, GraphBuilder
from edgekit.ir.blocks import Block
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime.streams import MachineStream
from edgekit.target import Target, firmware_files, load_target
from edgekit.toolchain import build_firmware, build_object, build_shared, emulator_for
from tools.single_step import count_functions

Array = npt.NDArray[Any]
INPUTS: Mapping[int, DType] = {8: INT8, 16: INT16}
WEIGHTS: Mapping[int, DType] = {4: INT4, 8: INT8, 16: INT16}
LARGEST: Mapping[int, int] = {4: 7, 8: 127, 16: 900}
TILE = "_tile"
FORMS = (*(f"x{x}_w{w}" for x in INPUTS for w in WEIGHTS), *(f"event_w{w}" for w in WEIGHTS))
TILED = tuple(f"{form}{TILE}" for form in FORMS if form.startswith("x"))
OTHERS = 32  # outputs of a matrix over numbers, neurons of one over spikes
FIRED = 4  # of those


@dataclass(frozen=True)
class Core:
    """What counts for an instruction set: a target, and for this computer what its compiler may use."""

    name: str
    target: str
    cpu: str = ""
    flags: tuple[str, ...] = ()

    @property
    def device(self) -> Target:
        """The target that programs are built for."""
        target = load_target(self.target)
        return replace(target, cpu=self.cpu) if self.cpu else target


# instruction set -> the cores that count for it: a matrix goes in blocks where that is worth it on all of them
CORES: Mapping[str, tuple[Core, ...]] = {
    "portable": (Core("Cortex-M4, plain C", "smartwatch-m4"),),
    "dsp": (Core("Cortex-M4", "smartwatch-m4"),),
    "mve": (Core("Cortex-M55", "smartwatch-m55"),),
    "neon": (Core("Cortex-A72", "raspberrypi4"), Core("Cortex-A76", "raspberrypi5")),
    "neon32": (Core("Cortex-A7", "stm32mp157"),),
    "avx2": (Core("x86-64, AVX2", "host", "x86_64_v3"),),
    "avx512": (Core("x86-64, AVX-512", "host", "x86_64_v4"),),
    "vnni": (Core("x86-64, VNNI", "host"),),
}


@dataclass(frozen=True)
class Case:
    """One matrix: the form of its product, bits of its sums, length of its rows, and how much of it blocks cover.

    Of a scattered one `coverage` is the share of its weights that are not zero, anywhere.
    """

    flavour: Flavour
    form: str
    bits: int
    length: int
    coverage: float
    scattered: bool = False

    @property
    def spikes(self) -> bool:
        return self.form.startswith("event")

    @property
    def weight(self) -> DType:
        return WEIGHTS[int(self.form.removesuffix(TILE).rpartition("_w")[2])]

    @property
    def block(self) -> Block:
        """The block of W[out, in] that the form keeps."""
        if self.form.endswith(TILE):
            return Block(8, 4 if self.weight.bits < 16 else 2)
        per = LINES[self.flavour.name]
        return Block(per, 1) if self.spikes else Block(1, per)


@dataclass(frozen=True)
class Counted:
    """Instructions of the product in blocks, and of the whole one, and what their kernels are called."""

    case: Case
    blocks: int
    whole: int
    kernel: str
    beside: str


def matrix(case: Case, rng: np.random.Generator) -> tuple[Array, float]:
    """W[out, in] of which aligned blocks cover so much, at random places, and how much they do.

    The first row is long, so that there are no spans of neighbouring inputs.
    """
    shape, block = (case.length, OTHERS) if case.spikes else (OTHERS, case.length), case.block
    chosen = np.zeros((-(-shape[0] // block.outputs), -(-shape[1] // block.inputs)), bool)
    line = chosen.T if case.spikes else chosen
    places = line.shape[1]
    line[0, [0, places // 2, places - 1]] = True
    left = np.flatnonzero(~chosen)
    more = max(0, round(case.coverage * chosen.size) - int(chosen.sum()))
    chosen.reshape(-1)[rng.permutation(left)[:more]] = True
    if case.scattered:
        chosen = np.zeros(shape, bool)
        chosen.reshape(-1)[rng.permutation(chosen.size)[: round(case.coverage * chosen.size)]] = True
        block = Block(1, 1)
    mask = np.repeat(np.repeat(chosen, block.outputs, axis=0), block.inputs, axis=1)[: shape[0], : shape[1]]
    high = LARGEST[case.weight.bits]  # of too many values for a palette
    weights = np.where(mask, rng.choice([-1, 1], shape) * rng.integers(1, high + 1, shape), 0)
    return weights, float(chosen.mean())


def program_of(cases: Sequence[Case], name: str) -> tuple[Graph, list[float]]:
    """One linear for each case, and how much of each matrix is covered."""
    b, rng = GraphBuilder(name, dt=None), np.random.default_rng(7)
    outs, covered = [], []
    inputs: dict[tuple[str, int], str] = {}
    for at, case in enumerate(cases):
        n_in = OTHERS if case.spikes else case.length
        kind = "s" if case.spikes else case.form.split("_")[0]
        if (kind, n_in) not in inputs:
            dtype = SPIKE if case.spikes else INPUTS[int(kind[1:])]
            inputs[kind, n_in] = b.input(f"{kind}_{n_in}", (n_in,), dtype)
            if case.spikes:  # whoever reads them first lists them
                nothing = b.const(f"first{at}", rng.integers(1, 8, (1, n_in)), case.weight)
                b.output(b.op("linear", inputs[kind, n_in], nothing, accumulate="int16"))
        data, share = matrix(case, rng)
        covered.append(share)
        weights = b.const(f"w{at}", data, case.weight)
        y = b.op("linear", inputs[kind, n_in], weights, accumulate=f"int{case.bits}")
        outs.append(y if case.bits == 32 else b.op("cast", y, to="int32"))
    b.output(b.op("concat", *outs, axis=0))
    return run_passes(b.build(), LOWER), covered


def stimulus(graph: Graph) -> list[Array]:
    """Numbers none of which is zero, and spikes of a few neurons."""
    rng, arrays = np.random.default_rng(3), []
    for name in graph.entries["step"].inputs:
        tensor = graph.tensors[name]
        if tensor.dtype is SPIKE:
            fired = np.zeros(tensor.shape, np.int8)
            fired[rng.choice(tensor.size, FIRED, replace=False)] = 1
            arrays.append(fired)
        else:
            arrays.append(rng.integers(1, 100, tensor.shape).astype(tensor.dtype.numpy))
    return arrays


def count(cases: Sequence[Case], core: Core) -> list[Counted]:
    """Instructions of every case on a core, in blocks and whole; those that no kernel of blocks runs are left out."""
    found = []
    graph, covered = program_of(cases, "density")
    for thresholds in ({case.form: {0: 99.0} for case in cases}, {}):
        flavour = replace(cases[0].flavour, densities=thresholds)
        program = emitted(graph, flavour)
        linears = [k for k in program.kernels if k.entry == "step" and k.kind == "linear"]
        mine = [k for k in linears if not graph.entries["step"].ops[k.op].inputs[1].startswith("first")]
        counts = instructions(program, graph, core, [k.symbol for k in mine])
        found.append([(k.kernel, counts[k.symbol]) for k in mine])
    return [
        Counted(replace(case, coverage=share), blocks, whole, kernel, beside)
        for case, share, (kernel, blocks), (beside, whole) in zip(cases, covered, *found, strict=True)
        if "block" in kernel or "tile" in kernel
    ]


def emitted(graph: Graph, flavour: Flavour) -> Program:
    """The C of a graph in a flavour."""
    plan = plan_memory(graph, align=flavour.align, lanes=flavour.lanes)
    return emit_integer(graph, plan, flavour, graph.name)


def instructions(program: Program, graph: Graph, core: Core, symbols: Iterable[str]) -> dict[str, int]:
    """Instructions of one step in each of the functions, with all that they call."""
    device, inputs = core.device, stimulus(graph)
    image = built(program, device)
    if device.is_host:
        return _counted_here(program, graph, image, list(symbols))
    with emulator_for(device)(image, device) as machine:
        stream = MachineStream(graph, machine, core.name)
        _, result = stream.measure("step", inputs)
    counts = dict.fromkeys(symbols, 0)
    for site in result.by_call:
        if site.callee in counts:
            counts[site.callee] += site.instructions
    return counts


def built(program: Program, device: Target) -> bytes:
    """The machine code of a program."""
    if not device.is_bare:
        return build_shared(program.files, program.main, device)
    return build_firmware(build_object(program.files, program.main, device), firmware_files(), device)


def _counted_here(program: Program, graph: Graph, image: bytes, symbols: list[str]) -> dict[str, int]:
    inputs, prefix = stimulus(graph), f"ek_{program.name}"
    outputs = [np.zeros(graph.tensors[n].shape, graph.port_dtype(n)) for n in graph.entries["step"].outputs]
    struct = np.zeros(program.struct_bytes + 64, np.uint8)
    at = ctypes.c_void_p(-(-struct.ctypes.data // 64) * 64)

    def call(library: ctypes.CDLL) -> None:
        library[f"{prefix}_init"](at)
        library[f"{prefix}_step"](at, *(ctypes.c_void_p(a.ctypes.data) for a in (*inputs, *outputs)))

    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder) / "program.so"
        path.write_bytes(image)
        return count_functions(path, {s: s for s in symbols}, call)


def is_here(core: Core) -> bool:
    """Whether this computer can count for a core."""
    if core.target != "host":
        return True
    try:
        known = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError as error:
        raise ToolchainError("/proc/cpuinfo", "cannot be read", "count on Linux") from error
    return {"x86_64_v3": "avx2", "x86_64_v4": "avx512bw"}.get(core.cpu, "avx512_vnni") in known
