"""Peers side by side in one run: time of a step on this computer, instructions of a step on the emulated device."""

from edgekit.bench.integer import IntegerReport, run_integer
from edgekit.bench.measure import run_bench
from edgekit.bench.report import Report
from edgekit.bench.targets import TargetReport, run_targets
from edgekit.bench.timing import FULL, QUICK, Schedule

__all__ = [
    "FULL",
    "QUICK",
    "IntegerReport",
    "Report",
    "Schedule",
    "TargetReport",
    "run_bench",
    "run_integer",
    "run_targets",
]
