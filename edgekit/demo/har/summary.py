"""What a stream came to: how often each model was right, and what it takes of the watch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgekit.demo.har.engine import Engine
from edgekit.demo.har.frames import Figure, Scene
from edgekit.profile.grades import EMULATED, MEASURED, UNAVAILABLE


@dataclass(frozen=True)
class Result:
    """One model over the stream: `right` of `known` windows whose true class was told; flash and RAM in bytes;
    instructions of a step and of a decision, and energy of a decision.
    """

    model: str
    precision: str
    right: int
    known: int
    flash_bytes: int
    flash_grade: str
    ram_bytes: int
    ram_grade: str
    instructions_per_step: float | None
    instructions_per_decision: float | None
    instructions_grade: str
    energy_per_decision: Figure

    @property
    def accuracy(self) -> float | None:
        """Share of windows called right; None without any whose truth was told."""
        return self.right / self.known if self.known else None

    @property
    def accuracy_grade(self) -> str:
        """How the accuracy came about."""
        return MEASURED if self.known else UNAVAILABLE


def results(engine: Engine) -> tuple[Result, ...]:
    """The results of all models so far, the learning one left out."""
    found = []
    for name, runner in engine.runners.items():
        scene, steps = runner.scene(), runner.instructions
        decision = None if steps is None else steps * scene.steps
        energy = runner.energy(decision)
        sizes = scene.flash_bytes, scene.flash_grade, scene.ram_bytes, scene.ram_grade
        counts = steps, decision, UNAVAILABLE if steps is None else EMULATED
        found.append(Result(name, scene.precision, runner.right, runner.known, *sizes, *counts, energy))
    return tuple(found)


def to_document(scene: Scene, found: Sequence[Result]) -> dict[str, Any]:
    """Plain JSON values."""
    rows = [
        {**asdict(result), "accuracy": result.accuracy, "accuracy_grade": result.accuracy_grade} for result in found
    ]
    return {
        "source": scene.source,
        "synthetic": scene.synthetic,
        "target": scene.target,
        "emulated": scene.emulated,
        "models": rows,
        "notes": list(scene.notes),
    }


def print_summary(console: Console, scene: Scene, found: Sequence[Result]) -> None:
    """The results as a table, what its figures are, and where to go from here."""
    where = f"on an emulated {scene.target}" if scene.emulated else "on this computer"
    title = f"Activities on the stream: {scene.source}, {where}"
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False, header_style="bold")
    for head in ("model", "precision"):
        table.add_column(head, no_wrap=True)
    grades = (
        *(
            _grades(r.accuracy_grade for r in found),
            _grades(r.flash_grade for r in found),
            _grades(r.ram_grade for r in found),
        ),
        *[_grades(r.instructions_grade for r in found)] * 2,
        _grades(r.energy_per_decision.grade for r in found),
    )
    heads = ("right", "flash kB", "RAM B", "instructions a step", "a decision", "µJ a decision")
    for head, grade in zip(heads, grades, strict=True):
        table.add_column(f"{head}\n{grade}", justify="right", no_wrap=True)
    for r in found:
        energy = r.energy_per_decision
        table.add_row(
            r.model,
            r.precision,
            "–" if r.accuracy is None else f"{100 * r.accuracy:.1f} % of {r.known}",
            f"{r.flash_bytes / 1000:.1f}",
            f"{r.ram_bytes:,}",
            _count(r.instructions_per_step),
            _count(r.instructions_per_decision),
            "unavailable" if energy.value is None else f"{energy.value:,.0f} ({energy.low:,.0f} to {energy.high:,.0f})",
        )
    console.print(table)
    how = "counted step by step" if scene.emulated else "counted beforehand, mean of a few windows"
    if any(r.instructions_per_step is not None for r in found):
        console.print(f"Instructions: exact, of the machine code on an emulated {scene.target}, {how}.")
        console.print(f"Energy: estimated from them and sourced figures of {scene.target}; nothing was metered.")
    for note in scene.notes:
        console.print(f"Note: {note}.", markup=False)
    if scene.synthetic:
        console.print("The motion is made up: these accuracies say nothing about people.")


def _grades(grades: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(grades))


def _count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


NEXT = """Where to go next:
  edgekit demo har                                the same, live in the terminal: teach it a gesture
  edgekit demo har --web                          on a page
  edgekit demo har --source udp://127.0.0.1:5005  your own sensor
  edgekit convert MODEL.pt --target smartwatch    your own model (docs/QUICKSTART.md)"""
