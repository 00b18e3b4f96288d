"""A .tflite step whose caller carries the states, in whatever integers they go in and come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgekit.bench.cases import Case
from edgekit.bench.peers.step import initial
from edgekit.bench.stimuli import Array
from edgekit.bench.subject import PythonSubject, Subject
from edgekit.errors import ToolchainError


@dataclass(frozen=True)
class Encoding:
    """How a port stores real values: value = (stored - zero) · scale, or with a scale of 0 as they are."""

    dtype: np.dtype[Any]
    scale: float
    zero: int

    def encode(self, values: Array) -> Any:
        """Stored values, rounded and clipped."""
        if not self.scale:
            return values
        limits = np.iinfo(self.dtype)
        return np.clip(np.round(values / self.scale) + self.zero, limits.min, limits.max).astype(self.dtype)

    def decode(self, stored: Any) -> Array:
        """Real values."""
        real = (stored.astype(np.float32) - self.zero) * np.float32(self.scale) if self.scale else stored
        return np.asarray(real)


class Ports(Protocol):
    """An interpreter with the input x and the states, and the output y and the next states."""

    inputs: list[Encoding]
    outputs: list[Encoding]
    invoke: Callable[[], None]

    def give(self, at: int, value: Any) -> None:
        """Set an input."""

    def take(self, at: int) -> Any:
        """A copy of an output."""


def carried(name: str, detail: str, case: Case, ports: Ports, *, requantise: bool = True) -> Subject:
    """A subject that carries the states through the caller; with `requantise` from one scale to the other where they
    differ, otherwise the bytes as they are.
    """
    (take_x, *takes), (gives_y, *gives) = ports.inputs, ports.outputs
    if not requantise and any(a.dtype != b.dtype for a, b in zip(takes, gives, strict=True)):
        raise ToolchainError("a state", "goes in as one type and comes out as another: it cannot be copied")
    pairs = list(zip(takes, gives, strict=True))
    changes = [requantise and a != b for a, b in pairs]
    count = len(pairs)
    states: list[Any] = []

    def reset() -> None:
        states[:] = [encoding.encode(value) for encoding, value in zip(takes, initial(case), strict=True)]

    def step(x: Array) -> Array:
        ports.give(0, take_x.encode(x))
        for at in range(count):
            ports.give(at + 1, states[at])
        ports.invoke()
        for at in range(count):
            stored = ports.take(at + 1)
            states[at] = takes[at].encode(gives[at].decode(stored)) if changes[at] else stored
        return gives_y.decode(ports.take(0))

    reset()
    return PythonSubject(name, detail, case, lambda row: row[None].copy(), reset, step)
