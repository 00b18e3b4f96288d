"""The stages that only integer precisions have: calibrate, quantise, and say how the program came about."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgekit.compress.apply import Compressed
from edgekit.compress.calibrate import Calibration, calibrate
from edgekit.compress.integer import IntegerProgram, quantise_program
from edgekit.compress.named import with_bits
from edgekit.compress.nested import joined, nested, nesting_of
from edgekit.compress.recipes import AUTO, recipe
from edgekit.compress.search import Score, widen_until
from edgekit.convert.agreement import Agreement, decision_rule, judge_of
from edgekit.convert.compression import check_learned, smaller
from edgekit.convert.inputs import Inputs, normalisation_of, normalised
from edgekit.convert.options import Options
from edgekit.convert.original import weights_digest
from edgekit.convert.progress import Progress
from edgekit.errors import AgreementError, DataError
from edgekit.ir import Graph
from edgekit.ir.widths import at_width, narrow_widths
from edgekit.learn import Fixed, add_learning, fitted, plastic_of
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes
from edgekit.runtime.codec import Codec

POOR = 0.9  # of decisions equal: below, a program is said to be hardly the model


@dataclass(frozen=True, eq=False)
class IntegerStage:
    """An integer program, and what the manifest says of how it came about; `graph` is it as it learns, not lowered."""

    program: IntegerProgram
    graph: Graph
    calibration: Calibration
    score: Score  # how much it is like the original on the calibration windows
    widened: tuple[str, ...]
    narrow: Mapping[int, Score]  # the same of each nested width below the full one, by its per cent
    on_noise: bool
    original_sha256: str
    compressed: Compressed | None = None  # what a recipe made of the float graph

    @classmethod
    def run(
        cls, graph: Graph, meta: Mapping[str, Any], options: Options, raw: Inputs, progress: Progress
    ) -> IntegerStage:
        """Calibrate an imported graph on raw windows and quantise it; `auto` widens it until decisions agree."""
        optimised, known = run_passes(graph, (*OPTIMISE, *FOR_INTEGERS)), normalisation_of(graph, meta)
        made = smaller(optimised, meta, options, raw, progress)
        optimised, bits = (made.graph, made.recipe) if made else (optimised, options.held)
        plastic = None
        if options.learn is not None:
            plastic = plastic_of(optimised, options.learn)
            if made is not None:
                check_learned(made, optimised, plastic.graph)
            optimised = plastic.graph
        bits = with_bits(bits or recipe(options.precision), optimised, options.widen)
        seen = calibrate(
            optimised, raw, method=options.calib_method, normalisation=known, progress=partial(progress, "calibrate")
        )
        nesting = nesting_of(optimised, options.nested) if options.nested else None
        if nesting is not None:  # scales are those of all widths at once
            cut = [nesting.narrowed(optimised, at) for at in range(len(nesting.percents) - 1)]
            also = [calibrate(g, raw, method=options.calib_method, normalisation=known) for g in cut]
            seen = joined(seen, optimised, nesting, also)
        for name in optimised.entries["step"].inputs:
            if seen.values.get(name) is not None and seen.of(name).largest == 0:
                raise DataError("calibration data", f"input {name!r} is zero throughout", "give windows as they occur")
        judge = judge_of(run_passes(normalised(graph, meta), OPTIMISE), raw, decision_rule(graph, meta))
        widened = tuple(f"{name} to int{wide}, as asked" for name, wide in options.widen.items())
        if options.precision == AUTO:
            search, least = partial(progress, "widen where it matters"), options.min_agreement
            found = widen_until(optimised, seen, known, judge=judge, least=least, start=bits, progress=search)
            if found.score.value < least:
                raise AgreementError(
                    f"precision {AUTO}",
                    f"even the widest integer program misses {100 * least:g} %: {found.score}",
                    "fp32 or w8, a lower --min-agreement, or more windows with --calib",
                )
            program, score, widened = found.program, found.score, (*widened, *found.widened)
        else:
            progress("quantise")
            program = quantise_program(optimised, seen, bits, known)
            score = judge.score(program.graph)
        whole = program.graph
        if plastic is not None and options.learn is not None:
            plastic = dataclasses.replace(plastic, graph=whole)
            whole = add_learning(plastic, Fixed, fitted(options.learn, plastic, stored_inputs(whole, raw)))
        narrow = dict[int, Score]()
        if nesting is not None:
            whole = nested(whole, nesting)
            narrow = {percent: judge.score(at_width(whole, percent)) for percent in narrow_widths(whole)}
        origin = (options.windows is None, weights_digest(graph))
        return cls(program, whole, seen, score, widened, narrow, *origin, compressed=made)

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever uses the program should know."""
        notes = [*(self.compressed.notes if self.compressed else ()), *self.program.notes]
        notes += [f"on the calibration windows: {self.score}"]
        notes += [f"at {p} % of the units, on the calibration windows: {score}" for p, score in self.narrow.items()]
        if isinstance(self.score, Agreement) and self.score.value < POOR:
            remedy = "try --precision auto" if self.compressed is None else "edgekit compress trains it to bear that"
            notes.append(f"so many decisions differ that this program is hardly the model: {remedy}")
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
            "agreement": self.score.value if isinstance(self.score, Agreement) else None,
            "widened": list(self.widened),
            "choices": [
                {"tensor": c.tensor, "dtype": c.dtype, "reason": c.reason} for c in self.program.choices.values()
            ],
        }


def stored_inputs(graph: Graph, raw: Inputs) -> Inputs:
    """The step's inputs as an integer program takes them."""
    names = graph.entries["step"].inputs
    return dict(zip(names, Codec(graph).quantize([raw[n] for n in names]), strict=True))
