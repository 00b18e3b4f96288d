"""Instructions of each step on the emulated core, by op and by function: exact, and the same at every call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median
from typing import Any

from edgekit.artifact import Artifact
from edgekit.errors import UsageError
from edgekit.profile.grades import EMULATED
from edgekit.profile.ops import layer_of, op_of, step_kernels
from edgekit.profile.stimulus import Stimulus, selftest_stimulus
from edgekit.runtime import load
from edgekit.runtime.streams import MachineStream
from edgekit.runtime.trial import learning_entries, learning_inputs

Progress = Callable[[str, int, int | None], None]


def silent(_stage: str, _done: int, _total: int | None) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class OpCount:
    """Instructions of one op in a step, with all that it calls: mean and most. `kernel` ran it, '' for taking inputs in
    and giving outputs out; `layer` is the module that it came from, or the value that it makes.
    """

    op: str
    kernel: str
    layer: str
    instructions: float
    most: int


@dataclass(frozen=True)
class StepCounts:
    """Exact counts over a stimulus: `steps` holds the instructions of each step, `windows` those of all steps of each
    whole window where it has windows; `ops` those of its calls, `functions` the mean of each function without those it
    calls; `border` what one call of each other entry takes: of those of an integer program that bring values in and
    out, and of those that learn. `stack` is the most bytes of stack that a step or such an entry used, by those that it
    changed. `window` is how many steps are learned from at once.
    """

    core: str
    engine: str
    stimulus: str
    available: int
    steps: tuple[int, ...]
    windows: tuple[int, ...]
    ops: tuple[OpCount, ...]
    functions: dict[str, float]
    border: dict[str, int]
    stack: int
    window: int = 1

    @property
    def total(self) -> float:
        """Mean instructions per step."""
        return mean(self.steps)

    @property
    def update(self) -> int | None:
        """Instructions of what is learned from one window, beside its steps; None where nothing is learned."""
        learn = self.border.get("learn")
        return None if learn is None else learn + self.window * self.border.get("gather", 0)

    @property
    def calls(self) -> float:
        """Mean instructions of the step function itself, which calls the ops."""
        return self.total - sum(op.instructions for op in self.ops)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        a_step, a_window = spread(self.steps), spread(self.windows) if self.windows else None
        totals = {"total": self.total, "calls": self.calls, "a_step": a_step, "a_window": a_window}
        totals["update"] = self.update
        return {**asdict(self), **totals, "grade": EMULATED}


def spread(counts: Sequence[int]) -> dict[str, float]:
    """The least, the median, the most and the mean."""
    return {"min": min(counts), "median": median(counts), "max": max(counts), "mean": mean(counts)}


def count_steps(
    artifact: Artifact,
    stimulus: Stimulus | None = None,
    *,
    stream: MachineStream | None = None,
    progress: Progress = silent,
) -> StepCounts:
    """Count every step of a stimulus, by default the self-test, on an emulated core.

    `stream` is one of the artifact on a machine; without it an emulator is started. ToolchainError when the target has
    no emulated core or its emulator is not installed, UsageError when the artifact holds no program for it.
    """
    stimulus = stimulus or selftest_stimulus(artifact)
    stream = stream or counting_stream(artifact)
    step, prefix = artifact.graph.entries["step"].name, f"ek_{artifact.name}"
    steps, windows = list[int](), list[int]()
    stack = 0
    mine, most, functions = Counter[str](), Counter[str](), Counter[str]()
    for inputs in stimulus.streams:
        stream.reset()
        if stimulus.lead_in is not None:
            stream.run(stimulus.lead_in)
        for t in range(len(inputs[0])):
            outputs, counted = stream.measure(step, [array[t] for array in inputs])
            steps.append(counted.instructions or 0)
            stack = max(stack, counted.stack_bytes or 0)
            functions.update(counted.by_symbol)
            here = Counter[str]()
            for site in counted.by_call:
                here[site.callee] += site.instructions
            mine.update(here)
            most |= here
            progress("count instructions", len(steps), stimulus.steps)
        if len(inputs[0]) == stimulus.window:
            windows.append(sum(steps[-stimulus.window :]))
    border = {}
    given = {"quantize": stimulus.raw, "dequantize": outputs}
    given |= {name: learning_inputs(artifact.graph, name) for name in learning_entries(artifact.graph)}
    before = stream.save()
    for entry, arrays in given.items():
        if entry in artifact.graph.entries and arrays is not None:
            counted = stream.measure(entry, arrays)[1]
            border[entry] = counted.instructions or 0
            stack = max(stack, counted.stack_bytes or 0)
    stream.restore(before)
    kernels, own = step_kernels(artifact), f"{prefix}_step_"

    def row(symbol: str) -> OpCount:
        name = symbol.removeprefix(own)
        op = op_of(artifact.graph, step, name)
        layer = layer_of(artifact.graph, op) or op.outputs[0].removeprefix(f"{step}.") if op else ""
        return OpCount(name, kernels.get(name, ""), layer, mine[symbol] / len(steps), most[symbol])

    return StepCounts(
        core=stream.core,
        engine=stream.engine,
        stimulus=stimulus.name,
        available=stimulus.available,
        steps=tuple(steps),
        windows=tuple(windows),
        ops=tuple(map(row, mine)),
        functions={name.removeprefix(f"{prefix}_"): n / len(steps) for name, n in functions.most_common()},
        border=border,
        stack=stack,
        window=int(artifact.manifest.get("learning", {}).get("window", 1)),
    )


def counting_stream(artifact: Artifact) -> MachineStream:
    """A stream of the artifact on an emulator that counts."""
    stream = load(artifact, engine="emulator").engine_stream
    if not isinstance(stream, MachineStream) or not stream.counts:
        raise UsageError(stream.engine, "cannot count instructions")
    return stream
