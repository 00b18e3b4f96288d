"""What a user may choose about a stream; everything else the artifact's io section says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit.errors import UsageError

MOST_STEPS = 1 << 20  # of a window, a smoothing or a hysteresis
DEFAULT_GAP = 4  # steps


@dataclass(frozen=True)
class Options:
    """How samples are read and decisions are smoothed; UsageError for a value that means nothing.

    `source_rate` is at how many Hz samples come: None lets their times tell, or where they have none takes the
    program's rate. `window` and `stride` are in steps, for a program whose io section has no window; a stride may be
    given for any. Silence longer than `max_gap` seconds ends a window (None: 4 steps). Decisions are smoothed over
    `smooth` windows; another class is shown after it has won `hysteresis` times in a row, and none while its
    smoothed probability is below `min_confidence`.
    """

    source_rate: float | None = None
    window: int | None = None
    stride: int | None = None
    max_gap: float | None = None
    smooth: int = 1
    hysteresis: int = 1
    min_confidence: float = 0.0

    def __post_init__(self) -> None:
        for option, rate in (("--rate", self.source_rate), ("--max-gap", self.max_gap)):
            if rate is not None and not (math.isfinite(rate) and 1e-6 <= rate <= 1e6):
                raise UsageError(f"{option} {rate}", "means nothing", "between 0.000001 and 1,000,000")
        counts = (
            ("--window", self.window),
            ("--stride", self.stride),
            ("--smooth", self.smooth),
            ("--hysteresis", self.hysteresis),
        )
        for option, count in counts:
            if count is not None and not 1 <= count <= MOST_STEPS:
                raise UsageError(f"{option} {count}", "means nothing", f"between 1 and {MOST_STEPS:,}")
        if not 0 <= self.min_confidence <= 1:
            raise UsageError(f"--min-confidence {self.min_confidence}", "is no probability", "between 0 and 1")
