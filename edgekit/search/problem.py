"""What is compressed, for what, and how it is judged: all that a trial needs, in plain values that travel."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit._version import __version__
from edgekit.artifact import check_io, check_meta
from edgekit.compress.calibrate import Calibration, calibrate
from edgekit.convert.agreement import decision_rule
from edgekit.convert.inputs import Inputs, normalisation_of, normalised, raw_inputs
from edgekit.convert.options import CALIBRATION_METHODS
from edgekit.convert.pipeline import with_free_name
from edgekit.errors import DataError, UsageError
from edgekit.ir import Graph
from edgekit.ir.document import from_document, to_document
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes
from edgekit.search.judging import Jury
from edgekit.target import Target, load_target
from edgekit.toolchain import find_compiler

if TYPE_CHECKING:
    from edgekit.frontends import Imported

Array = npt.NDArray[Any]

CALIBRATION = 512  # windows that scales are read off in each trial, and in the program that is chosen
COUNTED = 4  # windows whose instructions are counted
QUICK = 1024  # windows that sensitivities are measured on


@dataclass(frozen=True)
class Windows:
    """Windows in raw units, [N, (T,) features], and the class of each where that is known."""

    x: Array
    y: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labels(self) -> list[Array]:
        """The classes, where they are known."""
        return [] if self.y is None else [self.y]

    def every(self, k: int) -> Windows:
        """Every k-th window."""
        return Windows(self.x[::k], None if self.y is None else self.y[::k])


@dataclass(frozen=True, eq=False)
class Problem:
    """A model as it was imported, its target, and windows to calibrate and to judge with.

    It is pickled as it stands: `document` and `arrays` are the graph, `story` how it was imported, `source` is a hash
    of all windows that those for calibration were taken from, with their labels, and what is derived is derived again.
    """

    document: Mapping[str, Any]
    arrays: Mapping[str, Array]
    meta: Mapping[str, Any]
    story: Mapping[str, Any]
    target_name: str
    calibration: Array
    validation: Windows
    training: Windows | None
    source: str
    method: str
    compiler: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of(
        cls,
        imported: Imported,
        target: str,
        calibration: Windows,
        validation: Windows,
        *,
        train: bool = False,
        method: str = "min-max",
        compiler: str | None = None,
    ) -> Problem:
        """The problem of an imported model; of the calibration windows every k-th, so that there are 512 at most.

        With `train`, which needs labels, they are for compressions that are to be trained, too. DataError where windows
        do not fit; UsageError, TargetError or ToolchainError for a method, target or compiler that is not there.
        """
        device = load_target(target)
        find_compiler(device, compiler)
        if method not in CALIBRATION_METHODS:
            remedy = f"known are {', '.join(CALIBRATION_METHODS)}"
            raise UsageError(f"calibration method {method!r}", "is not known", remedy)
        meta = check_meta(imported.io or {})
        check_io(imported.graph, meta)
        document, arrays = to_document(with_free_name(imported.graph))
        made = cls(
            document,
            arrays,
            plain(meta),
            story=story_of(imported),
            target_name=device.name,
            calibration=calibration.every(-(-len(calibration) // CALIBRATION)).x,
            validation=validation,
            training=calibration if train else None,
            source=digest(calibration.x, *calibration.labels),
            method=method,
            compiler=compiler,
        )
        made.check()
        return made

    def check(self) -> None:
        """DataError where windows or labels do not fit the model."""
        raw_inputs(self.graph, self.meta, self.calibration)
        self.check_windows(self.validation)
        if self.training is not None:
            self.check_windows(self.training)

    def check_windows(self, windows: Windows) -> None:
        """DataError for windows that do not fit the model, and for labels that are none of its classes."""
        raw_inputs(self.graph, self.meta, windows.x)
        if windows.y is None:
            return
        if self.rule is None:
            raise DataError("labels", "are of no use: the model decides nothing", "give windows without y")
        classes = self.graph.tensors[self.graph.entries["step"].outputs[0]].shape[0]
        if windows.y.min() < 0 or windows.y.max() >= classes:
            found = f"go from {windows.y.min()} to {windows.y.max()}"
            raise DataError("labels", f"{found}, the model has {classes} classes")

    @cached_property
    def graph(self) -> Graph:
        """The imported graph."""
        return from_document(self.document, self.arrays)

    @cached_property
    def imported(self) -> Imported:
        """The model as it was imported, with the graph in the place of its original: what can be trained, converted."""
        from edgekit.frontends import Imported
        from edgekit.frontends.graph_original import GraphOriginal

        story = dict(self.story)
        original = GraphOriginal(story.pop("thing"), self.graph)
        return Imported(self.graph, original=original, io=self.meta, **story)

    @cached_property
    def optimised(self) -> Graph:
        """The float graph that compressions apply to, with normalised inputs."""
        return run_passes(self.graph, (*OPTIMISE, *FOR_INTEGERS))

    @cached_property
    def exact(self) -> Graph:
        """The float graph that takes raw units: the original that programs are compared with."""
        return run_passes(normalised(self.graph, self.meta), OPTIMISE)

    @cached_property
    def rule(self) -> str | None:
        """How the outputs of a window decide; None where they do not."""
        return decision_rule(self.graph, self.meta)

    @cached_property
    def target(self) -> Target:
        """The device."""
        return load_target(self.target_name)

    @cached_property
    def raw(self) -> Inputs:
        """The calibration windows as inputs of the step."""
        return raw_inputs(self.graph, self.meta, self.calibration)

    @cached_property
    def seen(self) -> Calibration:
        """What the float graph does over the calibration windows."""
        known = normalisation_of(self.graph, self.meta)
        return calibrate(self.optimised, self.raw, method=self.method, normalisation=known)

    @cached_property
    def jury(self) -> Jury:
        """What judges on the validation windows."""
        return self.jury_of(self.validation)

    @cached_property
    def quick_jury(self) -> Jury:
        """The same on fewer of them."""
        return self.jury.thinned(QUICK)

    def jury_of(self, windows: Windows) -> Jury:
        """What judges on other windows."""
        raw = raw_inputs(self.graph, self.meta, windows.x)
        return Jury.of(self.exact, raw, self.rule, windows.y)

    @cached_property
    def identity(self) -> dict[str, str]:
        """What the results of trials depend on, each as words or a hash: equal problems give equal results."""
        return {
            "model": f"{self.graph.hash()} {json.dumps(self.meta, sort_keys=True, default=str)}",
            "target": f"{self.target_name} {self.target.cpu} {self.target.simd}",
            "calibration data": f"{self.source} {self.method}",
            "validation data": digest(self.validation.x, *self.validation.labels),
            "compiler": str(find_compiler(self.target, self.compiler)),
            "version of edgekit": __version__,
        }


def story_of(imported: Imported) -> dict[str, Any]:
    """What a manifest tells of an import, and what its original is called."""
    told = {name: getattr(imported, name) for name in ("report", "notes", "family")}
    told |= {name: dict(getattr(imported, name)) for name in ("assumed", "provenance")}
    return {**told, "thing": imported.original.thing}


def plain(value: Any) -> Any:
    """The same document in dicts and lists."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def digest(*arrays: Array) -> str:
    """SHA-256 of arrays with their shapes."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()
