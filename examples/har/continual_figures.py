"""The figures of each part: what was learned by prototypes, and beside them by rules that change the read-out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit.artifact import Artifact
from edgekit.demo.har.checkpoints import checkpoint
from edgekit.demo.har.watch import Watch
from edgekit.demo.har.windows import Indices, Split, Windows
from edgekit.errors import UsageError
from examples.har.continual_metrics import Record, mean_record
from examples.har.continual_run import Course, Gesture, Stream
from examples.har.continual_watch import hlop, naive

WATCH = "smartwatch-m33"
PASSES = {"naive": 5, "hlop": 30}  # over a lesson by rules that change the read-out: their best with other wearers
POPULATION_ROWS, WEARER_ROWS, CLASS_ROWS = 24, 1, 1  # of hlop: for the population, each wearer, each step of classes
BESIDE = 3  # orders that the rules beside prototypes see at most
EVERY = {"train": 7, "teachers": 4}  # one in so many windows of the population is tested, or learned from
CLASS_MARGIN = 5.0  # of new classes that other wearers taught: best with validation wearers
CLASS_RATE = 1.0  # of hlop, likewise

Begin = Callable[[str, int], Callable[[], None]]


@dataclass(frozen=True, eq=False)
class Setting:
    """Windows of all activities and the sides of a split by wearer; the model knows the classes below `known`. Those of
    `gestures` (None: all of them) are each taken away and taught as a gesture.
    """

    windows: Windows
    split: Split
    known: int
    precision: str
    checkpoint: Path = dataclasses.field(default_factory=lambda: checkpoint("elm_B"))
    groups: tuple[tuple[int, ...], ...] = ((*range(7),), (*range(7, 11),), (*range(11, 15),), (*range(15, 18),))
    gestures: tuple[int, ...] | None = None

    def side(self, name: str) -> Indices:
        """Windows of known classes on a side of the split."""
        chosen: Indices = getattr(self.split, name)
        return chosen[self.windows.y[chosen] < self.known]

    @property
    def wearers(self) -> list[int]:
        """Those that are held out."""
        return sorted(set(self.windows.subject[self.side("test")].tolist()))

    def watch(self, target: str = "host") -> Watch:
        """What artifacts are made with."""
        precision = "int8" if target == WATCH else self.precision
        return Watch(self.windows, self.side("train"), self.known, precision, target, self.checkpoint)


def figures_of(setting: Setting, parts: Iterable[str], orders: int, begin: Begin) -> dict[str, Any]:
    """The figures of some parts, plain enough for JSON."""
    if not 1 <= orders <= len(setting.wearers):
        raise UsageError("--orders", f"{orders} is not from 1 to {len(setting.wearers)}, the number of wearers")
    make = {"a": _classes, "b": lambda s, b: _users(s, orders, b), "c": _gestures}
    found = {part: make[part](setting, begin) for part in parts}
    return {"precision": setting.precision, "source": setting.windows.source, "parts": found}


# --- (b) wearers ---


def _users(setting: Setting, orders: int, begin: Begin) -> dict[str, Any]:
    watch, wearers = setting.watch(), setting.wearers
    others = {
        "training wearers": setting.side("train")[:: EVERY["train"]],
        "validation wearers": setting.side("validation"),
    }
    subspace = (POPULATION_ROWS, *[WEARER_ROWS] * len(wearers))
    made = {
        "prototypes": (watch.prototypes(len(wearers)), 1, orders),
        "naive": (naive(watch, setting.known), PASSES["naive"], min(orders, BESIDE)),
        "hlop": (hlop(watch, setting.known, subspace), PASSES["hlop"], min(orders, BESIDE)),
    }
    rules = {}
    for rule, (artifact, passes, count) in made.items():
        course = Course(setting.windows, setting.known, passes, begin(f"(b) {rule}", count * len(wearers)))
        streams = []
        for k in range(count):
            session, order = edgekit.load(artifact), [*wearers[k:], *wearers[:k]]
            streams.append(course.users(session, order, others, watch.train if rule == "hlop" else None))
        rules[rule] = _streams(streams) | {"cost": _cost(artifact)}
    begin("(b) the same on an emulated watch", 1)()
    rules["prototypes"]["cost_on_watch"] = _cost(setting.watch(WATCH).prototypes(len(wearers)))
    return {"wearers": wearers, "rules": rules}


def _streams(streams: Sequence[Stream]) -> dict[str, Any]:
    records = [s.record for s in streams]
    others = {
        name: float(np.mean([s.others[name][1] - s.others[name][0] for s in streams])) for name in streams[0].others
    }
    before = float(np.mean([r.before.mean() for r in records]))
    learned = float(np.mean([r.learned.mean() for r in records]))
    return {
        "orders": len(streams),
        "before": before,
        "after_lesson": learned,
        **mean_record(records),
        "others": others,
        "first_order": _record(records[0]),
    }


# --- (c) gestures ---


def _gestures(setting: Setting, begin: Begin) -> dict[str, Any]:
    watch, course = setting.watch(), Course(setting.windows, setting.known)
    every = sorted(set(setting.windows.y.tolist()))
    rest = [c for c in every if c >= setting.known]
    taken = range(setting.known) if setting.gestures is None else setting.gestures
    cases: list[tuple[int | None, list[int]]] = [(c, [c]) for c in taken]
    cases += [(None, rest)] if rest else []
    progress = begin("(c) gestures", len(cases) * len(setting.wearers))
    course = dataclasses.replace(course, progress=progress)
    found = list[Gesture]()
    for without, new in cases:
        old = [c for c in range(setting.known) if c != without]
        session = edgekit.load(watch.prototypes(1, reserve=1, without=without))
        found += course.gestures(session, setting.wearers, old, new)
    by = {c: [g for g in found if g.activity == c] for c in every}
    each = {
        setting.windows.class_names[c]: {
            "recall": float(np.mean([g.recall for g in gs])),
            "old": float(np.mean([g.old for g in gs])),
            "wearers": len(gs),
        }
        for c, gs in by.items()
        if gs
    }
    return {
        "recall": float(np.mean([g.recall for g in found])),
        "old": float(np.mean([g.old for g in found])),
        "lessons": len(found),
        "activities": each,
    }


# --- (a) classes ---


def _classes(setting: Setting, begin: Begin) -> dict[str, Any]:
    watch, groups = setting.watch(), setting.groups
    count, steps = sum(map(len, groups)), len(groups) - 1
    teachers, tests = setting.split.train[:: EVERY["teachers"]], setting.split.test
    made = {
        "prototypes": watch.prototypes(1, margin=CLASS_MARGIN, reserve=count - setting.known),
        "naive": naive(watch, count),
        "hlop": hlop(watch, count, (POPULATION_ROWS, *[CLASS_ROWS] * steps), CLASS_RATE),
    }
    rules = {}
    for rule, artifact in made.items():
        course = Course(setting.windows, setting.known, progress=begin(f"(a) {rule}", steps))
        session = edgekit.load(artifact)
        if rule == "hlop":
            course.extract(session, watch.train)
        record = course.classes(session, groups, teachers, tests)
        figures = {"acc": record.acc, "bwt": record.bwt, "forgetting": record.forgetting}
        rules[rule] = figures | {"record": _record(record), "cost": _cost(artifact)}
    return {"groups": [len(g) for g in groups], "rules": rules}


def _record(record: Record) -> dict[str, Any]:
    plain = [[None if np.isnan(v) else float(v) for v in row] for row in (record.before, *record.a)]
    return {"names": list(record.names), "before": plain[0], "a": plain[1:], "table": record.table()}


def _cost(artifact: Artifact) -> dict[str, Any]:
    learning, sizes = artifact.manifest["learning"], artifact.manifest["sizes"]
    found = {name: learning[name] for name in ("ram_bytes", "journal_bytes", "instructions") if name in learning}
    return found | {"program_ram_bytes": sizes["ram_bytes"], "flash_bytes": sizes["flash_bytes"]}
