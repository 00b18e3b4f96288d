"""Guards before a commit: what a program may not lose by learning, and what it takes back if it does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.learn.settings import LAST, MEAN, PROTOTYPES
from edgekit.runtime.examples import Examples
from edgekit.runtime.kept import broken, saturated
from edgekit.runtime.session import DECISIONS, Session
from edgekit.runtime.streams import Array

UNDECIDED = -1
TOO_FAST = "convert the model with a smaller --learning-rate, or --subspace-rate"
FEWEST = 1e-9  # points: those of two shares of the same number of windows, in floats


@dataclass(frozen=True, eq=False)
class Limits:
    """What learning may change before it is taken back.

    `canary` are examples of what was known before, of whose accuracy at most `most_lost` points may go. `most_changed`
    is the share, in per cent, of the decisions on the artifact's self-test that may become others.
    """

    canary: Examples | None = None
    most_lost: float = 1.0
    most_changed: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether what was learned may stay, and if not, the `reasons`.

    `before` and `after` are accuracies on the canary in per cent, None without one. `changed` of `steps` are the steps
    of the self-test whose decision became another. `saturated` are integers at the end of their range.
    """

    before: float | None = None
    after: float | None = None
    changed: int = 0
    steps: int = 0
    saturated: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def stays(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    @property
    def share_changed(self) -> float:
        """How much of the self-test is decided otherwise, in per cent."""
        return 100 * self.changed / self.steps if self.steps else 0.0


def judge(session: Session, before: bytes, limits: Limits | None = None) -> Verdict:
    """Compare what a session has learned with what it had `before`, which is put back unless the new may stay.

    It may not with a weight that is NaN or Inf, or where a limit is passed. The self-test needs no data of anybody's.
    """
    limits, learned, canary = limits or Limits(), session.learned(), (limits or Limits()).canary
    if wrong := broken(session.facts, learned):
        session.restore_learned(before)
        return Verdict(reasons=(f"{wrong:,} weights became NaN or Inf: {TOO_FAST}",))
    steps_after, after = _selftest(session), None if canary is None else accuracy(session, canary)
    session.restore_learned(before)
    steps_before, first = _selftest(session), None if canary is None else accuracy(session, canary)
    verdict = Verdict(
        before=first,
        after=after,
        changed=int(np.count_nonzero(steps_after != steps_before)),
        steps=len(steps_before),
        saturated=saturated(session.facts, learned),
    )
    reasons = []
    if first is not None and after is not None and first - after > limits.most_lost + FEWEST:
        reasons.append(f"the canary lost {first - after:.2f} points, more than {limits.most_lost:g}")
    if limits.most_changed is not None and verdict.share_changed > limits.most_changed + FEWEST:
        share = f"{verdict.share_changed:.1f} % of the decisions on the self-test"
        reasons.append(f"{share} changed, more than {limits.most_changed:g} %")
    if reasons:
        return Verdict(**{**vars(verdict), "reasons": tuple(reasons)})
    session.restore_learned(learned)
    return verdict


def accuracy(session: Session, examples: Examples) -> float:
    """Per cent of examples that are decided rightly; the state of the session stays as it is."""
    found = decisions(session, _beside(session, examples.inputs))
    return float(100 * np.mean(found == examples.y))


def decisions(session: Session, outputs: Array) -> Array:
    """The class of each window of outputs [N, T, C], by the decision of the program, or of each step.

    [N, C] -> [N], [N, T, C] -> [N]. Where a program declares no decision over a window it is that of its rule: the last
    step of prototypes, the mean of others. -1 where an output is NaN or Inf: the program has overflowed.
    """
    leading = outputs.shape[: outputs.ndim - len(session.output_shapes[0])]
    outputs = outputs.reshape(*leading, -1)
    if len(leading) == 2:
        of_rule = LAST if session.facts.learning.get("rule") == PROTOTYPES else MEAN
        outputs = DECISIONS[session.facts.io.get("decision") or of_rule](outputs)
    fine = np.isfinite(outputs).all(axis=-1)
    return np.where(fine, np.argmax(np.nan_to_num(outputs), axis=-1), UNDECIDED)


def decided(session: Session, outputs: Array) -> int:
    """The class of one example that was learned: of a step [C], or a window of them [T, C]."""
    return int(decisions(session, np.asarray(_first(outputs))[None])[0])


def _first(outputs: Array | tuple[Array, ...]) -> Array:
    """The first output of a program that has several."""
    return np.asarray(outputs[0] if isinstance(outputs, tuple) else outputs)


def _selftest(session: Session) -> Array:
    """What each step of the self-test decides."""
    inputs = session.artifact.selftest.inputs
    steps = [inputs[name] for name in session.facts.inputs]
    return decisions(session, _beside(session, steps, stored=session.codec is not None))


def _beside(session: Session, inputs: Sequence[Array], *, stored: bool = False) -> Array:
    """The first output over [N, T, *shape], or over one stream of steps [T, *shape]; the session stays as it is."""
    one = inputs[0].ndim - len(next(iter(session.facts.inputs.values()))) == 1
    found = _first(session.run(*(a[None] if one else a for a in inputs), stored=stored))
    return found[0] if one else found
