"""The import as a whole: read, resolve shapes, pair states, lower, clean up, replay."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.describe import meta_of_raw
from edgekit.artifact.exported import KEY, StepDocument, read_step_document
from edgekit.errors import ArtifactError, ModelError, UnsupportedError, UsageError
from edgekit.frontends import formulas as f
from edgekit.frontends.emitter import Emitter, Known, Live, Operand
from edgekit.frontends.imported import Imported, finished, identifier
from edgekit.frontends.onnx.cells import cell_inputs, cell_pairs
from edgekit.frontends.onnx.lowering import Lost, Lowering
from edgekit.frontends.onnx.mean_variance import NOTE, normalises, written_out
from edgekit.frontends.onnx.original import OnnxOriginal, Runner, StatePort, batch_axes
from edgekit.frontends.onnx.pairing import NO_STATES, Pair, find_pairs, lookalikes
from edgekit.frontends.onnx.ports import UNKNOWN, Port, batch_symbols, dims, input_ports, output_port
from edgekit.frontends.onnx.reading import all_nodes, load_model, onnx_module, opset_of, stored_array
from edgekit.frontends.onnx.sequence import as_step
from edgekit.frontends.onnx.table import ROWS
from edgekit.frontends.onnx.tokens import tokens
from edgekit.frontends.onnx.typed import at_one, element_types, read_names
from edgekit.frontends.onnx.widen import narrow_types, widened
from edgekit.ir import FLOAT32, SPIKE, Graph, printable

Array = npt.NDArray[Any]


def import_onnx(
    source: str | os.PathLike[str] | bytes | object,
    *,
    states: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, npt.ArrayLike] | None = None,
    name: str | None = None,
    dt: float | None = None,
) -> Imported:
    """The graph of one time step of an ONNX model of opset 13 to 20, checked step by step against the model.

    `source` is a path, bytes or an onnx.ModelProto. `states` are pairs `input:output`; None finds them by what the file
    says, by cells, by name, or by order, and [] or `none` says that there are none. An output may be the next value of
    a state too, where every output is one. `shapes` gives the full shape of inputs whose lengths the file leaves open
    (the batch is 1), `constants` values of inputs that never change, `dt` the seconds of a step.

    Raises UnsupportedError with everything that cannot be lowered or told, ModelError for what is no valid model,
    UsageError for options that do not fit, ReplayError when graph and model differ.
    """
    model, thing = load_model(source)
    stem = Path(source).stem if isinstance(source, (str, os.PathLike)) else model.graph.name or "model"
    return Import(model, thing, states=states, shapes=shapes, constants=constants).run(identifier(name or stem), dt)


class Import:
    """One import: the checked model, what the caller and the file say of its ports, and notes."""

    def __init__(
        self,
        model: Any,
        thing: str,
        *,
        states: Sequence[str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        constants: Mapping[str, npt.ArrayLike] | None = None,
    ) -> None:
        self.thing, self.states = thing, [] if states is not None and list(states) == [NO_STATES] else states
        self.onnx = onnx_module()
        self.kinds = self.onnx.TensorProto
        self.document = _document(model)
        self.notes: list[str] = []
        if narrow := narrow_types(model):
            self.notes.append(f"{' and '.join(narrow)} is computed in float32, here and in the replay")
            model = widened(model)
        if normalises(model):
            self.notes.append(NOTE)
            model = written_out(model)
        self.sequence = as_step(model, thing)
        self.whole, self.model = model, self.sequence.step if self.sequence else model
        if self.sequence:
            self.notes.append("a sequence model: imported is the step inside of its Scan")
            model = self.sequence.step
        self.constants = self._constants(constants or {})
        stored = {t.name for t in model.graph.initializer}
        said = {text.split(":", 1)[0] for text in self.states or ()}
        self.told = self._told()
        told = {p.input for p in self.told or ()}
        # an input with a stored value is a parameter, unless it is a state that starts with it
        self.defaults = {v.name for v in model.graph.input if v.name in stored} - said - told
        self.free = [v for v in model.graph.input if v.name not in self.constants]
        self.ports = input_ports(self.free, shapes, thing)
        self.batches = batch_symbols(dims(v) for v in self.free)
        self.model_at_one = at_one(self.model, self.ports, self.thing)
        self.axes: Mapping[str, int] = {}
        self.whole_numbers = [n for n, p in self.ports.items() if p.elem in (self.kinds.INT64, self.kinds.INT32)]
        self.tokens = tokens(self.model_at_one, self.whole_numbers)

    def _told(self) -> list[Pair] | None:
        """The states that the file itself tells."""
        if self.sequence:
            return [Pair(a, b, "by the Scan") for a, b in self.sequence.states.items()]
        if self.document:
            return [Pair(s.input, s.output, "the file says so") for s in self.document.states]
        return None

    @cached_property
    def _runner(self) -> Runner:
        """The model as it is; a sequence over one step where its time is free, else the step inside of it."""
        if self.sequence is None:
            return Runner(self.thing, self.model)
        ports = {v.name: dims(v) or [] for v in (*self.whole.graph.input, *self.whole.graph.output)}
        free = all(not isinstance(ports[n][axis], int) or ports[n][axis] == 1 for n, axis in self.sequence.time.items())
        return Runner(self.thing, self.whole, self.sequence.time) if free else Runner(self.thing, self.model)

    def _looks_at_the_batch(self) -> bool:
        return any(n.op_type == "DynamicQuantizeLinear" for n in all_nodes(self.model.graph))

    def _axes(self, runner: Runner, lowering: Lowering) -> dict[str, int]:
        """The batch axes of the outputs, as running the model at two batches tells where every input has a free one."""
        inputs = [p for n, p in self.ports.items() if n not in self.defaults or isinstance(lowering.values[n], Live)]
        if not inputs or not all(p.symbolic and p.batch is not None for p in inputs):
            return {}
        names = [v.name for v in self.model.graph.output if not isinstance(lowering.outcome(v.name), Known)]
        return batch_axes(runner, inputs, self.constants, names)

    def _constants(self, given: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        inputs = {v.name: v for v in self.model.graph.input}
        if unknown := sorted(set(given) - set(inputs)):
            raise UsageError("constants", f"are no inputs of {self.thing}", f"it has {', '.join(inputs)}", unknown)
        to_numpy = self.onnx.helper.tensor_dtype_to_np_dtype
        return {n: np.asarray(v, to_numpy(inputs[n].type.tensor_type.elem_type)) for n, v in given.items()}

    # --- the parts ----------------------------------------------------------------------------------------------------

    def lowered(self, name: str, dt: float | None = None) -> tuple[Graph, OnnxOriginal]:
        """The graph as it was lowered, batch axis and all, and the model that it must equal."""
        emitter = Emitter(name, dt if dt is not None else self.document.dt if self.document else None)
        lowering = Lowering(emitter, ROWS, opset_of(self.model), element_types(self.model_at_one))
        outputs = self._outputs()
        pairs = self._pairs(outputs)
        read = read_names(self.model_at_one)
        self._check_inputs(read, pairs)
        states = self._lower(lowering, pairs, read)
        runner, alone = self._runner, self._looks_at_the_batch()
        self.axes = self._axes(runner, lowering)
        graph, ports = self._close(lowering, outputs, {p.output: p.input for p in pairs}, states)
        self.notes += lowering.notes
        counts = {name: found.count for name, found in self.tokens.items()}
        return graph, OnnxOriginal(runner, *ports, self._fixed(read), alone=alone, tokens=counts)

    def run(self, name: str, dt: float | None) -> Imported:
        """The whole import."""
        graph, original = self.lowered(name, dt)
        for side, ports in (("input", original.inputs), ("output", original.outputs)):
            if not ports:
                raise UnsupportedError(self.thing, f"has no {side} that is not a state", f"a step has an {side}")
        if self._looks_at_the_batch():
            self.notes.append("its dynamic quantisation has one scale for a whole batch: here that of one stream")
        else:
            original.check_independence()
        graph, report = finished(graph, original)
        self.notes += [original.runner.note] if original.runner.note else []
        return Imported(
            graph=graph,
            report=report,
            notes=tuple(self.notes),
            original=original,
            io=meta_of_raw(self.document.io) if self.document else None,
            provenance={
                "format": f"ONNX, opset {opset_of(self.model)}",
                **({"producer": producer} if (producer := self.model.producer_name) else {}),
                "file": self.thing,
            },
        )

    def _outputs(self) -> list[Port]:
        """The outputs with the shapes that were inferred, else declared, else seen in a run over zeros."""
        typed = {v.name: v for v in self.model_at_one.graph.output}
        shapes: dict[str, list[int]] = {}
        for value in self.model.graph.output:
            declared = [1 if d in self.batches else d for d in dims(value) or [None]]
            for lengths in (declared, dims(typed[value.name])):
                if lengths is not None and all(isinstance(d, int) for d in lengths):
                    shapes[value.name] = [int(d or 0) for d in lengths]
        unknown = [v.name for v in self.model.graph.output if v.name not in shapes]
        if unknown:
            with suppress(ModelError):  # what cannot run is refused node by node, which tells more
                seen = self._runner(unknown, self._zeros(self.ports.values()) | self.constants)
                shapes |= {n: list(y.shape) for n, y in zip(unknown, seen, strict=True)}
        elems = {n: int(v.type.tensor_type.elem_type) for n, v in typed.items()}
        return [Port(n, elems[n], tuple(shapes.get(n, UNKNOWN))) for n in typed]

    def _zeros(self, ports: Iterable[Port]) -> dict[str, Array]:
        to_numpy = self.onnx.helper.tensor_dtype_to_np_dtype
        return {p.name: np.zeros(p.shape, to_numpy(p.elem)) for p in ports if p.name not in self.defaults}

    def _pairs(self, outputs: Sequence[Port]) -> list[Pair]:
        inputs = [p for n, p in self.ports.items() if n not in self.defaults or self._paired_default(n)]
        looked = [p for p in inputs if p.name in self.tokens]  # signals, wherever they stand
        inputs = looked + [p for p in inputs if p.name not in self.whole_numbers]
        graph = self.model.graph
        cells, driven = cell_pairs(graph, inputs, outputs), cell_inputs(graph, inputs)
        pairs = find_pairs(inputs, outputs, self.states, self.told, cells, driven=driven)
        self.notes += [f"state {p.input} → {p.output}: {p.how}" for p in pairs if p.how != "said"]
        if self.states is None and self.told is None and not pairs:
            alike = lookalikes(inputs, outputs, pairs)
            self.notes += [f"if {pair} is a state, say so: --state {pair}" for pair in alike]
        return pairs

    def _paired_default(self, name: str) -> bool:
        """Whether an input with a stored value could be a state: its file has an output of the same shape."""
        return any(name.lower() in v.name.lower() for v in self.model.graph.output)

    def _check_inputs(self, read: set[str], pairs: Sequence[Pair]) -> None:
        """Refuse inputs of types that a step cannot take, all at once."""
        allowed = (self.kinds.FLOAT, self.kinds.DOUBLE, self.kinds.BOOL)
        held = {p.input for p in pairs}  # a quantised state holds whole numbers
        kept = self.defaults - held
        faults = []
        for name, port in self.ports.items():
            kind = self.kinds.DataType.Name(port.elem).lower()
            if name not in read or name in kept or (name in held and port.elem in (self.kinds.INT8, self.kinds.UINT8)):
                continue
            if name in self.tokens:
                self.notes.append(
                    f"input {name} takes whole numbers from 0 to {self.tokens[name].count - 1}, as float32"
                )
            elif port.elem not in allowed:
                more = name in self.whole_numbers
                faults.append(f"input {name!r} is {kind}{' and does more than look up rows of tables' if more else ''}")
            elif port.elem == self.kinds.DOUBLE:
                self.notes.append(f"input {name!r} is {kind}: the step is computed in float32")
        if faults:
            raise UnsupportedError(
                self.thing,
                "takes integers at run time",
                "give their value if it never changes: --constant name=value; else let the model take float32: a "
                "number, the vector of an embedding, the float that a quantised value stands for",
                faults,
            )

    def _lower(self, lowering: Lowering, pairs: Sequence[Pair], read: set[str]) -> dict[str, tuple[Live, Array]]:
        """Declare inputs, states and constants, and walk the nodes; the states with their first values, by input."""
        e, graph = lowering.e, self.model_at_one.graph
        stored = {t.name: t for t in graph.initializer}
        paired = {p.input: p for p in pairs}
        for tensor in graph.initializer:
            if tensor.name not in paired:
                lowering.initializer(tensor)
        for name, array in self.constants.items():
            lowering.values[name] = Known(array, name)
        if self.defaults - set(paired):
            used = sorted(n for n in self.defaults - set(paired) if n in read)
            self.notes += [f"input {n!r} has a stored value and is taken as that constant" for n in used]
        states: dict[str, tuple[Live, Array]] = {}
        for name, port in self.ports.items():
            lead = port.shape
            if name in paired:
                init = self._first(name, port, stored.get(name))
                state = e.state(self._state_name(name), init)
                states[name] = (state, init)
                lowering.values[name] = e.reshape(state, lead)
            elif name not in lowering.values and name in read:
                dtype = SPIKE if port.elem == self.kinds.BOOL else FLOAT32
                given = Live(e.builder.input(e.builder.fresh(printable(name)), port.step_shape, dtype))
                if name in self.tokens:  # any number stands for the nearest token, as in the original
                    given = f.clip(e, e.emit("round", given), 0.0, float(self.tokens[name].count - 1))
                lowering.values[name] = e.reshape(given, lead)
            elif name not in lowering.values:
                self.notes.append(f"input {name!r} is not read")
                lowering.values[name] = Lost()
        lowering.tokens = frozenset[str]().union(*(t.values for t in self.tokens.values()))
        lowering.walk(graph.node, [o.name for o in graph.output])
        self._refuse(lowering.faults)
        return states

    def _refuse(self, faults: Sequence[str]) -> None:
        if faults:
            count = len(faults)
            raise UnsupportedError(
                self.thing, f"{count} node{'s' if count > 1 else ''} cannot be lowered", items=faults
            )

    def _state_name(self, name: str) -> str:
        rows = self.document.states if self.document else ()
        return next((s.name for s in rows if s.input == name), name)

    def _first(self, name: str, port: Port, stored: Any) -> Array:
        """The first value of a state without the batch: the document's, a stored one, or zeros."""
        dtype = np.bool_ if port.elem == self.kinds.BOOL else np.float32
        row = next((s for s in self.document.states if s.input == name), None) if self.document else None
        if row is not None and row.shape == port.step_shape:
            return np.asarray(row.init, dtype)
        if stored is None:
            return np.zeros(port.step_shape, dtype)
        value = np.broadcast_to(stored_array(stored), port.shape)
        return np.asarray(value.reshape(port.step_shape), dtype)

    def _close(
        self,
        lowering: Lowering,
        declared: Sequence[Port],
        next_of: Mapping[str, str],
        states: Mapping[str, tuple[Live, Array]],
    ) -> tuple[Graph, tuple[list[Port], list[Port], list[StatePort]]]:
        """Outputs and state updates; UnsupportedError for a state that does not keep its shape."""
        e = lowering.e
        by_name = {v.name: v for v in self.model.graph.output}
        outputs, state_ports, faults = [], [], list[str]()
        bare = all(port.name in next_of for port in declared)  # its next states are what it gives
        for port in declared:
            value = lowering.outcome(port.name)
            shape = lowering.shape(value)
            if port.name in next_of:
                state, init = states[next_of[port.name]]
                source = self.ports[next_of[port.name]]
                if shape != source.shape:
                    faults.append(f"state {source.name!r} has shape {source.shape}, its next value {shape}")
                    continue
                e.update(state, e.reshape(value, source.step_shape))
                ends = Port(port.name, port.elem or source.elem, shape, source.batch, source.symbolic)
                state_ports.append(StatePort(state.name, source, ends, init))
                if bare:
                    self.notes.append(f"output {port.name} is the next value of state {state.name} too")
                    outputs.append(ends)
                    self._output(e, value, ends)
                continue
            full = output_port(by_name[port.name], port.elem, shape, list(self.ports.values()), self.axes)
            outputs.append(full)
            self._output(e, value, full)
        if faults:
            raise UnsupportedError(
                self.thing, "has states that change their shape", "keep a state of fixed size", faults
            )
        inputs = [p for n, p in self.ports.items() if n not in states and isinstance(lowering.values.get(n), Live)]
        return e.builder.build(), (inputs, outputs, state_ports)

    def _output(self, e: Emitter, value: Operand, port: Port) -> None:
        """Let a value leave under the name that it has in the model; spikes leave as spikes."""
        e.source = ""
        kind, made_from = e.producer(value)
        if kind == "cast" and e.dtype(Live(made_from[0])) is SPIKE and port.elem != self.kinds.BOOL:
            value = Live(made_from[0])
        name = e.builder.fresh(printable(port.name))
        e.builder.output(e.builder.op("reshape", e.name(value), out=name, shape=port.step_shape))

    def _fixed(self, read: set[str]) -> dict[str, Array]:
        """What the model itself is fed beside inputs and states: constants, and zeros for what it does not read."""
        return self._zeros(p for n, p in self.ports.items() if n not in read) | self.constants


def _document(model: Any) -> StepDocument | None:
    """What an export of edgekit says about itself; ModelError where that is damaged."""
    text = next((p.value for p in model.metadata_props if p.key == KEY), None)
    if text is None:
        return None
    try:
        return read_step_document(text, "metadata edgekit")
    except ArtifactError as error:
        raise ModelError("metadata edgekit", error.cause, "export it again", error.items) from error
