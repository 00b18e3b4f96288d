"""The whole training: epochs, a checkpoint after each, and going on with one that was interrupted."""

from __future__ import annotations

from pathlib import Path

from edgekit.compress.rules import Tuning
from edgekit.frontends.threads import one_thread
from edgekit.tune.checkpoint import restore, save
from edgekit.tune.compressing import Rounding
from edgekit.tune.distil import Teacher
from edgekit.tune.fitting import Fit, Fitted, Hooks
from edgekit.tune.windows import Data


def fit(
    rounding: Rounding,
    data: Data,
    tuning: Tuning,
    *,
    teacher: Teacher | None = None,
    hooks: Hooks | None = None,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> Fitted:
    """Train a step with its compression in the loop and return the epoch that its integer program validated best.

    After each epoch the file `checkpoint` holds all that the next one needs; with `resume` the training goes on there,
    and ends in the same bits as one that nothing interrupted. torch computes on one thread meanwhile. UsageError for a
    tuning that is out of range, and for a checkpoint that is missing, damaged, or of other arguments; DataError for
    windows that do not fit.
    """
    with one_thread():
        run = Fit(rounding, data, tuning, teacher, hooks)
        if resume and checkpoint is not None:
            restore(run, checkpoint)
            for epoch in run.history:
                run.hooks.on_epoch(epoch)
        while len(run.history) < tuning.epochs:
            epoch = run.run_epoch()
            if checkpoint is not None:
                save(run, checkpoint)
            run.hooks.on_epoch(epoch)
        return run.fitted()
