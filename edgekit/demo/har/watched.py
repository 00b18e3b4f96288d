"""A session whose steps are watched: what went in, how long it took here, and how many instructions."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact import Artifact
from edgekit.runtime import Session
from edgekit.runtime.streams import Array, MachineStream, Stream


@dataclass
class Notes:
    """Of the newest step: its input and outputs, nanoseconds here, and instructions where they are counted."""

    given: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    outputs: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    nanoseconds: int = 0
    instructions: int | None = None


class Watched(Session):
    """A session of one input and one output that writes into `notes`; the streams made from it write there too."""

    def __init__(self, artifact: Artifact, stream: Stream, notes: Notes | None = None) -> None:
        super().__init__(artifact, stream)
        self.notes = Notes() if notes is None else notes

    def step(self, *inputs: npt.ArrayLike, stored: bool = False) -> Any:
        """One time step, as `Session.step`."""
        stream = self.engine_stream
        counted = isinstance(stream, MachineStream) and stream.counting
        before = stream.total_instructions() if isinstance(stream, MachineStream) else 0
        begun = time.perf_counter_ns()
        outputs = super().step(*inputs, stored=stored)
        self.notes.nanoseconds = time.perf_counter_ns() - begun
        if isinstance(stream, MachineStream) and counted:
            self.notes.instructions = stream.total_instructions() - before
        self.notes.given, self.notes.outputs = np.asarray(inputs[0]), outputs
        return outputs

    def stream(self) -> Watched:
        """Another stream of the program, which writes into the same notes."""
        other = Watched(self.artifact, self.engine_stream.fork(), self.notes)
        if self.facts.learned:
            other.restore_learned(self.learned())
        return other


def watch(artifact: Artifact, *, emulated: bool) -> Watched:
    """Open a program on this computer, or on the emulated core of its target, where instructions are counted."""
    from edgekit.runtime import load

    stream = load(artifact, engine="emulator" if emulated else "auto").engine_stream
    if isinstance(stream, MachineStream):
        stream.counting = stream.counts
    return Watched(artifact, stream)
