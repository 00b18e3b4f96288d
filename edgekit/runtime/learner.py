"""How a stream learns: windows go through its entries, with a target where the rule has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError, UsageError
from edgekit.ir import SPIKE, Graph
from edgekit.runtime.border import Border
from edgekit.runtime.kept import MERGE, Tasks, tasks_of
from edgekit.runtime.streams import Array, Stream


class Learner:
    """Lets one stream of a program learn; `Session` says what its methods do."""

    def __init__(self, stream: Stream, border: Border) -> None:
        self._stream, self._border, self._facts = stream, border, border.facts
        self._told: list[Array] | None = None
        self._cut_short = False  # whether learning stopped in the middle of a window, as by Ctrl-C

    @property
    def window(self) -> int:
        """Steps that are learned from at once."""
        return int(self._facts.learning.get("window", 1))

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """The shape of the target, None where there is none."""
        graph = self._graph()
        return next((graph.tensors[name].shape for name in graph.entries["learn"].inputs), None)

    @property
    def tasks(self) -> Tasks | None:
        """How many tasks have ended, and how many can."""
        return tasks_of(self._facts, self.learned()) if self._facts.learned else None

    def learn(self, *inputs: Any) -> Any:
        """Learn from a step or a window."""
        graph, border = self._graph(), self._border
        names = [*border.names, *graph.entries["learn"].inputs]
        if len(inputs) != len(names):
            raise DataError("learn", f"takes {len(names)} arguments ({', '.join(names)}), got {len(inputs)}")
        wanted = inputs[len(border.names) :]
        targets = [] if any(map(callable, wanted)) else [self._target(graph, value) for value in wanted]
        windows = self._windows(inputs[: len(border.names)])
        if self._cut_short:  # what it left must not count for this window
            self.restore_learned(self.learned())
        elif self.window > 1:
            self._stream.reset()
        found = []
        self._cut_short = True
        for at in range(self.window):
            found.append(self._stream.call("step", [w[at] for w in windows]))
            if "gather" in graph.entries:
                self._stream.call("gather", [])
        outputs = found[0] if self.window == 1 else [np.stack(parts) for parts in zip(*found, strict=True)]
        results = border.results(outputs)
        targets = targets or [self._answered(graph, function(results)) for function in wanted if callable(function)]
        self._told = self._stream.call("learn", targets)
        self._cut_short = False
        return results

    @property
    def told(self) -> tuple[Array, ...]:
        """What the rule gave when it last learned."""
        graph = self._graph()
        if self._told is None:
            raise UsageError("told", "nothing was learned yet", "call learn first")
        quants = [graph.tensors[name].quant for name in graph.entries["learn"].outputs]
        return tuple(a if q is None else q.dequantize(a) for a, q in zip(self._told, quants, strict=True))

    def merge(self) -> int:
        """End a task."""
        self._graph()
        tasks = self.tasks
        if tasks is None:
            cause = f"program {self._facts.name!r} has no tasks to end"
            raise UsageError("merge", cause, "convert it with --learn hlop")
        if tasks.left == 0:
            cause = f"all {tasks.most} tasks of program {self._facts.name!r} have ended"
            raise UsageError("merge", cause, "convert the model with more --tasks")
        self._stream.call(MERGE, [])
        return tasks.done + 1

    def learned(self) -> bytes:
        """What was learned."""
        return self._facts.layout.learned(self._stream.save())

    def restore_learned(self, learned: bytes | None) -> None:
        """Take over what was learned, and start again."""
        layout = self._facts.layout
        made = layout.with_learned(self._stream.save(), layout.first_learned() if learned is None else learned)
        self.restore(layout.with_first_values(made))

    def restore(self, blob: bytes) -> None:
        """Take over a whole state: nothing of a window that was cut short is left."""
        self._stream.restore(blob)
        self._cut_short = False

    def _windows(self, inputs: Sequence[npt.ArrayLike]) -> list[Array]:
        """What is learned from at once, [T, *shape] of each input, as the steps take it; T is 1 for a single step."""
        border, steps = self._border, self.window
        arrays = [border.arrange(inputs[0]), *map(border.numbers, border.names[1:], inputs[1:])]
        for name, array, shape in zip(border.names, arrays, border.shapes, strict=True):
            wanted = shape if steps == 1 else (steps, *shape)
            if array.shape != wanted:
                one = "a step" if steps == 1 else f"a window of {steps} steps"
                raise DataError(f"input {name!r}", f"has shape {array.shape}, {one} that is learned from has {wanted}")
            if not np.isfinite(array).all():
                raise DataError(f"input {name!r}", "holds NaN or Inf", "nothing was learned")
        return border.stored([a.reshape(steps, *s) for a, s in zip(arrays, border.shapes, strict=True)])

    def _graph(self) -> Graph:
        graph, name = self._facts.graph, self._facts.name
        if graph is None or "learn" not in graph.entries:
            raise UsageError("learn", f"program {name!r} has no learning rule", "convert it with --learn delta")
        if len(graph.entries["learn"].inputs) > 1 or ("gather" in graph.entries and graph.entries["gather"].inputs):
            cause = f"program {name!r} learns from more than the inputs of a step and a target"
            raise UsageError("learn", cause, "call its entries by their names: session.call")
        return graph

    def _answered(self, graph: Graph, value: Any) -> Array:
        """The target that a function gave; a choice beside it is told first."""
        if isinstance(value, tuple) and len(value) == 2 and "choose" in graph.entries:
            value, choice = value
            self._stream.call("choose", [self._target(graph, choice, "choose")])
        return self._target(graph, value)

    def _target(self, graph: Graph, value: npt.ArrayLike, entry: str = "learn") -> Array:
        """A class index as a vector of 0 and 1, or a vector as it is, as an entry takes it."""
        (name,) = graph.entries[entry].inputs
        shape, target, codec = graph.tensors[name].shape, np.asarray(value), self._border.codec
        if target.ndim == 0 and len(shape) == 1:
            if target.dtype.kind not in "iu":
                raise DataError("label", f"is {target.dtype}, not the index of a class")
            if not 0 <= target < shape[0]:
                raise DataError("label", f"{target} is outside the {shape[0]} classes")
            target = np.eye(shape[0], dtype=np.float32)[int(target)]
        given = self._border.checked(name, target, shape)
        if not np.isfinite(given).all():
            raise DataError("target", "holds NaN or Inf", "nothing was learned")
        if not shape and abs(float(given)) > 1:
            raise DataError("reward", f"is {float(given):g}, outside -1 to 1", "scale it down")
        if codec is None:
            return given
        quant = graph.tensors[name].quant
        if quant is not None:
            return quant.quantize(given).astype(graph.port_dtype(name))
        if graph.tensors[name].dtype is SPIKE and not np.isin(given, (0, 1)).all():
            raise DataError("target", "holds other numbers than 0 and 1", "an integer program learns classes")
        return codec.check_stored(name, given)
