"""The demo where there is no terminal: one line for each window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from edgekit.demo.har.frames import Frame, plain_name


def lines(frames: Iterable[Frame | None]) -> Iterator[str]:
    """A line of text for every window, and one for whatever befell the stream."""
    for frame in filter(None, frames):
        for text in frame.events:
            yield f"{frame.t:8.2f} s  {text}"
        called = {name: model.decision for name, model in frame.models.items() if model.decision}
        if called:
            truth = next((call.truth for call in called.values()), None)
            said = ", ".join(f"{name} {plain_name(c.name)} ({100 * c.confidence:.0f} %)" for name, c in called.items())
            yield f"{frame.t:8.2f} s  " + (f"{plain_name(truth)}: " if truth else "") + said


def objects(frames: Iterable[Frame | None]) -> Iterator[dict[str, Any]]:
    """The frame of every window, and of whatever befell the stream, as plain JSON values."""
    for frame in filter(None, frames):
        if frame.events or any(model.decision for model in frame.models.values()):
            yield frame.to_dict()
