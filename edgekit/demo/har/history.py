"""The last seconds of a stream, for whoever draws them: samples, spikes, and what was said."""

from __future__ import annotations

from collections import deque

from edgekit.demo.har.frames import LEARNER, Called, Frame

STEPS = 400  # 20 s


class History:
    """The last STEPS samples, and the spikes of as many steps; memory does not grow."""

    def __init__(self, steps: int = STEPS) -> None:
        self.samples: deque[tuple[float, ...]] = deque(maxlen=steps)
        self.spikes: dict[str, deque[dict[str, tuple[int, ...]]]] = {}
        self.events: deque[str] = deque(maxlen=3)
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
        self.events.extend(f"{frame.t:,.1f} s: {text}" for text in frame.events)
