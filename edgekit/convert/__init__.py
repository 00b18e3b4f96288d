"""The main job, in order: import, optimise, quantise, lower, compile, prove, pack."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact import Artifact
from edgekit.compress.recipe_file import read_recipe
from edgekit.compress.rules import Compression
from edgekit.convert.options import PRECISIONS, Options, check_options
from edgekit.convert.original import Original, original_of
from edgekit.convert.pipeline import Conversion, convert_file, convert_imported
from edgekit.errors import UsageError
from edgekit.learn import Learning

if TYPE_CHECKING:
    from edgekit.frontends import Imported

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
    precision: str | None = None,
    recipe: Compression | str | PathLike[str] | None = None,
    calib: npt.ArrayLike | None = None,
    calib_method: str = Options.calib_method,
    min_agreement: float = Options.min_agreement,
    widen: Mapping[str, int] | None = None,
    name: str | None = None,
    dt: float | None = None,
    io: Mapping[str, Any] | None = None,
    learn: str | Learning | None = None,
    learning_rate: float = Learning.rate,
    flash_coding: bool = False,
    **importing: Any,
) -> Artifact:
    """Turn a torch module whose call is one time step, or a model file, into a verified artifact.

    `module` is an nn.Module or the path of a file (.pt .pth .ckpt .safetensors .npz .pt2 .onnx .nir); `importing` are
    the options of `ImportOptions` that fit that file: config, factory, weights, states, shapes, constants, reset,
    conventions, round_delays. `example_input` is one batch of a module's inputs, [B, features] (an edgekit model needs
    none); `recipe` rules that make it smaller, or the file of them, with the precision that they start from; without
    one that is fp32; `calib` raw inputs from which spike rates and integer scales are measured ("synthetic": noise), by
    `calib_method`; `min_agreement` the share of decisions that precision `auto` keeps; `widen` the bits of single
    weights, states or operands; `learn` how the program learns on the device, or the name of a rule alone; with
    `flash_coding` integer constants lie in flash entropy-coded and are decoded into RAM; `io` the normalisation,
    window, decision and class names; `dt` seconds per step.
    Raises an EdgekitError that names what cannot be converted, and why.
    """
    windows = calib if calib is None or isinstance(calib, str) else np.asarray(calib)
    rules = recipe if recipe is None or isinstance(recipe, Compression) else read_recipe(Path(recipe))
    options = Options(
        target=target,
        precision=precision or (Options.precision if rules is None else rules.precision),
        compression=rules,
        calib=windows,
        calib_method=calib_method,
        min_agreement=min_agreement,
        widen=widen or {},
        learn=Learning(learn, rate=learning_rate) if isinstance(learn, str) else learn,
        flash_coding=flash_coding,
    )
    check_options(options)
    imported = _imported(module, example_input, name, {"dt": dt, **importing})
    return convert_imported(imported, options, io=io).artifact


def _imported(source: Any, example_input: Any, name: str | None, importing: dict[str, Any]) -> Imported:
    """The graph of a module, or of a file."""
    from edgekit.frontends import import_module
    from edgekit.frontends.files import import_with
    from edgekit.frontends.options import MODULE, ImportOptions, check_uses

    known = [f.name for f in dataclasses.fields(ImportOptions)]
    if unknown := [key for key in importing if key not in known]:
        raise UsageError("convert", f"has no option {', '.join(unknown)}", f"of files it knows {', '.join(known)}")
    options = ImportOptions(**importing)
    if isinstance(source, (str, PathLike)):
        if example_input is not None:
            raise UsageError("example_input", "is not used with a file, which tells its inputs", "leave it out")
        return import_with(Path(source), options, name)
    check_uses(MODULE, options)
    return import_module(source, example_input, name=name or type(source).__name__.lower(), dt=options.dt)


class _CallableModule(ModuleType):
    """Importing this package puts it in the place of the function `edgekit.convert`: called, it is the function."""

    def __call__(self, *arguments: Any, **options: Any) -> Artifact:
        return convert(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
