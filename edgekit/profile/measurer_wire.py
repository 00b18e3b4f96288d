"""What goes between this process and the measurer: the job that it reads, and the records that it answers with."""

from __future__ import annotations

import os
import select
import struct
import subprocess
from collections.abc import Iterator, Sequence

import numpy as np

from edgekit.errors import DataError, EdgekitError, TargetError, ToolchainError, UsageError
from edgekit.ir import Graph
from edgekit.profile.places import Place, end
from edgekit.profile.stimulus import Array, Stimulus
from edgekit.profile.timing import MeasurePlan, Window

MOST_RUN = 1024  # steps of one call of `run`, fewer where they are slow
WORTH = 40  # a reading lasts at least so many times what the clock takes
MOST_DEADLINES = 1 << 22  # of one measurement, whose rows the measurer holds in memory
END_S = 10.0  # from the end of what a process says to its own
MOST_MESSAGES = 1 << 16  # bytes that are kept of them, the last
GRACE_S = 120.0  # beyond a window's own time, before a measurer that says nothing is given up
MOST_PORTS, ALIGN, MOST_RECORD = 14, 64, 1 << 30
FIRST_LINE, MOST_BEFORE = b"edgekit measurer 1\n", 1 << 16  # what a login shell may print before it
STEP, BORDER, RUN, PACE, REPLAY = 1, 2, 4, 8, 16
FAULT, CLOCK, OUTPUTS, STATE, REPLAYED, WINDOW, PACED, SAMPLE, DONE = range(1, 10)
_HEAD, _FAULT, CLOCK_ROW = struct.Struct("<2Q"), struct.Struct("<q"), struct.Struct("<3Q")
_WINDOW, PACED_ROW, SAMPLE_ROW = struct.Struct("<10Q"), struct.Struct("<7Q"), struct.Struct("<3Qq")
_JOB = struct.Struct(f"<8s{14 + 2 * MOST_PORTS}Q")
_EXACT, _TO_AN_OCTAVE = 512, 256  # buckets of measurer.c


def job_bytes(graph: Graph, stimulus: Stimulus, plan: MeasurePlan, tasks: int) -> bytes:
    """The file that tells the measurer what to do: the struct `job` of measurer.c and what lies behind it."""
    step, tensors = graph.entries["step"], graph.tensors
    names = (*step.inputs, *step.outputs)
    if len(names) > MOST_PORTS:
        raise UsageError(f"program {graph.name!r}", f"has {len(names)} inputs and outputs", f"at most {MOST_PORTS}")
    paced = deadlines_of(plan)
    joined = [np.concatenate(arrays) for arrays in zip(*stimulus.streams, strict=True)]
    stored = [
        np.ascontiguousarray(a, graph.port_dtype(n).newbyteorder("<")) for n, a in zip(step.inputs, joined, strict=True)
    ]
    border = graph.is_integer and bool(tasks & (BORDER | PACE))
    raw = _raw_of(graph, stored) if border else []
    prefix = f"ek_{graph.name}_".encode()
    period_ns = round(1e9 / plan.rate_hz) if plan.rate_hz else 0
    run_steps = stimulus.steps if tasks & REPLAY else min(stimulus.steps, MOST_RUN)
    if stimulus.steps < 1:
        raise DataError(stimulus.name, "has no steps")
    figures = [tasks, len(step.inputs), len(step.outputs), stimulus.steps]
    figures += [plan.windows, round(plan.seconds * 1e9), round(plan.warm_seconds * 1e9), WORTH]
    figures += [*divmod(period_ns, 10**9), paced, run_steps, int(border), len(prefix)]
    for name in names:
        figures += [graph.port_dtype(name).itemsize * tensors[name].size, 4 * tensors[name].size]
    figures += [0] * (_JOB.size // 8 - 1 - len(figures))
    parts = [_JOB.pack(b"EKJOB001", *figures), prefix, *(a.tobytes() for a in (*stored, *raw))]
    return b"".join(part + bytes(-len(part) % ALIGN) for part in parts)


def deadlines_of(plan: MeasurePlan) -> int:
    """How many steps at a rate a plan asks for; UsageError for a rate or a time that cannot be."""
    if plan.rate_hz is None:
        return 0
    if not 0.001 <= plan.rate_hz <= 1e6:
        raise UsageError(f"a rate of {plan.rate_hz:g} Hz", "cannot be kept", "from 0.001 to 1,000,000 Hz")
    deadlines = max(1, round(plan.paced_seconds * plan.rate_hz))
    if deadlines > MOST_DEADLINES:
        cause = f"has {deadlines:,} deadlines in {plan.paced_seconds:g} s"
        remedy = f"at most {MOST_DEADLINES:,}: a slower one, or for less long"
        raise UsageError(f"a rate of {plan.rate_hz:g} Hz", cause, remedy)
    return deadlines


def _raw_of(graph: Graph, stored: Sequence[Array]) -> list[Array]:
    """Raw values that the entry `quantize` turns into stored ones, but for what rounding takes: q / gain + offset."""
    made = []
    makers = {op.outputs[0]: op for op in graph.entries["quantize"].ops}
    for name, array in zip(graph.entries["quantize"].outputs, stored, strict=True):
        op, raw = makers.get(name), array.astype(np.float32)
        if op is not None and op.kind == "quantize":
            offset, gain = (np.asarray(graph.tensors[n].data, np.float32) for n in op.inputs[1:])
            raw = raw / gain + offset
        made.append(np.ascontiguousarray(raw, "<f4"))
    return made


def bucket_ns(buckets: Array) -> Array:
    """The middle of each bucket of measurer.c, ns."""
    octave, at = np.divmod(buckets - _EXACT, _TO_AN_OCTAVE)
    width = np.where(buckets < _EXACT, 1.0, 2.0 ** (octave + 1))
    return np.where(buckets < _EXACT, buckets, (_TO_AN_OCTAVE + at) * width + (width - 1) / 2)


def window_of(payload: bytes) -> tuple[int, int, Window]:
    """What was timed in a window, how many steps each reading covers, and its readings."""
    task, _, begin, finish, each, _, least, most, total, preempted = _WINDOW.unpack_from(payload)
    rows = np.frombuffer(payload, "<u8", offset=_WINDOW.size).astype(np.int64).reshape(-1, 2)
    nanoseconds = np.clip(bucket_ns(rows[:, 0]), least, most)
    # The outermost buckets hold the least and the most, which are known exactly; within one all are alike to 0.4 %.
    nanoseconds[0], nanoseconds[-1] = least, most
    return task, each, Window(begin, finish, nanoseconds, rows[:, 1], total, preempted)


def records(place: Place, process: subprocess.Popen[bytes], silence_s: float) -> Iterator[tuple[int, bytes]]:
    """Kind and contents of every record until the last; an error when the measurer ends before that or says nothing
    for so long. The process is ended when nobody asks for more.
    """
    source = _Source(place, process, silence_s)
    try:
        before = bytearray()
        while not before.endswith(FIRST_LINE):
            before += source.read(1)
            if len(before) > MOST_BEFORE:
                raise TargetError(
                    place.name, "answers with something else than measurements", "what does its shell print?"
                )
        while True:
            kind, size = _HEAD.unpack(source.read(_HEAD.size))
            if size > MOST_RECORD:
                raise TargetError(place.name, f"answers with a record of {size:,} bytes", "please report this")
            payload = source.read(size)
            if kind == FAULT:
                (number,) = _FAULT.unpack_from(payload)
                cause = payload[_FAULT.size :].decode("ascii", "replace")
                raise TargetError(f"the program on {place.name}", f"{cause} {number}")
            if kind == DONE:
                return
            yield kind, payload
    finally:
        end(process)


class _Source:
    """What a measurer prints, read as it comes; its messages are read beside it, so that they never hold it up."""

    def __init__(self, place: Place, process: subprocess.Popen[bytes], silence_s: float) -> None:
        if process.stdout is None or process.stderr is None:
            raise ToolchainError("the measurer", "has no pipes")
        self._place, self._process, self._silence_s = place, process, silence_s
        self._out, self._errors = process.stdout.fileno(), process.stderr.fileno()
        self._pipes = [self._out, self._errors]
        self._messages = b""

    def read(self, nbytes: int) -> bytes:
        """The next bytes; an error when it ends before them, or says nothing for too long."""
        out = bytearray()
        while len(out) < nbytes:
            ready, _, _ = select.select(self._pipes, [], [], self._silence_s)
            if not ready:
                cause = f"said nothing for {self._silence_s:.0f} s"
                raise TargetError(self._place.name, cause, "is it still reachable?")
            if self._errors in ready:
                self._hear()
            if self._out in ready:
                part = os.read(self._out, min(nbytes - len(out), 1 << 20))
                if not part:
                    raise self._ended()
                out += part
        return bytes(out)

    def _hear(self) -> None:
        part = os.read(self._errors, 1 << 16)
        if not part:
            self._pipes = [self._out]
        self._messages = (self._messages + part)[-MOST_MESSAGES:]

    def _ended(self) -> EdgekitError:
        while self._errors in self._pipes and select.select([self._errors], [], [], END_S)[0]:
            self._hear()
        try:
            code = self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return TargetError(self._place.name, "stopped answering", "is it still reachable?")
        return self._place.failed(code, self._messages.decode("utf-8", "replace"))
