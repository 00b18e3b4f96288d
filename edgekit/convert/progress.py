"""How a conversion tells what it is doing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called at each stage, and during long ones with what is done of how much."""

    def __call__(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """Take note of the stage that runs now."""


def silent(stage: str, done: int = 0, total: int | None = None) -> None:
    """Show nothing."""
