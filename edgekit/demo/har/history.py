"""The last seconds of a stream, for whoever draws them: samples, spikes, and what was said."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from edgekit.demo.har.frames import LEARNER, Called, Frame

STEPS = 400  # 20 s
FADES = 8.0  # seconds of this computer's clock for which a message is to be seen


class History:
    """The last STEPS samples, and the spikes of as many steps; memory does not grow.

    Of messages the newest is kept: what befell the stream, and why what a key asked for was not done.
    """

    def __init__(self, steps: int = STEPS, clock: Callable[[], float] = time.monotonic) -> None:
        self.samples: deque[tuple[float, ...]] = deque(maxlen=steps)
        self.spikes: dict[str, deque[dict[str, tuple[int, ...]]]] = {}
        self._clock = clock
        self._event, self._refusal, self._about = ("", 0.0), ("", 0.0), ("", 0.0)
        self.called: dict[str, Called] = {}
        self._steps, self._done = steps, 0

    def add(self, frame: Frame) -> None:
        """Take in a frame."""
        self.samples.append(frame.sample)
        stepped, self._done = frame.steps > self._done, frame.steps
        for name, model in frame.models.items() if stepped else ():
            self.spikes.setdefault(name, deque(maxlen=self._steps)).append(dict(model.spikes))
        all_models = {**frame.models, **({LEARNER: frame.teach.model} if frame.teach.model else {})}
        self.called |= {name: model.decision for name, model in all_models.items() if model.decision}
        for text in frame.events:
            self._event = f"{frame.t:,.1f} s: {text}", self._clock()

    def refuse(self, why: str) -> None:
        """Take in why what was just asked for was not done; empty: it was done."""
        self._refusal = why, self._clock()

    @property
    def event(self) -> str:
        """What befell the stream just now, empty if nothing did."""
        return self._fresh(self._event)

    def about(self, text: str) -> str:
        """What is to be said of teaching now, if `text` is what it says of itself: a refusal rather than that, and
        neither for long.
        """
        if text != self._about[0]:
            self._about = text, self._clock()
        return self._fresh(self._refusal) or self._fresh(self._about)

    def _fresh(self, message: tuple[str, float]) -> str:
        text, said = message
        return text if self._clock() - said < FADES else ""
