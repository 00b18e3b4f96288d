"""What a conversion is asked for, and what is refused before any work is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.compress.quantize import quantize_weights_int8
from edgekit.compress.recipes import Recipe
from edgekit.compress.rules import Compression, NestedRule, check_compression
from edgekit.errors import UsageError
from edgekit.ir import Graph
from edgekit.learn import Learning, check_learning
from edgekit.target import load_target

SYNTHETIC = "synthetic"
FLOAT_PRECISIONS: Mapping[str, Callable[[Graph], Graph]] = {"fp32": lambda graph: graph, "w8": quantize_weights_int8}
AUTO = "auto"
RECIPES = ("int8", "int8s8", "int4")
CALIBRATION_METHODS = ("min-max", "percentile", "mse")
PRECISIONS = (*FLOAT_PRECISIONS, *RECIPES, AUTO)


@dataclass(frozen=True)
class Options:
    """What a conversion was asked for; `compiler` is one to use instead of the first, `learn` None for no learning."""

    target: str = "host"
    precision: str = "fp32"
    calib: npt.NDArray[Any] | str | None = None  # [N, (T,) features] raw inputs, or "synthetic" for noise
    calib_method: str = CALIBRATION_METHODS[0]  # how integer ranges are read off the calibration windows
    min_agreement: float = 0.985  # of decisions, 0 to 1, that precision `auto` has to reach
    widen: Mapping[str, int] = field(default_factory=dict)  # bits of single weights, states and operands of matrices
    compression: Compression | None = None  # rules that are applied, or that `held` came of
    held: Recipe | None = None  # how the integers of a graph are held that the rules were applied to before
    trained: Mapping[str, Any] | None = None  # what the manifest tells of how that came about, beside the rules
    learn: Learning | None = None
    compiler: str | None = None
    flash_coding: bool = False  # whether integer constants lie in flash entropy-coded, and are decoded into RAM

    @property
    def is_integer(self) -> bool:
        """Whether the program is to compute with integers alone."""
        return self.precision not in FLOAT_PRECISIONS

    @property
    def nested(self) -> tuple[NestedRule, ...]:
        """Rules for nested widths."""
        return self.compression.nested if self.compression is not None else ()

    @property
    def windows(self) -> npt.NDArray[Any] | None:
        """The calibration windows that were given; None for none, and for noise."""
        return self.calib if isinstance(self.calib, np.ndarray) else None


def check_options(options: Options) -> None:
    """UsageError for an option that is unknown, missing, or does not fit another; TargetError for an unknown target."""
    thing = f"precision {options.precision!r}"
    if options.precision not in PRECISIONS:
        raise UsageError(thing, "is not known", f"known are {', '.join(PRECISIONS)}")
    if isinstance(options.calib, str) and options.calib != SYNTHETIC:
        raise UsageError(f"calibration {options.calib!r}", "is not known", "give windows, or 'synthetic' for noise")
    if options.calib_method not in CALIBRATION_METHODS:
        known = ", ".join(CALIBRATION_METHODS)
        raise UsageError(f"calibration method {options.calib_method!r}", "is not known", f"known are {known}")
    if not 0 < options.min_agreement <= 1:
        asked = f"--min-agreement {100 * options.min_agreement:g}"
        raise UsageError(asked, "is not a share of decisions in per cent", "give a number above 0, at most 100")
    if options.widen and not options.is_integer:
        raise UsageError("--widen", f"is not used with {thing}", "it is for integer programs")
    if options.is_integer and options.calib is None:
        raise UsageError(
            thing,
            "needs calibration windows: integer scales come from them",
            "--calib windows.npz (array x in raw units, [N, T, channels]), or --calib synthetic for noise",
        )
    if options.compression is not None:
        _check_recipe(options.compression, options)
    if options.flash_coding and options.precision == "fp32":
        raise UsageError("--flash-coding", f"is not used with {thing}", "it codes integers: take another precision")
    if options.learn is not None:
        check_learning(options.learn)
        if options.nested:
            raise UsageError("[[nested]]", "does not go with learning: a rule learns for all units", "one of the two")
    load_target(options.target)


def _check_recipe(compression: Compression, options: Options) -> None:
    """UsageError for a recipe that a conversion cannot follow, or that contradicts another option."""
    check_compression(compression)
    if compression.precision != options.precision:
        cause = f"has precision = {compression.precision!r}, asked for is {options.precision!r}"
        raise UsageError("recipe", cause, "leave --precision out, or change one of them")
    if compression.tuning.epochs and options.held is None:
        count = compression.tuning.epochs
        cause = f"asks for {count} epoch{'s' * (count > 1)} of training, and a conversion does not train"
        raise UsageError("recipe", cause, "use edgekit compress, or leave [tuning] out")
