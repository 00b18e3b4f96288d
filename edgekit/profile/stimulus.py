"""What a profile runs over: a given input in raw units, or the self-test stream that every artifact carries."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact import Artifact
from edgekit.errors import DataError, UsageError
from edgekit.runtime import Session
from edgekit.runtime.noise import noise

Array = npt.NDArray[Any]
NOISE_STEPS = 256


@dataclass(frozen=True, eq=False)
class Stimulus:
    """Streams, each of which starts from a reset: for each input of the step an array [T, *shape], as the step takes
    it (stored integers in an integer program). `raw` is the first step in raw units, where they are known; `lead_in`
    is run after each reset, uncounted, to forget it. `window` is the steps of a window where the streams are windows.
    """

    name: str
    streams: tuple[tuple[Array, ...], ...]
    available: int  # steps, before `first` took some
    raw: tuple[Array, ...] | None = None
    lead_in: tuple[Array, ...] | None = None
    window: int | None = None

    @property
    def steps(self) -> int:
        """Steps of all streams."""
        return sum(len(stream[0]) for stream in self.streams)

    def first(self, most: int) -> Stimulus:
        """The first `most` steps; UsageError unless that is at least one."""
        if most < 1:
            raise UsageError(f"--steps {most}", "is not a number of steps", "at least 1")
        kept, left = [], most
        for stream in self.streams:
            if left > 0:
                kept.append(tuple(array[:left] for array in stream))
                left -= len(stream[0])
        return replace(self, streams=tuple(kept))

    def leading(self, most: int) -> Stimulus:
        """About the first `most` steps; where there are whole windows, those alone, and at least one.

        Of streams that hold none, `window` is None then.
        """
        whole = sum(len(stream[0]) == self.window for stream in self.streams)
        if self.window is None or not whole:
            return replace(self.first(most), window=None)
        return self.first(self.window * min(whole, max(1, most // self.window)))


def selftest_stimulus(artifact: Artifact) -> Stimulus:
    """The stream of the artifact's self-test."""
    stream = tuple(artifact.selftest.inputs[name] for name in artifact.graph.entries["step"].inputs)
    return Stimulus("the self-test stream of the artifact", (stream,), len(stream[0]))


def noise_stimulus(session: Session) -> Stimulus:
    """Noise, for an exported file, which carries no self-test."""
    return Stimulus("noise", (tuple(noise(session.facts, NOISE_STEPS)),), NOISE_STEPS)


def given_stimulus(session: Session, x: Array, name: str) -> Stimulus:
    """Raw input [T, *shape], or windows [N, T, *shape] that each start from a reset; `name` is what messages call it.

    A program without states takes [N, *shape], one that eats flattened windows also [N, length, channels]. DataError
    for another shape, and for NaN or Inf in a float program, which would refuse it.
    """
    inputs = session.facts.inputs
    if len(inputs) != 1:
        raise UsageError(name, f"the program takes {len(inputs)} inputs", "leave --input out: the default has all")
    (shape,) = inputs.values()
    raw = session.arrange(x)
    axes = raw.ndim - len(shape)
    if axes not in (1, 2) or raw.shape[axes:] != shape or not raw.size:
        one = ", ".join(map(str, shape))
        raise DataError(name, f"has shape {np.shape(x)}", f"the program takes [T, {one}] or [N, T, {one}]")
    if session.codec is None and not np.isfinite(raw).all():
        raise DataError(name, "holds NaN or Inf, which a float program refuses")
    stored = raw if session.codec is None else session.codec.quantize([raw])[0]
    return Stimulus(
        name,
        tuple((window,) for window in (stored if axes == 2 else stored[None])),
        int(np.prod(raw.shape[:axes])),
        raw=(raw[(0,) * axes],),
        window=raw.shape[1] if axes == 2 else None,
    )
