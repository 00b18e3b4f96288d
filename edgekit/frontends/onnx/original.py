"""The ONNX model itself beside its graph: run by ONNX Runtime where it is installed, else by onnx's own reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import ModelError, ReplayError, UnsupportedError
from edgekit.frontends.onnx.ports import Port
from edgekit.frontends.onnx.reading import line, onnx_module
from edgekit.frontends.original import CHUNK, Streams

Array = npt.NDArray[Any]

BATCH = 3
"""Samples run side by side to see whether they influence one another: neither 1 nor a likely layer size."""
BATCH_TOLERANCE = 1e-4
"""How far the results of one sample alone may be from those in a batch, absolute and relative: rounding only."""
NATIVE_BATCH = 4
SCALES = (0.0, 0.1, 1.0, 4.0)
"""How large the noise is that goes with tokens."""
REMEDY = "keep the batch axis to itself; write Reshape with 0 or -1 for the batch and not with its length at export"


@dataclass(frozen=True, eq=False)
class StatePort:
    """A state: its name in the graph, the input and output of the model, and its first value without the batch."""

    name: str
    input: Port
    output: Port
    init: Array


class Runner:
    """One model, from names to arrays; `note` says what runs it where that is not ONNX Runtime.

    `time` names the axes of time in the ports of a sequence model, which is run step by step.
    """

    def __init__(self, thing: str, model: Any, time: Mapping[str, int] | None = None) -> None:
        self.thing, self.note = thing, ""
        self._model, self._time = model, dict(time or {})

    @cached_property
    def _run(self) -> Any:
        model = self._model
        try:
            import onnxruntime
        except ImportError:
            self.note = "replayed with onnx's own reference; onnxruntime is not installed"
            return self._reference(model)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # every node as the model has it: fused integer kernels round elsewhere
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has no common class of errors
            self.note = f"replayed with onnx's own reference; ONNX Runtime cannot load it ({line(error)})"
            return self._reference(model)
        return session.run

    def _reference(self, model: Any) -> Any:
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(model).run

    def __call__(self, names: Sequence[str], feed: Mapping[str, Array]) -> list[Array]:
        """The outputs of those names; ModelError when the model cannot run. A sequence model runs over one step."""
        try:
            with np.errstate(all="ignore"):
                given = {n: np.expand_dims(x, self._time[n]) if n in self._time else x for n, x in feed.items()}
                results = [np.asarray(y) for y in self._run(list(names), given)]
                pairs = zip(names, results, strict=True)
                return [np.take(y, 0, self._time[n]) if n in self._time else y for n, y in pairs]
        except Exception as error:  # whatever a runtime raises on a model that is valid but cannot run
            raise ModelError(self.thing, f"cannot run ({line(error)})", "check it with ONNX Runtime") from error


def batch_axes(
    runner: Runner, inputs: Sequence[Port], fixed: Mapping[str, Array], names: Sequence[str]
) -> dict[str, int]:
    """Which axis of each result grows with the batch; all inputs have a free batch axis.

    UnsupportedError when the model runs at batch one alone, or gives results that are not one for each sample.
    """
    shapes = []
    for batch in (1, BATCH):
        feed = {p.name: _widened(np.zeros((batch, *p.step_shape), np.float32), p) for p in inputs}
        try:
            shapes.append([y.shape for y in runner(names, {**fixed, **feed})])
        except ModelError as error:
            if batch == 1:
                raise
            raise UnsupportedError(runner.thing, f"works at batch 1 only: {error.cause}", REMEDY) from error
    found, mixed = {}, []
    for name, one, many in zip(names, *shapes, strict=True):
        changed = [a for a, (n, m) in enumerate(zip(one, many, strict=False)) if n != m]
        if len(one) == len(many) and len(changed) == 1 and one[changed[0]] == 1 and many[changed[0]] == BATCH:
            found[name] = changed[0]
        else:
            mixed.append(f"{name}: {list(one)} for one sample, {list(many)} for {BATCH}")
    if mixed:
        raise UnsupportedError(runner.thing, "mixes the samples of a batch", REMEDY, mixed)
    return found


class OnnxOriginal:
    """A model as the replay and `verify` run it; `fixed` is what it is fed beside inputs and states.

    `tokens` says how many whole numbers an input takes, from 0 on: what it is fed becomes the nearest of them.
    Streams run side by side where every port has a free batch axis, one after another where they must be `alone`.
    """

    def __init__(
        self,
        runner: Runner,
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        states: Sequence[StatePort],
        fixed: Mapping[str, Array],
        *,
        alone: bool = False,
        tokens: Mapping[str, int] | None = None,
    ) -> None:
        self.runner, self.inputs, self.outputs = runner, tuple(inputs), tuple(outputs)
        self.state_ports, self.fixed, self.tokens = tuple(states), dict(fixed), dict(tokens or {})
        taken = [*inputs, *(s.input for s in states)]
        given = [*outputs, *(s.output for s in states)]
        self.joint = not alone and all(p.symbolic for p in taken) and all(p.batch is not None for p in (*taken, *given))

    @property
    def thing(self) -> str:
        return self.runner.thing

    @property
    def batch(self) -> int:
        return NATIVE_BATCH

    @property
    def most(self) -> int:
        return CHUNK

    def draw(self, batch: int, random: np.random.Generator) -> list[Array] | None:
        """Whole numbers for the inputs that look up a table, noise of some scale for others; None without tokens."""
        if not any(p.name in self.tokens for p in self.inputs):
            return None
        return [self._drawn(p, batch, random, float(random.choice(SCALES))) for p in self.inputs]

    def _drawn(self, port: Port, batch: int, random: np.random.Generator, scale: float = 1.0) -> Array:
        shape = (batch, *port.step_shape)
        if port.name in self.tokens:
            return random.integers(self.tokens[port.name], size=shape).astype(np.float32)
        return (scale * random.standard_normal(shape)).astype(np.float32)

    def start(self, batch: int, *, native: bool = False) -> Streams:
        """Fresh streams from the first values; streams of a model with a fixed batch run one after another.

        They are the untouched model's, `native` or not.
        """
        del native
        return _Streams(self, batch)

    def check_independence(self) -> None:
        """Refuse a model in which one sample of the batch influences another: three at once must equal one by one."""
        if not self.joint:
            return
        random = np.random.default_rng(1)
        start = self.start(BATCH)
        states = {n: _noisy(v, random) for n, v in start.states().items()}
        given = [self._drawn(p, BATCH, random) for p in self.inputs]
        names = [*(p.name for p in self.outputs), *(f"state {n}" for n in states)]
        try:
            joint = self.call(given, states)
        except ModelError as error:
            raise UnsupportedError(self.thing, f"works at batch 1 only: {error.cause}", REMEDY) from error
        single = [
            self.call([x[i : i + 1] for x in given], {n: v[i : i + 1] for n, v in states.items()}) for i in range(BATCH)
        ]
        alone = [np.concatenate(parts) for parts in zip(*single, strict=True)]
        # a result that has not one row for each sample does not match either
        mixed = [n for n, a, b in zip(names, joint, alone, strict=True) if not _close(a, b)]
        if mixed:
            raise UnsupportedError(self.thing, "mixes the samples of a batch", REMEDY, mixed)

    def call(self, inputs: Sequence[Array], states: Mapping[str, Array]) -> list[Array]:
        """Outputs, then next states, all [N, *step shape], of arrays [N, *step shape]."""
        ports = [*self.inputs, *(s.input for s in self.state_ports)]
        arrays = [*inputs, *(states[s.name] for s in self.state_ports)]
        wanted = [*self.outputs, *(s.output for s in self.state_ports)]
        count = max((len(a) for a in arrays), default=1)
        if self.joint:
            return self._once(ports, arrays, wanted)
        rows = [self._once(ports, [a[i : i + 1] for a in arrays], wanted) for i in range(count)]
        return [np.concatenate(parts) for parts in zip(*rows, strict=True)]

    def _once(self, ports: Sequence[Port], arrays: Sequence[Array], wanted: Sequence[Port]) -> list[Array]:
        feed = {p.name: _widened(self._token(a, p), p) for p, a in zip(ports, arrays, strict=True)}
        names = list(dict.fromkeys(p.name for p in wanted))  # an output may be the next value of a state too
        results = dict(zip(names, self.runner(names, {**self.fixed, **feed}), strict=True))
        return [_narrowed(results[p.name], p) for p in wanted]

    def _token(self, array: Array, port: Port) -> Array:
        return np.clip(np.rint(array), 0, self.tokens[port.name] - 1) if port.name in self.tokens else array


class _Streams:
    def __init__(self, original: OnnxOriginal, batch: int) -> None:
        self._original = original
        self._states: dict[str, Array] = {
            s.name: np.repeat(np.asarray(s.init)[None], batch, axis=0) for s in original.state_ports
        }

    def step(self, inputs: Sequence[Array]) -> list[Array]:
        results = self._original.call(inputs, self._states)
        ports = [*self._original.outputs, *(s.output for s in self._original.state_ports)]
        for port, result in zip(ports, results, strict=True):
            if result.shape[1:] != port.step_shape:
                raise ReplayError(
                    self._original.thing,
                    f"the imported graph differs from it: {port.name!r} is {port.step_shape}, not {result.shape[1:]}",
                    "opsets and runtimes round the number of windows differently; use ceil_mode=0",
                )
        count = len(self._original.outputs)
        self._states = dict(zip(self._states, results[count:], strict=True))
        return results[:count]

    def states(self) -> Mapping[str, Array]:
        return self._states


def _widened(array: Array, port: Port) -> Array:
    """[N, *step shape] as the model takes it: N at its batch axis, or gone where it has none."""
    wide = array[0] if port.batch is None else np.moveaxis(array, 0, port.batch)
    dtype = onnx_module().helper.tensor_dtype_to_np_dtype(port.elem)
    return np.ascontiguousarray(wide != 0 if dtype == np.bool_ else wide.astype(dtype)).reshape(wide.shape)


def _narrowed(array: Array, port: Port) -> Array:
    """What the model gives as [N, *step shape], in float32 or bool."""
    wide = array[None] if port.batch is None else np.moveaxis(array, port.batch, 0)
    return wide if wide.dtype == np.bool_ else wide.astype(np.float32)


def _noisy(value: Array, random: np.random.Generator) -> Array:
    noise = random.standard_normal(value.shape).astype(np.float32)
    return value if value.dtype == np.bool_ else value + np.float32(0.5) * noise


def _close(a: Array, b: Array) -> bool:
    if a.shape != b.shape:
        return False
    return bool(
        np.allclose(a.astype(np.float64), b.astype(np.float64), BATCH_TOLERANCE, BATCH_TOLERANCE, equal_nan=True)
    )
