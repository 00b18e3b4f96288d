"""The search in order: plain int8, single changes, the way down from it, then what Optuna proposes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit.compress.rules import Tuning
from edgekit.compress.shrink import units
from edgekit.convert.progress import Progress, silent
from edgekit.errors import UsageError
from edgekit.search.frontier import Trial, promising
from edgekit.search.limits import Limits, Outcome, Result
from edgekit.search.pool import Pool
from edgekit.search.problem import Problem
from edgekit.search.proposals import Proposals
from edgekit.search.sensitivity import Sensitivity, sensitivity_of, singles, way_down, worth_it
from edgekit.search.space import Space, space_of, units_name
from edgekit.search.storage import ALONE, Asked, Storage

FINALISTS, ROUNDS = 4, 2  # trials that are trained at a time, and how often


@dataclass(frozen=True)
class Settings:
    """How long to search: so many trials, the way down among them, or minutes, whichever ends first.

    Points are asked for `batch` at a time, whatever the number of workers, so that they do not depend on it. With
    `epochs` the search ends half-way through its minutes, and what it found is trained for so long: see `promising`.
    Only what fits a pattern of `vary` varies, everything where there is none.
    """

    trials: int | None = 200
    minutes: float | None = None
    seed: int = 0
    batch: int = 8
    epochs: int = 0
    vary: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """What a search is at, for whoever watches: `done` of `total` when it begins."""

    name: str
    done: int = 0
    total: int | None = None


@dataclass(frozen=True)
class Found:
    """All trials of a search in their order, the space that it searched, and the sensitivities that shaped it."""

    sensitivity: Sensitivity
    space: Space
    trials: tuple[Trial, ...]
    seconds: float
    fresh: int  # trials that were not known from before

    @property
    def plain(self) -> Outcome:
        """What plain int8 comes to."""
        return self.trials[0].outcome


@dataclass(frozen=True)
class Search:
    """A problem, its promise, workers, and where results are kept."""

    problem: Problem
    limits: Limits
    settings: Settings
    pool: Pool
    storage: Storage
    progress: Progress = silent

    def sensitivity(self) -> Sensitivity:
        """Plain int8 and every single change from it, on fewer windows.

        UsageError where int8 gives no program, or instructions are limited that nothing counts.
        """
        whole = space_of(self.problem.optimised, self.problem.target, self.settings.vary)
        (plain,) = self._results(ALONE, [Asked(whole, {}, quick=True)], Stage("plain int8"))
        if not isinstance(plain, Outcome):
            raise UsageError("plain int8", f"gives no program: {plain.reason}", "convert --precision fp32 or w8")
        if self.limits.instructions is not None and plain.instructions is None:
            cause = f"nothing counts the instructions of {self.problem.target_name} here, so no trial could be judged"
            raise UsageError("--max-instructions", cause, "leave it out, or --target smartwatch-m4")
        alone = [Asked(whole, point, quick=True) for point in singles(whole)]
        return sensitivity_of(whole, plain, self._results(ALONE, alone, Stage("single changes")))

    def run(self) -> Found:
        """Search; what an interrupt leaves in the storage is taken up by the next call."""
        started, before = time.monotonic(), len(self.storage)
        seen = self.sensitivity()
        groups = {units_name(group): group for group in units(self.problem.optimised)}
        space, costs = worth_it(seen, self.limits, groups)
        name = self._name(space)
        points = way_down(space, costs)
        results = self._results(name, [Asked(space, point) for point in points], Stage("the way down from int8"))
        proposals = Proposals(space, self.limits, self.settings.seed)
        for point, result in zip(points, results, strict=True):
            proposals.add(point, result)
        total, share = self.settings.trials, 0.5 if self.settings.epochs else 1.0
        while space and (total is None or len(points) < total) and not self._is_late(started, share):
            asked = proposals.ask(self.settings.batch)
            told = self._results(name, [Asked(space, point) for point in asked], Stage("search", len(points), total))
            proposals.tell(told)
            points, results = [*points, *asked], [*results, *told]
        trials = _trials([Asked(space, point) for point in points], results)
        if self.settings.epochs:
            trials += self._trained(name, space, trials, started)
        return Found(seen, space, tuple(trials), time.monotonic() - started, len(self.storage) - before)

    def _trained(self, name: str, space: Space, trials: Sequence[Trial], started: float) -> list[Trial]:
        """Trials that may keep the promise once they are trained: some of all sizes, then some between those."""
        tuning = Tuning(epochs=self.settings.epochs, seed=self.settings.seed)
        done: list[Trial] = []
        left = list(trials)
        for _ in range(ROUNDS):
            kept = [t for t in (*trials, *done) if self.limits.kept(t.outcome)]
            chosen = promising(left, self.limits, kept, FINALISTS)
            if self._is_late(started):
                break
            asked = [Asked(space, trial.point, tuning=tuning) for trial in chosen]
            results = self._results(f"{name}, trained", asked, Stage("training", len(done), FINALISTS * ROUNDS))
            done += _trials(asked, results)
            left = [trial for trial in left if trial not in chosen]
        return done

    def _name(self, space: Space) -> str:
        """The study that the trials belong to: other limits narrow the space otherwise."""
        limits = ", ".join(f"{k} {v}" for k, v in vars(self.limits).items() if v is not None)
        return f"search with seed {self.settings.seed}, {limits}, {sum(len(c.options) - 1 for c in space)} options"

    def _is_late(self, started: float, share: float = 1.0) -> bool:
        minutes = self.settings.minutes
        return minutes is not None and time.monotonic() - started > 60 * minutes * share

    def _results(self, study: str, asked: Sequence[Asked], stage: Stage) -> list[Result]:
        """What points come to, in their order; those that are known are not tried again."""
        fresh = {each.job: each for each in asked if self.storage.known(each.job) is None}
        jobs, ended, total = list(fresh), stage.done + len(asked) - len(fresh), stage.total or len(asked)
        self.progress(stage.name, ended, total)
        for at, result in self.pool.run(jobs):
            self.storage.record(study, fresh[jobs[at]], result, self.limits)
            ended += 1
            self.progress(stage.name, ended, total)
        found = [self.storage.known(each.job) for each in asked]
        return [result for result in found if result is not None]


def _trials(asked: Sequence[Asked], results: Sequence[Result]) -> list[Trial]:
    """Those that gave a program."""
    return [
        Trial(each.point, each.job.compression, each.words, result)
        for each, result in zip(asked, results, strict=True)
        if isinstance(result, Outcome)
    ]
