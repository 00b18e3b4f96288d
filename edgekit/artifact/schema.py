"""Checks of JSON values, built from small parts: each takes a value and its path and returns a list of faults."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], list[str]]

IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]{0,47}"
MAX_TEXT = 4096


def text(pattern: str = r"(?s).{0,4096}") -> Check:
    """A string of at most 4096 characters that matches `pattern` as a whole."""

    def check(value: Any, path: str) -> list[str]:
        fits = isinstance(value, str) and len(value) <= MAX_TEXT and re.fullmatch(pattern, value)
        return [] if fits else [f"{path} is not a text of the right form: {value!r:.60}"]

    return check


def choice(*allowed: object) -> Check:
    """One of the `allowed` values, of the same type."""

    def check(value: Any, path: str) -> list[str]:
        fits = any(type(value) is type(a) and value == a for a in allowed)
        return [] if fits else [f"{path} must be one of {', '.join(map(repr, allowed))}, not {value!r:.60}"]

    return check


def count(minimum: int = 0, maximum: int = 2**48) -> Check:
    """An integer between `minimum` and `maximum`."""

    def check(value: Any, path: str) -> list[str]:
        fits = type(value) is int and minimum <= value <= maximum
        return [] if fits else [f"{path} must be an integer from {minimum} to {maximum}, not {value!r:.60}"]

    return check


def whole(largest: int = 2**63) -> Check:
    """An integer of at most that magnitude."""
    return count(-largest, largest)


def number(*, positive: bool = False) -> Check:
    """A finite number; greater than zero if `positive`."""

    def check(value: Any, path: str) -> list[str]:
        fits = type(value) in (int, float) and math.isfinite(value) and (value > 0 or not positive)
        return [] if fits else [f"{path} must be a {'positive ' if positive else ''}number, not {value!r:.60}"]

    return check


def scalar(value: Any, path: str) -> list[str]:
    """A text, a number, true, false or null."""
    return [] if value is None or isinstance(value, (str, int, float)) else [f"{path} must be a plain value"]


def optional(inner: Check) -> Check:
    """null, or what `inner` accepts."""
    return lambda value, path: [] if value is None else inner(value, path)


def either(one: Check, other: Check) -> Check:
    """What `one` or `other` accepts; the faults are those of `other`."""
    return lambda value, path: other(value, path) if one(value, path) else []


def list_of(inner: Check, maximum: int = 4096, minimum: int = 0) -> Check:
    """A list of at least `minimum` and at most `maximum` items that `inner` accepts."""

    def check(value: Any, path: str) -> list[str]:
        if not isinstance(value, list) or not minimum <= len(value) <= maximum:
            least = f"at least {minimum} and " if minimum else ""
            return [f"{path} must be a list of {least}at most {maximum} items"]
        return [fault for i, item in enumerate(value) for fault in inner(item, f"{path}[{i}]")]

    return check


def table_of(inner: Check, key: str = r"[ -~]{1,200}", maximum: int = 4096) -> Check:
    """An object whose keys match `key` and whose values `inner` accepts."""

    def check(value: Any, path: str) -> list[str]:
        if not isinstance(value, dict) or len(value) > maximum:
            return [f"{path} must be an object of at most {maximum} keys"]
        faults = [f"{path} has a key of the wrong form: {k!r:.60}" for k in value if not re.fullmatch(key, k)]
        return faults or [fault for k, item in value.items() for fault in inner(item, f"{path}.{k}")]

    return check


def record(required: Mapping[str, Check], optional_keys: Mapping[str, Check] | None = None) -> Check:
    """An object with all of the `required` keys, perhaps some of the optional ones, and no others."""
    known = {**required, **(optional_keys or {})}

    def check(value: Any, path: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{path or 'it'} must be an object"]
        inside = f"{path}." if path else ""
        faults = [f"{inside}{key} is missing" for key in required if key not in value]
        faults += [f"{inside}{key:.60} is not a known key" for key in value if key not in known]
        return faults + [f for key, item in value.items() if key in known for f in known[key](item, inside + key)]

    return check
