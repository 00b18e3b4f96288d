"""What a subject computes beside what PyTorch computes, and when that is another model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgekit.bench.cases import Case
from edgekit.bench.peers import QUANTISED
from edgekit.bench.stimuli import Array
from edgekit.bench.subject import MIN_EQUAL_STEPS, Subject, equal_steps
from edgekit.bench.tables import percent

EXACT = 1e-4  # relative error below which two subjects count as equally accurate
MOST_ERROR = 0.5  # relative: more, and the outputs have little to do with PyTorch's
LEAST_KAPPA = 0.5  # of decisions about windows: halfway between chance and agreement


@dataclass(frozen=True)
class Accuracy:
    """How near a subject is to PyTorch over the stimulus from a reset: the first `equal_steps` within rounding, the
    `error` as root mean square over that of PyTorch's outputs, and the share of steps with the same largest output.
    Over test windows, where there are any: the share classified right, and as PyTorch does; `by_chance` is the share in
    which two with these answers would agree if they knew nothing of one another.
    """

    equal_steps: int
    error: float
    agreement: float
    windows: float | None = None
    windows_agreement: float | None = None
    by_chance: float | None = None

    def not_worse_than(self, other: Accuracy) -> bool:
        """Whether this is at least as accurate: no larger error, or both errors are those of float32."""
        return self.error <= max(other.error, EXACT if other.error <= EXACT else 0.0)


def float_decisions(case: Case) -> npt.NDArray[np.int64] | None:
    """The classes of the test windows by PyTorch; None without windows."""
    if case.tests is None:
        return None
    import torch

    windows, outputs = torch.from_numpy(case.tests.x), []
    state = case.module.init_state(len(windows))
    with torch.inference_mode():
        for x in windows.unbind(1):
            y, state = case.module.step(x, state)
            outputs.append(y.numpy())
    return case.tests.decide(np.stack(outputs, axis=1))


def measure_accuracy(subject: Subject, case: Case, decided: npt.NDArray[np.int64] | None) -> Accuracy:
    """Run the stimulus, and the test windows of the case, on which PyTorch has `decided`."""
    (got,) = subject.run(case.stimulus[None])
    found = against(case.expected, got, equal_steps(got, case))
    if case.tests is None or decided is None:
        return found
    classes = case.tests.decide(subject.run(case.tests.x))
    shares = [np.bincount(c, minlength=int(max(classes.max(), decided.max())) + 1) / len(c) for c in (classes, decided)]
    return Accuracy(
        found.equal_steps,
        found.error,
        found.agreement,
        case.tests.accuracy(classes),
        float((classes == decided).mean()),
        float(shares[0] @ shares[1]),
    )


def against(expected: Array, got: Array, equal: int) -> Accuracy:
    """The accuracy of outputs [T, outputs]."""
    spread = float(np.sqrt(np.mean(np.square(expected, dtype=np.float64))))
    error = float(np.sqrt(np.mean(np.square(got.astype(np.float64) - expected))))
    relative = error / spread if spread else (0.0 if error == 0 else np.inf)
    return Accuracy(equal, relative, float((got.argmax(axis=1) == expected.argmax(axis=1)).mean()))


def fault_of(name: str, accuracy: Accuracy, steps: int) -> str:
    """In words why a subject computes another model than PyTorch; empty when it does not."""
    if not np.isfinite(accuracy.error):
        return "its outputs are not finite"
    if QUANTISED not in name and accuracy.equal_steps < min(MIN_EQUAL_STEPS, steps):
        return f"in float32 it differs from PyTorch at step {accuracy.equal_steps}"
    if accuracy.windows_agreement is not None and accuracy.by_chance is not None:
        kappa = (accuracy.windows_agreement - accuracy.by_chance) / max(1e-9, 1 - accuracy.by_chance)
        if kappa >= LEAST_KAPPA:
            return ""
        alike = f"decides {percent(accuracy.windows_agreement)} of the windows as PyTorch does"
        return f"{alike}; {percent(accuracy.by_chance)} would be chance"
    if accuracy.error > MOST_ERROR:
        alike = f"{percent(accuracy.agreement)} of the steps agree on the largest"
        return f"its outputs part from PyTorch's: relative error {accuracy.error:.2f}, {alike}"
    return ""
