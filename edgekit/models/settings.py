"""Checks on configuration dicts: every wrong key in one error."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from edgekit.errors import ModelError


def check_keys(thing: str, config: Mapping[str, Any], known: Iterable[str], required: Iterable[str] = ()) -> None:
    """Refuse keys that are not `known`, then list every `required` key that is absent."""
    if not isinstance(config, Mapping):
        raise ModelError(thing, f"{config!r} is not a table of keys and values")
    known = tuple(known)
    if unknown := sorted(set(config) - set(known)):
        raise ModelError(thing, "unknown key " + ", ".join(map(repr, unknown)), "known keys: " + ", ".join(known))
    if missing := [key for key in required if key not in config]:
        raise ModelError(thing, f"{len(missing)} missing key(s) without a published default", items=missing)


def check_choice(thing: str, value: object, choices: Iterable[object]) -> None:
    """Refuse a value that is none of `choices`."""
    choices = tuple(choices)
    if value not in choices:
        raise ModelError(thing, f"{value!r} is not one of its values", "known values: " + ", ".join(map(str, choices)))


MAX_SIZE = 2**24
"""Of one axis: far above any model for an edge device, and low enough for products of two to be exact in 64 bits."""


def check_size(thing: str, value: object, minimum: int = 1, maximum: int = MAX_SIZE) -> None:
    """Refuse anything but an integer from `minimum` to `maximum`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ModelError(thing, f"{value!r} is not an integer of at least {minimum}")
    if value > maximum:
        raise ModelError(thing, f"{value:,} is more than {maximum:,}")


def check_number(thing: str, value: object, minimum: float = -math.inf) -> None:
    """Refuse anything but a finite number of at least `minimum`."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not minimum <= value < math.inf:
        raise ModelError(
            thing, f"{value!r} is not a finite number" + (f" >= {minimum:g}" if minimum > -math.inf else "")
        )


def check_dropout(thing: str, value: object) -> None:
    """Refuse anything but a probability in [0, 1)."""
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise ModelError(thing, f"{value!r} is not a probability in [0, 1)")
