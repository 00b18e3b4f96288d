"""Points to try next, by Optuna's multi-objective TPE: each asked of a sampler that its own number has seeded."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.samplers import TPESampler
from optuna.trial import TrialState, create_trial

from edgekit.search.limits import Limits, Outcome, Result
from edgekit.search.space import Point, Space
from edgekit.search.storage import parameters, values

STRIDE = 100_003  # between the seeds of two searches: more than a search has trials


class Proposals:
    """Asks for the next points of a space, given what all earlier ones came to.

    What is asked depends on those results alone, not on when they came nor on whether the search was interrupted: for
    the same seed the same points are tried, by one worker or by many (Bergstra et al., 2011; Ozaki et al., 2022).
    """

    def __init__(self, space: Space, limits: Limits, seed: int) -> None:
        self._space, self._limits, self._seed = space, limits, seed
        self._study = optuna.create_study(directions=["minimize", "minimize"])
        self._asked: list[optuna.Trial] = []

    def add(self, point: Point, result: Result) -> None:
        """Tell what a point came to that was not asked for."""
        params, distributions = parameters(self._space, point)
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
        _, distributions = parameters(self._space, {})
        for _ in range(count):
            number = len(self._study.get_trials(deepcopy=False))
            self._study.sampler = TPESampler(seed=STRIDE * self._seed + number, multivariate=True, n_startup_trials=1)
            self._asked.append(self._study.ask(distributions))
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
