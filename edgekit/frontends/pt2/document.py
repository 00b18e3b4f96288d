"""Typed access to an untrusted JSON document: every look at it names its place and checks what is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgekit.errors import ModelError

MAX_NUMBER = 2**63
FLOATS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}
"""How the writer spells what JSON has no number for."""


@dataclass(frozen=True)
class Doc:
    """A value somewhere in a document; `place` is the path to it, `thing` the file. All faults are ModelErrors."""

    thing: str
    place: str
    value: Any

    def fault(self, cause: str) -> ModelError:
        """An error that names this place."""
        return ModelError(self.thing, f"{self.place}: {cause}", "write it again with torch.export.save")

    def __getitem__(self, key: str) -> Doc:
        return self._keyed(key, required=True)

    def get(self, key: str) -> Doc:
        """A member that may be missing: then it holds None."""
        return self._keyed(key, required=False)

    def _keyed(self, key: str, *, required: bool) -> Doc:
        if not isinstance(self.value, dict):
            raise self.fault("is not an object")
        if required and key not in self.value:
            raise self.fault(f"has no {key!r}")
        return Doc(self.thing, f"{self.place}.{key[:60]}", self.value.get(key))

    @property
    def missing(self) -> bool:
        """Whether there is nothing here."""
        return self.value is None

    def items(self) -> Iterator[tuple[str, Doc]]:
        """Members of an object."""
        if not isinstance(self.value, dict):
            raise self.fault("is not an object")
        for key in self.value:
            yield key, self._keyed(key, required=True)

    def __iter__(self) -> Iterator[Doc]:
        if not isinstance(self.value, list):
            raise self.fault("is not a list")
        for at, item in enumerate(self.value):
            yield Doc(self.thing, f"{self.place}[{at}]", item)

    def union(self) -> tuple[str, Doc]:
        """Tag and content of a tagged value, an object with one member."""
        if not isinstance(self.value, dict) or len(self.value) != 1:
            raise self.fault("is not a tagged value")
        return next(self.items())

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            raise self.fault("is not a string")
        return self.value

    def boolean(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            raise self.fault("is neither true nor false")
        return self.value

    def integer(self) -> int:
        """An integer of 64 bits."""
        if (
            not isinstance(self.value, int)
            or isinstance(self.value, bool)
            or not -MAX_NUMBER <= self.value < MAX_NUMBER
        ):
            raise self.fault("is not an integer")
        return self.value

    def number(self) -> float:
        """A float, spelled out where JSON has none."""
        if isinstance(self.value, str) and self.value in FLOATS:
            return FLOATS[self.value]
        if not isinstance(self.value, (int, float)) or isinstance(self.value, bool):
            raise self.fault("is not a number")
        try:
            return float(self.value)
        except OverflowError as error:
            raise self.fault("is not a number") from error


def parse(thing: str, place: str, data: bytes | str) -> Doc:
    """The document in `data`, ModelError when it is not JSON."""
    try:
        return Doc(thing, place, json.loads(data))
    except (ValueError, RecursionError) as error:
        raise ModelError(thing, f"{place} is not JSON ({type(error).__name__})") from error
