"""A session: one stream of a program, with the shapes, units and decision of the artifact around it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact import Artifact
from edgekit.errors import DataError, StateError, UsageError
from edgekit.ir.widths import FULL
from edgekit.learn.journal import Status
from edgekit.runtime.border import Border
from edgekit.runtime.exported import ExportedStream
from edgekit.runtime.facts import artifact_facts, exported_facts
from edgekit.runtime.kept import Tasks
from edgekit.runtime.learner import Learner
from edgekit.runtime.streams import Array, NativeStream, Stream

FLOAT32 = np.dtype(np.float32)
DECISIONS = {
    "sum": lambda y: y.sum(axis=-2),
    "mean": lambda y: y.mean(axis=-2),
    "last": lambda y: y[..., -1, :],
}


class Session:
    """Runs a program step by step; the state is inside. Inputs are in raw units, outputs are float32.

    `engine` says what executes: the artifact's own native code (trusted), code rebuilt from its graph, the target's
    machine code in an emulator, the numpy reference, or for an exported file ONNX Runtime or LiteRT. `facts` are the
    names, shapes and io section of the program, `width` the per cent of its units that it computes with; `commit` what
    the journal beside it says of what it has learned.

    An integer program takes raw values too: they pass through its entry `quantize`, where NaN becomes 0 and ±Inf
    the end of the range (`nonfinite` counts both), and its outputs through `dequantize`. With `stored=True` a call
    takes and gives the stored integers themselves.
    """

    def __init__(self, artifact: Artifact | None, stream: Stream, width: int = FULL) -> None:
        if artifact is not None:
            self.facts = artifact_facts(artifact)
        elif isinstance(stream, ExportedStream):
            self.facts = exported_facts(stream.document)
        else:
            raise UsageError("session", "has no artifact", "give the one that the stream runs")
        self._artifact = artifact
        self._stream = stream
        self.width = width
        self._border = Border(self.facts)
        self._learner = Learner(stream, self._border)
        self._names, self._shapes = self._border.names, self._border.shapes
        self._shape = self._shapes[0]
        self._scratch: Stream | None = None
        self.codec = self._border.codec
        self.commit: Status | None = None
        self._bound: Callable[[Array], Array] | None = None
        if len(self._shapes) == 1 and len(self.facts.outputs) == 1 and isinstance(stream, NativeStream):
            self._bound = stream.bind_step() if self.codec is None else stream.bind_raw_step()

    @property
    def artifact(self) -> Artifact:
        """The artifact that is run; UsageError for an exported file, which is none."""
        if self._artifact is None:
            cause = "was exported: it holds no graph, no manifest and no code of edgekit's"
            raise UsageError(f"program {self.facts.name!r}", cause, "use the .edge file")
        return self._artifact

    @property
    def engine(self) -> str:
        """Which engine runs the program."""
        return self._stream.engine

    @property
    def engine_stream(self) -> Stream:
        """The stream underneath, for what only some engines can do (counting instructions)."""
        return self._stream

    @property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """The shape of each output of one step."""
        return list(self.facts.outputs.values())

    @property
    def stateful(self) -> bool:
        """Whether a step depends on the ones before it since the last reset."""
        return self.facts.stateful

    @property
    def nonfinite(self) -> int:
        """How many values that an integer program was given were NaN or Inf."""
        if self.codec is None or not isinstance(self._stream, NativeStream):
            return self._border.nonfinite
        return self._border.nonfinite + self._stream.nonfinite()  # single steps go through the program's own border

    def step(self, *inputs: npt.ArrayLike, stored: bool = False) -> Any:
        """One time step: an array for each input in, an array out (a tuple when the program has several outputs).

        Raises DataError for a wrong shape, and in a float program for NaN or Inf; the state is then untouched.
        """
        if len(inputs) != len(self._shapes):
            raise DataError("step", f"takes {len(self._shapes)} inputs, got {len(inputs)}")
        x = inputs[0]
        bound = None if stored else self._bound
        if bound is not None and x.__class__ is np.ndarray and x.dtype is FLOAT32 and x.shape == self._shape:
            return bound(x)
        arrays = [self._border.checked(n, a, s) for n, a, s in zip(self._names, inputs, self._shapes, strict=True)]
        return self._border.results(self._stream.call("step", self._border.stored(arrays, stored)), stored)

    def arrange(self, x: npt.ArrayLike) -> Array:
        """The first input in the program's layout: windows [N, length, channels] of a program that eats flattened
        windows become [N, length · channels]; everything else stays as it is.
        """
        return self._border.arrange(x)

    def run(self, *inputs: npt.ArrayLike, stored: bool = False) -> Any:
        """Many steps at once: [T, *shape] -> [T, *out], continuing from the current state like T calls of `step`.

        With one more leading axis, [N, T, *shape], every one of the N samples starts from a reset, and the state of
        this session stays as it is. A program without states takes [N, *shape]; one that eats flattened windows also
        takes them as [N, length, channels].
        """
        if len(inputs) != len(self._shapes):
            raise DataError("run", f"takes {len(self._shapes)} inputs, got {len(inputs)}")
        arrays = [self.arrange(inputs[0]), *map(self._border.numbers, self._names[1:], inputs[1:])]
        leading = {a.shape[: a.ndim - len(s)] for a, s in zip(arrays, self._shapes, strict=True)}
        fits = all(a.shape[a.ndim - len(s) :] == s for a, s in zip(arrays, self._shapes, strict=True))
        if len(leading) != 1 or not fits or len(axes := leading.pop()) not in (1, 2):
            wants = ", ".join(f"[T, {str(s).strip('(),')}] or [N, T, …]" for s in self._shapes)
            raise DataError("run", f"got shapes {[a.shape for a in arrays]}, wants {wants}")
        if 0 in axes:
            raise DataError("run", f"got shapes {[a.shape for a in arrays]}", "there is nothing to run")
        arrays = self._border.stored(arrays, stored)
        return self._border.results(self._stream.run(arrays) if len(axes) == 1 else self._run_samples(arrays), stored)

    def _run_samples(self, arrays: list[Array]) -> list[Array]:
        scratch = self._scratch = self._scratch or self._stream.fork()
        if self.facts.learned:  # learned weights count for every sample
            scratch.restore(self.facts.layout.with_first_values(self._stream.save()))
        collected = []
        for sample in zip(*arrays, strict=True):
            scratch.reset()
            collected.append(scratch.run(list(sample)))
        return [np.stack(parts) for parts in zip(*collected, strict=True)]

    def decide(self, outputs: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """The class of each window: argmax of the sum, mean or last of its step outputs, ties to the lowest index.

        [T, C] -> a scalar, [N, T, C] -> [N]; without states every step is a window of its own: [N, C] -> [N].
        """
        y = np.asarray(outputs)
        shape, axes = self.output_shapes[0], (1, 2) if self.stateful else (0, 1)
        if y.dtype.kind not in "fiub" or y.ndim - len(shape) not in axes or y.shape[y.ndim - len(shape) :] != shape:
            raise DataError("decide", f"got {y.dtype}{y.shape}, wants the outputs of run, each step {shape}")
        if y.size == 0 or not np.isfinite(y).all():
            raise DataError("decide", "the outputs are empty, or hold NaN or Inf")
        decision = self.facts.io.get("decision")
        if self.stateful:
            if decision is None:
                raise UsageError("decide", f"program {self.facts.name!r} declares no decision over a window")
            y = DECISIONS[decision](y)
        return np.asarray(np.argmax(y, axis=-1), dtype=np.int64)

    def learn(self, *inputs: Any) -> Any:
        """One step that is learned from: the inputs of a step, then the target if the rule has one.

        The target is a class index, an array, or a function of the step's outputs that gives it, such as a reward; for
        a rule that learns from rewards that function may give the reward and the class that was chosen.
        Returns the outputs of the step, computed before the weights changed; `told` is what the rule itself gave. A
        program that learns from windows takes a window, [T, *shape] of each input, from a reset on. UsageError when the
        artifact has no learning rule, DataError for NaN or Inf, from which no program learns, and nothing has changed
        then.
        """
        return self._learner.learn(*inputs)

    @property
    def told(self) -> tuple[Array, ...]:
        """What the rule gave when it last learned, in reals where it says on what scale it is held."""
        return self._learner.told

    def merge(self) -> int:
        """End a task: what was learned so far is protected from what comes. Returns how many tasks have ended.

        UsageError when all tasks that the program keeps apart have ended before.
        """
        return self._learner.merge()

    @property
    def learning_window(self) -> int:
        """Steps that are learned from at once."""
        return self._learner.window

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """The shape of what a program is told when it learns: (classes,), or () of a reward; None where it is nothing.

        UsageError for a program that does not learn.
        """
        return self._learner.target_shape

    @property
    def classes(self) -> int:
        """How many classes a program that learns can tell apart; UsageError for one that does not learn."""
        return self.target_shape[0] if self.target_shape else int(np.prod(self.output_shapes[0]))

    @property
    def tasks(self) -> Tasks | None:
        """How many tasks have ended, and how many can; None for a program that has none to end."""
        return self._learner.tasks

    def call(self, entry: str, *inputs: npt.ArrayLike) -> Any:
        """One entry by its name, in stored values: an array for each input in, an array out (a tuple of several).

        Raises UsageError for an entry that is not there, DataError for a wrong shape or number.
        """
        graph = self.facts.graph
        if graph is None or entry not in graph.entries:
            known = "none to call" if graph is None else ", ".join(graph.entries)
            raise UsageError(f"entry {entry!r}", f"is not in program {self.facts.name!r}", f"it has {known}")
        names = graph.entries[entry].inputs
        if len(inputs) != len(names):
            raise DataError(entry, f"takes {len(names)} inputs ({', '.join(names)}), got {len(inputs)}")
        arrays = []
        for name, value in zip(names, inputs, strict=True):
            tensor = graph.tensors[name]
            given = self._border.checked(name, value, tensor.shape)
            if self.codec is not None and not tensor.dtype.is_float:
                given = self.codec.check_stored(name, given)
            arrays.append(given)
        outputs = self._stream.call(entry, arrays)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def reset(self) -> None:
        """Start again: first values for all states but those that a reset keeps (learned weights)."""
        self._stream.reset()

    def learned(self) -> bytes:
        """What was learned, as a journal stores it: the states that a reset keeps."""
        return self._learner.learned()

    def restore_learned(self, learned: bytes | None) -> None:
        """Take over what was learned before, None for nothing, and start again; StateError where it does not fit."""
        self._learner.restore_learned(learned)

    def save_state(self) -> bytes:
        """The state as bytes, in one format for every engine: saved on one, it can be restored on any other."""
        return self._stream.save()

    def restore_state(self, blob: bytes) -> None:
        """Continue from saved bytes; StateError when they are of another program, damaged, or hold NaN or Inf."""
        if not isinstance(blob, (bytes, bytearray, memoryview)):
            raise StateError("state blob", f"is a {type(blob).__name__}, not bytes")
        self._learner.restore(bytes(blob))

    def stream(self) -> Session:
        """Another, independent stream of the program from a reset, which knows what this one has learned so far."""
        other = Session(self._artifact, self._stream.fork(), self.width)
        if self.facts.learned:
            other.restore_learned(self.learned())
            other.commit = self.commit
        return other
