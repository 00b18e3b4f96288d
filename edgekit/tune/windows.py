"""Windows with labels, as data files hold them, and how they enter and leave the step of a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor as Values

from edgekit.convert.agreement import decision_rule, decisions
from edgekit.convert.inputs import Inputs, normalisation_of, normalised, raw_inputs
from edgekit.errors import DataError, UsageError
from edgekit.ir import Graph
from edgekit.runtime.session import DECISIONS

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows in raw units x [N, T, *shape] (of a model without states also [N, *shape]), and their classes y [N]."""

    x: Array
    y: Array

    def digest(self) -> str:
        """SHA-256 of both, with their shapes."""
        found = hashlib.sha256()
        for array in (np.asarray(self.x, np.float32), np.asarray(self.y, np.int64)):
            found.update(f"{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()


@dataclass(frozen=True, eq=False)
class Data:
    """What is trained on, and what chooses among epochs."""

    train: Windows
    valid: Windows


@dataclass(frozen=True, eq=False)
class Step:
    """A float step that takes normalised inputs, and what its io section says of windows: y = rule(step(norm(x)))."""

    graph: Graph
    meta: Mapping[str, Any]

    def __post_init__(self) -> None:
        if len(self.graph.entries["step"].inputs) != 1:
            raise UsageError("fine-tuning", "is for models with one input", "convert this one without")
        if decision_rule(self.graph, self.meta) is None:
            cause = "needs a model that decides: scores of two or more classes, and how those of a window add up"
            raise UsageError("fine-tuning", cause, 'give the io section a "decision": sum, mean or last')

    def identity(self) -> str:
        """A text that differs where the step, or what its io section says of windows, does."""
        return f"{self.graph.hash()} {json.dumps(self.meta, sort_keys=True)}"

    @property
    def rule(self) -> str:
        """How the scores of a window's steps become one: sum, mean or last."""
        return decision_rule(self.graph, self.meta) or ""

    @property
    def classes(self) -> int:
        return int(self.graph.tensors[self.graph.entries["step"].outputs[0]].shape[0])

    def check(self, thing: str, windows: Windows) -> None:
        """DataError unless the windows fit the step, and their labels are classes of it."""
        self.inputs(windows.x)
        y = windows.y
        if y.shape != (len(windows.x),) or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= self.classes:
            raise DataError(thing, f"its labels are not one class of {self.classes} for each window")

    def inputs(self, x: Array) -> Inputs:
        """Windows in raw units as the inputs of the step, [N, T, *shape]; DataError where they do not fit it."""
        spec = self.meta.get("input") or {}
        channels = len(spec.get("scale") or ())
        if spec.get("layout") == "flattened" and x.ndim == 3 and channels and x.shape[2] not in (channels, x[0].size):
            raise DataError("windows", f"have {x.shape[2]} channels, the model takes windows of {channels}")
        return raw_inputs(self.graph, self.meta, x)

    @property
    def normalisation(self) -> dict[str, tuple[Array, Array]]:
        """Offset and scale of the input, (x - offset) · scale, where there are any."""
        return normalisation_of(self.graph, self.meta)

    def normalised(self, x: Values) -> Values:
        """The same in torch, normalised as the step takes it; DataError as `inputs` raises it."""
        (laid_out,) = self.inputs(np.broadcast_to(np.float32(0), x.shape)).values()
        x = x.reshape(laid_out.shape)
        for offset, scale in self.normalisation.values():
            x = (x - torch.from_numpy(offset)) * torch.from_numpy(scale)
        return x

    def scores(self, y: Values) -> Values:
        """Scores of windows [N, C] from those of their steps [N, T, C]."""
        scores: Values = DECISIONS[self.rule](y)
        return scores

    def exact_accuracy(self, windows: Windows) -> float:
        """The share of windows, in per cent, that the step itself decides right in floats."""
        return self.accuracy(normalised(self.graph, self.meta), windows)

    def accuracy(self, program: Graph, windows: Windows) -> float:
        """The share of windows, in per cent, that a program in raw units decides right."""
        found = decisions(program, self.inputs(windows.x), self.rule)
        return float(100 * np.mean(found == windows.y))
