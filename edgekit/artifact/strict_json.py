"""JSON of unknown origin: bounded, and with every ambiguity refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from edgekit.errors import ArtifactError

MAX_DEPTH = 32
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def parse_json(data: bytes, where: str, max_bytes: int) -> Any:
    """Return the value of UTF-8 JSON text; `where` is how messages call it.

    Raises ArtifactError for text over `max_bytes`, nesting over 32, duplicate keys, NaN, infinities, numbers that
    overflow, integers over 64 bits, and anything that is not JSON.
    """
    if len(data) > max_bytes:
        raise ArtifactError(where, f"{len(data):,} bytes are more than the cap of {max_bytes:,}")
    if _depth(data) > MAX_DEPTH:
        raise ArtifactError(where, f"is nested deeper than {MAX_DEPTH} levels")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except (ValueError, RecursionError) as error:
        raise ArtifactError(where, f"is not strict JSON: {error}") from error


def parse_object(data: bytes, where: str, max_bytes: int) -> dict[str, Any]:
    """As `parse_json`, for text that must hold one object."""
    value = parse_json(data, where, max_bytes)
    if not isinstance(value, dict):
        raise ArtifactError(where, "must be one JSON object")
    return value


def dump_json(value: Mapping[str, Any]) -> bytes:
    """Return the one form edgekit writes: UTF-8, keys sorted, indented by one, no NaN."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _depth(data: bytes) -> int:
    deepest = level = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        level += 1 if bracket in b"[{" else -1
        deepest = max(deepest, level)
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object holds the same key twice")
    return found


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:32]} overflows")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**64:
        raise ValueError(f"the integer {text[:32]} needs more than 64 bits")
    return int(text)
