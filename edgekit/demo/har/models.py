"""The shipped models as programs for a watch: converted once, and kept in the user's cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import edgekit
from edgekit._version import __version__
from edgekit.artifact import Artifact
from edgekit.artifact.read import read_artifact
from edgekit.convert.progress import Progress, silent
from edgekit.demo.har.checkpoints import checkpoint
from edgekit.demo.har.material import Array, Material
from edgekit.demo.har.synthetic import generate
from edgekit.demo.har.windows import WINDOW
from edgekit.errors import ArtifactError, ToolchainError
from edgekit.runtime import load
from edgekit.runtime.streams import MachineStream
from edgekit.toolchain.cache import content_key, store
from edgekit.toolchain.cache import load as load_cached

FAMILIES = ("mlp", "lmu", "l2mu", "elm")
COUNTED = 4  # windows
SPARE = 3  # gestures that can be taught
BASIS = 4000  # windows of training wearers that span the space in which gestures are near one another


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model ready to run: `instructions` is the mean of a step on the emulated core of its target, None where nobody
    can count them here; `steps` how many steps a window takes.
    """

    family: str
    artifact: Artifact
    steps: int
    instructions: float | None
    notes: tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        """What it computes with."""
        return str(self.artifact.manifest["precision"])


def prepare(family: str, material: Material, target: str, progress: Progress = silent) -> Prepared:
    """One of FAMILIES for a target: int8 where windows to calibrate on are here, else fp32, which its notes say.

    ModelError, ToolchainError or CapacityError where it cannot be converted.
    """
    path, calibration = checkpoint(f"{family}_{material.split}"), material.calibration

    def convert() -> Artifact:
        from edgekit.convert import Options, convert_imported
        from edgekit.frontends import import_file

        imported = import_file(path)
        flat = imported.graph.tensors[imported.graph.entries["step"].inputs[0]].size > 6
        shown = calibration.reshape(len(calibration), -1) if flat and calibration is not None else calibration
        options = Options(target, "fp32" if shown is None else "int8", calib=shown)
        return convert_imported(imported, options, progress=lambda stage, *_: progress(f"{family}: {stage}")).artifact

    notes = () if calibration is not None else (f"fp32: {material.why_not}, so that int8 has nothing to calibrate on",)
    return _prepared(family, _key(path, target, calibration), material, convert, progress, notes=notes)


def prepare_learner(material: Material, target: str, progress: Progress = silent) -> Prepared | None:
    """The ELM with class prototypes and room for SPARE gestures; None without windows, which span their space."""
    windows, sides = material.windows, material.sides
    if windows is None or sides is None:
        return None
    path, train = checkpoint(f"elm_{material.split}"), sides.train
    train = train[np.linspace(0, len(train) - 1, min(BASIS, len(train))).astype(int)]

    def convert() -> Artifact:
        from edgekit.demo.har.watch import Watch

        progress("learner: look at training wearers, convert, prove")
        watch = Watch(windows, train, len(windows.class_names), "int8", target, path)
        return watch.prototypes(1, reserve=SPARE)

    key = _key(path, target, windows.x[train], "prototypes", str(SPARE))
    return _prepared("elm", key, material, convert, progress)


def _key(path: Path, target: str, calibration: Array | None, *more: str) -> str:
    windows = b"" if calibration is None else calibration.tobytes()
    return content_key("demo har", __version__, _generator(), path.read_bytes(), target, windows, *more)


@cache
def _generator() -> bytes:
    """What writes programs, in bytes: a change of it makes other ones."""
    folder = Path(edgekit.__file__).parent / "backends"
    sources = sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".c", ".h"})
    return b"".join(path.read_bytes() for path in sources)


def _prepared(
    family: str,
    key: str,
    material: Material,
    convert: Callable[[], Artifact],
    progress: Progress,
    *,
    notes: tuple[str, ...] = (),
) -> Prepared:
    artifact = _cached(key)
    if artifact is None:
        try:
            artifact = convert()
        except ToolchainError as error:
            cause = f"cannot be made ready for the watch: {error.thing} {error.cause}"
            raise ToolchainError(f"model {family}", cause, error.remedy) from error
        store(key, artifact.packed)
    steps = 1 if artifact.manifest["io"]["window"]["layout"] == "flattened" else WINDOW
    known = load_cached(f"{key}.counts")
    if known is not None:
        return Prepared(family, artifact, steps, float(json.loads(known)), notes)
    progress(f"{family}: count instructions")
    try:
        instructions = _count(artifact, material) / steps
    except ToolchainError as error:
        return Prepared(family, artifact, steps, None, (*notes, f"instructions are not counted: {error}"))
    store(f"{key}.counts", json.dumps(instructions).encode())
    return Prepared(family, artifact, steps, instructions, notes)


def _cached(key: str) -> Artifact | None:
    packed = load_cached(key)
    try:
        return None if packed is None else Artifact(read_artifact(packed), packed)
    except ArtifactError:  # of another version of the format: it is made again
        return None


def _count(artifact: Artifact, material: Material) -> float:
    """Mean instructions of a window on the emulated core, over windows that no model has seen."""
    if material.windows is None:
        x = generate(seed=1, subjects=1, windows_per_class=1).x[:COUNTED]
    else:
        x = material.windows.x[material.held_out(1)[:COUNTED]]
    session = load(artifact, engine="emulator")
    stream = session.engine_stream
    if not isinstance(stream, MachineStream) or not stream.counts:
        raise ToolchainError("emulator", "cannot count instructions", "pip install 'edgekit[emulate]'")
    stream.counting = True
    session.run(x)
    return stream.total_instructions() / len(x)
