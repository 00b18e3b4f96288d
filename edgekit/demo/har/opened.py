"""From what was asked for to an engine: the recordings, the models, the source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from edgekit.convert.progress import Progress, silent
from edgekit.demo.har.engine import Engine, Source
from edgekit.demo.har.material import Material, made_up, recorded, recorded_if_here
from edgekit.demo.har.models import FAMILIES, Prepared, prepare, prepare_learner
from edgekit.demo.har.play import play_material
from edgekit.demo.har.sensor import open_sensor
from edgekit.errors import UsageError
from edgekit.streaming import Options
from edgekit.target import load_target

RECORDED = SYNTHETIC, WISDM = "synthetic", "wisdm"
WATCH = "smartwatch"


@dataclass(frozen=True)
class Asked:
    """What the demo was asked for: a source (synthetic, wisdm, or an address as `open_source` takes it), recordings at
    `data`, families, the watch that figures are of, and whether it is `emulated` in the loop. Recordings are played for
    ever unless `once`; `teach` is false where nobody will. `form`, `time_unit` and `stamp` are of a sensor's samples.
    """

    source: str = SYNTHETIC
    data: Path | None = None
    families: tuple[str, ...] = FAMILIES
    target: str = WATCH
    emulated: bool = False
    once: bool = False
    teach: bool = True
    form: str | None = None
    time_unit: str | None = None
    stamp: bool = False
    options: Options = field(default_factory=Options)

    def check(self) -> None:
        """UsageError for what is not known or does not go together, TargetError for an unknown target."""
        if not load_target(self.target).name.startswith(WATCH):
            raise UsageError(f"--target {self.target}", "is no watch", "host, or smartwatch")
        if unknown := [family for family in self.families if family not in FAMILIES]:
            raise UsageError(f"--models {','.join(unknown)}", "is not known", f"known are {', '.join(FAMILIES)}")
        if not self.families or len(set(self.families)) < len(self.families):
            raise UsageError(f"--models {','.join(self.families)}", "names none, or one twice", ", ".join(FAMILIES))
        of_samples = {
            **{"--rate": self.options.source_rate is not None, "--max-gap": self.options.max_gap is not None},
            **{"--format": self.form is not None, "--time-unit": self.time_unit is not None, "--stamp": self.stamp},
        }
        if self.source in RECORDED and (unused := [option for option, given in of_samples.items() if given]):
            raise UsageError(", ".join(unused), f"is not used with --source {self.source}", "leave it out")
        if self.data is not None and self.source == SYNTHETIC:
            raise UsageError("--data", "is not used with --source synthetic", "leave it out, or --source wisdm")


@contextmanager
def open_engine(asked: Asked, progress: Progress = silent) -> Iterator[Engine]:
    """Prepare everything and give the engine; the source is closed at the end.

    UsageError, DataError, ModelError or ToolchainError where something is missing.
    """
    asked.check()
    target = load_target(asked.target)
    progress("load recordings")
    material = _material(asked)
    models = [prepare(family, material, target.name, progress, emulated=asked.emulated) for family in asked.families]
    learner, why_not = _learner(asked, material, target.name, progress)
    progress("start the models")
    with _source(asked, material) as source:
        yield Engine(
            models,
            learner,
            source,
            material,
            target,
            emulated=asked.emulated,
            options=asked.options,
            why_not=why_not,
        )


def _material(asked: Asked) -> Material:
    if asked.source == SYNTHETIC:
        return made_up()
    return recorded(asked.data) if asked.source == WISDM else recorded_if_here(asked.data)


@contextmanager
def _source(asked: Asked, material: Material) -> Iterator[Source]:
    if asked.source in RECORDED:
        yield play_material(material, data=asked.data, once=asked.once)
    else:
        opening = open_sensor(asked.source, form=asked.form, time_unit=asked.time_unit, stamp=asked.stamp)
        with opening as sensor:
            yield sensor


def _learner(asked: Asked, material: Material, target: str, progress: Progress) -> tuple[Prepared | None, str]:
    """The learning model, or why there is none."""
    if not asked.teach:
        return None, "it was not asked for"
    return prepare_learner(material, target, progress, emulated=asked.emulated), material.why_not
