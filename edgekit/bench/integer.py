"""The table of integer programs: every family on every core, the activity model on the watch, and their goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from edgekit.bench.cases import CASES, FAMILIES
from edgekit.bench.integer_model import ModelReport, Progress, measure_model, model_lines, print_model
from edgekit.bench.names import check_names
from edgekit.bench.report import SCHEMA_VERSION
from edgekit.bench.stimuli import STEPS
from edgekit.bench.watch import WATCH, WatchReport, measure_watch, print_watch

MODELS = (*FAMILIES, WATCH)


@dataclass(frozen=True)
class IntegerReport:
    """All models, the watch where it was asked for, and what was left out with the reason."""

    models: tuple[ModelReport, ...]
    watch: WatchReport | None
    absent: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether every program could be built, run and counted."""
        rows = [row.fault for model in self.models for row in model.rows]
        return not any((*rows, self.watch.fault if self.watch else ""))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def to_markdown(self) -> str:
        """The table for docs/: a line for each program and each quoted peer."""
        lines = ["# Instructions of a step", "", "Written by `edgekit bench --instructions --markdown FILE`."]
        lines += [f"Emulated: counted exactly on the core, mean over {STEPS} steps after one round of them. Every int8"]
        lines += ["program gave the bytes of the numpy reference before it was counted. Quoted: counted elsewhere."]
        for model in self.models:
            lines += ["", *model_lines(model)]
        return "\n".join(lines) + "\n"

    def print(self, console: Console) -> None:
        """Tables for people."""
        console.print(f"instructions of a step: emulated, exact, mean over {STEPS} steps after one round of them")
        console.print("every int8 program gave the bytes of the numpy reference before it was counted")
        console.print("code, constants and RAM without the stack in kB of 1000 bytes; the stack by watermark, in bytes")
        for model in self.models:
            print_model(model, console)
        if self.watch:
            print_watch(self.watch, console)
        for name, why in self.absent.items():
            console.print(f"\n[red]LEFT OUT[/red]: {name}, {why}", soft_wrap=True)


def run_integer(models: Sequence[str], progress: Progress = lambda _stage: None) -> IntegerReport:
    """Measure `models` (names in CASES; WATCH as shipped, with its normalisation); one that needs a file which is not
    here is left out and listed.
    """
    check_names("model", models, list(CASES))
    absent = {name: why for name in models if (why := CASES[name].absent())}
    measured = [measure_model(name, progress) for name in models if name not in absent and name != WATCH]
    watch = measure_watch(progress) if WATCH in models and WATCH not in absent else None
    return IntegerReport(tuple(measured), watch, absent)
