"""The HAR models on an emulated Raspberry Pi 4 and an emulated watch: convert, run, compare, stream (`make demo`).

Real smartwatch windows (WISDM, split B: test subjects that training never saw) when the data are there, else windows
from the synthetic generator and checkpoints trained on those; the two are never mixed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from edgekit.cli.exits import answered
from edgekit.convert import Options, convert_imported, original_of
from edgekit.demo.har.data import load_windows
from edgekit.errors import DataError
from edgekit.frontends import import_file
from edgekit.runtime import load
from edgekit.runtime.streams import MachineStream
from edgekit.target import load_target
from examples.har.demo_stream import Streamed, stream
from examples.har.recipes import RECIPES

CHECKPOINTS = Path(__file__).parent / "checkpoints"
DEVICES = (("raspberrypi4", "fp32"), ("raspberrypi4", "w8"), ("smartwatch-m33", "int8"))  # target, precision
CALIBRATION = 256  # windows, of people who trained the model: none of them is tested


@dataclass(frozen=True)
class Row:
    """One model in one precision. Accuracies and agreement are measured over `windows`, all on the emulated core."""

    model: str
    target: str
    precision: str
    windows: int
    accuracy_pytorch: float
    accuracy_emulated: float
    agreement: float
    artifact_bytes: int
    flash_bytes: int
    ram_bytes: int
    instructions_per_step: float
    instructions_per_window: float


def measure(family: str, split: str, device: tuple[str, str], windows: int, folder: Path) -> Row:
    """Convert one shipped checkpoint for a device and run test windows on its emulated core beside PyTorch."""
    name, (target, precision) = f"{family}_{split}", device
    data, sides = load_windows(split)
    chosen = np.random.default_rng(0).permutation(sides.test)[:windows]
    x, y = data.x[chosen], data.y[chosen]
    calibration = data.x[sides.train[:: max(1, len(sides.train) // CALIBRATION)]]
    imported = import_file(CHECKPOINTS / f"{name}.pt")
    flat = imported.graph.tensors[imported.graph.entries["step"].inputs[0]].size == x[0].size
    if flat:
        calibration = calibration.reshape(len(calibration), -1)
        x = x.reshape(len(x), -1)
    done = convert_imported(imported, Options(target, precision, calib=calibration))
    path = folder / f"{name}.{precision}.{target}.edge"
    done.artifact.save(path)
    before = original_of(imported).run(x)
    session = load(path, engine="emulator")
    stream = session.engine_stream
    if not isinstance(stream, MachineStream):
        raise DataError(str(path), "did not open in the emulator")
    stream.counting = True
    after = session.run(x)
    steps = 1 if flat else x.shape[1]
    per_window = stream.total_instructions() / len(x)
    classes_before, classes_after = session.decide(before), session.decide(after)
    sizes = done.artifact.manifest["sizes"]
    return Row(
        model=name,
        target=target,
        precision=precision,
        windows=len(x),
        accuracy_pytorch=float(np.mean(classes_before == y)),
        accuracy_emulated=float(np.mean(classes_after == y)),
        agreement=float(np.mean(classes_before == classes_after)),
        artifact_bytes=path.stat().st_size,
        flash_bytes=sizes["flash_bytes"],
        ram_bytes=sizes["ram_bytes"] + sizes.get("stack_bytes", 0),
        instructions_per_step=per_window / steps,
        instructions_per_window=per_window,
    )


def choose_split(console: Console) -> str:
    """B when the smartwatch data are there, else synthetic; says which."""
    try:
        load_windows("B")
    except DataError as error:
        console.print(f"no smartwatch data here ({error.cause}): [bold]synthetic[/bold] windows instead")
        return "synthetic"
    return "B"


def show(console: Console, rows: list[Row], split: str) -> None:
    """The result table."""
    what = "synthetic wrist motion" if split == "synthetic" else "WISDM smartwatch, split B (unseen subjects)"
    table = Table(
        title=f"Human activity recognition on emulated devices: {what}, {rows[0].windows} windows",
        title_justify="left",
        box=SIMPLE_HEAD,  # as narrow as it can be: at 80 columns no figure is cut
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column, justify in (
        ("model", "left"),
        ("device", "left"),
        ("preci-\nsion", "left"),
        ("PyTorch\n%", "right"),
        ("on it\n%", "right"),
        ("same\n%", "right"),
        (".edge\nkB", "right"),
        ("flash\nkB", "right"),
        ("RAM\nB", "right"),
        ("instruc-\ntions", "right"),
        ("µs*", "right"),
    ):
        table.add_column(column, justify="right" if justify == "right" else "left", overflow="fold")
    clocks = {target: load_target(target).clock_hz or 0 for target, _ in DEVICES}
    for r in rows:
        table.add_row(
            r.model.removesuffix(f"_{split}"),
            r.target,
            r.precision,
            f"{100 * r.accuracy_pytorch:.1f}",
            f"{100 * r.accuracy_emulated:.1f}",
            f"{100 * r.agreement:.1f}",
            f"{r.artifact_bytes / 1000:,.1f}",
            f"{r.flash_bytes / 1000:,.1f}",
            f"{r.ram_bytes:,}",
            f"{r.instructions_per_step:,.0f}",
            f"{1e6 * r.instructions_per_step / clocks[r.target]:.1f}",
        )
    console.print(table)
    console.print(
        "Accuracy and instructions of a step: the target's own machine code on an emulated core, exact counts."
    )
    console.print("same: decisions as in PyTorch; int8 on the watch computes with integers alone.")
    console.print("RAM: states, scratch and measured stack.")
    rates = ", ".join(f"{clock / 1e6:,.0f} MHz ({target})" for target, clock in clocks.items())
    console.print(f"* estimated: one instruction per cycle at {rates}; no board was measured.")
    if split == "synthetic":
        console.print("[bold]synthetic[/bold]: made-up motion; these accuracies say nothing about people.")


def compared(split: str, options: argparse.Namespace, console: Console) -> tuple[list[Row], Streamed]:
    """Every model on every device over windows, and on a stream."""
    rows = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("start", total=None)
        for family in RECIPES:
            for device in DEVICES:
                progress.update(task, description=f"{family}_{split} {device[1]}: convert, prove, emulate")
                rows.append(measure(family, split, device, options.windows, options.out))
    show(console, rows, split)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("start", total=None)
        came = stream(split, options.stream, console, lambda text: progress.update(task, description=text))
    return rows, came


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m examples.har.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--windows", type=int, default=200, help="test windows to emulate per model")
    parser.add_argument("--split", choices=("B", "synthetic"), help="default: B when the data are there")
    parser.add_argument("--stream", type=int, default=9, help="windows of each activity to stream, 2 s each")
    parser.add_argument("--out", type=Path, default=Path("out/har"), help="folder for the artifacts and demo.json")
    options = parser.parse_args(arguments)
    return answered(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    console = Console(width=None if sys.stdout.isatty() else 150)
    started = time.perf_counter()
    if options.windows < 1:
        raise DataError("--windows", f"{options.windows} is below 1")
    if options.stream < 1:
        raise DataError("--stream", f"{options.stream} is below 1")
    options.out.mkdir(parents=True, exist_ok=True)
    split = options.split or choose_split(console)
    rows, came = compared(split, options, console)
    report = {"schema_version": 1, "split": split, "grade": "emulated", "rows": [asdict(r) for r in rows]}
    report["stream"] = came.document
    (options.out / "demo.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    console.print(f"artifacts and demo.json are in {options.out}; {time.perf_counter() - started:.0f} s")
    return 0 if came.equal == came.decisions else 1


if __name__ == "__main__":
    raise SystemExit(main())
