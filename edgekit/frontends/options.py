"""What a user says of a model file, and for which kinds of file each of it has a meaning."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy.typing as npt

from edgekit.errors import ModelError, UsageError

CHECKPOINT, FACTORY, PT2, ONNX, NIR, MODULE = "checkpoint", "factory", "pt2", "onnx", "nir", "module"
PROGRAM = "program"
SUFFIXES: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors", ".npz"), CHECKPOINT),
        ".pt2": PT2,
        ".onnx": ONNX,
        ".nir": NIR,
    }
)
"""The kind of a model file by its suffix."""
PROGRAMS = (".edge", ".tflite")
CALLED: Mapping[str, str] = MappingProxyType(
    {
        CHECKPOINT: "a file of weights",
        FACTORY: "the module of a factory",
        PT2: "a .pt2 file",
        ONNX: "an .onnx file",
        NIR: "a .nir file",
        MODULE: "a module",
        PROGRAM: "a finished program",
    }
)


@dataclass(frozen=True)
class ImportOptions:
    """What a user says of a model file beside its path; each has a meaning for some kinds of file alone.

    `config` completes a state dict (a dict or a JSON file). `factory` ("package.module:function") returns (module,
    example input), `weights` is the state dict for it. `dt` is the seconds of a step. `states` are pairs
    `input:output`, `shapes` full shapes of inputs, `constants` values of inputs that never change. `reset`,
    `conventions` (integrator, initial, synapse, charge) and `round_delays` settle what NIR leaves open.
    """

    config: Mapping[str, Any] | str | os.PathLike[str] | None = None
    factory: str | None = None
    weights: str | os.PathLike[str] | None = None
    dt: float | None = None
    states: Sequence[str] | None = None
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    constants: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    reset: str | None = None
    conventions: Mapping[str, str] = field(default_factory=dict)
    round_delays: bool = False


# option -> how it is spelled on the command line, what it does, and for which kinds of file
_USES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "config": ("--config", "tells what a state_dict does not", (CHECKPOINT,)),
    "factory": ("--factory", "makes the module whose weights a file holds", (FACTORY,)),
    "weights": ("--weights", "names the state_dict for the module of --factory", (FACTORY,)),
    "dt": ("--dt", "tells the seconds of a step", tuple(k for k in CALLED if k != PROGRAM)),
    "states": ("--state", "pairs an input with the output that is its next value", (PT2, ONNX)),
    "shapes": ("--shape", "tells lengths that an .onnx file leaves open", (ONNX,)),
    "constants": ("--constant", "gives an input of an .onnx file a value that never changes", (ONNX,)),
    "reset": ("--reset", "tells what a spike does to a membrane of a .nir file", (NIR,)),
    "conventions": ("--convention", "settles what a .nir file leaves open", (NIR,)),
    "round_delays": ("--round-delays", "rounds delays of a .nir file to whole steps", (NIR,)),
}


def kind_of(path: Path | None, options: ImportOptions) -> str:
    """The kind of a model, after a check that all options mean something for it.

    ModelError for a suffix that no front end reads, UsageError that lists every option that does not fit.
    """
    if path is None and options.factory is None:
        cause = "there is no file and no factory"
        if options.weights is not None:
            raise UsageError("--weights", "is not used without a factory", "add --factory package.module:function")
        raise UsageError("model", cause, "give one of them")
    if path is not None and path.is_dir():
        thing = str(path) if path != Path() else "model '.'"  # an empty name means that too
        raise ModelError(thing, "is a folder", f"name the file of a model: {' '.join(SUFFIXES)}")
    if path is not None and path.suffix not in SUFFIXES:
        if path.suffix in PROGRAMS:
            raise ModelError(str(path), "is a finished program, not a model", "run, verify and profile take it")
        what = f"has the suffix {path.suffix!r}" if path.suffix else "has no suffix"
        raise ModelError(str(path), f"{what}, which no front end reads", f"known are {' '.join(SUFFIXES)}")
    kind = CHECKPOINT if path is None else SUFFIXES[path.suffix]
    if options.factory is not None:
        if path is not None and options.weights is not None:
            cause = f"{path} beside --factory and --weights {options.weights} both name weights"
            raise UsageError("weights", cause, "give one of them")
        if kind != CHECKPOINT:
            raise UsageError("--factory", f"is not used with {CALLED[kind]}, which is a whole model", "leave it out")
        kind = FACTORY
    check_uses(kind, options)
    return kind


def check_uses(kind: str, options: ImportOptions) -> None:
    """UsageError unless every option that was given means something for this kind of model."""
    empty = ImportOptions()
    given = [f.name for f in fields(options) if getattr(options, f.name) not in (getattr(empty, f.name), None)]
    misfits = []
    for name in given:
        spelled, does, kinds = _USES[name]
        if kind not in kinds:
            whom = "models" if len(kinds) == len(CALLED) - 1 else " or ".join(CALLED[k] for k in kinds)
            misfits.append((spelled, f"{does}, for {whom}"))
    if len(misfits) == 1:
        raise UsageError(misfits[0][0], f"is not used with {CALLED[kind]}", f"it {misfits[0][1]}")
    if misfits:
        items = [f"{spelled} {why}" for spelled, why in misfits]
        names = ", ".join(spelled for spelled, _ in misfits)
        raise UsageError(names, f"are not used with {CALLED[kind]}", "leave them out", items)
