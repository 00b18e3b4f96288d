"""The end of `make demo`: the same models on a stream of wrist motion, on the emulated watch, sample by sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from edgekit.demo.har.engine import Engine
from edgekit.demo.har.material import Material, made_up, recorded
from edgekit.demo.har.models import FAMILIES, prepare
from edgekit.demo.har.opened import WATCH
from edgekit.demo.har.play import Clip, Recorded
from edgekit.demo.har.summary import NEXT, print_summary, results, to_document
from edgekit.demo.har.windows import RATE_HZ, WINDOW, Indices
from edgekit.errors import DataError
from edgekit.runtime import load
from edgekit.target import load_target


@dataclass(frozen=True)
class Streamed:
    """What a stream came to; `equal` of `decisions` are those of the same windows given at once."""

    document: dict[str, Any]
    equal: int
    decisions: int


def stream(split: str, rounds: int, console: Console, progress: Callable[[str], None]) -> Streamed:
    """Run all models over `rounds` windows of each activity of held-out wearers, and print what came of it."""
    material = made_up() if split == "synthetic" else recorded(None)
    target = load_target(WATCH)
    models = [prepare(family, material, target.name, lambda stage, *_: progress(stage)) for family in FAMILIES]
    played = _source(material, rounds)
    engine = Engine(models, None, played, material, target, emulated=True)
    said: dict[str, list[str]] = {family: [] for family in FAMILIES}
    total = WINDOW * len(played.clips)
    for at, frame in enumerate(filter(None, engine.frames())):
        if at % WINDOW == 0:
            progress(f"stream through the emulated watch: {at / RATE_HZ:.0f} of {total / RATE_HZ:.0f} s")
        for family, told in frame.models.items():
            if told.decision is not None:
                said[family].append(told.decision.name)
    windows, names = np.concatenate([clip.windows for clip in played.clips]), engine.scene().classes
    equal = 0
    for model in models:
        session = load(model.artifact)
        batch = [names[label] for label in session.decide(session.run(windows))]
        equal += sum(a == b for a, b in zip(said[model.family], batch, strict=True))
    scene, found = engine.scene(), results(engine)
    print_summary(console, scene, found)
    decisions = len(windows) * len(models)
    console.print(f"{equal} of {decisions} streamed decisions are those of the same windows given at once.")
    console.print(NEXT)
    return Streamed({**to_document(scene, found), "equal": equal, "decisions": decisions}, equal, decisions)


def _source(material: Material, rounds: int) -> Recorded:
    """Windows of held-out wearers, one of each activity in turn, spread evenly over them."""
    windows, chosen = material.windows, material.held_out(rounds)
    if windows is None:
        raise DataError("recordings", material.why_not)
    in_turn = chosen[np.argsort(_turns(windows.y[chosen]), kind="stable")]
    return Recorded(
        windows.source, [Clip(windows.class_names[windows.y[at]], windows.x[at][None]) for at in in_turn], once=True
    )


def _turns(labels: Indices) -> Indices:
    """How many of the same label come before each."""
    return np.array([np.count_nonzero(labels[:at] == label) for at, label in enumerate(labels)], np.int64)
