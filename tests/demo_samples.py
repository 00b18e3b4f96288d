"""A small engine whose frames are written down: what serves them is tried without converting a model."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.demo.har.frames import IDLE, RECORDING, Called, Figure, Frame, ModelFrame, ModelScene, Scene, TeachState
from edgekit.errors import UsageError

CLASSES = ("sitting", "waving_hands")
RATE, WINDOW = 20.0, 40


class Scripted:
    """Plays `count` frames of one model, `fault` raised after them; `calls` is what was asked of it."""

    live = False

    def __init__(self, count: int = 10**9, *, fault: Exception | None = None) -> None:
        self.count, self.fault, self.calls = count, fault, list[tuple[object, ...]]()
        self._name, self._seconds, self._lessons = "", None, 0
        self._tally = [[0, 0], [0, 0]]

    def scene(self) -> Scene:
        model = ModelScene("l2mu", "int8", "C program", WINDOW, {"hidden": 8}, 1000, 200, "derived", "emulated")
        return Scene(
            *(CLASSES, ("acc_x", "acc_y"), "m/s^2 (acc)", RATE, WINDOW, "a script", self.live, True, "host", False),
            models={"l2mu": model},
            activities=CLASSES,
            tally={"l2mu": [list(row) for row in self._tally]},
        )

    @property
    def teaching(self) -> TeachState:
        seconds = self._seconds
        phase, name = (IDLE, None) if seconds is None else (RECORDING, self._name)
        return TeachState(phase, name, seconds or 0.0, left=2, undoable=self._lessons)

    def frames(self) -> Iterator[Frame | None]:
        for at in range(self.count):
            if self._seconds is not None:
                self._seconds += 1 / RATE
            yield self._frame(at)
        if self.fault:
            raise self.fault

    def _frame(self, at: int) -> Frame:
        called = None
        if at % WINDOW == WINDOW - 1:
            called = Called(at // WINDOW, at / RATE, CLASSES[0], 0.75, CLASSES[0])
            self._tally[0][0] += 1
        count = (at + 1) // WINDOW
        confidence = {CLASSES[0]: 0.75, CLASSES[1]: 0.25} if count else {}
        cost = (Figure(5.0, "µs", "measured"), 4000.0, Figure(1.5, "µJ", "estimated", "a formula", 1.0, 2.0))
        fired = {} if at % 2 else {"hidden": (at // 2 % 8,)}  # the sensor is twice as fast as the model
        model = ModelFrame(called, CLASSES[0] if count else None, confidence, fired, *cost, count, count, "emulated")
        return Frame(
            at / RATE, (float(at % 5), float("nan")), CLASSES[0], {"l2mu": model}, self.teaching, (), at // 2 + 1
        )

    def begin(self, name: str) -> None:
        if name in CLASSES:
            raise UsageError(f"gesture {name!r}", "is there", "give another")
        self.calls.append(("begin", name))
        self._name, self._seconds = name, 0.0

    def end(self) -> None:
        self.calls.append(("end", self._seconds))
        self._seconds, self._lessons = None, self._lessons + 1

    def cancel(self) -> None:
        self.calls.append(("cancel",))
        self._seconds = None

    def undo(self) -> None:
        self.calls.append(("undo",))
        self._lessons = max(0, self._lessons - 1)

    def play(self, name: str | None) -> None:
        self.calls.append(("play", name))
