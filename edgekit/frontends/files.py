"""Model files by their suffix: weights, torch.export programs, ONNX and NIR; each becomes a replayed graph."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edgekit.errors import ModelError, UsageError
from edgekit.frontends.imported import Imported
from edgekit.frontends.options import CHECKPOINT, FACTORY, NIR, ONNX, ImportOptions, kind_of


def import_file(
    path: str | os.PathLike[str] | None,
    *,
    config: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    factory: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    dt: float | None = None,
    states: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, npt.ArrayLike] | None = None,
    reset: str | None = None,
    conventions: Mapping[str, str] | None = None,
    round_delays: bool = False,
    name: str | None = None,
) -> Imported:
    """The graph of a model file, replayed against the model itself.

    `.pt .pth .ckpt .safetensors .npz` hold weights: a file of `edgekit.save`, or a state dict of a known family that
    `config` (a dict or a JSON file) completes. With `factory` ("package.module:function", user code that returns
    (module, example input)) they hold the state dict for that module; `weights` names it where `path` is None, and
    both may be left out. `.pt2` is a program of torch.export, `.onnx` one step of ONNX, `.nir` a NIR graph.

    `dt` is the seconds of a step; `states` (.pt2, .onnx) pairs `input:output`; `shapes` and `constants` (.onnx) full
    shapes and values of inputs; `reset`, `conventions` (integrator, initial, synapse, charge) and `round_delays` what
    NIR leaves open. The name defaults to the file's stem. No file is ever unpickled into code.

    Raises ModelError for a file that cannot be read, recognised or completed, UsageError for options that do not fit
    it, and what `import_module` raises.
    """
    options = ImportOptions(
        config=config,
        factory=factory,
        weights=weights,
        dt=dt,
        states=states,
        shapes=shapes or {},
        constants=constants or {},
        reset=reset,
        conventions=conventions or {},
        round_delays=round_delays,
    )
    return import_with(None if path is None else Path(path), options, name)


def import_with(path: Path | None, options: ImportOptions, name: str | None = None) -> Imported:
    """The graph of a model file; see `import_file`."""
    kind = kind_of(path, options)
    weights = None if options.weights is None else Path(options.weights)
    for file in filter(None, (path, weights)):
        _check_there(file)
    if options.dt is not None and not (math.isfinite(options.dt) and options.dt > 0):
        raise UsageError(f"--dt {options.dt:g}", "is no time step", "give the seconds of a step, such as 1e-3")
    if kind == FACTORY:
        from edgekit.frontends.checkpoints import import_factory

        source = path if path is not None else weights
        imported = import_factory(source, options, name or (source.stem if source else None))
        return _named(imported, source)
    if path is None:
        raise UsageError("model", "there is no file and no factory", "give one of them")
    stem = name or path.stem
    if kind == CHECKPOINT:
        from edgekit.frontends.checkpoints import import_checkpoint

        imported, assumed = import_checkpoint(path, options, stem)
        return _named(dataclasses.replace(imported, assumed=assumed), path)
    if kind == ONNX:
        return _named(_onnx(path, options, stem), path)
    if kind == NIR:
        return _named(_nir(path, options, stem), path)
    return _named(_pt2(path, options, stem), path)


def _check_there(path: Path) -> None:
    """ModelError unless there is a file with something in it."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise ModelError(str(path), "no such file", "check the name, and the folder that it is in") from None
    except OSError as error:
        raise ModelError(
            str(path), f"cannot be read ({error.strerror})", "check the name and its permissions"
        ) from error
    if size == 0:
        raise ModelError(str(path), "is empty", "save or export the model again")


def _named(imported: Imported, path: Path | None) -> Imported:
    file = {} if path is None else {"file": path.name}
    return dataclasses.replace(imported, provenance={**imported.provenance, **file})


def _onnx(path: Path, options: ImportOptions, name: str) -> Imported:
    from edgekit.frontends.onnx import import_onnx

    return import_onnx(
        path,
        states=options.states,
        shapes=options.shapes or None,
        constants=options.constants or None,
        name=name,
        dt=options.dt,
    )


def _nir(path: Path, options: ImportOptions, name: str) -> Imported:
    from edgekit.frontends.nir import import_nir
    from edgekit.nir import CHOICES

    known = [key for key in CHOICES if key != "reset"]  # that one has an option of its own
    if unknown := sorted(set(options.conventions) - set(known)):
        raise UsageError("--convention", f"{', '.join(unknown)} is not known", f"known are {', '.join(known)}")
    return import_nir(
        path,
        dt=options.dt,
        reset=options.reset,
        round_delays=options.round_delays,
        name=name,
        **dict(options.conventions),
    )


def _pt2(path: Path, options: ImportOptions, name: str) -> Imported:
    from edgekit.frontends.modules import import_module
    from edgekit.frontends.pt2 import open_pt2

    module, example = open_pt2(path, states=options.states)
    imported = import_module(module, example, name=name, dt=options.dt)
    told: tuple[str, ...] = getattr(module, "import_notes", ())
    provenance = {**imported.provenance, "format": "torch.export (.pt2)"}
    return dataclasses.replace(imported, notes=(*told, *imported.notes), provenance=provenance)
