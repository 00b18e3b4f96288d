"""Windows of steps as the io section says: each starts from a reset, and overlapping ones have streams of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np

from edgekit.errors import UsageError
from edgekit.runtime import Session
from edgekit.streaming.options import Options
from edgekit.streaming.sample import Array, Floats

OnStep = Callable[[Session], None]
MOST_OVERLAP = 256  # windows that are open at once, each with its own states


@dataclass(frozen=True)
class WindowPlan:
    """Windows of `length` steps of `channels` values, one every `stride` steps.

    `whole` says that a window goes into the program in one call, else each step does, and the outputs of all of them
    decide.
    """

    length: int
    stride: int
    channels: int
    whole: bool

    @property
    def overlap(self) -> int:
        """Windows that are open at once."""
        return -(-self.length // self.stride)


def window_plan(session: Session, options: Options) -> WindowPlan:
    """What the windows of a program are; UsageError for one whose decisions cannot be streamed, saying why."""
    facts = session.facts
    if len(facts.inputs) != 1 or len(facts.outputs) != 1:
        cause = f"has {len(facts.inputs)} inputs and {len(facts.outputs)} outputs"
        raise UsageError(f"program {facts.name!r}", cause, "a stream is for one of each")
    (shape,), (out,) = facts.inputs.values(), facts.outputs.values()
    if len(out) != 1:
        raise UsageError(f"program {facts.name!r}", f"gives {list(out)}, no score of each class", "it has no decision")
    if session.stateful and facts.io.get("decision") is None:
        cause = "declares no decision over a window"
        raise UsageError(f"program {facts.name!r}", cause, "convert it with one in its io section")
    window = facts.io.get("window")
    if window is not None and options.window is not None:
        cause = f"the program has windows of {window['length']} steps already"
        raise UsageError("--window", cause, "leave it out")
    plan = _stateful_plan(session, shape, options) if session.stateful else _stateless_plan(session, shape, options)
    if plan.overlap > MOST_OVERLAP:
        cause = f"opens {plan.overlap:,} windows of {plan.length:,} steps at once"
        raise UsageError(f"--stride {plan.stride}", cause, f"at most {MOST_OVERLAP}")
    return plan


def _stateful_plan(session: Session, shape: tuple[int, ...], options: Options) -> WindowPlan:
    window = session.facts.io.get("window") or {}
    length = options.window or window.get("length")
    if length is None:
        cause = "does not say how many steps a window has"
        raise UsageError(f"program {session.facts.name!r}", cause, "give --window")
    if window.get("layout") == "flattened":
        cause = "has states and takes flattened windows, of which a stream knows no decision"
        raise UsageError(f"program {session.facts.name!r}", cause, "run it on arrays")
    return WindowPlan(length, options.stride or window.get("stride", length), prod(shape), whole=False)


def _stateless_plan(session: Session, shape: tuple[int, ...], options: Options) -> WindowPlan:
    """Without states a call decides by itself: on a window that was flattened or is the input, or on one step."""
    window, size = session.facts.io.get("window"), prod(shape)
    length, stride = (window["length"], window["stride"]) if window else (options.window or 1, options.window or 1)
    if window and window["layout"] == "sequence" and not (len(shape) > 1 and shape[0] == length):
        length = stride = 1
    if size % length:
        raise UsageError(f"--window {length}", f"does not divide the {size} inputs of a call", "give another")
    return WindowPlan(length, options.stride or stride, size // length, whole=True)


@dataclass(frozen=True, slots=True)
class Closed:
    """A window that is full: its steps since the stream began, and the outputs that decide it."""

    start: int
    end: int
    outputs: Array


class Windows:
    """Runs a program over the windows of a stream. What a window costs in memory is set aside once."""

    def __init__(self, session: Session, plan: WindowPlan, on_step: OnStep | None = None) -> None:
        self._session, self._plan, self._on_step = session, plan, on_step
        (self._shape,) = session.facts.inputs.values()
        (out,) = session.output_shapes
        streams = 1 if plan.whole else plan.overlap
        self._streams = [session.stream() for _ in range(streams)]
        self._outputs = [np.zeros((plan.length, *out), np.float32) for _ in range(0 if plan.whole else streams)]
        self._rows: deque[Array] = deque(maxlen=plan.length)
        self.steps = 0  # of all time
        self.executed = 0  # calls of the program for them, in all open windows
        self._begun = 0  # the first step since the last break

    def relearned(self) -> int:
        """Take over what the session has learned since; open windows are dropped. Returns their steps."""
        dropped = self.drop()
        if self._session.facts.learned:
            for stream in self._streams:
                stream.restore_learned(self._session.learned())
        return dropped

    def drop(self) -> int:
        """Give up the open windows: the next step starts one. Returns the steps that were in them."""
        run = self.steps - self._begun
        oldest = max(0, -(-(run - self._plan.length + 1) // self._plan.stride)) * self._plan.stride  # still open
        self._begun = self.steps
        self._rows.clear()
        return max(0, run - oldest)

    def step(self, values: Floats) -> Closed | None:
        """Take one step: the window that it completes."""
        x = values.astype(np.float32)
        at = self.steps - self._begun
        self.steps += 1
        return self._whole(x, at) if self._plan.whole else self._sequence(x.reshape(self._shape), at)

    def _whole(self, x: Array, at: int) -> Closed | None:
        self._rows.append(x)
        start = at + 1 - self._plan.length
        if start < 0 or start % self._plan.stride:
            return None
        (stream,) = self._streams
        window = x if self._plan.length == 1 else np.concatenate(self._rows)
        outputs = stream.step(window.reshape(self._shape))
        self.executed += 1
        if self._on_step is not None:
            self._on_step(stream)
        return Closed(self._begun + start, self.steps, outputs)

    def _sequence(self, x: Array, at: int) -> Closed | None:
        length, stride = self._plan.length, self._plan.stride
        newest = at // stride
        oldest = max(0, -(-(at - length + 1) // stride))
        closed = None
        for number in range(oldest, newest + 1):
            slot, position = number % len(self._streams), at - number * stride
            stream, outputs = self._streams[slot], self._outputs[slot]
            if position == 0:
                stream.reset()
            outputs[position] = stream.step(x)
            self.executed += 1
            if position == length - 1:
                closed = Closed(self._begun + number * stride, self.steps, outputs)
            if number == oldest and self._on_step is not None:
                self._on_step(stream)
        return closed
