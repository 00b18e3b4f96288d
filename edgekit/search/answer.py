"""What a search answers: the point that keeps the promise as an artifact, or why there is none; and the frontier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgekit.artifact import Artifact
from edgekit.compress.recipe_data import to_data
from edgekit.convert.progress import Progress, silent
from edgekit.errors import ToolchainError
from edgekit.profile.grades import DERIVED, EMULATED, MEASURED
from edgekit.search.engine import Found, Search
from edgekit.search.frontier import Trial, chosen, closest, frontier, limiting
from edgekit.search.judging import Verdict
from edgekit.search.problem import Windows

GRADES: Mapping[str, str] = {
    "drop": MEASURED,
    "flash": MEASURED,
    "weights": MEASURED,
    "ram": DERIVED,
    "instructions": EMULATED,
}
"""How the figures of an outcome came about: judged by the reference, read off the object file, planned, counted."""


@dataclass(frozen=True)
class Answer:
    """A search, the trial that was chosen and its artifact, and what held-out windows say of it.

    `artifact` is None where no trial keeps the promise; `evaluated` where there are no windows for it.
    """

    search: Search
    found: Found
    trial: Trial | None
    artifact: Artifact | None
    evaluated: Verdict | None
    margin: float

    @property
    def is_kept(self) -> bool:
        """Whether the promise is kept, on the held-out windows too where there are such."""
        if self.trial is None:
            return False
        return self.evaluated is None or self.evaluated.drop <= self.search.limits.drop

    @property
    def notes(self) -> list[str]:
        """What is to be known of the figures, and of the search."""
        found = []
        if self.found.plain.instructions is None:
            target = self.search.problem.target_name
            found.append(f"RAM is states and scratch: nothing measures the stack of {target} here")
        if self.found.exhausted:
            found.append("every combination of what is worth a search was tried: there are no more trials")
        return found

    @property
    def frontier(self) -> list[Trial]:
        """The trials that no other one beats."""
        return frontier(self.found.trials)

    @property
    def reasons(self) -> list[str]:
        """Why the promise is not kept, in words."""
        limits = self.search.promise
        if self.trial is None:
            return limiting(self.found.trials, limits)
        if self.is_kept or self.evaluated is None:
            return []
        lost = self.evaluated.drop
        return [
            f"drop: {lost:.2f} points (standard error {self.evaluated.error:.2f}) on the held-out windows, "
            f"{lost - limits.drop:.2f} too many, although {self.trial.outcome.drop:.2f} on those for validation"
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: everything that a table or a page shows."""
        problem, limits = self.search.problem, self.search.promise
        return {
            "model": problem.graph.name,
            "target": problem.target_name,
            "kept": self.is_kept,
            "reasons": self.reasons,
            "notes": self.notes,
            "limits": asdict(limits),
            "size": limits.size_name,
            "margin": self.margin,
            "judged": {
                "what": problem.jury.what,
                "original": problem.jury.original,
                "windows": problem.jury.windows,
                "quick_windows": problem.quick_jury.windows,
            },
            "search": {
                **{k: v for k, v in asdict(self.search.settings).items() if k not in ("minutes",)},
                "workers": self.search.pool.name,
                "trials": len(self.found.trials),
                "fresh": self.found.fresh,
                "seconds": round(self.found.seconds, 1),
                "storage": str(self.search.storage.path),
            },
            "grades": dict(GRADES),
            "chosen": None if self.trial is None else self._trial(self.trial),
            "evaluation": None if self.evaluated is None else asdict(self.evaluated),
            "frontier": [self._trial(trial) for trial in self.frontier],
            "closest": [] if self.trial is not None else [self._trial(t) for t in closest(self.found.trials, limits)],
            "trials": [self._trial(trial) for trial in self.found.trials],
            "sensitivity": self.found.sensitivity.to_dict(),
        }

    def _trial(self, trial: Trial) -> dict[str, Any]:
        excess = self.search.promise.excess(trial.outcome)
        return {
            "words": trial.words,
            "recipe": to_data(trial.compression),
            "excess": {name: by for name, by in excess.items() if by > 0},
            **asdict(trial.outcome),
        }


def answer(search: Search, held_out: Windows | None, *, margin: float = 1.0, progress: Progress = silent) -> Answer:
    """Search, make the artifact of the smallest trial that keeps the promise, and judge it once on `held_out` windows.

    ToolchainError where the artifact is not the program of its trial.
    """
    found = search.run()
    trial = chosen(found.trials, search.promise, margin)
    if trial is None:
        return Answer(search, found, None, None, None, margin)
    progress("make the artifact")
    artifact = search.pool.make(trial.compression)
    check_same(artifact, trial)
    evaluated = None
    if held_out is not None:
        progress("judge on held-out windows")
        evaluated = search.problem.jury_of(held_out).verdict(artifact.graph)
    return Answer(search, found, trial, artifact, evaluated, margin)


def check_same(artifact: Artifact, trial: Trial) -> None:
    """ToolchainError unless an artifact has the program that a trial had, and its sizes."""
    sizes, outcome = artifact.manifest["sizes"], trial.outcome
    if artifact.manifest["graph_sha256"] != outcome.program:
        cause = "is not the program of its trial: the trial ran with other code, or floats add up otherwise here"
        raise ToolchainError("artifact", cause, "search again with another --storage")
    if (sizes["flash_bytes"], sizes["weights_bytes"]) != (outcome.flash, outcome.weights):
        cause = (
            f"takes {sizes['flash_bytes']:,} bytes of flash and {sizes['weights_bytes']:,} of weights, its trial took "
            f"{outcome.flash:,} and {outcome.weights:,}: that was compiled otherwise"
        )
        raise ToolchainError("artifact", cause, "search again with another --storage, or give one --compiler")
