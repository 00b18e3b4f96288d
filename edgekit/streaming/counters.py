"""What became of every sample, counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Counters:
    """How much of what a stream has seen so far; all of it in numbers that never grow in memory."""

    samples: int = 0  # that were fed
    steps: int = 0  # that the program's clock made of them
    decisions: int = 0
    duplicates: int = 0  # samples of a time that another had: left out
    late: int = 0  # samples older than one before them: left out
    extra: int = 0  # second samples of one step: left out
    malformed: int = 0  # lines that were no sample, and samples with a time or without where the others were not so
    missing: int = 0  # values that were NaN, Inf, empty or beyond float32
    held: int = 0  # of those, values for which the channel's last one stood in
    unusable: int = 0  # samples of which a channel had been silent for too long
    filled: int = 0  # steps between two samples that were interpolated because a sample was lost
    gaps: int = 0
    restarts: int = 0
    rate_changes: int = 0
    dropouts: int = 0
    overflows: int = 0  # windows whose outputs were NaN or Inf
    dropped: int = 0  # steps of windows that never ended

    def to_dict(self) -> dict[str, int]:
        """Plain JSON values."""
        return asdict(self)
