"""Labelled examples: what a program may learn from, in which order, and what is wrong with some before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.errors import DataError, UsageError
from edgekit.runtime.session import Session
from edgekit.runtime.streams import Array


@dataclass(frozen=True, eq=False)
class Examples:
    """An array [N, …] in raw units for each input of the step, and the class of each example, y [N], where it is known.

    An example is a window, or a step of a program that learns from single ones. `task` [N], which never falls, says
    to which task each belongs, where that is known.
    """

    inputs: tuple[Array, ...]
    y: Array | None = None
    task: Array | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])


@dataclass(frozen=True, eq=False)
class Course:
    """What is learned in turn: `order` are numbers of examples, and a task ends after so many of them as `merges` say.

    `merges` rises from place to place.
    """

    order: Array
    merges: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.order)


def plan_course(examples: Examples, passes: int = 1, *, end_task: bool = False) -> Course:
    """Every task in turn, so many passes over its examples each: a task ends where the next begins.

    The last one ends if `end_task` says so.
    """
    task, count = examples.task, len(examples)
    starts = [0] if task is None else [0, *(np.flatnonzero(np.diff(task)) + 1).tolist()]
    order, merges, done = [], [], 0
    for start, stop in zip(starts, [*starts[1:], count], strict=True):
        order.append(np.tile(np.arange(start, stop), passes))
        done += passes * (stop - start)
        merges.append(done)
    return Course(np.concatenate(order).astype(np.int64), tuple(merges if end_task else merges[:-1]))


def example_shapes(session: Session) -> list[tuple[int, ...]]:
    """The shape of one example of each input: a window of steps, or a step."""
    steps = session.learning_window
    return [shape if steps == 1 else (steps, *shape) for shape in session.facts.inputs.values()]


def check_examples(session: Session, examples: Examples, thing: str) -> Examples:
    """The examples in the layout of the program; DataError, which names `thing`, unless it can learn from all.

    Labels are needed unless the rule is told nothing.
    """
    arranged = (session.arrange(examples.inputs[0]), *examples.inputs[1:])
    made = Examples(arranged, examples.y, examples.task)
    for array, wanted, step in zip(made.inputs, example_shapes(session), session.facts.inputs.values(), strict=True):
        if array.shape[1:] != wanted:
            what = "single steps" if session.learning_window == 1 else f"windows of {session.learning_window} steps"
            cause = f"has shape {array.shape}; the program learns from {what}, [N, {', '.join(map(str, wanted))}]"
            fits = array.shape[max(array.ndim - len(step), 0) :] == step
            raise DataError(thing, cause, "convert the model with another --learn-window" if fits else "")
    if made.y is None and session.target_shape is not None:
        raise DataError(thing, "has no labels y", "give them with --labels classes.npy")
    _check_values(session, made, thing)
    if made.task is not None:
        check_tasks(made.task, len(made), thing)
    return made


def check_canary(session: Session, examples: Examples, thing: str) -> Examples:
    """What a program decides on to show what it still knows: windows of any length where it has states, else steps.

    A program with states that learns from single steps may also take one stream of labelled steps. DataError, which
    names `thing`, where something does not fit.
    """
    made = Examples((session.arrange(examples.inputs[0]), *examples.inputs[1:]), examples.y)
    if made.y is None:
        raise DataError(thing, "has no labels y", "a canary needs them")
    for array, shape in zip(made.inputs, session.facts.inputs.values(), strict=True):
        rank = array.ndim - len(shape)
        ranks = (1,) if not session.stateful else (1, 2) if session.learning_window == 1 else (2,)
        if rank not in ranks or array.shape[rank:] != shape:
            one = ", ".join(map(str, shape))
            wants = f"[N, T, {one}]" if session.stateful else f"[N, {one}]"
            raise DataError(thing, f"has shape {array.shape}; the program decides on {wants}")
    _check_values(session, made, thing)
    return made


def check_labels(y: Array, count: int, classes: int, thing: str) -> None:
    """DataError unless y holds the index of a class for each of so many examples."""
    if y.dtype.kind not in "iu" or y.shape != (count,):
        raise DataError(thing, f"has labels {y.dtype}{list(y.shape)} for {count} examples", "one whole number for each")
    if y.min() < 0 or y.max() >= classes:
        raise DataError(thing, f"has labels from {y.min()} to {y.max()}, the program has {classes} classes")


def check_tasks(task: Array, count: int, thing: str) -> None:
    """DataError unless `task` numbers the task of each of so many examples, and never falls."""
    if task.dtype.kind not in "iu" or task.shape != (count,):
        cause = f"has tasks {task.dtype}{list(task.shape)} for {count} examples"
        raise DataError(thing, cause, "one whole number for each")
    fallen = np.flatnonzero(task[1:] < task[:-1])
    if len(fallen):
        cause = f"goes from task {task[fallen[0]]} back to {task[fallen[0] + 1]} at example {fallen[0] + 1}"
        raise DataError(thing, cause, "put the examples of a task together, in the order in which they are learned")


def _check_values(session: Session, examples: Examples, thing: str) -> None:
    """DataError unless all is finite, and every label is a class."""
    if examples.y is not None:
        check_labels(examples.y, len(examples), session.classes, thing)
    for array in examples.inputs:
        if len(array) != len(examples):
            raise DataError(thing, f"has {len(array)} and {len(examples)} examples", "as many for each input")
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            cause = f"example {int(np.argmin(finite))} holds NaN or Inf"
            raise DataError(thing, cause, "leave it out: nothing is learned from what was not measured")


def check_detects(session: Session) -> None:
    """UsageError unless a program tells how new a window is, from which the end of a task can be found."""
    if not session.facts.learning.get("detect"):
        cause = f"program {session.facts.name!r} does not tell how new a window is"
        raise UsageError("--detect", cause, "convert the model with --learn hlop --detect")


def check_ends(session: Session, merges: Sequence[int]) -> None:
    """UsageError unless the program has so many tasks to end."""
    if not merges:
        return
    tasks = session.tasks
    if tasks is None:
        cause = f"program {session.facts.name!r} has no tasks to end"
        raise UsageError("end of a task", cause, "convert it with --learn hlop")
    if tasks.left is not None and tasks.left < len(merges):
        cause = f"{len(merges)} more are to end, and {tasks.done} of {tasks.most} tasks have ended before"
        raise UsageError("end of a task", cause, "convert the model with more --tasks")
