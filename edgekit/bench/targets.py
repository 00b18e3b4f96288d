"""One table over all targets: what a step of each model costs on every core that can be emulated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from edgekit.bench.cases import CASES, Case, build_case
from edgekit.bench.conversion import PRECISIONS, convert_case, import_case, with_oracle
from edgekit.bench.counts import count_instructions
from edgekit.bench.footprint import Footprint, footprint
from edgekit.bench.names import check_names
from edgekit.bench.report import SCHEMA_VERSION
from edgekit.bench.tables import number, table
from edgekit.errors import EdgekitError
from edgekit.target import Target, list_targets, load_target

_COLUMNS = ("instr.", "code", "const.", "RAM")
Progress = Callable[[str], None]


@dataclass(frozen=True)
class TargetRow:
    """Mean instructions of a step over the stimulus (emulated, exact), and what the program needs; where the model
    could not be built or run for the target, `fault` says why and the rest is None.
    """

    model: str
    target: str
    core: str
    precision: str
    instructions: float | None
    size: Footprint | None
    fault: str = ""
    grade: str = "emulated"


@dataclass(frozen=True)
class TargetReport:
    """All rows, `descriptions` of the models, and the models that were left out with the reason."""

    descriptions: Mapping[str, str]
    rows: tuple[TargetRow, ...]
    absent: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether every program could be built and run."""
        return not any(row.fault for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def print(self, console: Console) -> None:
        """One table for each model: a row for each target, the precisions side by side."""
        console.print("instructions of a step: emulated, exact, mean over the stimulus")
        console.print("sizes in kB (1000 bytes): code, constants, RAM without the stack")
        for model, description in self.descriptions.items():
            _print_model(description, [row for row in self.rows if row.model == model], console)
        for name, why in self.absent.items():
            console.print(f"\n[red]LEFT OUT[/red]: {name}, {why}", soft_wrap=True)


def run_targets(models: Sequence[str], progress: Progress = lambda _stage: None) -> TargetReport:
    """Build `models` (names in CASES) in every precision for every target with an emulated core, check each program
    against its oracle there, and count. A model that needs a file which is not here is left out and listed.
    """
    check_names("model", models, list(CASES))
    absent = {name: why for name in models if (why := CASES[name].absent())}
    targets = [target for target in map(load_target, list_targets()) if target.emulated_core]
    descriptions, rows = {}, []
    for name in models:
        if name not in absent:
            case = build_case(name)
            descriptions[name] = f"[bold]{name}[/bold]: {case.description}; {case.weights:,} weights"
            rows += list(_rows(case, targets, progress))
    return TargetReport(descriptions, tuple(rows), absent)


def _rows(case: Case, targets: Sequence[Target], progress: Progress) -> Iterator[TargetRow]:
    imported = import_case(case)
    for target in targets:
        for precision in PRECISIONS:
            progress(f"{case.name} {precision} for {target.name}")
            named = (case.name, target.name, str(target.emulated_core), precision)
            try:
                conversion = convert_case(case, imported, target.name, precision)
                compared = with_oracle(case, precision, conversion.artifact)
                count, *_ = count_instructions(compared, precision, conversion.artifact)
            except EdgekitError as error:
                yield TargetRow(*named, None, None, str(error))
            else:
                yield TargetRow(*named, count.instructions, footprint(conversion.artifact))


def _print_model(description: str, rows: Sequence[TargetRow], console: Console) -> None:
    console.print(f"\n{description}")
    shown = table("target", "core<", *(f"{p}\n{what}" for p in PRECISIONS for what in _COLUMNS))
    by_target: dict[tuple[str, str], list[TargetRow]] = {}
    for row in rows:
        by_target.setdefault((row.target, row.core), []).append(row)
    for key, precisions in by_target.items():
        shown.add_row(*key, *(cell for row in precisions for cell in _cells(row)))
    console.print(shown)
    for row in rows:
        if row.fault:
            console.print(f"  [red]FAILED[/red] {row.target}, {row.precision}: {row.fault}", soft_wrap=True)


def _cells(row: TargetRow) -> tuple[str, ...]:
    if row.instructions is None or row.size is None:
        return ("failed", "", "", "")
    sizes = (row.size.code_bytes, row.size.constant_bytes, row.size.ram_bytes)
    return (number(row.instructions), *(f"{size / 1000:,.1f}" for size in sizes))
