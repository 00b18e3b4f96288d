"""LiteRT: the step converted by litert-torch, quantised by ai-edge-quantizer, its states carried by the caller.

An integer model has a scale for a state that goes in and another for the one that comes out: whoever carries it must
requantise. What happens to those who copy the bytes is a subject of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.peers.carried import Encoding, carried
from edgekit.bench.peers.step import calibration, example, step_module
from edgekit.bench.subject import Subject
from edgekit.errors import ToolchainError

FP32, DYNAMIC, STATIC = "fp32", "dynamic_wi8_afp32", "static_wi8_ai8"


def subjects(case: Case, folder: Path, threads: int) -> dict[str, Callable[[], Subject]]:
    """Float32, int8 weights with activations quantised as they come, and int8 throughout."""
    made = partial(_subject, case, folder, threads)
    found: dict[str, Callable[[], Subject]] = {
        "LiteRT fp32": partial(made, "LiteRT fp32", FP32),
        "LiteRT dynamic int8": partial(made, "LiteRT dynamic int8", DYNAMIC),
        "LiteRT static int8": partial(made, "LiteRT static int8", STATIC),
    }
    if case.module.names:
        copied = "LiteRT static int8, states copied"
        found[copied] = partial(made, copied, STATIC, requantise=False)
    return found


def tflite_file(case: Case, folder: Path, recipe: str) -> Path:
    """The step as a .tflite file, float32 or quantised by a recipe of ai-edge-quantizer; made once for a folder."""
    path = folder / f"step.{recipe}.tflite"
    if path.is_file():
        return path
    if recipe == FP32:
        import_module("litert_torch").convert(step_module(case), example(case)).export(str(path))
        return path
    source = tflite_file(case, folder, FP32)
    recipes: Any = import_module("ai_edge_quantizer.recipe")
    quantizer = import_module("ai_edge_quantizer.quantizer").Quantizer(str(source), getattr(recipes, recipe)())
    ranges = _ranges(case, source, getattr(recipes, recipe)()) if quantizer.need_calibration else None
    quantizer.quantize(ranges).export_model(str(path), overwrite=True)
    return path


def _ranges(case: Case, source: Path, recipe: Any) -> dict[str, Any]:
    """The least and the most of every tensor over the calibration data. `Quantizer.calibrate` alone would give moving
    averages of them, which cut off what is rare.
    """
    manager: Any = import_module("ai_edge_quantizer.recipe_manager").RecipeManager()
    manager.load_quantization_recipe(recipe)
    widen: Any = import_module("ai_edge_quantizer.utils.qsv_utils").min_max_update
    calibrator: Any = import_module("ai_edge_quantizer.calibrator")
    found = calibrator.Calibrator(str(source), num_threads=1, qsv_update_func=widen)
    rows = ({f"args_{at}": value for at, value in enumerate(row)} for row in calibration(case))
    found.calibrate({"serving_default": list(rows)}, manager)
    ranges: dict[str, Any] = found.get_model_qsvs()
    return ranges


def _subject(case: Case, folder: Path, threads: int, name: str, recipe: str, *, requantise: bool = True) -> Subject:
    ports = _Ports(tflite_file(case, folder, recipe), threads)
    detail = f"LiteRT {version('ai-edge-litert')}, litert-torch {version('litert-torch')}"
    return carried(name, detail, case, ports, requantise=requantise)


class _Ports:
    """The inputs and outputs of an interpreter. The signature is not asked for them: in a quantised file it may name a
    tensor that the delegate has swallowed.
    """

    def __init__(self, path: Path, threads: int) -> None:
        module: Any = import_module("ai_edge_litert.interpreter")
        self._interpreter = module.Interpreter(model_path=str(path), num_threads=threads)
        self._interpreter.allocate_tensors()
        inputs = sorted(self._interpreter.get_input_details(), key=_place)
        outputs = sorted(self._interpreter.get_output_details(), key=_place)
        self.inputs, self.outputs = [_encoding(d) for d in inputs], [_encoding(d) for d in outputs]
        self._given, self._taken = [d["index"] for d in inputs], [d["index"] for d in outputs]
        self.invoke: Callable[[], None] = self._interpreter.invoke

    def give(self, at: int, value: Any) -> None:
        """Set an input."""
        self._interpreter.set_tensor(self._given[at], value)

    def take(self, at: int) -> Any:
        """A copy of an output."""
        return self._interpreter.get_tensor(self._taken[at])


def _place(detail: Any) -> int:
    """The number in a name such as serving_default_args_2:0 or StatefulPartitionedCall_output_2."""
    found = re.search(r"(?:args|output)_(\d+)", str(detail["name"]))
    if found is None:
        raise ToolchainError(f"port {detail['name']}", "has no number")
    return int(found.group(1))


def _encoding(detail: Any) -> Encoding:
    scale, zero = detail["quantization"]
    return Encoding(np.dtype(detail["dtype"]), float(scale), int(zero))
