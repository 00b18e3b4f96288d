"""A model under a recipe from its file to its artifact, and what that changed: accuracy, memory, instructions."""

from __future__ import annotations

import hashlib
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
from edgekit.errors import CapacityError, ToolchainError, UsageError
from edgekit.frontends.graph_files import graph_file
from edgekit.profile.counts import count_steps
from edgekit.profile.stimulus import given_stimulus
from edgekit.runtime import load
from edgekit.runtime.streams import MachineStream
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

    None stands for what is not available; `core` names the core, `uncounted` tells why there are no instructions.
    """

    validation: float | None
    test: float | None = None
    weights: int | None = None
    flash: int | None = None
    ram: int | None = None
    instructions: float | None = None
    core: str = ""
    uncounted: str = ""


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished compression beside the model in floats and its plain integer program."""

    asked: Asked
    tuned: Tuned
    conversion: Conversion
    exact: Side
    plain: Side
    compressed: Side
    misfit: str = ""  # why there is no plain integer program

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks in plain words."""
        beside = (f"the plain {PLAIN} program has no accuracy here: {self.misfit}",) if self.misfit else ()
        return (*beside, *self.tuned.compressed.notes, *self.conversion.notes)

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
            "notes": list(self.notes),
        }

    def write(self, edge: Path, model: Path) -> str | None:
        """Write the artifact and the tuned model, both or none; the SHA-256 of an artifact that was there before."""
        replaced = hashlib.sha256(edge.read_bytes()).hexdigest() if edge.is_file() else None
        imported = self.tuned.imported
        made_by = {k: v for k, v in imported.provenance.items() if k in ("file", "module")}
        content = graph_file(imported.graph, imported.io or {}, made_by)
        write_together([(edge, self.conversion.artifact.packed), (model, content)])
        return replaced


def outcome(imported: Imported, asked: Asked, run: Run, *, progress: Progress = silent) -> Outcome:
    """Compress and tune a model, convert it, and measure it beside what it was.

    Raises as `tune` and `convert_imported` do; that the plain integer program does not fit the target is no error.
    """
    step = step_of(imported)
    for what, windows in (("training", asked.train), ("validation", asked.valid), ("test", asked.test)):
        if windows is not None:
            step.check(f"{what} windows", windows)
    plain = Options(target=asked.target, precision=PLAIN, calib=few(asked.train.x), compiler=asked.compiler)
    before: Conversion | CapacityError
    try:
        before = convert_imported(imported, plain, progress=progress)  # first: what the target refuses, it refuses now
    except CapacityError as error:  # a reason to compress it
        before = error
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
    misfit = str(before) if isinstance(before, CapacityError) else ""
    beside = _too_large(before) if isinstance(before, CapacityError) else _side(step, before.artifact, asked)
    return Outcome(asked, tuned, conversion, exact, beside, _side(step, conversion.artifact, asked), misfit)


def _too_large(misfit: CapacityError) -> Side:
    """What is known of a program that does not fit: the bytes that it would take."""
    is_ram = misfit.thing.endswith("RAM")
    flash, ram = (None, misfit.required) if is_ram else (misfit.required, None)
    return Side(None, flash=flash, ram=ram, uncounted=str(misfit))


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
    return Side(
        validation=step.accuracy(artifact.graph, asked.valid),
        test=None if asked.test is None else step.accuracy(artifact.graph, asked.test),
        weights=sizes["weights_bytes"],
        flash=sizes["flash_bytes"],
        ram=sizes["ram_bytes"] + sizes.get("stack_bytes", 0),
        **_counted(artifact, some),
    )


def _counted(artifact: Artifact, windows: Array) -> dict[str, Any]:
    """Mean instructions of a step over windows [N, T, *shape], and the core, or why there are none."""
    try:
        session = load(artifact, engine="emulator")
    except (ToolchainError, UsageError) as error:
        return {"uncounted": str(error)}
    stream = session.engine_stream
    if not isinstance(stream, MachineStream) or not stream.counts:
        return {"uncounted": f"{session.engine} counts none"}
    counts = count_steps(artifact, given_stimulus(session, windows, "windows"), stream=stream)
    return {"instructions": counts.total, "core": counts.core}
