"""Where the time of a step goes: counters that a program is compiled with, one for each call that the step makes."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from edgekit.artifact import Artifact
from edgekit.errors import ToolchainError, UsageError
from edgekit.ir import Graph
from edgekit.profile.grades import MEASURED
from edgekit.profile.ops import layer_of, op_of, step_calls
from edgekit.profile.stimulus import Array, Stimulus, selftest_stimulus
from edgekit.runtime import rebuild
from edgekit.runtime.build import emitted_for
from edgekit.runtime.streams import NativeProgram, NativeStream, refused
from edgekit.target import Target, load_target
from edgekit.toolchain import build_shared

FLAG = "-DEK_TICKS"
WARM_NS, TIMED_NS, CALIBRATION_NS = 10**8, 10**9, 10**7
LEAST_ROUNDS = 5
CALIBRATIONS = 5
EMPTY_CALLS = 101
READINGS = 256  # of each round, by which it is known what one takes
NINE_OF_TEN = (5, 95)  # percentiles
MOST_READINGS = 2**28  # of a counter that goes so fast, or stands still, that no end would come

COUNTERS: Mapping[str, str] = {
    "x86_64": "time stamp counter (rdtsc)",
    "aarch64": "virtual count (cntvct_el0)",
    "armv7": "CLOCK_MONOTONIC (system call)",
}


@dataclass(frozen=True)
class OpTime:
    """Microseconds of one op in a step: the median over rounds of a stimulus; from `low` to `high` are nine of ten.

    `share` is its part of all ops. `kernel` ran it, '' for taking inputs in and giving outputs out; `layer` is the
    module that it came from, or the value that it makes.
    """

    op: str
    kernel: str
    layer: str
    microseconds: float
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Breakdown:
    """The ops of a step in order.

    `plain` and `ticked` are microseconds of a step without and with counters. Their difference, shared out among the
    `readings` of a step, is `counting`: what it costs to count an op, taken off each of them already. A reading waits
    until the op before it is done, so that is more than an instruction, and ops do not overlap as they may in the plain
    program. `reading` is what one takes by itself, over and over; `resolution` is by how much the counter goes on: the
    mean over many steps is finer, one reading is not. `steps` are those of a round.
    """

    ops: tuple[OpTime, ...]
    plain: float
    ticked: float
    readings: int
    reading: float
    counter: str
    resolution: float
    steps: int
    rounds: int
    stimulus: str
    engine: str
    grade: str = MEASURED

    @property
    def overhead(self) -> float:
        """How much longer a step takes with counters, as a part of the plain step."""
        return self.ticked / self.plain - 1

    @property
    def counting(self) -> float:
        """Microseconds that it costs to count an op."""
        return max(self.ticked - self.plain, 0.0) / self.readings

    @property
    def rest(self) -> float:
        """Microseconds of the plain step that no op has: calls and checks; below 0 where ops overlap."""
        return self.plain - sum(op.microseconds for op in self.ops)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "overhead": self.overhead, "counting": self.counting, "rest": self.rest}


@dataclass(frozen=True)
class Ticked:
    """A program with counters: `calls` are the functions that its counters belong to, in their order."""

    library: bytes
    calls: tuple[str, ...]
    kernels: Mapping[str, str]


def ticked_program(graph: Graph, target: Target, *, compiler: str | None = None) -> Ticked:
    """Build a graph with edgekit's own kernels and with counters, for this computer or for a board with Linux.

    Beside its entries the library has `uint32_t ek_<model>_ticks(model, uint64_t *sums)`, which gives the sums since it
    was last called and their number, and `uint64_t ek_<model>_ticks_cost(uint32_t readings)`, the ticks of so many
    readings. UsageError for a Cortex-M, whose firmware is the user's.
    """
    if target.is_bare:
        raise UsageError(
            f"target {target.name!r}",
            "has no system that could run a library with counters",
            f"compile the C with {FLAG} into your firmware and read ek_{graph.name}_ticks",
        )
    emitted, _ = emitted_for(graph, target)
    flags = (*target.ldflags, FLAG)
    library = build_shared(emitted.files, emitted.main, target, compiler=compiler, extra_flags=flags)
    return Ticked(library, emitted.ticked, {use.symbol: use.kernel for use in emitted.kernels})


def op_times(graph: Graph, ticked: Ticked, sums: Array, *, tick: float, counting: float) -> tuple[OpTime, ...]:
    """The ops of the step from the sums of each round, ticks [rounds, calls] of one step.

    `tick` is the microseconds of one tick, `counting` those that it costs to count an op, which are taken off.
    """
    own, step = f"ek_{graph.name}_step_", graph.entries["step"].name
    mine = [at for at, call in enumerate(ticked.calls) if call in step_calls(graph, ticked.calls)]
    taken = np.maximum(sums[:, mine] * tick - counting, 0.0)
    middle, (low, high) = np.median(taken, axis=0), np.percentile(taken, NINE_OF_TEN, axis=0)
    whole = float(middle.sum())

    def row(at: int, call: str) -> OpTime:
        op = op_of(graph, step, call.removeprefix(own))
        return OpTime(
            op=call.removeprefix(own),
            kernel=ticked.kernels.get(call, ""),
            layer=layer_of(graph, op) or op.outputs[0].removeprefix(f"{step}.") if op else "",
            microseconds=float(middle[at]),
            share=float(middle[at]) / whole if whole else 0.0,
            low=float(low[at]),
            high=float(high[at]),
        )

    return tuple(row(at, ticked.calls[number]) for at, number in enumerate(mine))


def break_down(artifact: Artifact, stimulus: Stimulus | None = None) -> Breakdown:
    """Time the ops of a step on this computer, over a stimulus, by default the self-test.

    The graph is rebuilt for this computer with edgekit's own kernels, once with counters and once without; both go
    through the stimulus by turns. ToolchainError when no compiler is here.
    """
    stimulus = stimulus or selftest_stimulus(artifact)
    graph, host = artifact.graph, load_target("host")
    ticked = ticked_program(graph, host)
    plain = _Rounds(rebuild(graph, "rebuilt from the graph"), stimulus)
    counted = _Rounds(NativeProgram(graph, ticked.library, plain.engine), stimulus, len(ticked.calls))
    warm = perf_counter_ns() + WARM_NS
    while perf_counter_ns() < warm:
        plain.go(), counted.go()
    tick = _calibrated(counted)
    times, sums, readings = list[tuple[float, float]](), list[Array](), list[int]()
    end = perf_counter_ns() + TIMED_NS
    while len(times) < LEAST_ROUNDS or perf_counter_ns() < end:
        times.append((plain.go(), counted.go()))
        sums.append(counted.sums.copy())
        readings.append(counted.cost(READINGS))  # by turns too: the clock of this computer is not always the same
    ticks = np.array(sums)
    found = Breakdown(
        ops=(),
        plain=median(time for time, _ in times),
        ticked=median(time for _, time in times),
        readings=1 + len(step_calls(graph, ticked.calls)),
        reading=median(readings) / READINGS * tick,
        counter=COUNTERS[host.arch],
        resolution=_jump(counted) * tick,
        steps=stimulus.steps,
        rounds=len(times),
        stimulus=stimulus.name,
        engine=plain.engine,
    )
    return replace(found, ops=op_times(graph, ticked, ticks / stimulus.steps, tick=tick, counting=found.counting))


def _calibrated(counted: _Rounds) -> float:
    """Microseconds of a tick by this computer's clock."""
    readings = 2**10

    def timed() -> tuple[int, int]:
        start = perf_counter_ns()
        ticks = counted.cost(readings)
        return perf_counter_ns() - start, ticks

    while timed()[0] < CALIBRATION_NS and readings < MOST_READINGS:
        readings *= 2
    found = [timed() for _ in range(CALIBRATIONS)]
    if not all(ticks for _, ticks in found):
        raise ToolchainError("counter of this computer", "stands still", "leave the breakdown by op out")
    return median(ns / ticks for ns, ticks in found) / 1000


def _jump(counted: _Rounds) -> int:
    """By how many ticks the counter goes on at once: the least by which two single readings differ."""
    seen = np.unique([counted.cost(1) for _ in range(READINGS)])
    return int(np.diff(seen).min()) if len(seen) > 1 else 1


class _Rounds:
    """A program that goes through a stimulus, all arguments of its calls made once."""

    def __init__(self, program: NativeProgram, stimulus: Stimulus, counters: int = 0) -> None:
        self.program, self.engine = program, program.engine
        self._steps, self._stream = stimulus.steps, NativeStream(program)
        self._kept = list[Array]()  # what the arguments point to
        self._runs = [self._arguments(inputs) for inputs in stimulus.streams]
        self._lead_in = self._arguments(stimulus.lead_in) if stimulus.lead_in is not None else None
        self._run = program.function("run")
        if counters:
            self._ticks, self._cost = program.function("ticks"), program.function("ticks_cost")
            self._cost.restype = ctypes.c_uint64
        self._taken = np.zeros(counters, np.uint64)
        self.sums = np.zeros(counters, np.uint64)
        """The ticks of the last round by counter."""
        empty = self._runs[0][0], ctypes.c_uint32(0), *self._runs[0][2:]
        self._call_ns = median(self._called(empty) for _ in range(EMPTY_CALLS))

    def _arguments(self, inputs: Sequence[Array]) -> tuple[Any, ...]:
        graph, steps = self.program.graph, len(inputs[0])
        entry = graph.entries["step"]
        given = [np.ascontiguousarray(a, graph.port_dtype(n)) for n, a in zip(entry.inputs, inputs, strict=True)]
        made = [np.empty((steps, *graph.tensors[n].shape), graph.port_dtype(n)) for n in entry.outputs]
        self._kept += [*given, *made]
        pointers = (ctypes.c_void_p(a.ctypes.data) for a in (*given, *made))
        return self._stream.struct, ctypes.c_uint32(steps), *pointers

    def go(self) -> float:
        """Make a round; microseconds of a step, without the calls from here."""
        spent = 0.0
        self.sums[:] = 0
        for arguments in self._runs:
            self._stream.reset()
            if self._lead_in is not None:
                self._called(self._lead_in)
                self._take()
            spent += self._called(arguments) - self._call_ns
            self.sums += self._take()
        return spent / self._steps / 1000

    def cost(self, readings: int) -> int:
        """Ticks that so many readings of the counter take."""
        return int(self._cost(ctypes.c_uint32(readings)))

    def _called(self, arguments: tuple[Any, ...]) -> int:
        start = perf_counter_ns()
        code = self._run(*arguments)
        took = perf_counter_ns() - start
        if code:
            raise refused(code, "step", self.program.graph, [])
        return took

    def _take(self) -> Array:
        """The sums since they were last taken."""
        if self._taken.size:
            self._ticks(self._stream.struct, ctypes.c_void_p(self._taken.ctypes.data))
        return self._taken
