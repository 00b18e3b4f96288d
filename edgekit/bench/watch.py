"""The shipped activity model (L2MU) on the watch: what its flash, its RAM and a window of two seconds take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.padding import Padding

from edgekit.bench import files
from edgekit.bench.cases import HAR
from edgekit.bench.footprint import Footprint, footprint
from edgekit.bench.goals import FLASH, RAM, WINDOW, Figure, Outcome, judge
from edgekit.bench.integer_model import INT8, check_bytes, costliest, rates, spike_rates
from edgekit.bench.report import print_goals
from edgekit.bench.stimuli import Array, motion
from edgekit.bench.tables import number
from edgekit.convert import Options, convert_file
from edgekit.errors import EdgekitError
from edgekit.profile.counts import count_steps, counting_stream
from edgekit.profile.grades import DERIVED, EMULATED
from edgekit.profile.stimulus import given_stimulus
from edgekit.runtime import Session

FAMILY, TARGET = "l2mu", "smartwatch-m33"
WATCH = f"{HAR}{FAMILY}"
CALIBRATED, COUNTED = 256, 24  # windows, spread evenly


@dataclass(frozen=True)
class WatchReport:
    """`windows` says what the windows are; `window` holds the instructions of each, `border` those of its 40 calls of
    quantize and of dequantize, which are in it. Where the model could not be built or run, `fault` says why.
    """

    windows: str
    core: str = ""
    engine: str = ""
    window: tuple[int, ...] = ()
    border: int = 0
    equal: int = 0
    size: Footprint | None = None
    costliest: str = ""
    activity: Mapping[str, float] | None = None
    goals: tuple[Outcome, ...] = ()
    fault: str = ""
    grade: str = EMULATED


def measure_watch(progress: Callable[[str], None]) -> WatchReport:
    """Convert the shipped checkpoint for the watch, check it against the reference, and count whole windows."""
    from edgekit.models import load

    checkpoint = files.har_checkpoint(FAMILY)
    windows, calibration, counted = windows_of(load(checkpoint).io["input"])
    progress(f"{WATCH}: {INT8} for {TARGET}")
    try:
        return _measure(checkpoint, windows, calibration, counted)
    except EdgekitError as error:
        return WatchReport(windows, fault=str(error))


def windows_of(spec: Mapping[str, Any]) -> tuple[str, Array, Array]:
    """What the windows are, those to calibrate on and those to count, in raw units: real ones where the file is."""
    shape = int(spec["window"]), len(spec["channels"])
    if files.WISDM.is_file():
        with np.load(files.WISDM, allow_pickle=False) as archive:
            x: Array = archive["x"].astype(np.float32) * archive["scale"].astype(np.float32)
        last = len(x) - 1
        chosen = [np.linspace(first, last - first, n).astype(int) for first, n in ((0, CALIBRATED), (1, COUNTED))]
        calibration, counted = (x[rows] for rows in chosen)
        return f"real windows ({files.WISDM.name}), {COUNTED} of {len(x):,}, spread evenly", calibration, counted
    smooth = motion(shape[1], (CALIBRATED + COUNTED) * shape[0]).reshape(-1, *shape)
    raw = np.asarray(smooth / np.asarray(spec["scale"]) + np.asarray(spec["offset"]), np.float32)
    return f"SYNTHETIC windows: smooth noise, as there is no {files.WISDM}", raw[:CALIBRATED], raw[CALIBRATED:]


def _measure(checkpoint: Any, windows: str, calibration: Array, counted: Array) -> WatchReport:
    conversion = convert_file(checkpoint, Options(target=TARGET, precision=INT8, calib=calibration))
    artifact = conversion.artifact
    stream = counting_stream(artifact)
    session = Session(artifact, stream)
    stimulus = given_stimulus(session, counted, windows)
    equal = sum(check_bytes(session, window) for (window,) in stimulus.streams)
    counts = count_steps(artifact, stimulus, stream=stream)
    size = footprint(artifact, counts.stack)
    border = counted.shape[1] * sum(counts.border.values())
    per_window = tuple(window + border for window in counts.windows)
    ram = size.ram_bytes + (size.stack_bytes or 0)
    figures = {
        (FLASH, INT8): Figure(
            size.flash_bytes, DERIVED, f"code {size.code_bytes:,}, constants {size.constant_bytes:,}"
        ),
        (RAM, INT8): Figure(ram, EMULATED, f"struct {size.ram_bytes:,}, stack {size.stack_bytes:,}"),
        (WINDOW, INT8): Figure(max(per_window), EMULATED, costliest(counts)),
    }
    return WatchReport(
        windows=windows,
        core=stream.core,
        engine=stream.engine,
        window=per_window,
        border=border,
        equal=equal,
        size=size,
        costliest=costliest(counts),
        activity=spike_rates(artifact, conversion.activity),
        goals=judge(WATCH, figures),
    )


def print_watch(report: WatchReport, console: Console) -> None:
    """The figures of the watch, then the goals."""
    console.print(f"\n[bold]{WATCH}[/bold]: the shipped checkpoint of split B, {INT8} for {TARGET}")
    console.print(report.windows, soft_wrap=True)
    if report.fault or report.size is None:
        console.print(f"  [red]FAILED[/red] {report.fault}", soft_wrap=True)
        return
    size = report.size
    console.print(f"{report.engine}; {report.equal:,} steps with the bytes of the numpy reference")
    console.print(f"spikes (on the calibration windows): {rates(report.activity or {})}")
    console.print(
        f"flash {size.flash_bytes:,} B: code {size.code_bytes:,}, weights and tables {size.constant_bytes:,}; "
        f"RAM: struct {size.ram_bytes:,} B, stack {size.stack_bytes:,} B"
    )
    console.print(
        f"a window of 40 steps: {number(float(np.mean(report.window)))} instructions in the mean, "
        f"{min(report.window):,} – {max(report.window):,},\n"
        f"of which quantize and dequantize {report.border:,}"
    )
    console.print(Padding(report.costliest, (0, 0, 0, 4)))
    print_goals(report.goals, console)
