"""Instructions of one step on a target's core: counted in the emulator for edgekit, quoted for peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.artifact import Artifact
from edgekit.bench.cases import Case
from edgekit.bench.stimuli import Array
from edgekit.bench.subject import compare
from edgekit.bench.tables import percent
from edgekit.errors import UsageError
from edgekit.profile.counts import count_steps
from edgekit.runtime import load
from edgekit.runtime.streams import MachineStream
from edgekit.target import load_target

DEVICE = "raspberrypi4"
ANCHORS = "design notes, NUMBERS, anchors side by side"
EVERY_INPUT = "no input zero"


@dataclass(frozen=True)
class Count:
    """Mean instructions per step; `grade` is emulated (counted here, exact) or quoted (counted elsewhere)."""

    subject: str
    core: str
    instructions: float
    grade: str
    source: str


QUOTED: Mapping[str, tuple[Count, ...]] = {
    "mlp": (
        Count("onnx2c, -ffast-math", "cortex-a72", 29_167, "quoted", ANCHORS),
        Count("onnx2c, strict", "cortex-a72", 110_629, "quoted", ANCHORS),
    ),
    "l2mu": (Count("onnx2c", "cortex-a72", 263_064, "quoted", ANCHORS),),
    "elm": (
        Count("onnx2c, -ffast-math", "cortex-a72", 53_416, "quoted", ANCHORS),
        Count("onnx2c, strict", "cortex-a72", 154_393, "quoted", ANCHORS),
    ),
}


def count_instructions(case: Case, precision: str, artifact: Artifact) -> tuple[Count, ...]:
    """Count every step of the stimulus in the emulator, after one uncounted round of it, which is compared with the
    expected outputs; the activity is then that of the case. Then the same for the case's contrast, if it has one.
    """
    session = load(artifact, engine="emulator")
    stream = session.engine_stream
    if not isinstance(stream, MachineStream):
        raise UsageError(session.engine, "does not count instructions")
    core, subject = str(load_target(str(artifact.manifest["target"])).emulated_core), f"edgekit {precision}"

    def mean(stimulus: Array) -> float:
        before = stream.total_instructions()
        stream.counting = True
        for x in stimulus:
            session.step(x)
        stream.counting = False
        return (stream.total_instructions() - before) / len(stimulus)

    compare(session.engine, session.run(case.stimulus), case)
    counts = [Count(subject, core, mean(case.stimulus), "emulated", session.engine)]
    if case.contrast is not None:
        session.run(case.contrast)
        counts.append(Count(f"{subject}, {EVERY_INPUT}", core, mean(case.contrast), "emulated", session.engine))
    return tuple(counts)


def costliest_ops(artifact: Artifact, most: int = 3) -> str:
    """The ops that take the most instructions of a step, with their shares."""
    costs = count_steps(artifact)
    ops = sorted(costs.ops, key=lambda op: -op.instructions)[:most]
    return ", ".join(f"{op.op} {percent(op.instructions / costs.total)}" for op in ops)
