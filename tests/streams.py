"""Programs to stream through, and samples to feed them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from converted import INPUTS, module, stream

import edgekit
from edgekit.streaming import Decision, Event, FrontDoor, Options, Sample

RATE = 20
STEP = 1 / RATE
LENGTH, STRIDE = 10, 4
NAMES = ("acc_x", "acc_y", "acc_z")


def io(**window: Any) -> dict[str, Any]:
    """An io section of a sensor with three channels at 20 Hz."""
    return {
        "input": {"name": "imu", "channels": list(NAMES), "rate_hz": RATE, **window},
        "decision": "sum",
        "classes": ["still", "walking", "running", "falling"],
    }


@functools.cache
def plain() -> edgekit.Session:
    """A program whose scores are its inputs: what a step was given can be read off each decision."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(INPUTS, INPUTS, bias=False)).eval()
    torch.nn.init.eye_(net[0].weight)
    section = io() | {"decision": None, "classes": None}
    given = {name: value for name, value in section.items() if value}
    return edgekit.load(edgekit.convert(net, np.zeros((1, INPUTS), np.float32), name="plain", io=given))


@functools.cache
def overlapping(precision: str = "int8", target: str = "host") -> edgekit.Session:
    """A spiking program over windows of 10 steps, one every 4."""
    section = io(window=LENGTH, stride=STRIDE, layout="sequence")
    converted = edgekit.convert(
        module("l2mu"),
        name=f"overlap_{precision}",
        target=target,
        precision=precision,
        calib=stream(LENGTH, 1, 64),
        min_agreement=0.5,
        io=section,
    )
    return edgekit.load(converted, engine="auto" if target == "host" else "emulator")


def fed(session: edgekit.Session, samples: Iterable[Sample], **options: Any) -> tuple[list[Any], FrontDoor]:
    """Everything that a stream brought about, and the door it went through."""
    door = FrontDoor(session, Options(**options))
    return [made for sample in samples for made in door.feed(sample)] + door.finish(), door


def decisions(found: Sequence[Any]) -> list[Decision]:
    return [made for made in found if isinstance(made, Decision)]


def events(found: Sequence[Any]) -> list[Event]:
    return [made for made in found if isinstance(made, Event)]


def samples(values: np.ndarray, times: Iterable[float] | None = None) -> list[Sample]:
    """Rows [n, channels] as samples, timed or not."""
    given = [None] * len(values) if times is None else [float(t) for t in times]
    return [Sample(t, tuple(map(float, row))) for t, row in zip(given, values, strict=True)]


def steps(found: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The times and the values of the steps that `plain` was given."""
    made = decisions(found)
    return np.array([d.time for d in made]), np.array([d.scores for d in made])
