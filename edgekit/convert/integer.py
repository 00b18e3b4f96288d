"""The stages that only integer precisions have: calibrate, quantise, and say how the program came about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgekit.compress.calibrate import Calibration, calibrate
from edgekit.compress.integer import IntegerProgram, quantise_program
from edgekit.compress.recipes import AUTO, recipe
from edgekit.compress.search import widen_until
from edgekit.convert.agreement import agreement_with, decision_rule
from edgekit.convert.inputs import Inputs, normalisation_of, normalised
from edgekit.convert.options import Options
from edgekit.convert.original import weights_digest
from edgekit.convert.progress import Progress
from edgekit.ir import Graph
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.runtime.codec import Codec


@dataclass(frozen=True, eq=False)
class IntegerStage:
    """An integer program before lowering, and what the manifest says of how it came about."""

    program: IntegerProgram
    calibration: Calibration
    agreement: float | None  # with the decisions of the original on the calibration windows
    widened: tuple[str, ...]
    on_noise: bool
    original_sha256: str

    @classmethod
    def run(
        cls, graph: Graph, meta: Mapping[str, Any], options: Options, raw: Inputs, progress: Progress
    ) -> IntegerStage:
        """Calibrate an imported graph on raw windows and quantise it; `auto` widens it until decisions agree."""
        optimised, known = run_passes(graph, OPTIMISE), normalisation_of(graph, meta)

        seen = calibrate(
            optimised, raw, method=options.calib_method, normalisation=known, progress=partial(progress, "calibrate")
        )
        rule = decision_rule(graph, meta)
        agrees = None if rule is None else agreement_with(normalised(graph, meta), raw, rule)
        widened: tuple[str, ...] = ()
        if options.precision == AUTO:
            progress("quantise, widening where it matters")
            found = widen_until(optimised, seen, known, agreement=agrees, least=options.min_agreement)
            program, agreement, widened = found.program, found.agreement, tuple(found.widened)
        else:
            progress("quantise")
            program = quantise_program(optimised, seen, recipe(options.precision), known)
            agreement = None if agrees is None else agrees(program.graph)
        return cls(program, seen, agreement, widened, options.windows is None, weights_digest(graph))

    @property
    def graph(self) -> Graph:
        """The integer program before lowering."""
        return self.program.graph

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever uses the program should know."""
        notes = list(self.program.notes)
        if self.on_noise:
            notes.append("calibrated on noise: scales fit no data; give windows with --calib before relying on it")
        return tuple(notes)

    def section(self) -> dict[str, Any]:
        """The section `quantisation` of the manifest."""
        return {
            "recipe": self.program.recipe.name,
            "method": self.calibration.method,
            "calibration": "synthetic" if self.on_noise else "windows",
            "windows": self.calibration.windows,
            "original_sha256": self.original_sha256,
            "agreement": self.agreement,
            "widened": list(self.widened),
            "choices": [
                {"tensor": c.tensor, "dtype": c.dtype, "reason": c.reason} for c in self.program.choices.values()
            ],
        }


def stored_inputs(graph: Graph, raw: Inputs) -> Inputs:
    """The step's inputs as an integer program takes them."""
    names = graph.entries["step"].inputs
    return dict(zip(names, Codec(graph).quantize([raw[n] for n in names]), strict=True))
