"""The main job, in order: import, optimise, quantise, lower, compile, prove, pack."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact import Artifact
from edgekit.convert.options import PRECISIONS, Options, check_options
from edgekit.convert.original import Original, original_of
from edgekit.convert.pipeline import Conversion, convert_file, convert_imported

__all__ = [
    "PRECISIONS",
    "Conversion",
    "Options",
    "Original",
    "convert",
    "convert_file",
    "convert_imported",
    "original_of",
]


def convert(
    module: Any,
    example_input: Any = None,
    *,
    target: str = "host",
    precision: str = "fp32",
    calib: npt.ArrayLike | None = None,
    calib_method: str = Options.calib_method,
    min_agreement: float = Options.min_agreement,
    widen: Mapping[str, int] | None = None,
    name: str | None = None,
    dt: float | None = None,
    io: Mapping[str, Any] | None = None,
    learn: str | None = None,
    learning_rate: float = 0.01,
) -> Artifact:
    """Turn a torch module whose call is one time step into a verified artifact.

    `example_input` is one batch of inputs, [B, features] (an edgekit model needs none); `calib` raw inputs from which
    spike rates and integer scales are measured ("synthetic": noise), by `calib_method`; `min_agreement` the share of
    decisions that precision `auto` keeps; `widen` the bits of single weights, states or operands; `io` the
    normalisation, window, decision and class names; `dt` seconds per step.
    Raises an EdgekitError that names what cannot be converted, and why.
    """
    from edgekit.frontends import import_module

    windows = calib if calib is None or isinstance(calib, str) else np.asarray(calib)
    options = Options(
        target=target,
        precision=precision,
        calib=windows,
        calib_method=calib_method,
        min_agreement=min_agreement,
        widen=widen or {},
        learn=learn,
        learning_rate=learning_rate,
    )
    check_options(options)
    imported = import_module(module, example_input, name=name or type(module).__name__.lower(), dt=dt)
    return convert_imported(imported, options, io=io).artifact


class _CallableModule(ModuleType):
    """Importing this package puts it in the place of the function `edgekit.convert`: called, it is the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Artifact:
        return convert(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
