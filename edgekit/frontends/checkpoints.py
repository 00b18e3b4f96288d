"""Weights in a file become a module: of a family of edgekit.models, or the one that a factory makes."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgekit.artifact import check_meta
from edgekit.errors import DataError, ModelError, UsageError
from edgekit.frontends.graph_files import import_graph, is_graph
from edgekit.frontends.imported import Imported
from edgekit.frontends.modules import import_module
from edgekit.frontends.options import ImportOptions
from edgekit.models import open_model, read_state_dict
from edgekit.models.files import read_content

MAX_CONFIG_BYTES = 2**20


def import_checkpoint(path: Path, options: ImportOptions, name: str) -> tuple[Imported, Mapping[str, object]]:
    """The graph of a file of `edgekit.save` or `save_graph`, or a state dict of a known family; what was assumed."""
    content, settings = read_content(path), _settings(options.config)
    if is_graph(content):
        return _of_graph(import_graph(path, content, name, settings), options.dt), {}
    module, assumed = open_model(path, settings, content)
    return _imported(module, None, name, options.dt), assumed


def _of_graph(imported: Imported, asked: float | None) -> Imported:
    """With the seconds of a step that were asked for, where the graph has none or the same."""
    told = imported.graph.dt
    if asked is None:
        return imported
    if told is not None and abs(asked - told) > 1e-9 * told:
        raise UsageError(f"--dt {asked:g}", f"the model says that a step takes {told:g} s", "leave --dt out")
    return replace(imported, graph=imported.graph.replace(dt=asked))


def import_factory(weights: Path | None, options: ImportOptions, name: str | None) -> Imported:
    """The graph of a factory's module, filled with weights where there are any."""
    module, example = _made(options.factory or "")
    if weights is not None:
        _fill(module, read_state_dict(weights), weights)
    return _imported(module, example, name or type(module).__name__.lower(), options.dt)


def _imported(module: nn.Module, example: object, name: str, asked: float | None) -> Imported:
    told = _dt(check_meta(getattr(module, "io", None) or {}))
    if asked is not None and told is not None and abs(asked - told) > 1e-9 * told:
        raise UsageError(f"--dt {asked:g}", f"the model says that a step takes {told:g} s", "leave --dt out")
    return import_module(module, example, name=name, dt=told if asked is None else asked)


def _settings(config: Mapping[str, Any] | str | os.PathLike[str] | None) -> dict[str, Any] | None:
    """The configuration as a dict, read from JSON when it is a path."""
    if config is None or isinstance(config, Mapping):
        return None if config is None else dict(config)
    path = Path(config)
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise DataError(
                str(path), f"is larger than {MAX_CONFIG_BYTES:,} bytes", "a configuration is a small JSON file"
            )
        settings = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(str(path), f"cannot be read ({error.strerror})", "check the name of the JSON file") from error
    except ValueError as error:
        raise DataError(str(path), f"is not JSON ({error})", 'write {"key": value, …}') from error
    if not isinstance(settings, dict):
        raise DataError(str(path), "is not a JSON object", 'write {"key": value, …}')
    return settings


def _made(factory: str) -> tuple[nn.Module, object]:
    """(module, example input) of a factory, the only user code that is ever run, because the user named it."""
    thing = f"factory {factory!r}"
    place, _, function = factory.partition(":")
    if not place or not function:
        raise UsageError(thing, "is not of the form package.module:function")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        make = getattr(importlib.import_module(place), function)
        made = make()
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise UsageError(thing, f"failed ({type(error).__name__}: {str(error)[:200]})") from error
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[0], nn.Module):
        raise UsageError(thing, f"returned {type(made).__name__}", "return (module, example_input)")
    return made


def _fill(module: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into the module of a factory."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:  # torch lists what is missing, unused or misshapen, one a line
        faults = [line.strip() for line in str(error).splitlines()[1:]]
        raise ModelError(str(path), "does not fit the module of the factory", items=faults[:20]) from error


def _dt(io: Mapping[str, Any]) -> float | None:
    """Seconds of one step where the io section tells: one over the rate of a model that eats samples."""
    spec = io.get("input") or {}
    if spec.get("rate_hz") and spec.get("layout", "sequence") == "sequence":
        return 1.0 / float(spec["rate_hz"])
    return None
