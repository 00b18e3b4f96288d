"""The shipped models as programs for a watch: converted once, and kept in the user's cache."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
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
from edgekit.runtime.build import build_program
from edgekit.runtime.streams import MachineStream
from edgekit.target import load_target
from edgekit.toolchain.cache import content_key, store
from edgekit.toolchain.cache import load as load_cached

FAMILIES = ("mlp", "lmu", "l2mu", "elm")
HOST, EMULATOR, REMEDY = "host", "unicorn", "pip install 'edgekit[emulate]'"
COUNTED = 4  # windows
SPARE = 3  # gestures that can be taught
BASIS = 4000  # windows of training wearers that span the space in which gestures are near one another


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model ready to run: `instructions` is the mean of a step on the emulated core of its target, None where nobody
    can count them here; `steps` how many steps a window takes; `sizes` what it takes of the target, in bytes, without
    `stack_bytes` where nobody has seen the stack. `notes` say what was not as wished.
    """

    family: str
    artifact: Artifact
    steps: int
    instructions: float | None
    sizes: Mapping[str, int]
    notes: tuple[str, ...] = ()

    @property
    def precision(self) -> str:
        """What it computes with."""
        return str(self.artifact.manifest["precision"])


def prepare(
    family: str, material: Material, target: str, progress: Progress = silent, *, emulated: bool = True
) -> Prepared:
    """One of FAMILIES for a target: int8 where windows to calibrate on are here, else fp32, which its notes say.

    Unless it is to run `emulated`, an emulator may be missing: the program is then made for this computer.
    ModelError, ToolchainError or CapacityError where it cannot be converted.
    """
    path, calibration = checkpoint(f"{family}_{material.split}"), material.calibration

    def convert(target: str) -> Artifact:
        from edgekit.convert import Options, convert_imported
        from edgekit.frontends import import_file

        imported = import_file(path)
        flat = imported.graph.tensors[imported.graph.entries["step"].inputs[0]].size > 6
        shown = calibration.reshape(len(calibration), -1) if flat and calibration is not None else calibration
        options = Options(target, "fp32" if shown is None else "int8", calib=shown)
        return convert_imported(imported, options, progress=lambda stage, *_: progress(f"{family}: {stage}")).artifact

    notes = () if calibration is not None else (f"fp32: {material.why_not}, so that int8 has nothing to calibrate on",)
    recipe = Recipe(family, convert, material, target, _key(path, calibration), notes)
    return recipe.prepared(progress, emulated=emulated)


def prepare_learner(
    material: Material, target: str, progress: Progress = silent, *, emulated: bool = True
) -> Prepared | None:
    """The ELM with class prototypes and room for SPARE gestures; None without windows, which span their space."""
    windows, sides = material.windows, material.sides
    if windows is None or sides is None:
        return None
    path, train = checkpoint(f"elm_{material.split}"), sides.train
    train = train[np.linspace(0, len(train) - 1, min(BASIS, len(train))).astype(int)]

    def convert(target: str) -> Artifact:
        from edgekit.demo.har.watch import Watch

        progress("learner: look at training wearers, convert, prove")
        watch = Watch(windows, train, len(windows.class_names), "int8", target, path)
        return watch.prototypes(1, reserve=SPARE)

    recipe = Recipe("elm", convert, material, target, _key(path, windows.x[train], "prototypes", str(SPARE)))
    return recipe.prepared(progress, emulated=emulated)


def _key(path: Path, calibration: Array | None, *more: str) -> tuple[bytes | str, ...]:
    windows = b"" if calibration is None else calibration.tobytes()
    return "demo har", __version__, _generator(), path.read_bytes(), windows, *more


@cache
def _generator() -> bytes:
    """What writes programs, in bytes: a change of it makes other ones."""
    folder = Path(edgekit.__file__).parent / "backends"
    sources = sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".c", ".h"})
    return b"".join(path.read_bytes() for path in sources)


@dataclass(frozen=True, eq=False)
class Recipe:
    """How a model is made for a target: `convert` does it, and `key` is of all that it stands on."""

    family: str
    convert: Callable[[str], Artifact]
    material: Material
    target: str
    key: Sequence[bytes | str]
    notes: tuple[str, ...] = ()

    def prepared(self, progress: Progress, *, emulated: bool) -> Prepared:
        """The model for its target, or for this computer where nothing emulates that and nothing has to."""
        why = "" if emulated or find_spec(EMULATOR) is not None else f"{EMULATOR} is not installed; {REMEDY}"
        if not why:
            try:
                artifact = self._artifact(self.target)
                instructions = self._instructions(artifact, progress)
            except ToolchainError as error:
                if emulated:
                    cause = f"cannot be made ready for the watch: {error.thing} {error.cause}"
                    raise ToolchainError(f"model {self.family}", cause, error.remedy) from error
                why = str(error)
            else:
                return Prepared(
                    self.family, artifact, _steps(artifact), instructions, artifact.manifest["sizes"], self.notes
                )
        artifact = self._artifact(HOST)
        program = build_program(artifact.graph, load_target(self.target))
        sizes = {"flash_bytes": program.flash_bytes, "ram_bytes": program.struct_bytes}
        notes = *self.notes, f"instructions and energy are unavailable: {why}"
        return Prepared(self.family, artifact, _steps(artifact), None, sizes, notes)

    def _artifact(self, target: str) -> Artifact:
        key = content_key(*self.key, target)
        artifact = _cached(key)
        if artifact is None:
            artifact = self.convert(target)
            store(key, artifact.packed)
        return artifact

    def _instructions(self, artifact: Artifact, progress: Progress) -> float:
        """Mean of a step."""
        key = content_key(*self.key, self.target, "counts")
        known = load_cached(key)
        if known is not None:
            return float(json.loads(known))
        progress(f"{self.family}: count instructions")
        instructions = _count(artifact, self.material) / _steps(artifact)
        store(key, json.dumps(instructions).encode())
        return instructions


def _steps(artifact: Artifact) -> int:
    """How many steps a window takes."""
    return 1 if artifact.manifest["io"]["window"]["layout"] == "flattened" else WINDOW


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
        raise ToolchainError("emulator", "cannot count instructions", REMEDY)
    stream.counting = True
    session.run(x)
    return stream.total_instructions() / len(x)
