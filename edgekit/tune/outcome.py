"""A model under a recipe from its file to its artifact, and what that changed: accuracy, memory, instructions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact
from edgekit.compress.rules import Compression
from edgekit.convert.compression import section
from edgekit.convert.options import Options
from edgekit.convert.pipeline import Conversion, convert_imported
from edgekit.convert.progress import Progress, silent
from edgekit.convert.writing import write_together
from edgekit.errors import ToolchainError, UsageError
from edgekit.frontends.graph_files import graph_file
from edgekit.profile.counts import count_steps
from edgekit.profile.stimulus import given_stimulus
from edgekit.runtime import load
from edgekit.runtime.streams import MachineStream
from edgekit.tune.distil import GraphTeacher, Several, Teacher
from edgekit.tune.model import Run, Tuned, few, step_of, tune
from edgekit.tune.windows import Array, Data, Step, Windows

if TYPE_CHECKING:
    from edgekit.frontends import Imported

PLAIN = "int8"  # the precision that a compressed program is compared with
COUNTED = 4  # windows whose instructions are counted


@dataclass(frozen=True, eq=False)
class Asked:
    """What a compression is asked for: `test` windows judge the result once, `teachers` are names for the manifest."""

    compression: Compression
    train: Windows
    valid: Windows
    test: Windows | None = None
    target: str = "host"
    teachers: tuple[str, ...] = ()
    compiler: str | None = None


@dataclass(frozen=True)
class Side:
    """One program: per cent of windows decided right, bytes, and mean instructions of a step on an emulated core.

    None stands for what is not available; `core` names the core.
    """

    validation: float
    test: float | None = None
    weights: int | None = None
    flash: int | None = None
    ram: int | None = None
    instructions: float | None = None
    core: str = ""


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished compression beside the model in floats and its plain integer program."""

    asked: Asked
    tuned: Tuned
    conversion: Conversion
    exact: Side
    plain: Side
    compressed: Side

    def rows(self) -> list[tuple[str, list[Any]]]:
        """Lines of a table: what, and the values of the three sides."""
        sides = (self.exact, self.plain, self.compressed)
        named = (
            ("accuracy, validation", "validation"),
            ("accuracy, test", "test"),
            ("weights in flash", "weights"),
            ("flash: code, weights, tables", "flash"),
            ("RAM: states, scratch, stack", "ram"),
            ("instructions of a step", "instructions"),
        )
        return [(what, [getattr(side, key) for side in sides]) for what, key in named]

    def document(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "target": self.asked.target,
            "sha256": self.conversion.artifact.sha256,
            "float": vars(self.exact),
            PLAIN: vars(self.plain),
            "compressed": vars(self.compressed),
            "grades": {"accuracy": "measured", "bytes": "derived", "instructions": "emulated"},
            "compression": self.conversion.artifact.manifest.get("compression"),
            "notes": [*self.tuned.compressed.notes, *self.conversion.notes],
        }

    def write(self, edge: Path, model: Path) -> str | None:
        """Write the artifact and the tuned model, both or none; the SHA-256 of an artifact that was there before."""
        replaced = hashlib.sha256(edge.read_bytes()).hexdigest() if edge.is_file() else None
        imported = self.tuned.imported
        made_by = {k: v for k, v in imported.provenance.items() if k in ("file", "module")}
        content = graph_file(imported.graph, imported.io or {}, made_by)
        write_together([(edge, self.conversion.artifact.packed), (model, content)])
        return replaced


def teachers_of(models: Sequence[Imported]) -> Teacher | None:
    """Models as one teacher; None without any."""
    found = [GraphTeacher(step_of(model)) for model in models]
    return None if not found else found[0] if len(found) == 1 else Several(found)


def outcome(imported: Imported, asked: Asked, run: Run, *, progress: Progress = silent) -> Outcome:
    """Compress and tune a model, convert it, and measure it beside what it was.

    Raises as `tune` and `convert_imported` do.
    """
    step = step_of(imported)
    for what, windows in (("training", asked.train), ("validation", asked.valid), ("test", asked.test)):
        if windows is not None:
            step.check(f"{what} windows", windows)
    plain = Options(target=asked.target, precision=PLAIN, calib=few(asked.train.x), compiler=asked.compiler)
    before = convert_imported(imported, plain, progress=progress)  # first: what the target refuses, it refuses now
    progress("compress")
    tuned = tune(imported, asked.compression, Data(asked.train, asked.valid), run)
    options = Options(
        target=asked.target,
        precision=asked.compression.precision,
        calib=tuned.calibration,
        compression=asked.compression,
        held=tuned.recipe,
        trained=_told(imported, asked, run, tuned),
        compiler=asked.compiler,
    )
    conversion = convert_imported(tuned.imported, options, progress=progress)
    progress("measure")
    exact = Side(step.exact_accuracy(asked.valid), None if asked.test is None else step.exact_accuracy(asked.test))
    sides = [_side(step, done.artifact, asked) for done in (before, conversion)]
    return Outcome(asked, tuned, conversion, exact, *sides)


def _told(imported: Imported, asked: Asked, run: Run, tuned: Tuned) -> dict[str, Any]:
    """What the manifest tells of a compression beside its rules: what went, and how the rest was trained."""
    made = section(imported.graph, asked.compression, tuned.compressed)
    if tuned.fitted is None:
        return made
    training = {
        "training_sha256": asked.train.digest(),
        "validation_sha256": asked.valid.digest(),
        "teachers": list(asked.teachers),
        **({"augmentation": run.hooks.augment_name} if run.hooks.augment_name else {}),
        "best_epoch": tuned.fitted.best,
        "epochs": [{"loss": e.loss, "accuracy": e.accuracy} for e in tuned.fitted.history],
    }
    return {**made, "training": training}


def _side(step: Step, artifact: Artifact, asked: Asked) -> Side:
    sizes = artifact.manifest["sizes"]
    (some,) = step.inputs(asked.valid.x[:: max(1, len(asked.valid.x) // COUNTED)][:COUNTED]).values()
    counted = _instructions(artifact, some)
    return Side(
        validation=step.accuracy(artifact.graph, asked.valid),
        test=None if asked.test is None else step.accuracy(artifact.graph, asked.test),
        weights=sizes["weights_bytes"],
        flash=sizes["flash_bytes"],
        ram=sizes["ram_bytes"] + sizes.get("stack_bytes", 0),
        instructions=None if counted is None else counted[0],
        core="" if counted is None else counted[1],
    )


def _instructions(artifact: Artifact, windows: Array) -> tuple[float, str] | None:
    """Mean instructions of a step over windows [N, T, *shape], and the core; None where that is not emulated."""
    try:
        session = load(artifact, engine="emulator")
    except (ToolchainError, UsageError):
        return None
    stream = session.engine_stream
    if not isinstance(stream, MachineStream) or not stream.counts:
        return None
    counts = count_steps(artifact, given_stimulus(session, windows, "windows"), stream=stream)
    return counts.total, counts.core
