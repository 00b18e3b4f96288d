"""Points to try next: by turns from Optuna's multi-objective TPE, and near the best that are known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from edgekit.search.limits import Limits, Outcome, Result
from edgekit.search.space import Point, Space
from edgekit.search.storage import parameters, values

REACH = 2.0  # points beyond the promise from which one step may lead back
STEPS = 64  # away from a point that is known already, until one is found that is not


class Proposals:
    """Asks for the next points of a space, given what all earlier ones came to.

    What is asked depends on those results alone, not on when they came nor on whether the search was interrupted: for
    the same seed the same points are tried, by one worker or by many (Bergstra et al., 2011; Ozaki et al., 2022). Every
    second one is a step or few away from a point that no other beats and that the promise is not far from. A point that
    is known already gives way to one near it, so that none comes twice.
    """

    def __init__(self, space: Space, limits: Limits, seed: int) -> None:
        self._space, self._limits, self._seed = space, limits, seed
        self._study = optuna.create_study(directions=["minimize", "minimize"])
        self._asked: list[optuna.Trial] = []
        self._known: set[tuple[int, ...]] = set()
        self._best: list[tuple[Point, list[float]]] = []  # that no other beats: values, and what RAM and such miss

    def add(self, point: Point, result: Result) -> None:
        """Tell what a point came to that was not asked for."""
        params, distributions = parameters(self._space, point)
        self._known.add(self._at(point))
        self._rank(point, result)
        if isinstance(result, Outcome):
            found = create_trial(
                params=params,
                distributions=distributions,
                values=values(result, self._limits),
                constraints=self._limits.shares(result),
            )
            self._study.add_trial(found)
        else:
            self._study.add_trial(create_trial(state=TrialState.FAIL, params=params, distributions=distributions))

    def ask(self, count: int) -> list[Point]:
        """The next points, which have to be told of before more are asked for; fewer where no more are left."""
        left = prod(len(choice.options) for choice in self._space) - len(self._known)
        self._asked = [self._next() for _ in range(min(count, left))]
        return [{n: int(v) for n, v in trial.params.items() if v} for trial in self._asked]

    def tell(self, results: Sequence[Result]) -> None:
        """What the points came to that were asked for last, in their order."""
        for trial, result in zip(self._asked, results, strict=True):
            self._rank(dict(trial.params), result)
            if isinstance(result, Outcome):
                for name, share in self._limits.shares(result).items():
                    trial.set_constraint(name, share)
                self._study.tell(trial, values(result, self._limits))
            else:
                self._study.tell(trial, state=TrialState.FAIL)
        self._asked = []

    def _next(self) -> optuna.Trial:
        _, distributions = parameters(self._space, {})
        number = len(self._study.get_trials(deepcopy=False))
        seed = int(np.random.SeedSequence((self._seed, number)).generate_state(1)[0])
        rng = np.random.default_rng(seed)
        near = [point for point, (drop, *_) in self._best if drop <= self._limits.drop + REACH]
        if near and len(self._known) % 2:
            trial = self._exactly(self._near(near[int(rng.integers(len(near)))], rng))
        else:
            self._study.sampler = TPESampler(seed=seed, multivariate=True, n_startup_trials=1)
            trial = self._study.ask(distributions)
            if self._at(trial.params) in self._known:
                point = self._near(trial.params, rng)
                self._study.tell(trial, state=TrialState.FAIL)
                trial = self._exactly(point)
        self._known.add(self._at(trial.params))
        return trial

    def _exactly(self, point: dict[str, int]) -> optuna.Trial:
        """A trial of this point."""
        self._study.enqueue_trial(point)
        return self._study.ask(parameters(self._space, {})[1])

    def _rank(self, point: Point, result: Result) -> None:
        """Take a point among the best, unless one of those beats it, and out those that it beats."""
        if isinstance(result, Outcome):
            shares = self._limits.shares(result)
            missed = sum(max(0.0, shares.get(name, 0.0)) for name in ("ram", "instructions"))
            found = [*values(result, self._limits), missed]
            if not any(_beats(other, found) for _, other in self._best):
                self._best = [(p, v) for p, v in self._best if not _beats(found, v)] + [(point, found)]

    def _near(self, point: Point, rng: np.random.Generator) -> dict[str, int]:
        """A point that is not known, few steps away, each to the next option of some choice; else the first such."""
        params, distributions = parameters(self._space, point)
        for _ in range(STEPS):
            name = sorted(params)[int(rng.integers(len(params)))]
            step = params[name] + int(rng.choice((-1, 1)))
            params[name] = min(max(step, 0), distributions[name].high)
            if self._at(params) not in self._known:
                return params
        options = product(*(range(len(choice.options)) for choice in self._space))
        unknown = next(at for at in options if at not in self._known)
        return {choice.name: at for choice, at in zip(self._space, unknown, strict=True) if choice.name in params}

    def _at(self, point: Point) -> tuple[int, ...]:
        return tuple(point.get(choice.name, 0) for choice in self._space)


def _beats(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))
