"""The search in order: plain int8, single changes, the way down from it, then what Optuna proposes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, prod

from edgekit.compress.rules import LARGEST, Tuning
from edgekit.compress.shrink import units
from edgekit.convert.progress import Progress, silent
from edgekit.errors import UsageError
from edgekit.search.frontier import Trial, promising
from edgekit.search.limits import Limits, Outcome, Result
from edgekit.search.pool import Pool, Stop, never
from edgekit.search.problem import Problem
from edgekit.search.proposals import Proposals
from edgekit.search.sensitivity import Sensitivity, sensitivity_of, singles, worth_it
from edgekit.search.space import Point, Space, space_of, units_name
from edgekit.search.storage import ALONE, Asked, Storage
from edgekit.search.ways import ways

FINALISTS, ROUNDS = 4, 2  # trials that are trained at a time, and how often

Ended = tuple[Asked, Result]


@dataclass(frozen=True)
class Settings:
    """How long to search: so many trials, the way down among them, or minutes, whichever ends first.

    Single changes come before and count as none, nor do trials that are trained. Once the minutes are over no trial
    begins. Points are asked for `batch` at a time, whatever the number of workers, so that they do not depend on it.
    With `epochs` the search ends half-way through its minutes, and what it found is trained for so long: see
    `promising`. Only what fits a pattern of `vary` varies, everything where there is none. UsageError for what is out
    of range.
    """

    trials: int | None = 200
    minutes: float | None = None
    seed: int = 0
    batch: int = 8
    epochs: int = 0
    vary: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= LARGEST:
            raise UsageError(f"--seed {self.seed}", "is no seed", f"give one from 0 to {LARGEST:,}")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"--trials {self.trials}", "is no number of trials", "give 1 or more")
        if self.minutes is not None and not 0 <= self.minutes < inf:
            raise UsageError(f"--minutes {self.minutes:g}", "is no time", "give a number of minutes")


@dataclass(frozen=True)
class Stage:
    """What a search is at, for whoever watches: `done` of `total` when it begins."""

    name: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Found:
    """All trials of a search in their order, none twice, the space that it searched, and the sensitivities of it."""

    sensitivity: Sensitivity
    space: Space
    trials: tuple[Trial, ...]
    seconds: float
    fresh: int  # trials that were not known from before
    exhausted: bool = False  # whether every point of the space was tried

    @property
    def plain(self) -> Outcome:
        """What plain int8 comes to."""
        return self.trials[0].outcome


@dataclass(frozen=True)
class Search:
    """A problem, the limits that are asked for, workers, and where results are kept."""

    problem: Problem
    limits: Limits
    settings: Settings
    pool: Pool
    storage: Storage
    progress: Progress = silent

    @property
    def promise(self) -> Limits:
        """The limits, with what the target has."""
        return self.limits.on(self.problem.target)

    def sensitivity(self) -> Sensitivity:
        """Plain int8 and every single change from it, on fewer windows, however long that takes.

        UsageError where int8 gives no program, or instructions are limited that nothing counts.
        """
        whole = space_of(self.problem.optimised, self.problem.target, self.settings.vary)
        ((_, plain),) = self._results(ALONE, [Asked(whole, {}, quick=True)], Stage("plain int8"))
        if not isinstance(plain, Outcome):
            raise UsageError("plain int8", f"gives no program: {plain.reason}", "convert --precision fp32 or w8")
        if self.limits.instructions is not None and plain.instructions is None:
            cause = f"nothing counts the instructions of {self.problem.target_name} here, so no trial could be judged"
            raise UsageError("--max-instructions", cause, "leave it out, or --target smartwatch-m4")
        alone = [Asked(whole, point, quick=True) for point in singles(whole)]
        found = self._results(ALONE, alone, Stage("single changes"))
        return sensitivity_of(whole, plain, [result for _, result in found])

    def run(self) -> Found:
        """Search; what an interrupt leaves in the storage is taken up by the next call."""
        started, before = time.monotonic(), len(self.storage)
        seen = self.sensitivity()
        groups = {units_name(group): group for group in units(self.problem.optimised)}
        space, costs = worth_it(seen, self.promise, groups)
        name, total = self._name(space), self.settings.trials
        stop = self._clock(started, 0.5 if self.settings.epochs else 1.0)
        proposals = Proposals(space, self.promise, self.settings.seed)

        def tried(points: Sequence[Point], stage: Stage, stop: Stop = stop) -> list[Ended]:
            return self._results(name, [Asked(space, point) for point in points], stage, stop)

        plain, *points = ways(space, costs, total)
        found = tried([plain], Stage("plain int8"), never)  # always: all else is compared with it
        found += tried(points, Stage("the way down from int8", 1, 1 + len(points)))
        for asked, result in found:
            proposals.add(asked.point, result)
        while space and (total is None or len(found) < total) and not stop():
            batch = self.settings.batch if total is None else min(self.settings.batch, total - len(found))
            asked_for = proposals.ask(batch)
            if not asked_for:
                break
            told = tried(asked_for, Stage("search", len(found), total))
            found += told
            if len(told) < len(asked_for):
                break
            proposals.tell([result for _, result in told])
        trials = _trials(found)
        if self.settings.epochs:
            trials += self._trained(name, space, trials, self._clock(started))
        exhausted = len(found) == prod(len(choice.options) for choice in space)
        return Found(seen, space, tuple(trials), time.monotonic() - started, len(self.storage) - before, exhausted)

    def _trained(self, name: str, space: Space, trials: Sequence[Trial], stop: Stop) -> list[Trial]:
        """Trials that may keep the promise once they are trained: some of all sizes, then some between those."""
        tuning = Tuning(epochs=self.settings.epochs, seed=self.settings.seed)
        done: list[Trial] = []
        left = list(trials)
        for _ in range(ROUNDS):
            kept = [t for t in (*trials, *done) if self.promise.kept(t.outcome)]
            chosen = promising(left, self.promise, kept, FINALISTS)
            asked = [Asked(space, trial.point, tuning=tuning) for trial in chosen]
            stage = Stage("training", len(done), FINALISTS * ROUNDS)
            done += _trials(self._results(f"{name}, trained", asked, stage, stop))
            left = [trial for trial in left if trial not in chosen]
        return done

    def _name(self, space: Space) -> str:
        """The study that the trials belong to: other limits narrow the space otherwise."""
        limits = ", ".join(f"{k} {v}" for k, v in vars(self.limits).items() if v is not None)
        return f"search with seed {self.settings.seed}, {limits}, {sum(len(c.options) - 1 for c in space)} options"

    def _clock(self, started: float, share: float = 1.0) -> Stop:
        """What says when a share of the minutes is over."""
        minutes = self.settings.minutes
        return never if minutes is None else lambda: time.monotonic() - started >= 60 * minutes * share

    def _results(self, study: str, asked: Sequence[Asked], stage: Stage, stop: Stop = never) -> list[Ended]:
        """What points come to, in their order, without those that were not begun; known ones are not tried again."""
        fresh = {each.job: each for each in asked if self.storage.known(each.job) is None}
        jobs, ended, total = list(fresh), stage.done + len(asked) - len(fresh), stage.total or len(asked)
        self.progress(stage.name, ended, total)
        for at, result in self.pool.run(jobs, stop):
            self.storage.record(study, fresh[jobs[at]], result, self.promise)
            ended += 1
            self.progress(stage.name, ended, total)
        found = [(each, self.storage.known(each.job)) for each in asked]
        return [(each, result) for each, result in found if result is not None]


def _trials(found: Sequence[Ended]) -> list[Trial]:
    """Those that gave a program."""
    return [
        Trial(each.point, each.job.compression, each.words, result)
        for each, result in found
        if isinstance(result, Outcome)
    ]
