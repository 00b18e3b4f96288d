"""What happened to a stream that whoever reads its decisions has to know."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

GAP, RESTART, RATE, DROPOUT, OVERFLOW = "gap", "restart", "rate", "dropout", "overflow"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that ended the windows that were open: the next one starts from a reset.

    `kind` is gap (nothing came for too long), restart (the samples' clock went back), rate (samples come at another
    rate than before), dropout (a channel fell silent) or overflow (a program's outputs were NaN or Inf). `time` is that
    of the sample that showed it, None where samples have none; `dropped` the steps that were in open windows.
    """

    kind: str
    time: float | None
    text: str
    dropped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Untold:
    """One more gap where hardly anything else comes: it ends windows as an event does, and no event tells of it."""
