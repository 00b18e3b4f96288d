"""Points to try next: Optuna's multi-objective TPE, and neighbours of what it proposes for a second time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from edgekit.search.limits import Limits, Outcome, Result
from edgekit.search.space import Point, Space
from edgekit.search.storage import parameters, values

STRIDE = 100_003  # between the seeds of two searches: more than a search has trials
STEPS = 64  # away from a point that is known already, until one is found that is not


class Proposals:
    """Asks for the next points of a space, given what all earlier ones came to.

    What is asked depends on those results alone, not on when they came nor on whether the search was interrupted: for
    the same seed the same points are tried, by one worker or by many (Bergstra et al., 2011; Ozaki et al., 2022). A
    point that is known already gives way to one near it: of a space that is nearly exhausted the same may come again.
    """

    def __init__(self, space: Space, limits: Limits, seed: int) -> None:
        self._space, self._limits, self._seed = space, limits, seed
        self._study = optuna.create_study(directions=["minimize", "minimize"])
        self._asked: list[optuna.Trial] = []
        self._known: set[tuple[int, ...]] = set()

    def add(self, point: Point, result: Result) -> None:
        """Tell what a point came to that was not asked for."""
        params, distributions = parameters(self._space, point)
        self._known.add(self._at(point))
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
        """The next points, which have to be told of before more are asked for."""
        self._asked = [self._next() for _ in range(count)]
        return [{n: int(v) for n, v in trial.params.items() if v} for trial in self._asked]

    def tell(self, results: Sequence[Result]) -> None:
        """What the points came to that were asked for last, in their order."""
        for trial, result in zip(self._asked, results, strict=True):
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
        seed = STRIDE * self._seed + number
        self._study.sampler = TPESampler(seed=seed, multivariate=True, n_startup_trials=1)
        trial = self._study.ask(distributions)
        if self._at(trial.params) in self._known:
            near = self._near(trial.params, np.random.default_rng(seed))
            self._study.tell(trial, state=TrialState.FAIL)
            self._study.enqueue_trial(near)
            trial = self._study.ask(distributions)
        self._known.add(self._at(trial.params))
        return trial

    def _near(self, point: Point, rng: np.random.Generator) -> dict[str, int]:
        """A point that is not known, few steps away, each to the next option of some choice."""
        params, distributions = parameters(self._space, point)
        for _ in range(STEPS):
            name = sorted(params)[int(rng.integers(len(params)))]
            step = params[name] + int(rng.choice((-1, 1)))
            params[name] = min(max(step, 0), distributions[name].high)
            if self._at(params) not in self._known:
                break
        return params

    def _at(self, point: Point) -> tuple[int, ...]:
        return tuple(point.get(choice.name, 0) for choice in self._space)
