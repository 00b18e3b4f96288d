"""Code of the user that a training runs because its name was given: augmentations, and modules that teach."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import torch

from edgekit.errors import UsageError
from edgekit.tune.fitting import Augment


def augment_of(name: str) -> Augment:
    """The function package.module:function(x [N, T, *shape] in raw units, generator) that returns windows like x.

    UsageError where there is none, or where what it returns is of another shape or dtype, or holds NaN or Inf.
    """
    function = _named("--augment", name)

    def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        try:
            made = function(x, generator)
        except Exception as error:  # user code may raise anything
            raise UsageError(f"--augment {name}", f"failed ({type(error).__name__}: {str(error)[:200]})") from error
        if not isinstance(made, torch.Tensor) or made.shape != x.shape or made.dtype != x.dtype:
            found = f"{tuple(made.shape)} {made.dtype}" if isinstance(made, torch.Tensor) else type(made).__name__
            raise UsageError(f"--augment {name}", f"returned {found}", f"return {tuple(x.shape)} {x.dtype}")
        if not torch.isfinite(made).all():
            raise UsageError(f"--augment {name}", "returned NaN or Inf", "return finite numbers")
        return made

    return augment


def _named(option: str, name: str) -> Any:
    place, _, function = name.partition(":")
    if not place or not function:
        raise UsageError(f"{option} {name}", "is not of the form package.module:function")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(importlib.import_module(place), function)
    except (Exception, SystemExit) as error:
        raise UsageError(f"{option} {name}", f"failed ({type(error).__name__}: {str(error)[:200]})") from error
    if not callable(found):
        raise UsageError(f"{option} {name}", "is no function", "name one that takes (x, generator)")
    return found
