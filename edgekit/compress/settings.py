"""What the rules for weights come to for each matrix: a later rule wins over an earlier one, key by key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgekit.compress.matching import fits
from edgekit.compress.rules import WeightRule


@dataclass(frozen=True)
class Setting:
    """How one matrix is held; None where the precision decides."""

    bits: int | None = None
    palette: int | None = None
    levels: int | None = None
    group: int | None = None
    rank: int | None = None
    density: float | None = None
    block: tuple[int, int] = (1, 1)
    by: str = "magnitude"

    def under(self, rule: WeightRule) -> Setting:
        """This setting where a rule says more: bits and a palette take each other's place."""
        found = self
        if rule.bits is not None:
            found = replace(found, bits=rule.bits, palette=None)
        if rule.palette is not None:
            found = replace(found, palette=rule.palette, bits=None, levels=None)
        if rule.levels is not None:
            found = replace(found, levels=rule.levels, palette=None)
        if rule.density is not None:
            found = replace(found, density=rule.density, block=rule.block, by=rule.by)
        if rule.group is not None:
            found = replace(found, group=rule.group)
        return found if rule.rank is None else replace(found, rank=rule.rank)


def setting(rules: Sequence[WeightRule], *names: str) -> Setting:
    """What holds for a matrix that goes by these names: its own, and those of what it was split off."""
    found = Setting()
    for rule in rules:
        if any(fits(rule.match, name) for name in names):
            found = found.under(rule)
    return found
