"""Run a .tflite of edgekit's, on ai-edge-litert or on its older name tflite-runtime."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from edgekit.artifact.exported import StepDocument
from edgekit.backends.tflite.quiet import without_news
from edgekit.backends.tflite.read import read_tflite
from edgekit.backends.tflite.schema import REMEDY
from edgekit.errors import ToolchainError, UsageError

Array = npt.NDArray[Any]
Values = dict[str, Array]
STEP, RESET = "step", "reset"
PACKAGES = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter")
# which kernels: XNNPACK where it has them and TFLite's own optimised ones elsewhere, or plain loops
KERNELS: Mapping[str, str] = {
    "xnnpack": "AUTO",
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}


class TfliteStep:
    """A loaded model; `document` says what it takes and gives, `resource` whether it keeps its states inside.

    Values are arrays [1, *shape] in the dtype of their port. ArtifactError for a file that is not sound: it is checked
    as a whole before the runtime, which trusts what it is given, sees it.
    """

    def __init__(self, data: bytes, *, kernels: str = "xnnpack") -> None:
        if kernels not in KERNELS:
            raise UsageError(f"kernels {kernels!r}", "are not known", f"known are {', '.join(KERNELS)}")
        model = read_tflite(data)
        self.document: StepDocument = model.document
        self.resource = model.resource
        self.engine, package = _package()
        resolver = getattr(package.OpResolverType, KERNELS[kernels])
        try:
            with without_news():
                self._interpreter = package.Interpreter(
                    model_content=data, experimental_op_resolver_type=resolver, num_threads=1
                )
                self._interpreter.allocate_tensors()
                self._step = self._interpreter.get_signature_runner(STEP)
                self._reset = self._interpreter.get_signature_runner(RESET) if self.resource else None
        except (ValueError, RuntimeError) as error:
            raise ToolchainError(self.engine, f"cannot load the model ({error})") from error

    def initial_state(self) -> Values:
        """First values of the states that are ports; none where the model keeps them inside."""
        if self.resource:
            return {}
        return {s.name: np.asarray(s.init)[None] for s in self.document.states}

    def execute(self, inputs: Mapping[str, Array], state: Mapping[str, Array]) -> tuple[Values, Values]:
        """One step: outputs, and the states after it."""
        ports = {p.name: np.ascontiguousarray(inputs[p.name], p.dtype.numpy) for p in self.document.inputs}
        ends = () if self.resource else self.document.states
        ports |= {s.input: np.ascontiguousarray(state[s.name], s.dtype.numpy) for s in ends}
        try:
            found = cast(Values, self._step(**ports))
        except (ValueError, RuntimeError) as error:
            raise ToolchainError(self.engine, f"cannot run the step ({error})") from error
        return {p.name: found[p.name] for p in self.document.outputs}, {s.name: found[s.output] for s in ends}

    def reset(self, state: Mapping[str, Array]) -> Values:
        """The state after a reset: first values, except of states that are kept."""
        if self._reset is not None:
            self._reset()
            return {}
        fresh = self.initial_state()
        return {s.name: state[s.name] if s.reset == "keep" else fresh[s.name] for s in self.document.states}


def _package() -> tuple[str, Any]:
    """Name and version of the first runtime that is installed, and its module of interpreters."""
    from importlib.metadata import version

    failed = []
    for name in PACKAGES:
        package = name.partition(".")[0].replace("_", "-")
        try:
            found = import_module(name)
        except ModuleNotFoundError:
            continue
        except ImportError as error:
            failed.append(f"{package}: {error}")
            continue
        if package == "tflite-runtime" and int(np.__version__.partition(".")[0]) >= 2:
            failed.append(f"{package}: is built for numpy 1, here is numpy {np.__version__}: pip install 'numpy<2'")
            continue
        return f"{package} {version(package)}", found
    raise ToolchainError("TFLite", "no runtime can be used", REMEDY, failed)
