"""ExecuTorch: the step exported by torch.export and lowered to XNNPACK, in float32 and int8; states stay float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edgekit.bench.cases import Case
from edgekit.bench.peers.step import calibration, example, step_module
from edgekit.bench.subject import PythonSubject, Subject

_WAYS = {"fp32": None, "static int8": False, "dynamic int8": True}  # whether activations are quantised as they come


def subjects(case: Case, folder: Path, threads: int) -> dict[str, Callable[[], Subject]]:
    """Float32, and int8 by torchao's recipe for XNNPACK."""
    found: dict[str, Callable[[], Subject]] = {}
    for way in _WAYS:
        name = f"ExecuTorch XNNPACK {way}"
        found[name] = partial(_subject, name, way, case, folder, threads)
    return found


def _subject(name: str, way: str, case: Case, folder: Path, threads: int) -> Subject:
    path = _file(case, folder, way)
    library: Any = import_module("executorch.extension.pybindings.portable_lib")
    library._unsafe_reset_threadpool(threads)
    torch: Any = import_module("torch")
    method = import_module("executorch.runtime").Runtime.get().load_program(path).load_method("forward")
    _, *start = example(case)
    states: list[Any] = []

    def reset() -> None:
        states[:] = [state.clone() for state in start]

    def step(x: Any) -> Any:
        y, *states[:] = method.execute((x, *states))
        return y

    reset()
    detail = f"ExecuTorch {version('executorch')}, XNNPACK"
    return PythonSubject(name, detail, case, lambda row: torch.from_numpy(row[None].copy()), reset, step)


def _file(case: Case, folder: Path, way: str) -> Path:
    path = folder / f"step.{way.replace(' ', '_')}.pte"
    if path.is_file():
        return path
    torch: Any = import_module("torch")
    lower: Any = import_module("executorch.exir").to_edge_transform_and_lower
    partitioners: Any = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    module, inputs, dynamic = step_module(case), example(case), _WAYS[way]
    if dynamic is not None:
        module = _quantised(case, torch.export.export(module, inputs).module(), dynamic=dynamic)
    partitioner = partitioners.XnnpackDynamicallyQuantizedPartitioner if dynamic else partitioners.XnnpackPartitioner
    program = lower(torch.export.export(module, inputs), partitioner=[partitioner()]).to_executorch()
    path.write_bytes(program.buffer)
    return path


def _quantised(case: Case, module: Any, *, dynamic: bool) -> Any:
    torch: Any = import_module("torch")
    pt2e: Any = import_module("torchao.quantization.pt2e.quantize_pt2e")
    xnnpack: Any = import_module("executorch.backends.xnnpack.quantizer.xnnpack_quantizer")
    recipe = xnnpack.get_symmetric_quantization_config(is_per_channel=True, is_dynamic=dynamic)
    prepared = pt2e.prepare_pt2e(module, xnnpack.XNNPACKQuantizer().set_global(recipe))
    with torch.no_grad():
        for row in calibration(case):
            prepared(*map(torch.from_numpy, row))
    return pt2e.convert_pt2e(prepared)
