"""The demo on a terminal: drawn from frames, with keys to teach, to undo and to choose what is played."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from rich.console import Console, RenderableType
from rich.live import Live

from edgekit.demo.har.draw import picture, waiting
from edgekit.demo.har.engine import Engine
from edgekit.demo.har.frames import IDLE, RECORDING, Frame
from edgekit.demo.har.history import History
from edgekit.demo.har.keys import BACKSPACE, ENTER, ESCAPE, terminal_keys
from edgekit.errors import EdgekitError

PERIOD = 0.1  # seconds between two pictures


class Hands:
    """What keys do; `typing` is the name that is being typed, None if none is."""

    def __init__(self, engine: Engine, history: History) -> None:
        self._engine, self._history, self._activity = engine, history, -1
        self.typing: str | None = None
        self.done = False

    def press(self, text: str) -> None:
        """Take what was typed, key by key."""
        for key in text:
            try:
                self._type(key) if self.typing is not None else self._do(key)
            except EdgekitError as error:
                self.typing = None
                self._history.refuse(str(error).splitlines()[0])

    def _type(self, key: str) -> None:
        name = self.typing or ""
        if key == ESCAPE:
            self.typing = None
        elif key == ENTER:
            self.typing = None
            self._engine.begin(name)
        elif key in (BACKSPACE, "\b"):
            self.typing = name[:-1]
        elif key.isprintable():
            self.typing = name + key

    def _do(self, key: str) -> None:
        self._history.refuse("")
        phase, activities = self._engine.teaching.phase, self._engine.scene().activities
        if key == "q":
            self.done = True
        elif key == "t" and phase == IDLE:
            self.typing = ""
        elif key in ("t", ENTER) and phase == RECORDING:
            self._engine.end()
        elif key == ESCAPE and phase == RECORDING:
            self._engine.cancel()
        elif key == "u" and phase == IDLE:
            self._engine.undo()
        elif key == "n" and activities:
            self._activity = (self._activity + 1) % len(activities)
            self._engine.play(activities[self._activity])
        elif key == "a" and activities:
            self._engine.play(None)


def show(engine: Engine, frames: Iterable[Frame | None], console: Console) -> None:
    """Draw frames until they end, q is pressed, or Ctrl-C; None is no news, and a moment to look at the keys."""
    scene, history = engine.scene(), History()
    hands = Hands(engine, history)
    last: Frame | None = None
    drawn = 0.0
    with terminal_keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        for frame in frames:
            if frame is not None:
                last = frame
                history.add(frame)
            hands.press(keys())
            if hands.done:
                return
            now = time.monotonic()
            if now - drawn >= PERIOD:
                drawn = now
                here = engine.scene()
                if last is None:
                    shown: RenderableType = waiting(here, engine.teaching, history, hands.typing)
                else:
                    here = replace(here, notes=tuple(note for note in here.notes if note not in scene.notes))
                    shown = picture(here, engine.shown(last), history, console.size, hands.typing)
                live.update(shown, refresh=True)
