"""Model files: what `edgekit.save` wrote, state dicts of known families, or weights for a module from a factory."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgekit.artifact import check_meta
from edgekit.errors import DataError, ModelError, UnsupportedError, UsageError
from edgekit.frontends.imported import Imported
from edgekit.frontends.modules import import_module
from edgekit.models import open_model, read_state_dict

LATER = {
    ".onnx": UnsupportedError("ONNX files", "cannot be read by this version", "convert the PyTorch module"),
    ".nir": UnsupportedError("NIR files", "cannot be read by this version", "convert the PyTorch module"),
    # torch.export.load (2.13) falls back to pickle.loads and torch.load(weights_only=False) for parts of the archive
    ".pt2": UnsupportedError(
        ".pt2 files",
        "cannot be read without running pickles in them",
        "load one that you trust in a factory of your own: --factory package.module:function",
    ),
}
MAX_CONFIG_BYTES = 2**20


def import_file(
    path: str | os.PathLike[str] | None,
    *,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    factory: str | None = None,
    name: str | None = None,
) -> Imported:
    """The graph of a model file, through its PyTorch module and the same replay check as any module.

    The file is one of `edgekit.save`, or a state dict (.pt .pth .ckpt .safetensors .npz) of a known family, completed
    by `config` (a dict or a JSON file). With `factory` ("package.module:function", user code that returns (module,
    example input)) the file is a state dict for that module, and may be None. The name defaults to the file's stem.

    Raises ModelError for a file that cannot be read or recognised (a pickle with code in it never runs), UsageError for
    options that do not fit, and what `import_module` raises.
    """
    path = None if path is None else Path(path)
    if path is not None and path.suffix in LATER:
        raise LATER[path.suffix]
    settings = _settings(config)
    assumed: Mapping[str, object] = {}
    example: object = None
    if factory is not None:
        if settings is not None:
            raise UsageError("config", "is not used beside a factory", "let the factory configure its module")
        module, example = _made(factory)
        if path is not None:
            _fill(module, read_state_dict(path), path)
    elif path is not None:
        module, assumed = open_model(path, settings)
    else:
        raise UsageError("model", "there is no file and no factory", "give one of them")
    io = check_meta(getattr(module, "io", None) or {})
    stem = name or (path.stem if path is not None else type(module).__name__.lower())
    imported = import_module(module, example, name=stem, dt=_dt(io))
    file = {} if path is None else {"file": path.name}
    return dataclasses.replace(imported, assumed=assumed, provenance={**imported.provenance, **file})


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
        raise DataError(str(path), f"cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise DataError(str(path), f"is not JSON ({error})") from error
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
