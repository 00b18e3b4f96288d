"""Instructions of one step on the target's core: counted in the emulator for edgekit, quoted for peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit.artifact import Artifact
from edgekit.bench.cases import Case
from edgekit.bench.subject import compare
from edgekit.errors import UsageError
from edgekit.runtime import load
from edgekit.runtime.streams import MachineStream
from edgekit.target import load_target

DEVICE = "raspberrypi4"
ANCHORS = "edgekit design notes, NUMBERS: anchors measured side by side, Cortex-A72 fp32"


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
}


def count_instructions(case: Case, artifact: Artifact) -> Count:
    """Count every step of the stimulus in the emulator, after one uncounted round of it, which is compared with
    PyTorch; the activity is then that of the case.
    """
    session = load(artifact, engine="emulator")
    stream = session.engine_stream
    if not isinstance(stream, MachineStream):
        raise UsageError(session.engine, "does not count instructions")
    compare(session.engine, session.run(case.stimulus), case)
    stream.counting = True
    for x in case.stimulus:
        session.step(x)
    mean = stream.total_instructions() / len(case.stimulus)
    return Count("edgekit", str(load_target(DEVICE).emulated_core), mean, "emulated", session.engine)
