"""The decision over a window, and what is shown of a row of them: smoothed, with hysteresis, or nothing when unsure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edgekit.streaming.options import Options
from edgekit.streaming.sample import Array, Floats


@dataclass(frozen=True, slots=True)
class Decision:
    """The class of one window, and the class to show.

    `label` and `name` are what the program decides over these steps by themselves, from a reset: exactly
    `session.decide(session.run(window))`. `start` and `end` are steps of the program's clock since the stream began
    (end exclusive), `time` that of the last one in seconds, None where there is no clock. `scores` are what the classes
    were chosen by, `confidence` the softmax of them for `label`. `shown` is the class after smoothing and hysteresis
    with its smoothed probability, None while there is none that is sure enough.
    """

    index: int
    start: int
    end: int
    time: float | None
    label: int
    name: str
    scores: tuple[float, ...]
    confidence: float
    shown: int | None
    shown_name: str | None
    shown_confidence: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def softmax(scores: Array) -> Floats:
    """Probabilities [classes] of scores: exp(s) / sum exp(s)."""
    shifted = np.exp(np.asarray(scores, np.float64) - np.max(scores))
    return np.asarray(shifted / shifted.sum())


class Smoother:
    """Which class to show: the best mean probability of the last windows, once it has won a few times in a row.

    None is shown while that class is not sure enough, whatever is about to take its place.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._recent: deque[Floats] = deque(maxlen=options.smooth)
        self.forget()

    def forget(self) -> None:
        """Start again: what was before says nothing about what comes."""
        self._recent.clear()
        self._candidate: int | None = None
        self._streak = 0
        self._shown: int | None = None

    def add(self, probabilities: Floats) -> tuple[int | None, float | None]:
        """Take in the probabilities of one more window: the class to show and its mean probability, or None."""
        self._recent.append(probabilities)
        mean = probabilities if len(self._recent) == 1 else np.mean(self._recent, axis=0)
        best = int(np.argmax(mean))
        candidate = best if mean[best] >= self._options.min_confidence else None
        self._streak = self._streak + 1 if candidate == self._candidate else 1
        self._candidate = candidate
        if self._streak >= self._options.hysteresis:
            self._shown = candidate
        if self._shown is None or mean[self._shown] < self._options.min_confidence:
            return None, None
        return self._shown, float(mean[self._shown])


def class_names(io_classes: Sequence[str] | None, classes: int) -> tuple[str, ...]:
    """The names of the classes, their numbers where the artifact has none."""
    return tuple(io_classes) if io_classes else tuple(map(str, range(classes)))
