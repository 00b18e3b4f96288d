"""One model as integer programs on the cores of watches and boards: a step beside fp32 and quoted peers, and goals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from edgekit.artifact import Artifact
from edgekit.bench.cases import Case, build_case
from edgekit.bench.conversion import convert_case, import_case
from edgekit.bench.counts import ANCHORS, QUOTED
from edgekit.bench.footprint import Footprint, footprint
from edgekit.bench.goals import FEWER, INSTRUCTIONS_M4, INSTRUCTIONS_M55, Figure, Outcome, judge
from edgekit.bench.report import print_goals
from edgekit.bench.subject import compare
from edgekit.bench.tables import number, percent, table
from edgekit.errors import EdgekitError, ReplayError
from edgekit.profile.counts import StepCounts, count_steps, counting_stream
from edgekit.profile.stimulus import Array, Stimulus
from edgekit.runtime import Session, load

Progress = Callable[[str], None]

INT8, FP32 = "int8", "fp32"
BOARD = "raspberrypi5"  # where int8 stands beside fp32
PROGRAMS = (
    ("smartwatch-m4", INT8),
    ("smartwatch-m33", INT8),
    ("smartwatch-m55", INT8),
    ("raspberrypi4", INT8),
    ("raspberrypi4", FP32),
    (BOARD, INT8),
    (BOARD, FP32),
)


@dataclass(frozen=True)
class Quoted:
    """Instructions of a step of a peer, counted elsewhere."""

    peer: str
    core: str
    instructions: float
    source: str = ANCHORS
    grade: str = "quoted"


PEERS: Mapping[str, tuple[Quoted, ...]] = {
    "mlp": (
        Quoted("CMSIS-NN int8", "cortex-m4", 84_200),
        Quoted("TFLite-Micro int8", "cortex-m4", 86_670),
        Quoted("onnx2c fp32", "cortex-m4", 170_429),
        Quoted("CMSIS-NN int8", "cortex-m55", 8_898),
    ),
    "l2mu": (
        Quoted("onnx2c fp32", "cortex-m4", 411_738),
        Quoted("TFLite-Micro int8", "cortex-m4", 490_191),
        Quoted("TFLite-Micro int8", "cortex-m55", 180_244),
    ),
    "elm": (
        Quoted("onnx2c fp32", "cortex-m4", 257_084),
        Quoted("TFLite-Micro int8", "cortex-m4", 374_509),
        Quoted("TFLite-Micro int8", "cortex-m55", 211_961),
    ),
}


@dataclass(frozen=True)
class ProgramRow:
    """Mean instructions of a step of one program over `steps` steps (emulated, exact), and what it needs. `equal`
    steps had the bytes of the numpy reference, or in fp32 its outputs; `costliest` says where the instructions go.
    Where the program could not be built or run, `fault` says why and the rest is None.
    """

    target: str
    precision: str
    core: str = ""
    engine: str = ""
    instructions: float | None = None
    least: int | None = None
    most: int | None = None
    steps: int = 0
    equal: int = 0
    size: Footprint | None = None
    costliest: str = ""
    activity: Mapping[str, float] | None = None
    fault: str = ""
    grade: str = "emulated"


@dataclass(frozen=True)
class ModelReport:
    """All programs of one model, what peers take, and the goals; `activity` is that of the float model."""

    name: str
    description: str
    weights: int
    activity: Mapping[str, float]
    rows: tuple[ProgramRow, ...]
    peers: tuple[Quoted, ...]
    goals: tuple[Outcome, ...]


def measure_model(name: str, progress: Progress) -> ModelReport:
    """Build a case in int8 for every core and in fp32 for BOARD, check each program against the reference, count."""
    progress(f"{name}: import")
    case = build_case(name)
    imported = import_case(case)
    rows = []
    for target, precision in PROGRAMS:
        progress(f"{name}: {precision} for {target}")
        try:
            rows.append(_measure(case, imported, target, precision))
        except EdgekitError as error:
            rows.append(ProgramRow(target, precision, fault=str(error)))
    boards = (Quoted(q.subject, q.core, q.instructions, q.source) for q in QUOTED.get(name, ()))
    peers = (*PEERS.get(name, ()), *boards)
    return ModelReport(
        name, case.description, case.weights, case.activity, tuple(rows), peers, judge(name, _figures(rows))
    )


def _measure(case: Case, imported: Any, target: str, precision: str) -> ProgramRow:
    conversion = convert_case(case, imported, target, precision)
    artifact = conversion.artifact
    stream = counting_stream(artifact)
    session = Session(artifact, stream)
    if session.codec is None:
        stimulus = case.stimulus
        equal = compare(session.engine, session.run(stimulus), case)
    else:
        (stimulus,) = session.codec.quantize([case.stimulus])
        equal = check_bytes(session, stimulus)
    # Once round the stimulus uncounted: then the activity is that of the case, as it is for the boards.
    counts = count_steps(
        artifact, Stimulus("the stimulus", ((stimulus,),), len(stimulus), lead_in=(stimulus,)), stream=stream
    )
    return ProgramRow(
        target=target,
        precision=precision,
        core=stream.core,
        engine=stream.engine,
        instructions=counts.total,
        least=min(counts.steps),
        most=max(counts.steps),
        steps=len(counts.steps),
        equal=equal,
        size=footprint(artifact, counts.stack),
        costliest=costliest(counts),
        activity=spike_rates(artifact, conversion.activity) if case.activity else {},
    )


def spike_rates(artifact: Artifact, activity: Mapping[str, float]) -> dict[str, float]:
    """The rates of spikes that are states or outputs."""
    graph = artifact.graph
    return {name: activity[name] for name in (*graph.state_names, *graph.entries["step"].outputs) if name in activity}


def check_bytes(session: Session, stored: Array) -> int:
    """How many steps of stored integers were run from a reset; ReplayError unless every byte is the reference's."""
    session.reset()
    got = np.asarray(session.run(stored, stored=True))
    expected = np.asarray(load(session.artifact, engine="reference").run(stored, stored=True))
    wrong = np.flatnonzero((got != expected).reshape(len(expected), -1).any(axis=1))
    if wrong.size:
        raise ReplayError(
            f"{session.engine} on {session.artifact.name}",
            f"differs from the numpy reference at step {wrong[0]}",
            "it is not counted, because it computes something else",
        )
    return len(expected)


def costliest(counts: StepCounts, most: int = 4) -> str:
    """The ops that take the most instructions of a step, with their kernels and shares."""
    ops = sorted(counts.ops, key=lambda op: -op.instructions)[:most]
    return ", ".join(f"{op.kernel or op.op} ({op.layer}) {percent(op.instructions / counts.total)}" for op in ops)


def _figures(rows: Sequence[ProgramRow]) -> dict[tuple[str, str], Figure]:
    counted = {(row.target, row.precision): row for row in rows if row.instructions is not None}
    figures = {}
    for figure, target in ((INSTRUCTIONS_M4, "smartwatch-m4"), (INSTRUCTIONS_M55, "smartwatch-m55")):
        if row := counted.get((target, INT8)):
            figures[figure, INT8] = Figure(row.instructions or 0.0, row.grade, row.costliest)
    int8, fp32 = counted.get((BOARD, INT8)), counted.get((BOARD, FP32))
    if int8 and fp32 and int8.instructions and fp32.instructions:
        figures[FEWER, INT8] = Figure(fp32.instructions / int8.instructions, int8.grade, int8.costliest)
    return figures


def model_lines(report: ModelReport) -> Iterator[str]:
    """The programs and the peers of one model as a table in Markdown."""
    yield f"## {report.name}: {report.description}"
    yield ""
    yield "| core | subject | instructions | min – max | grade | source or target |"
    yield "|---|---|---:|---:|---|---|"
    for row in report.rows:
        core, mean, spread, *_ = _cells(row)
        source = row.fault or f"{row.target}; {row.engine}"
        yield f"| {core} | edgekit {row.precision} | {mean} | {spread} | {row.grade} | {source} |"
    for peer in report.peers:
        yield f"| {peer.core} | {peer.peer} | {number(peer.instructions)} | | {peer.grade} | {peer.source} |"


def print_model(report: ModelReport, console: Console) -> None:
    """The programs and the peers of one model in a table, then the goals."""
    console.print(f"\n[bold]{report.name}[/bold]: {report.description}; {report.weights:,} weights")
    for text in _activities(report):
        console.print(text)
    shown = table("program", "core<", "mean", "min – max", "code", "const.", "RAM", "stack", "grade<")
    for row in report.rows:
        shown.add_row(f"{row.precision} {row.target}", *_cells(row), row.grade if not row.fault else "")
    for peer in report.peers:
        shown.add_row(peer.peer, peer.core, number(peer.instructions), "", "", "", "", "", peer.grade)
    console.print(shown)
    for row in report.rows:
        if row.fault:
            console.print(f"  [red]FAILED[/red] {row.precision} {row.target}: {row.fault}", soft_wrap=True)
    print_goals(report.goals, console)


def _activities(report: ModelReport) -> Iterator[str]:
    if report.activity:
        yield f"activity of the float model (measured): {rates(report.activity)}"
    for row in report.rows:
        if row.precision == INT8 and row.activity:
            yield f"activity of the int8 program (measured): {rates(row.activity)}"
            return  # every core computes the same bytes


def rates(activity: Mapping[str, float]) -> str:
    """Shares in percent."""
    return ", ".join(f"{name} {100 * rate:.1f} %" for name, rate in activity.items())


def _cells(row: ProgramRow) -> tuple[str, ...]:
    if row.size is None or row.instructions is None:
        return ("", "failed", "", "", "", "", "")
    spread = f"{row.least:,} – {row.most:,}" if row.least != row.most else ""
    size = row.size
    sizes = [f"{n / 1000:,.1f}" for n in (size.code_bytes, size.constant_bytes, size.ram_bytes)]
    stack = "" if size.stack_bytes is None else f"{size.stack_bytes:,}"
    return (row.core.partition(" ")[0], number(row.instructions), spread, *sizes, stack)
