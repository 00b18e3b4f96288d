"""What a precision stands for: how many bits weights, operands and states get, and what widens single ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from edgekit.compress.stored import Array
from edgekit.errors import UsageError


@dataclass(frozen=True)
class Recipe:
    """Bits by role, and by name where a search has decided.

    `weight_bits` are those of weights that reals or spikes go through, `memory_bits` those of weights by which a state
    feeds itself (every later step would feel their error), `hidden_bits` those of operands of a matrix that no state
    feeds, `operand_bits` those of all other operands, `state_bits` those of states that integrate. `weights`, `states`
    and `operands` override them for tensors of those names. `levels` are the largest integers of matrices whose outputs
    all share one scale: coarser than their bits allow, which entropy coding makes small. `units` are what 1 in the
    integers of a matrix [out, in] stands for, where a training has chosen that: its weights are multiples of them;
    `scales` are the scales of inputs and states by element that these units hold for.
    `palettes` are the integers that there are in a matrix of 8 bits, or how many of them are to be found. Matrices that
    are `alone` have accumulators that no other matrix adds to, so that no other sets their scale. `rounding` is the
    largest share of its range that the rounding of a decaying state may add up to: a state gets int32 where it would be
    more.
    """

    name: str
    weight_bits: int = 8
    hidden_bits: int = 8
    operand_bits: int = 16
    state_bits: int = 16
    memory_bits: int = 16
    rounding: float = 0.002
    weights: Mapping[str, int] = field(default_factory=dict)
    states: Mapping[str, int] = field(default_factory=dict)
    operands: Mapping[str, int] = field(default_factory=dict)
    levels: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)
    palettes: Mapping[str, int | tuple[int, ...]] = field(default_factory=dict)
    alone: frozenset[str] = frozenset()
    scales: Mapping[str, Array] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("weights", "states", "operands", "levels", "units", "palettes", "scales"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def widened(
        self,
        *,
        weights: Mapping[str, int] | None = None,
        states: Mapping[str, int] | None = None,
        operands: Mapping[str, int] | None = None,
        levels: Mapping[str, int] | None = None,
    ) -> Recipe:
        """This recipe with other bits for single tensors."""
        return replace(
            self,
            weights={**self.weights, **(weights or {})},
            states={**self.states, **(states or {})},
            operands={**self.operands, **(operands or {})},
            levels={**self.levels, **(levels or {})},
        )


AUTO = "auto"
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "int8": Recipe("int8"),
        "int8s8": Recipe("int8s8", state_bits=8, rounding=float("inf")),
        "int4": Recipe("int4", weight_bits=4),
    }
)


def recipe(name: str) -> Recipe:
    """The recipe of that name; UsageError lists the known ones. `auto` starts as int8."""
    if name == AUTO:
        return replace(RECIPES["int8"], name=AUTO)
    if name not in RECIPES:
        raise UsageError(f"recipe {name!r}", "is not known", f"known are {', '.join((*RECIPES, AUTO))}")
    return RECIPES[name]
