"""Instructions of a window of the HAR L2MU as its weights go: single ones, blocks, whole units, and units and blocks.

Masks are by magnitude and nothing is tuned afterwards: what is counted is what the kernels make of the zeros. How often
neurons fire changes with the weights that are left, and instructions with it, so that both are given.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.backends.c import SUPPORTED, emit
from edgekit.backends.c.integer import flavour_of
from edgekit.compress.gone import closure
from edgekit.compress.shrink import Units, units, without
from edgekit.convert.inputs import normalised
from edgekit.convert.integer import IntegerStage, stored_inputs
from edgekit.convert.options import Options
from edgekit.convert.progress import silent
from edgekit.demo.har.data import load_windows
from edgekit.frontends import Imported, import_file
from edgekit.ir import SCALAR_OPS, SPIKE, Graph
from edgekit.ir.blocks import Block, block_for
from edgekit.passes.activity import measure_activity
from edgekit.passes.choose_forms import choose_forms
from edgekit.passes.legalize import legalize
from edgekit.passes.pipelines import FOR_INTEGERS, LOWER, OPTIMISE, run_passes
from edgekit.passes.plan_memory import plan_memory
from edgekit.reference import Interpreter
from edgekit.runtime.streams import MachineStream
from edgekit.toolchain import emulator_for
from tools.density_counts import Core, built
from tools.single_step import count_functions

Array = npt.NDArray[Any]
CHECKPOINT = Path(__file__).parent.parent / "examples" / "har" / "checkpoints" / "l2mu_B.pt"
DENSITIES = (1.0, 0.5, 0.3, 0.2, 0.15, 0.1)
WINDOWS = 4  # that are counted, spread over the test subjects
FEW_INPUTS = 8  # matrices over fewer stay whole
SINGLE = Block(1, 1)


@dataclass(frozen=True, eq=False)
class Model:
    """The imported model, its optimised step, and windows to calibrate with and to count over."""

    imported: Imported
    graph: Graph
    calibration: Array
    counted: Array


KINDS = ("single weights", "blocks", "units", "units and blocks")


@dataclass(frozen=True)
class Point:
    """Instructions of a window, and how many neurons fire in a step of it; `density` is the weights that are left."""

    kind: str
    density: float
    instructions: float
    fired: float


def l2mu() -> Model:
    """The checkpoint of split B."""
    windows, split = load_windows("B")
    imported = import_file(CHECKPOINT)
    chosen = split.test[:: len(split.test) // WINDOWS][:WINDOWS]
    graph = run_passes(imported.graph, (*OPTIMISE, *FOR_INTEGERS))
    x = np.asarray(windows.x, np.float32)
    return Model(imported, graph, x[split.validation][::4], x[chosen])


def matrices(graph: Graph) -> dict[str, bool]:
    """The weights of the linears of a step, and whether they are read by spikes."""
    linears = [op for op in graph.entries["step"].ops if op.kind == "linear"]
    return {op.inputs[1]: graph.tensors[op.inputs[0]].dtype is SPIKE for op in linears}


def weights_of(graph: Graph) -> int:
    """How many weights of linears are not zero."""
    return sum(int(np.count_nonzero(graph.tensors[w].data)) for w in matrices(graph))


def masked(graph: Graph, left: int, block_of: Callable[[bool], Block]) -> Graph:
    """The graph with `left` weights: of each row the same share of blocks, those of the largest weights.

    A row is what a neuron that fires adds, or what an output reads of numbers: where all of them keep as much, a step
    costs as little whichever neurons fire.
    """
    large = {w: spikes for w, spikes in matrices(graph).items() if graph.tensors[w].shape[1] >= FEW_INPUTS}
    size = sum(graph.tensors[w].size for w in large)
    other = weights_of(graph) - sum(int(np.count_nonzero(graph.tensors[w].data)) for w in large)
    share = min(1.0, max(0, left - other) / max(size, 1))
    tensors = dict(graph.tensors)
    for w, spikes in large.items():
        data, block = np.asarray(tensors[w].data), block_of(spikes)
        pads = [(0, -n % b) for n, b in zip(data.shape, (block.outputs, block.inputs), strict=True)]
        whole = np.pad(np.abs(data), pads)
        parts = whole.reshape(len(whole) // block.outputs, block.outputs, -1, block.inputs)
        norm = parts.sum(axis=(1, 3))
        axis = 0 if spikes else 1
        rank = np.argsort(np.argsort(-norm, axis=axis, kind="stable"), axis=axis)
        kept = rank < max(1, round(share * norm.shape[axis]))
        spread = np.broadcast_to(kept[:, None, :, None], parts.shape).reshape(whole.shape)
        tensors[w] = replace(tensors[w], data=np.where(spread[: data.shape[0], : data.shape[1]], data, 0))
    return graph.replace(tensors=tensors)


def smaller(graph: Graph, left: int, rates: Mapping[str, Array]) -> Graph:
    """The graph without as many of its units as leave no more than so many weights.

    Memory orders whose neurons hardly fire go first; then the same share of every other group of units, those with the
    smallest weights first.
    """
    for group in units(graph):
        rate = rates.get(group.value)
        if rate is not None and rate.ndim == 2 and group.axis == 1:
            silent_ones = np.flatnonzero(rate.mean(axis=0) < RARE)
            if 0 < silent_ones.size < group.size and weights_of(graph) > left:
                graph = without(graph, {group: silent_ones.tolist()})
    groups = {group: order_of(graph, group) for group in units(graph) if group.axis == 0}
    best = graph
    for share in np.linspace(0, 1, 41)[1:-1]:
        if weights_of(best) <= left:
            break
        best = without(graph, {g: order[: round(share * g.size)].tolist() for g, order in groups.items()})
    return best


RARE = 0.01  # of steps in which a neuron fires


def order_of(graph: Graph, group: Units) -> Array:
    """The units of a group from those whose weights are smallest."""
    sums = []
    for at in range(group.size):
        mask = np.zeros(graph.tensors[group.value].shape, bool)
        np.moveaxis(mask, group.axis, 0)[at] = True
        gone = closure(graph, {group.value: mask})
        sums.append(sum(float(np.abs(np.asarray(graph.tensors[w].data)[gone[w]]).sum()) for w in matrices(graph)))
    return np.argsort(np.array(sums), kind="stable")


def variants(model: Model, density: float, simd: str) -> dict[str, Graph]:
    """The step at a density, in every way to get there."""
    total = weights_of(model.graph)
    left, half = round(density * total), round(np.sqrt(density) * total)
    rates = firing(model)

    def block_of(spikes: bool) -> Block:
        return block_for(simd, spikes=spikes)

    fewer = smaller(model.graph, half, rates)
    return {
        "single weights": masked(model.graph, left, lambda _: SINGLE),
        "blocks": masked(model.graph, left, block_of),
        "units": smaller(model.graph, left, rates),
        "units and blocks": masked(fewer, left, block_of),
    }


def firing(model: Model) -> dict[str, Array]:
    """How often each spike of a state fires."""
    graph = run_passes(normalised(model.graph, model.imported.io or {}), OPTIMISE)
    interpreter, step = Interpreter(graph), graph.entries["step"]
    x = model.calibration[::8]
    state = interpreter.initial_state(len(x))
    rates: dict[str, Array] = {}
    for t in range(x.shape[1]):
        values = interpreter.trace({step.inputs[0]: x[:, t]}, state)
        state = {s.tensor: values[step.updates.get(s.tensor, s.tensor)] for s in graph.states}
        for name, value in state.items():
            if graph.tensors[name].dtype is SPIKE:
                rates[name] = rates.get(name, 0) + value.mean(axis=0) / x.shape[1]
    return rates | {n.replace("spikes", "membrane"): r for n, r in rates.items()}


def lowered(model: Model, graph: Graph) -> tuple[Graph, Array]:
    """The int8 program of a step, and the windows to count over as it takes them."""
    options = Options(precision="int8", calib=model.calibration)
    (name,) = graph.entries["step"].inputs
    stage = IntegerStage.run(graph, model.imported.io or {}, options, {name: model.calibration}, silent)
    program = run_passes(legalize(stage.graph, SUPPORTED | SCALAR_OPS.keys(), "C"), LOWER)
    stored = stored_inputs(program, {name: model.calibration})
    program = choose_forms(program, measure_activity(program, {n: a[:8] for n, a in stored.items()}, typical=True))
    (counted,) = stored_inputs(program, {name: model.counted}).values()
    return program, counted


def fired_in(graph: Graph, windows: Array) -> float:
    """How many neurons of a program fire in a step, in the mean over windows."""
    interpreter, step = Interpreter(graph), graph.entries["step"]
    state, total = interpreter.initial_state(len(windows)), 0.0
    for t in range(windows.shape[1]):
        values = interpreter.trace({step.inputs[0]: windows[:, t]}, state)
        state = {s.tensor: values[step.updates.get(s.tensor, s.tensor)] for s in graph.states}
        total += sum(float((a != 0).sum()) for n, a in state.items() if graph.tensors[n].dtype is SPIKE)
    return float(total / windows.shape[1] / len(windows))


def count_window(graph: Graph, windows: Array, simd: str, core: Core) -> float:
    """Mean instructions of a window, reset before each."""
    flavour = flavour_of(simd)
    program = emit(graph, plan_memory(graph, align=flavour.align, lanes=flavour.lanes), simd=simd)
    image = built(program, core.device)
    if core.device.is_host:
        return _window_here(graph, image, windows)
    with emulator_for(core.device)(image, core.device) as machine:
        stream = MachineStream(graph, machine, core.name)
        stream.counting = True
        for window in windows:
            stream.reset()
            stream.run([window])
        return stream.total_instructions() / len(windows)


def _window_here(graph: Graph, image: bytes, windows: Array) -> float:
    prefix = f"ek_{graph.name}"
    shapes = {n: (windows.shape[1], *graph.tensors[n].shape) for n in graph.entries["step"].outputs}
    outputs = [np.zeros(shape, graph.port_dtype(n)) for n, shape in shapes.items()]
    flat = [np.ascontiguousarray(w) for w in windows[:1]]  # instruction by instruction: one has to do

    def call(library: ctypes.CDLL) -> None:
        struct = np.zeros(int(library[f"{prefix}_sizeof"]()) + 64, np.uint8)
        at = ctypes.c_void_p(-(-struct.ctypes.data // 64) * 64)
        for window in flat:
            library[f"{prefix}_init"](at)
            arrays = (ctypes.c_void_p(a.ctypes.data) for a in (window, *outputs))
            library[f"{prefix}_run"](at, ctypes.c_uint32(len(window)), *arrays)

    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder) / "program.so"
        path.write_bytes(image)
        return count_functions(path, {"run": f"{prefix}_run"}, call)["run"] / len(flat)


def curve(model: Model, simd: str, core: Core) -> list[Point]:
    """The whole program, then each density in each way."""
    total = weights_of(model.graph)
    points = []
    for density in DENSITIES:
        steps = {"whole": model.graph} if density == 1 else variants(model, density, simd)
        for kind, step in steps.items():
            graph, windows = lowered(model, step)
            count = count_window(graph, windows, simd, core)
            points.append(Point(kind, weights_of(step) / total, count, fired_in(graph, windows)))
    return points
