"""What a compression consists of: rules for units, weights and states, and how the rest is trained to bear it."""

from __future__ import annotations

from dataclasses import dataclass, field

SALIENCES = ("magnitude", "activity", "taylor")
SCHEDULES = ("one-shot", "gradual")


@dataclass(frozen=True)
class UnitRule:
    """Units taken out whole: `match` is a pattern of names of groups of units, as `edgekit inspect --units` lists them.

    Either the share `keep` of them stays (0 to 1], the most salient `by` a measure, or those of the indices `drop` go.
    """

    match: str
    keep: float | None = None
    drop: tuple[int, ...] = ()
    by: str = SALIENCES[0]


@dataclass(frozen=True)
class WeightRule:
    """How the matrices whose names fit the pattern `match` are held; what is None stays as the precision has it.

    In this order: `rank` factors W[out, in] as U V with so many columns of U; `group` gives every so many inputs scales
    of their own; `density` keeps that share of the weights, (0, 1], chosen `by` a measure in blocks of `block` outputs
    × inputs (1x1 is unstructured); `bits` are 16, 8, 4 or 2 (ternary); `palette` holds indices of 2, 3 or 4 bits into
    so many levels of int8 instead; `levels` is the largest integer of a matrix all of whose outputs share a scale:
    coarser than its bits allow, which entropy coding makes small.
    """

    match: str
    bits: int | None = None
    palette: int | None = None
    levels: int | None = None
    group: int | None = None
    rank: int | None = None
    density: float | None = None
    block: tuple[int, int] = (1, 1)
    by: str = SALIENCES[0]


@dataclass(frozen=True)
class StateRule:
    """Bits (8, 16, 32) of the states and operands of matrices whose names fit the pattern `match`."""

    match: str
    bits: int


@dataclass(frozen=True)
class NestedRule:
    """Groups of units whose names fit `match`, of which the first `widths` shares, (0, 1], work by themselves."""

    match: str
    widths: tuple[float, ...] = (0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Tuning:
    """Training with the compression in the loop: Adam, one cycle of the learning rate up to `rate`.

    The loss is `hard` · cross entropy of the labels + `soft` · KL divergence from the teacher's logits at `temperature`
    + `traces` · squared difference of spike counts and membranes that both have by the same name. With the schedule
    `gradual` the densities fall along a cubic over the first half of the epochs (Zhu and Gupta, 2017). Judged is
    the running average of the constants, which each step leaves a share `average` of; 0 takes them as they are.
    """

    epochs: int = 0
    rate: float = 1e-3
    batch: int = 64
    seed: int = 0
    schedule: str = SCHEDULES[0]
    hard: float = 0.5
    soft: float = 0.5
    temperature: float = 2.0
    traces: float = 0.0
    average: float = 0.0


@dataclass(frozen=True)
class Compression:
    """A whole recipe: the precision that it starts from, and what differs from it. Later rules win over earlier."""

    precision: str = "int8"
    units: tuple[UnitRule, ...] = ()
    weights: tuple[WeightRule, ...] = ()
    states: tuple[StateRule, ...] = ()
    nested: tuple[NestedRule, ...] = ()
    tuning: Tuning = field(default_factory=Tuning)
