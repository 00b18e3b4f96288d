"""What a compression consists of: rules for units, weights and states, and how the rest is trained to bear it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from edgekit.compress.forms import largest_of_bits, levels_fault
from edgekit.compress.recipes import RECIPES
from edgekit.errors import UsageError

INTEGER = tuple(RECIPES)
PRECISIONS = ("fp32", "w8", *INTEGER)
BITS, STATE_BITS, PALETTE_BITS = (16, 8, 4, 2), (8, 16, 32), (2, 3, 4)
SALIENCES = ("magnitude", "activity", "taylor")
WEIGHT_SALIENCES = SALIENCES[:2]
HOLDS = ("bits", "palette", "levels", "group", "rank", "density")  # what a rule for weights can say
MOST_LEVELS = 127
LARGEST = 2**31 - 1  # whole number in a recipe
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


def looks(compression: Compression) -> bool:
    """Whether what calibration sees of the float graph makes a difference to the rules."""
    return bool(compression.units) or any(w.rank is not None or w.density is not None for w in compression.weights)


def check_compression(compression: Compression) -> None:
    """UsageError for the first rule that no model could follow: a number out of range, or keys that contradict."""
    for fault, remedy in _faults(compression):
        raise UsageError("recipe", fault, remedy)


def without_idle(compression: Compression) -> Compression:
    """The same without what does nothing in its rules: a measure by which nothing is chosen, levels beyond the bits."""
    units = tuple(replace(rule, by=SALIENCES[0]) if rule.drop else rule for rule in compression.units)
    weights = tuple(replace(r, by=WEIGHT_SALIENCES[0]) if r.density is None else r for r in compression.weights)
    return replace(compression, units=units, weights=tuple(map(_within_bits, weights)))


def _within_bits(rule: WeightRule) -> WeightRule:
    if rule.levels is None or rule.bits not in BITS or levels_fault(rule.bits, rule.levels) is None:
        return rule
    return replace(rule, levels=None if rule.bits == BITS[-1] else largest_of_bits(rule.bits))


def _faults(compression: Compression) -> Iterator[tuple[str, str]]:
    """What is wrong with rules, each with its remedy."""
    if compression.precision not in PRECISIONS:
        yield f"precision = {compression.precision!r} is not known", f"known are {', '.join(PRECISIONS)}"
    integer = compression.precision in INTEGER
    for at, unit in enumerate(compression.units):
        yield from _units(f"units[{at}] {unit.match!r}", unit)
    for at, weights in enumerate(compression.weights):
        where = f"weights[{at}] {weights.match!r}"
        yield from _weights(where, weights)
        low = [k for k in ("bits", "palette", "levels", "group") if getattr(weights, k) is not None]
        if low and not integer:
            remedy = f"it is for {', '.join(INTEGER)}"
            yield f"{where}: {low[0]} is not used with precision {compression.precision!r}", remedy
    for at, state in enumerate(compression.states):
        where = f"states[{at}] {state.match!r}"
        if state.bits not in STATE_BITS:
            yield f"{where}: bits = {state.bits} is not possible", f"give one of {', '.join(map(str, STATE_BITS))}"
        if not integer:
            yield f"{where}: is not used with precision {compression.precision!r}", f"it is for {', '.join(INTEGER)}"
    for at, nested in enumerate(compression.nested):
        shares = nested.widths
        if not shares or list(shares) != sorted(set(shares)) or shares[0] <= 0 or shares[-1] != 1:
            cause = f"nested[{at}] {nested.match!r}: widths = {list(shares)} do not rise to 1"
            yield cause, "give such as [0.25, 0.5, 1]"
    yield from _tuning(compression.tuning)


def _units(where: str, rule: UnitRule) -> Iterator[tuple[str, str]]:
    if (rule.keep is None) == (not rule.drop):
        yield f"{where}: has {'both keep and' if rule.drop else 'neither keep nor'} drop", "give one of them"
    if rule.keep is not None and not 0 < rule.keep <= 1:
        yield f"{where}: keep = {rule.keep:g} is no share above 0", "give a number up to 1"
    if rule.drop and rule.by != SALIENCES[0]:
        yield f"{where}: by is not used with drop", "leave it out: drop names the units that go"
    if any(at < 0 for at in rule.drop):
        yield f"{where}: drop = {list(rule.drop)} has a negative index", "indices start at 0"
    if rule.by not in SALIENCES:
        yield f"{where}: by = {rule.by!r} is not known", f"known are {', '.join(SALIENCES)}"


def _weights(where: str, rule: WeightRule) -> Iterator[tuple[str, str]]:
    if all(getattr(rule, key) is None for key in HOLDS):
        yield f"{where}: says nothing", f"give one of {', '.join(HOLDS)}"
    for key in ("bits", "levels"):
        if rule.palette is not None and getattr(rule, key) is not None:
            yield f"{where}: has both {key} and palette", "a palette has levels of int8; give one of them"
    if rule.levels is not None and not 1 <= rule.levels <= MOST_LEVELS:
        yield f"{where}: levels = {rule.levels} is not possible", f"give 1 to {MOST_LEVELS}"
    elif rule.levels is not None and rule.bits in BITS and (fault := levels_fault(rule.bits, rule.levels)):
        yield f"{where}: {fault[0]}", fault[1]
    for key, allowed in (("bits", BITS), ("palette", PALETTE_BITS)):
        if getattr(rule, key) not in (None, *allowed):
            yield f"{where}: {key} = {getattr(rule, key)} is not possible", f"give {', '.join(map(str, allowed))}"
    for key in ("group", "rank"):
        if getattr(rule, key) is not None and getattr(rule, key) < 1:
            yield f"{where}: {key} = {getattr(rule, key)} is not possible", "give a number of 1 or more"
    if rule.density is not None and not 0 < rule.density <= 1:
        yield f"{where}: density = {rule.density:g} is no share above 0", "give a number up to 1"
    if len(rule.block) != 2 or min(rule.block) < 1:
        yield f"{where}: block = {list(rule.block)} is no block", "give [outputs, inputs], such as [1, 4]"
    if rule.density is None and rule.block != (1, 1):
        yield f"{where}: block is not used without density", "give a density"
    if rule.density is None and rule.by != WEIGHT_SALIENCES[0]:
        yield f"{where}: by is not used without density", "give a density"
    if rule.by not in WEIGHT_SALIENCES:
        yield f"{where}: by = {rule.by!r} is not known", f"known are {', '.join(WEIGHT_SALIENCES)}"


def _tuning(tuning: Tuning) -> Iterator[tuple[str, str]]:
    where = "tuning"
    for key, least in (("epochs", 0), ("batch", 1), ("seed", 0)):
        if not least <= getattr(tuning, key) <= LARGEST:
            yield f"{where}: {key} = {getattr(tuning, key)} is out of range", f"give {least} to {LARGEST:,}"
    if not tuning.rate > 0 or not tuning.temperature > 0:
        yield f"{where}: rate and temperature have to be above 0", "such as 1e-3 and 2"
    if min(tuning.hard, tuning.soft, tuning.traces) < 0:
        yield f"{where}: a part of the loss is negative", "give 0 or more"
    elif not max(tuning.hard, tuning.soft, tuning.traces):
        yield f"{where}: hard, soft and traces are 0: there is nothing to learn from", "set one of them above 0"
    if not 0 <= tuning.average < 1:
        yield f"{where}: average = {tuning.average:g} is no share below 1", "give such as 0.999, or 0"
    if tuning.schedule not in SCHEDULES:
        yield f"{where}: schedule = {tuning.schedule!r} is not known", f"known are {', '.join(SCHEDULES)}"
