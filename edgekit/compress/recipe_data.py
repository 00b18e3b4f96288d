"""A compression as plain data, for files and manifests, and back again: strict about keys and types."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from types import MappingProxyType
from typing import Any, TypeVar

from edgekit.compress.rules import (
    LARGEST,
    Compression,
    NestedRule,
    StateRule,
    Tuning,
    UnitRule,
    WeightRule,
    check_compression,
    without_idle,
)
from edgekit.errors import UsageError

SCHEMA_VERSION = 1
LISTS: Mapping[str, type] = MappingProxyType(
    {"units": UnitRule, "weights": WeightRule, "states": StateRule, "nested": NestedRule}
)
MOST_RULES, LONGEST = 1000, 500  # of a kind, and of a text or list in a rule

Rule = TypeVar("Rule", UnitRule, WeightRule, StateRule, NestedRule, Tuning)


def to_data(compression: Compression) -> dict[str, Any]:
    """Tables, lists, texts and numbers; keys that have their default are left out."""
    data: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "precision": compression.precision}
    for key in LISTS:
        if rules := getattr(compression, key):
            data[key] = [_table(rule) for rule in rules]
    if tuning := _table(compression.tuning):
        data["tuning"] = tuning
    return data


def _table(rule: Any) -> dict[str, Any]:
    told = {f.name: getattr(rule, f.name) for f in fields(rule) if getattr(rule, f.name) != _default(f)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in told.items()}


def _default(field: Field[Any]) -> object:
    return field.default


def from_data(data: Mapping[str, Any], *, stored: bool = False) -> Compression:
    """The compression that such data describe; UsageError for unknown keys, wrong types and what no model could do.

    Data that are `stored` with a program may say what has no effect, which earlier versions let pass: it is left out.
    """
    version = data.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        told = "is missing" if version is None else f"= {version!r:.40} is unknown"
        raise UsageError("recipe", f"schema_version {told}", f"this edgekit reads schema_version = {SCHEMA_VERSION}")
    known = ("schema_version", "precision", *LISTS, "tuning")
    _check_keys("", data, known)
    made: dict[str, Any] = {}
    if "precision" in data:
        made["precision"] = _text(data["precision"], "precision")
    for key, kind in LISTS.items():
        rules = data.get(key, [])
        if not isinstance(rules, list) or len(rules) > MOST_RULES or not all(isinstance(r, Mapping) for r in rules):
            raise UsageError("recipe", f"{key} is no list of rules", f"write each rule below a line [[{key}]]")
        made[key] = tuple(_rule(kind, rule, f"{key}[{at}]") for at, rule in enumerate(rules))
    tuning = data.get("tuning", {})
    if not isinstance(tuning, Mapping):
        raise UsageError("recipe", "tuning is no table", "write its keys below a line [tuning]")
    made["tuning"] = _rule(Tuning, tuning, "tuning")
    compression = without_idle(Compression(**made)) if stored else Compression(**made)
    check_compression(compression)
    return compression


def _rule(kind: type[Rule], data: Mapping[str, Any], where: str) -> Rule:
    known = {f.name: f for f in fields(kind)}
    _check_keys(f"{where}.", data, tuple(known))
    for name, field in known.items():
        if field.default is MISSING and name not in data:
            raise UsageError("recipe", f"{where}.{name} is missing", _example(name))
    return kind(**{key: _READ[str(known[key].type)](value, f"{where}.{key}") for key, value in data.items()})


def _check_keys(where: str, data: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in data:
        if key not in known:
            raise UsageError("recipe", f"{where}{key:.60} is not a known key", f"known are {', '.join(known)}")


def _example(name: str) -> str:
    return 'give a name or a pattern, such as "W_*"' if name == "match" else "give a number"


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST:
        raise UsageError("recipe", f"{where} = {value!r:.60} is no text", "put it in quotes")
    return value


def _whole(value: Any, where: str) -> int:
    if type(value) is not int or abs(value) > LARGEST:
        raise UsageError("recipe", f"{where} = {value!r:.60} is no whole number", "give one")
    return value


def _number(value: Any, where: str) -> float:
    try:
        found = float(value) if type(value) in (int, float) else math.nan
    except OverflowError:  # a whole number of hundreds of digits
        found = math.inf
    if not math.isfinite(found):
        raise UsageError("recipe", f"{where} = {value!r:.60} is no number", "give one")
    return found


def _list(item: Callable[[Any, str], Any]) -> Callable[[Any, str], tuple[Any, ...]]:
    def read(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > 2**16:
            raise UsageError("recipe", f"{where} = {value!r:.60} is no list", "put it in brackets")
        return tuple(item(one, f"{where}[{at}]") for at, one in enumerate(value))

    return read


_READ: Mapping[str, Callable[[Any, str], Any]] = MappingProxyType(
    {
        "str": _text,
        "int": _whole,
        "int | None": _whole,
        "float": _number,
        "float | None": _number,
        "tuple[int, ...]": _list(_whole),
        "tuple[int, int]": _list(_whole),
        "tuple[float, ...]": _list(_number),
    }
)
