"""A day of a sensor's stream, run fast: memory stays flat, and every decision is that of a fresh run.

python -m tools.soak [--target host] [--hours 24] [--family l2mu] [--seed 0] [--log docs/logs/soak-host.json]

Windows of the HAR example's test wearers (the smartwatch recordings where they are, else made-up motion) go through
the front door again and again, as 20 Hz samples with times. What is put in between may not change a decision: jitter of
times, duplicates, late samples; and every ten minutes part of a window, then silence, after which the next window has
to start from a reset. Each decision is compared with that of `Session.run` and `Session.decide` over the same window in
a session of its own, label and scores. Resident memory, of this process and of the emulator's, is read every ten
minutes of the stream. Returns 1 when a decision differed or memory grew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgekit.convert import Options, convert_imported
from edgekit.demo.har.checkpoints import FAMILIES, checkpoint
from edgekit.demo.har.data import load_windows
from edgekit.demo.har.windows import RATE_HZ, WINDOW
from edgekit.errors import DataError
from edgekit.frontends import import_file
from edgekit.runtime import Session, load
from edgekit.streaming import Counters, Decision, FrontDoor, Sample

CALIBRATION = 256  # windows, of wearers that are not streamed
SEGMENT = 300  # windows between two silences: ten minutes
JITTER = 0.2  # of a period, either way
SILENCE = 5.0  # s
WARM = 0.1  # of the run, after which memory has to be flat
GROWTH_KB = 1024  # what counts as growth over all of the rest


@dataclass(frozen=True)
class Soak:
    """What a run has shown. Memory is in kB: after warming up, at the end, and the most there ever was."""

    command: str
    model: str
    engine: str
    data: str
    hours: float
    steps: int
    decisions: int
    different: int
    counters: dict[str, int]
    memory_warm_kb: int
    memory_end_kb: int
    memory_most_kb: int
    readings: int
    seconds: float
    machine: str
    grade: str

    @property
    def passed(self) -> bool:
        """Whether nothing differed and memory stayed flat."""
        return not self.different and self.memory_end_kb - self.memory_warm_kb < GROWTH_KB


def prepare(
    family: str, target: str, precision: str = "int8", *, everyone: bool = False
) -> tuple[Session, Session, np.ndarray, str]:
    """A session to stream through and one to compare with, windows [N, 40, 6] of the test wearers, or of all of them,
    and where those are from.
    """
    try:
        data, sides = load_windows("B")
        split = "B"
    except DataError:
        data, sides = load_windows("synthetic")
        split = "synthetic"
    imported = import_file(checkpoint(f"{family}_{split}"))
    calibration = data.x[sides.train[:: max(1, len(sides.train) // CALIBRATION)]]
    if imported.graph.tensors[imported.graph.entries["step"].inputs[0]].size == calibration[0].size:
        calibration = calibration.reshape(len(calibration), -1)
    artifact = convert_imported(imported, Options(target, precision, calib=calibration)).artifact
    engine = "auto" if target == "host" else "emulator"
    return (
        load(artifact, engine=engine),
        load(artifact, engine="auto"),
        data.x if everyone else data.x[sides.test],
        data.source,
    )


def batch(session: Session, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `run` and `decide` make of all windows at once: labels [N] and scores [N, classes]."""
    outputs = session.run(windows)
    if not session.stateful:
        return session.decide(outputs), outputs
    how = session.facts.io["decision"]
    return session.decide(outputs), {"sum": outputs.sum(1), "mean": outputs.mean(1)}.get(how, outputs[:, -1])


def dirty(windows: np.ndarray, steps: int, seed: int) -> Iterator[tuple[Sample, bool]]:
    """Samples of the windows in turn, `steps` of them in whole windows, and whether one of those is new."""
    rng = np.random.default_rng(seed)
    now, done, rows = 0.0, 0, [window.tolist() for window in windows]
    while done < steps:
        before: Sample | None = None
        part = rows[done // WINDOW % len(rows)][: int(rng.integers(1, WINDOW))]
        for at in range(min(SEGMENT, (steps - done) // WINDOW)):
            window = rows[(done // WINDOW + at) % len(rows)]
            jitter = rng.uniform(-JITTER, JITTER, WINDOW)
            spoiled = rng.random(WINDOW)
            for row, late, chance in zip(window, jitter, spoiled, strict=True):
                now += 1 / RATE_HZ
                sample = Sample(now + late / RATE_HZ, tuple(row))
                yield sample, True
                if chance < 0.01:
                    yield sample, False
                elif chance < 0.02 and before is not None:
                    yield Sample(before.time, (99.0,) * len(row)), False
                before = sample
        done += min(SEGMENT, (steps - done) // WINDOW) * WINDOW
        for row in part:
            now += 1 / RATE_HZ
            yield Sample(now, tuple(row)), False
        now += SILENCE


def resident_kb() -> int:
    """Resident memory of this process and of all that it started."""
    total, waiting = 0, [os.getpid()]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            total += int(process.joinpath("statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024
            for thread in process.joinpath("task").iterdir():
                waiting += map(int, thread.joinpath("children").read_text().split())
        except FileNotFoundError:  # it has ended
            continue
    return total


def run(command: str, family: str, target: str, hours: float, seed: int) -> Soak:
    """Stream for so many hours of the sensor's time."""
    session, alone, windows, source = prepare(family, target)
    labels, scores = batch(alone, windows)
    steps = int(hours * 3600 * RATE_HZ) // WINDOW * WINDOW
    door, readings, made, different, taken = FrontDoor(session), [], 0, 0, 0
    started = time.perf_counter()
    for sample, new in dirty(windows, steps, seed):
        for found in door.feed(sample):
            if isinstance(found, Decision):
                at = made % len(windows)
                different += found.label != labels[at] or found.scores != tuple(map(float, scores[at]))
                made += 1
        taken += new
        if new and taken % (SEGMENT * WINDOW) == 0:
            readings.append(resident_kb())
            say(f"{taken / RATE_HZ / 3600:5.1f} h, {made:,} decisions, {different:,} different, {readings[-1]:,} kB")
    door.finish()
    seconds = time.perf_counter() - started
    readings = readings or [resident_kb()]
    counters: Counters = door.counters
    return Soak(
        command=command,
        model=f"{family}, int8",
        engine=session.engine,
        data=source,
        hours=steps / RATE_HZ / 3600,
        steps=steps,
        decisions=made,
        different=different + abs(made - steps // WINDOW),
        counters=counters.to_dict(),
        memory_warm_kb=readings[int(WARM * len(readings))],
        memory_end_kb=readings[-1],
        memory_most_kb=max(readings),
        readings=len(readings),
        seconds=round(seconds, 1),
        grade="measured" if target == "host" else "decisions emulated, memory and seconds measured",
        machine=platform.platform(terse=True) + f", {platform.machine()}, Python {platform.python_version()}",
    )


def say(text: str) -> None:
    """Tell how far it is, on a terminal alone."""
    if sys.stderr.isatty():
        print(f"\r{text}", end="", file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run, print, and write the log; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="host", help="host, or a watch, which is then emulated")
    parser.add_argument("--hours", type=float, default=24.0, help="of the sensor's time")
    parser.add_argument("--family", choices=FAMILIES, default="l2mu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help=".json to write")
    options = parser.parse_args(arguments)
    command = f"python -m tools.soak --target {options.target} --hours {options.hours:g} --family {options.family}"
    found = run(command, options.family, options.target, options.hours, options.seed)
    text = json.dumps({"schema_version": 1, **asdict(found), "passed": found.passed}, indent=1)
    print(text)
    if options.log is not None:
        options.log.write_text(text + "\n", encoding="utf-8")
    return 0 if found.passed else 1


if __name__ == "__main__":
    sys.exit(main())
