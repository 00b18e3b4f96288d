"""Model files as teachers: of any architecture, but for the same windows and the same classes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from edgekit.errors import DataError, ModelError, UsageError
from edgekit.tune.distil import GraphTeacher, Several, Teacher
from edgekit.tune.model import step_of
from edgekit.tune.windows import Step, Windows

if TYPE_CHECKING:
    from edgekit.frontends import Imported

ANOTHER = "take another teacher"


def teachers_of(models: Sequence[tuple[str, Imported]], learner: Imported, windows: Windows) -> Teacher | None:
    """Named models as one teacher; None without any.

    UsageError that names the one that cannot teach the `learner`: it takes other windows, or decides between others.
    """
    wanted = step_of(learner)
    found = [GraphTeacher(_checked(name, model, wanted, windows)) for name, model in models]
    return None if not found else found[0] if len(found) == 1 else Several(found)


def _checked(name: str, model: Imported, learner: Step, windows: Windows) -> Step:
    thing = f"--teacher {name}"
    try:
        step = step_of(model)
        step.inputs(windows.x[:2])
    except (UsageError, ModelError) as error:
        raise UsageError(thing, f"cannot teach ({error.cause})", ANOTHER) from error
    except DataError as error:
        raise UsageError(
            thing, f"does not take the training windows ({error.cause}; {error.remedy})", ANOTHER
        ) from error
    if step.classes != learner.classes:
        raise UsageError(thing, f"decides between {step.classes} classes, the model between {learner.classes}", ANOTHER)
    own, others = learner.meta.get("classes"), step.meta.get("classes")
    if own and others and own != others:
        at, pair = next((at, pair) for at, pair in enumerate(zip_longest(own, others)) if pair[0] != pair[1])
        cause = f"has other classes, or another order: its class {at} is {pair[1]!r}, the model's {pair[0]!r}"
        raise UsageError(thing, cause, ANOTHER)
    return step
