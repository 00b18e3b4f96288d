"""Files of torch.export: what they compute, what they lose, and that nothing hostile in them runs or crashes."""

from __future__ import annotations

import copy
import io
import json
import operator
import pickle
import random
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from edgekit.errors import EdgekitError, ModelError, UnsupportedError, UsageError
from edgekit.frontends import import_module
from edgekit.frontends.pt2 import open_pt2
from edgekit.frontends.pt2.operators import ALLOWED
from edgekit.frontends.slots import leaves
from edgekit.reference import Interpreter

STEPS = 20
BATCH = torch.export.Dim("batch")


def save(module: nn.Module, example: tuple[Any, ...], path: Path, **options: Any) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module.eval(), example, strict=False, **options), path)
    return path


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    torch.manual_seed(0)
    return lambda module, example, **options: save(module, example, tmp_path / "model.pt2", **options)


def members(path: Path) -> dict[str, bytes]:
    """Members of an archive without the root folder."""
    with zipfile.ZipFile(path) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


def packed(path: Path, content: dict[str, bytes], root: str = "m/", compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(root + name, data)
    return path


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The file with its program's JSON changed in place."""
    content = members(path)
    program = json.loads(content["models/model.json"])
    change(program)
    return packed(path, {**content, "models/model.json": json.dumps(program).encode()})


def graph_of(program: dict[str, Any]) -> dict[str, Any]:
    graph: dict[str, Any] = program["graph_module"]["graph"]
    return graph


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        open_pt2(path, **options)
    return str(caught.value)


def compare(
    path: Path, original: nn.Module, carry: Any = None, *, spikes: bool = False, states: Sequence[str] | None = None
) -> nn.Module:
    """Import a file and hold the graph's outputs over a stream against the module it was exported from.

    `carry` is the first state of a module that takes and gives it back as its last argument and result.
    """
    module, example = open_pt2(path, states=states)
    graph = import_module(module, example, name="m").graph
    generator = torch.Generator().manual_seed(4)
    entry = graph.entries["step"]
    stream = {n: torch.randn(STEPS, *graph.tensors[n].shape, generator=generator) for n in entry.inputs}
    found, _ = Interpreter(graph).run({n: x.numpy()[None] for n, x in stream.items()})
    fresh = copy.deepcopy(original).float().eval()
    expected: list[list[np.ndarray[Any, Any]]] = []
    with torch.no_grad():
        for t in range(STEPS):
            inputs = [x[t : t + 1] for x in stream.values()]
            if carry is None:
                result = fresh(*inputs)
            else:
                result, carry = fresh(*inputs, carry)
            expected.append([y.clone().numpy() for _, y in leaves(result)])
    assert len(found) == len(expected[0]) > 0
    for at, values in enumerate(found.values()):
        reference = np.concatenate([step[at] for step in expected])
        if spikes:
            assert reference.any()
            np.testing.assert_array_equal(values[0], reference)
        else:
            np.testing.assert_allclose(values[0], reference, rtol=1e-5, atol=1e-5)
    return module


# --- what is computed -------------------------------------------------------------------------------------------------


class Mlp(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3))


class Conv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6)
        self.norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr,operator]

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.conv(x))).mean(-1)


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.read = nn.LSTMCell(4, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        h, c = self.cell(x, state)
        return self.read(h.reshape(x.shape[0], -1)), (h, c)


class Trace(nn.Module):
    """Changes a registered buffer, which torch.export keeps."""

    def __init__(self, batch: int = 1, start: float = 0.5) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.register_buffer("trace", torch.full((batch, 3), start))

    def forward(self, x: Tensor) -> Tensor:
        self.trace.mul_(0.9).add_(self.fc(x))
        return torch.tanh(self.trace)


class Spiking(nn.Module):
    def __init__(self, *, hidden: bool = False) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 6)
        self.lif = snn.Leaky(beta=0.8, threshold=0.3, init_hidden=hidden)

    def forward(self, x: Tensor, mem: Tensor | None = None) -> Any:
        return self.lif(self.fc(x)) if mem is None else self.lif(self.fc(x), mem)


class Dicts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(7, 3)

    def forward(self, x: dict[str, Tensor], gain: int = 2, nothing: None = None) -> dict[str, Any]:
        y = self.fc(torch.cat([x["accel"], x["gyro"]], 1)) * gain
        return {"y": y, "more": (y.sum(1, keepdim=True), [y - 1]), "none": nothing}


class Constants(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.linspace(0.5, 2, 4)
        self.register_buffer("shift", torch.rand(4), persistent=False)
        self.pick = torch.tensor([2, 0])

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            y = x * self.scale + self.shift
        return y[:, self.pick] + torch.tensor([1.0, -1.0])


class Chunks(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = x.chunk(2, 1)
        return a.max(-1).values, torch.nn.functional.gelu(b)[..., -1:]


@pytest.mark.drawn(2)
@pytest.mark.parametrize(
    ("module", "example", "options"),
    [
        pytest.param(Mlp(), (torch.randn(1, 5),), {}, id="mlp"),
        pytest.param(Mlp(), (torch.randn(4, 5),), {}, id="mlp-exported-at-batch-4"),
        pytest.param(Mlp(), (torch.randn(4, 5),), {"dynamic_shapes": ({0: BATCH},)}, id="mlp-dynamic-batch"),
        pytest.param(Conv(), (torch.randn(1, 2, 9),), {}, id="conv1d"),
        pytest.param(Conv(), (torch.randn(3, 2, 9),), {}, id="conv1d-exported-at-batch-3"),
        pytest.param(Trace(), (torch.randn(1, 4),), {}, id="buffer"),
        pytest.param(Trace(3), (torch.randn(3, 4),), {}, id="buffer-exported-at-batch-3"),
        pytest.param(Constants(), (torch.randn(1, 4),), {}, id="constants"),
        pytest.param(Chunks(), (torch.randn(2, 6, 3),), {}, id="chunks"),
        pytest.param(Mlp().double(), (torch.randn(1, 5).double(),), {}, id="float64"),
    ],
)
def test_a_file_computes_what_its_module_computes(
    module: nn.Module, example: tuple[Any, ...], options: dict[str, Any], saved: Callable[..., Path]
) -> None:
    path = saved(module, example, **options)
    if isinstance(module, Trace) and module.trace.shape[0] > 1:
        module.trace = module.trace[:1].clone()
    compare(path, module)


def test_decomposed_programs_update_buffers_through_their_signature(tmp_path: Path) -> None:
    torch.manual_seed(0)
    program = torch.export.export(Trace(), (torch.randn(1, 4),), strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program.run_decompositions(), tmp_path / "m.pt2")
    torch.manual_seed(0)
    module = compare(tmp_path / "m.pt2", Trace())
    assert dict(module.named_buffers())["trace"].flatten().tolist() == [0.5] * 3


@pytest.mark.parametrize("batch", [1, 2, "any"])
def test_a_passed_state_is_found_and_a_fixed_batch_is_freed(batch: int | str, saved: Callable[..., Path]) -> None:
    size = batch if isinstance(batch, int) else 3
    example = (torch.randn(size, 4), (torch.randn(size, 6), torch.randn(size, 6)))
    axes = {"dynamic_shapes": {"x": {0: BATCH}, "state": ({0: BATCH}, {0: BATCH})}} if batch == "any" else {}
    cell = Cell()
    module = compare(saved(cell, example, **axes), cell, (torch.zeros(1, 6), torch.zeros(1, 6)))
    with torch.no_grad():
        y, (h, _) = module(torch.zeros(5, 4), (torch.zeros(5, 6), torch.zeros(5, 6)))
    assert (y.shape, h.shape) == ((5, 2), (5, 6))
    assert any("rewritten for any batch" in note for note in module.import_notes) is (batch == 2)  # type: ignore[union-attr]


def test_a_neuron_with_explicit_state_spikes_alike(saved: Callable[..., Path]) -> None:
    neuron = Spiking()
    exported = copy.deepcopy(neuron)  # which export leaves with fake tensors in it
    module = compare(saved(exported, (torch.randn(1, 4), torch.zeros(1, 6))), neuron, torch.zeros(1, 6), spikes=True)
    assert module.import_notes == (START.format("mem: starts"),)


START = "{} at zero: what the example gave is not read from the file; a registered buffer keeps its first value"


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(4, 6)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x, h)
        return h.sum(1, keepdim=True), h


@pytest.mark.parametrize("states", [None, ["h:y1"]])
def test_a_passed_state_starts_at_zero_and_that_is_said(states: list[str] | None, saved: Callable[..., Path]) -> None:
    original = Gated()
    path = saved(original, (torch.randn(1, 4), torch.ones(1, 6)))
    module = compare(path, original, torch.zeros(1, 6), states=states)
    assert module.import_notes == (START.format("h: starts"),)


class Alternating(nn.Module):
    """Counts in a buffer of no axes, and gives every second output the other sign."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.register_buffer("v", torch.full((1, 3), 0.3))
        self.register_buffer("n", torch.full((), start, dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        self.n.add_(1)  # type: ignore[operator]
        self.v.mul_(0.9).add_(self.fc(x))  # type: ignore[operator]
        return self.v * torch.where(self.n % 2 == 0, 1.0, -1.0)


@pytest.mark.parametrize("start", [0, 7])
def test_a_counter_of_no_axes_is_a_state(start: int, tmp_path: Path) -> None:
    original = Alternating(start)
    path = save(copy.deepcopy(original), (torch.randn(1, 4),), tmp_path / "m.pt2")
    compare(path, original)
    graph = import_module(*open_pt2(path), name="m").graph
    assert {state.tensor: float(state.init.sum()) for state in graph.states}["n"] == start


def test_dicts_and_plain_arguments(saved: Callable[..., Path]) -> None:
    module = Dicts()
    path = saved(module, ({"accel": torch.randn(1, 3), "gyro": torch.randn(1, 4)}, 3))
    opened, example = open_pt2(path)
    imported = import_module(opened, example, name="m")
    assert imported.graph.entries["step"].inputs == ("x_accel", "x_gyro")
    assert imported.graph.entries["step"].outputs == ("y", "more.0", "more.1.0")
    a, g = torch.randn(1, 3), torch.randn(1, 4)
    found, _ = Interpreter(imported.graph).execute({"x_accel": a.numpy(), "x_gyro": g.numpy()}, {})
    with torch.no_grad():
        expected = module({"accel": a, "gyro": g}, 3)
    np.testing.assert_allclose(found["more.1.0"], expected["more"][1][0], rtol=1e-5, atol=1e-6)


def test_keyword_arguments_keep_their_names(saved: Callable[..., Path]) -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, *, other: Tensor, flag: bool = True) -> Tensor:
            return x + 2 * other if flag else x

    path = saved(Two(), (torch.randn(1, 3),), kwargs={"other": torch.randn(1, 3), "flag": True})
    module, example = open_pt2(path)
    assert import_module(module, example, name="m").graph.entries["step"].inputs == ("x", "other")
    assert module(torch.ones(1, 3), other=torch.ones(1, 3)).tolist() == [[3.0] * 3]


def test_float64_becomes_float32_and_is_noted(saved: Callable[..., Path]) -> None:
    class Widening(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.double() * torch.full((3,), 0.1, dtype=torch.float64)

    module, _ = open_pt2(saved(Widening(), (torch.randn(1, 3),)))
    assert module.import_notes == ("casts to float64 are taken as casts to float32",)
    assert module(torch.ones(1, 3)).dtype is torch.float32
    module, _ = open_pt2(saved(Mlp().double(), (torch.randn(1, 5).double(),)))
    assert module.import_notes == ("float64 weights are taken as float32", "input: float64, taken as float32")


def test_integer_inputs_become_floats_where_that_works(saved: Callable[..., Path]) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / 2

    module, _ = open_pt2(saved(Scaled(), (torch.ones(1, 3, dtype=torch.int64),)))
    assert module.import_notes == ("x: int64, taken as float32",)
    text = refusal(saved(nn.Embedding(5, 2), (torch.ones(1, 3, dtype=torch.int64),)))
    assert "not float32" in text
    assert "input: int64" in text


def test_gradient_regions_run_in_line(saved: Callable[..., Path]) -> None:
    class Without(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                a, b = self.fc(x), x * 2
            return a.sum(1, keepdim=True) + b

    module = Without()
    path = saved(module, (torch.randn(1, 4),))
    targets = [n["target"] for n in graph_of(json.loads(members(path)["models/model.json"]))["nodes"]]
    assert "torch.ops.higher_order.wrap_with_set_grad_enabled" in targets
    compare(path, module)


def test_sizes_are_computed(saved: Callable[..., Path]) -> None:
    class Shapes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(x.shape[0] * 2, x.shape[1] // 2).reshape(x.shape[0], -1) + torch.zeros(x.shape[0], 4)

    compare(saved(Shapes(), (torch.randn(3, 4),), dynamic_shapes=({0: BATCH},)), Shapes())


def test_names_and_places_of_the_original_are_kept(saved: Callable[..., Path]) -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Mlp(), Mlp()])

        def forward(self, x: Tensor) -> Tensor:
            return self.blocks[1](x) + self.blocks[0](x)

    original = Deep()
    module, example = open_pt2(saved(original, (torch.randn(1, 5),)))
    assert set(dict(module.named_parameters())) == set(original.state_dict())
    imported = import_module(module, example, name="m")
    sources = {op.source for op in imported.graph.entries["step"].ops}
    assert {"blocks.0.0", "blocks.0.1", "blocks.1.2"} <= sources


# --- states -----------------------------------------------------------------------------------------------------------


def test_pairs_name_states(saved: Callable[..., Path]) -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(4, 3)

        def forward(self, h: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            h = self.cell(x + y, h)
            return h, h.sum(1, keepdim=True)

    path = saved(Mixed(), (torch.zeros(1, 3), torch.zeros(1, 4), torch.zeros(1, 4)))
    module, example = open_pt2(path, states=["h:y0"])
    graph = import_module(module, example, name="m").graph
    assert graph.entries["step"].inputs == ("x", "y")
    assert [s.tensor for s in graph.states] == ["h"]
    with pytest.raises(UsageError, match="is no pair input:output") as caught:
        open_pt2(path, states=["state:y0"])
    assert "inputs: h, x, y" in str(caught.value)
    with pytest.raises(UsageError, match=r"enters as \[1, 3\] and leaves as \[1, 1\]"):
        open_pt2(path, states=["h:y1"])
    with pytest.raises(UsageError, match="paired already"):
        open_pt2(path, states=["h:y0", "h:y0"])


@pytest.mark.parametrize(
    ("cell", "example", "states"),
    [
        pytest.param(nn.LSTMCell(4, 3), (torch.zeros(1, 3), torch.zeros(1, 3)), ["hx0", "hx1"], id="nested"),
        pytest.param(nn.GRUCell(4, 3), torch.zeros(1, 3), ["hx"], id="flat"),
    ],
)
def test_all_that_a_cell_returns_is_its_state(
    cell: nn.Module, example: Any, states: list[str], saved: Callable[..., Path]
) -> None:
    module, inputs = open_pt2(saved(cell, (torch.zeros(1, 4), example)))
    graph = import_module(module, inputs, name="m").graph
    assert [s.tensor for s in graph.states] == states
    assert graph.entries["step"].inputs == ("x",)
    stream = torch.randn(1, STEPS, 4)
    found, _ = Interpreter(graph).run({"x": stream.numpy()})
    for t in range(STEPS):
        with torch.no_grad():
            example = cell(stream[:, t], example)
        expected = next(leaf for _, leaf in leaves(example))
        np.testing.assert_allclose(found["y"][:, t], expected, rtol=1e-5, atol=1e-6)


def test_a_recurrent_neuron_gives_spikes_back_as_state(saved: Callable[..., Path]) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.neuron = snn.RLeaky(beta=0.9, linear_features=4, threshold=0.2)

        def forward(self, x: Tensor, spk: Tensor, mem: Tensor) -> Any:
            return self.neuron(x, spk, mem)

    example = tuple(torch.zeros(1, 4) for _ in range(3))
    module, example = open_pt2(saved(Wrapped(), example))
    graph = import_module(module, example, name="m").graph
    assert {s.tensor for s in graph.states} == {"spk", "mem"}
    assert graph.entries["step"].inputs == ("x",)
    # exported bare, it assigns to a buffer that starts empty, and torch cannot run the file either
    text = refusal(saved(Wrapped().neuron, tuple(torch.zeros(1, 4) for _ in range(3))))
    assert "let the buffer start with its final shape" in text


def test_states_behind_several_inputs_are_told_by_their_names(saved: Callable[..., Path]) -> None:
    class Fused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(7, 6)

        def forward(self, a: Tensor, b: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            h = self.cell(torch.cat([a, b], 1), h)
            return h.sum(1, keepdim=True), h

    module, example = open_pt2(saved(Fused(), (torch.zeros(1, 3), torch.zeros(1, 4), torch.zeros(1, 6))))
    graph = import_module(module, example, name="m").graph
    assert graph.entries["step"].inputs == ("a", "b")
    assert [s.tensor for s in graph.states] == ["h"]

    class Alpha(nn.Module):
        def forward(self, x: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, ...]:
            a, b, c = 0.5 * a + x, 0.25 * b + a, 0.5 * c - b
            return (a + b + c).tanh(), a, b, c

    module, example = open_pt2(saved(Alpha(), tuple(torch.zeros(1, 3) for _ in range(4))))
    assert module.import_notes == (START.format("a, b, c: start"),)
    assert {s.tensor for s in import_module(module, example, name="m").graph.states} == {"a", "b", "c"}


def test_complex_values(saved: Callable[..., Path]) -> None:
    class Diagonal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pole = nn.Parameter(torch.polar(torch.full((4,), 0.9), torch.linspace(0.1, 1, 4)))
            self.register_buffer("state", torch.zeros(1, 4, dtype=torch.complex64))

        def forward(self, x: Tensor) -> Tensor:
            self.state.copy_(self.state * self.pole + x.to(torch.complex64))
            return torch.view_as_real(self.state).flatten(1)

    compare(saved(Diagonal(), (torch.randn(1, 4),)), Diagonal())


def test_a_norm_beside_which_torch_gives_unread_statistics(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Conv()
    program = torch.export.export(copy.deepcopy(module).eval(), (torch.randn(2, 2, 9),), strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program.run_decompositions(), tmp_path / "m.pt2")
    compare(tmp_path / "m.pt2", module)


def test_an_input_that_is_written_is_a_state(saved: Callable[..., Path], tmp_path: Path) -> None:
    class Writes(nn.Module):
        def forward(self, x: Tensor, h: Tensor) -> Tensor:
            h.mul_(0.5).add_(x)
            return h * 2

    example = (torch.zeros(1, 3), torch.zeros(1, 3))
    program = torch.export.export(Writes(), example, strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program.run_decompositions(), tmp_path / "flat.pt2")
    for path in (saved(Writes(), example), tmp_path / "flat.pt2"):
        module, inputs = open_pt2(path)
        assert "taken as state" in module.import_notes[0]
        graph = import_module(module, inputs, name="m").graph
        outputs, _ = Interpreter(graph).run({"x": np.ones((1, 3, 3), np.float32)})
        assert [y[0] for y in next(iter(outputs.values()))[0]] == [2.0, 3.0, 3.5]


def test_lost_states_are_pointed_out(saved: Callable[..., Path]) -> None:
    """snnTorch rebinds its membrane, torch.export drops it without a word, and the file starts anew at every step."""
    module, example = open_pt2(saved(Spiking(hidden=True), (torch.randn(1, 4),)))
    assert import_module(module, example, name="m").graph.states == ()
    (note,) = module.import_notes
    assert "lif.mem" in note
    assert "snntorch._neurons.leaky.Leaky" in note
    assert "pass the state as an argument" in note

    class Gate(nn.Module):
        def forward(self, x: Tensor, gate: Tensor) -> Tensor:
            return torch.sigmoid(gate) * x

    module, example = open_pt2(saved(Gate(), (torch.zeros(1, 4), torch.zeros(1, 4))))
    assert "where it is a state, name its pair, such as gate:y" in module.import_notes[0]
    assert import_module(module, example, name="m").graph.entries["step"].inputs == ("x", "gate")
    for plain in (Mlp(), Conv()):
        example = (torch.zeros(1, 5),) if isinstance(plain, Mlp) else (torch.zeros(1, 2, 9),)
        assert open_pt2(saved(plain, example))[0].import_notes == ()


# --- the batch --------------------------------------------------------------------------------------------------------


def test_a_program_that_mixes_its_batch_is_refused(saved: Callable[..., Path]) -> None:
    text = refusal(saved(nn.Softmax(0), (torch.randn(3, 4),)))
    assert "works for batch 3 alone; export it at batch 1, or with a dynamic batch" in text
    assert "mixes the samples of a batch" in text

    class Squeezed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sum(0)

    assert "aten.sum.dim_IntList" in refusal(saved(Squeezed(), (torch.randn(3, 4),)))


def test_a_buffer_with_another_row_for_each_sample_is_refused(saved: Callable[..., Path]) -> None:
    module = Trace(3)
    module.trace.copy_(torch.arange(9.0).reshape(3, 3))
    assert "trace starts with another value for each sample" in refusal(saved(module, (torch.randn(3, 4),)))


def test_a_program_for_batch_1_alone_is_taken(saved: Callable[..., Path]) -> None:
    class One(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.squeeze(0).cumsum(0)[None] * 2

    module, _ = open_pt2(saved(One(), (torch.randn(1, 4),)))
    assert module(torch.ones(1, 4)).tolist() == [[2.0, 4.0, 6.0, 8.0]]
    with pytest.raises(RuntimeError, match="exported for batch 1 alone"):
        module(torch.ones(2, 4))


def test_other_open_axes_take_the_length_of_the_example(saved: Callable[..., Path]) -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean(1)

    axes = {"dynamic_shapes": ({0: BATCH, 1: torch.export.Dim("time")},)}
    module, example = open_pt2(saved(Mean(), (torch.randn(2, 6, 3),), **axes))
    assert [tuple(x.shape) for x in example] == [(1, 6, 3)]
    assert module.import_notes == ("x: an axis of any length is taken as 6, that of the example",)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_all_refused_operations_are_named_with_module_and_line(saved: Callable[..., Path]) -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.inv(x[:, :, None] + torch.randn_like(x)[:, None]).sum(1)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.noisy = Noisy()

        def forward(self, x: Tensor) -> Tensor:
            y = self.noisy(x)
            return torch.cond(y.sum() > 0, lambda y: y + 1, lambda y: y - 1, (y,))

    path = saved(Outer(), (torch.randn(1, 4),))
    with pytest.raises(UnsupportedError) as caught:
        open_pt2(path)
    items = caught.value.items
    assert len(items) == 3
    assert any(i.startswith("aten.randn_like.default: draws random numbers") and "module noisy" in i for i in items)
    assert any(i.startswith("aten.linalg_inv") and "test_frontend_pt2.py:" in i for i in items)
    assert any(i.startswith("higher_order.cond: runs graphs of its own") for i in items)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.set_.source_Tensor",
        "torch.ops.aten.resize_.default",
        "torch.ops.aten.as_strided.default",
        "torch.ops.aten.add.out",
        "torch.ops.aten.add.__class__",
        "torch.ops.aten.__class__.mro",
        "torch.ops.aten._sparse_csr_tensor_unsafe.default",
        "torch.ops.mine.op.default",
        "torch.ops.load_library",
        "torch.ops.aten.relu",
        "_operator.attrgetter",
        "_operator.pow",
        "_operator.__import__",
        "math.factorial",
        "builtins.eval",
        "#my_extension:add",
        "",
    ],
)
def test_no_other_target_is_looked_up(target: str, saved: Callable[..., Path]) -> None:
    def change(program: dict[str, Any]) -> None:
        graph_of(program)["nodes"][0]["target"] = target

    assert "cannot be taken over" in refusal(edited(saved(Mlp(), (torch.randn(1, 5),)), change))


def test_the_list_of_operators_is_pure() -> None:
    """No allowed operator takes a file, a storage, a stream or a generator that it must have."""
    unsafe = {"from_file", "set", "set_", "resize", "resize_", "as_strided", "data", "record_stream", "_foobar"}
    assert not ALLOWED & unsafe
    assert not [name for name in ALLOWED if "unsafe" in name and name not in ("_unsafe_view", "unsafe_split")]
    for name in sorted(ALLOWED):
        packet = getattr(torch.ops.aten, name)
        for overload in packet.overloads():
            schema = getattr(packet, overload)._schema
            if not any(argument.is_out for argument in schema.arguments):
                kinds = {str(argument.type) for argument in schema.arguments if not argument.has_default_value()}
                assert not kinds & {"Storage", "Stream", "Generator"}, (name, overload)


def test_what_cannot_be_lowered_names_module_and_line(saved: Callable[..., Path]) -> None:
    class Ranks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sort(x, 1).values

    with pytest.raises(UnsupportedError) as caught:
        import_module(*open_pt2(saved(nn.Sequential(nn.Tanh(), Ranks()), (torch.randn(1, 4),))), name="m")
    (item,) = caught.value.items
    assert item.startswith("aten.sort in 1 (test_frontend_pt2.py:")


def test_schemas_that_are_not_known_are_refused(saved: Callable[..., Path]) -> None:
    path = saved(Mlp(), (torch.randn(1, 5),))
    later = edited(path, lambda p: p["schema_version"].update(minor=99, patch=1) or p.update(news=1))
    open_pt2(later)
    assert "is of schema 9.0" in refusal(edited(path, lambda p: p["schema_version"].update(major=9, minor=0)))


# --- older layouts ----------------------------------------------------------------------------------------------------


def torch_bytes(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def old_layout(path: Path, module: nn.Module, content: dict[str, bytes], **replaced: bytes) -> Path:
    """The file as torch 2.5 wrote it: a plain zip with the program's JSON and torch.save dicts."""
    parts = {
        "version": b"8.1",
        "serialized_exported_program.json": content["models/model.json"],
        "serialized_state_dict.pt": torch_bytes(dict(module.state_dict())),
        "serialized_constants.pt": torch_bytes({}),
        "serialized_example_inputs.pt": torch_bytes(((torch.zeros(1, 5),), {})),
    }
    return packed(path, {**parts, **{k.replace("__", "."): v for k, v in replaced.items()}}, root="")


def without_newer_fields(program: dict[str, Any]) -> None:
    """Fields that schema 8.1 did not have yet."""
    program["schema_version"] = {"major": 8, "minor": 1}
    del program["guards_code"]
    del program["graph_module"]["module_call_graph"][0]["signature"]["forward_arg_names"]
    for node in graph_of(program)["nodes"]:
        del node["name"], node["is_hop_single_tensor_return"]
        for argument in node["inputs"]:
            del argument["kind"]


def test_older_spellings(saved: Callable[..., Path]) -> None:
    """Schema 7 wrote None as an empty list and a symbol as its bare name."""

    def change(program: dict[str, Any]) -> None:
        text = json.dumps(program).replace('"as_none": true', '"as_none": []')
        text = re.sub(r"Symbol\('(\w+)'[^()]*\)", r"\1", text)
        program.clear()
        program.update(json.loads(text), schema_version={"major": 7, "minor": 4})

    module = Mlp()
    compare(edited(saved(module, (torch.randn(3, 5),), dynamic_shapes=({0: BATCH},)), change), module)
    path = saved(Dicts(), ({"accel": torch.randn(1, 3), "gyro": torch.randn(1, 4)}, 2))
    assert "none" in open_pt2(edited(path, change))[0](torch.ones(1, 3), torch.ones(1, 4))


def test_files_of_older_versions(saved: Callable[..., Path]) -> None:
    module = Mlp()
    path = edited(saved(module, (torch.randn(1, 5),)), without_newer_fields)
    content = members(path)
    compare(old_layout(path, module, content), module)
    between = {n: d for n, d in content.items() if not n.startswith(("data/weights", "data/constants"))}
    between["data/weights/model.pt"] = torch_bytes(dict(module.state_dict()))
    between["data/constants/model.pt"] = torch_bytes({})
    compare(packed(path, between), module)


# --- hostile files ----------------------------------------------------------------------------------------------------


class Planted:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_planted_code_never_runs(saved: Callable[..., Path], tmp_path: Path) -> None:
    module = Constants()
    path = saved(module, (torch.randn(1, 4),))
    content, mark = members(path), tmp_path / "ran"
    pickle.loads(pickle.dumps(Planted(mark)))
    assert mark.exists()  # it would run
    mark.unlink()
    evils = [pickle.dumps(Planted(mark)), torch_bytes(Planted(mark)), torch_bytes({"shift": Planted(mark)})]
    opened = refused = 0

    def attempt() -> None:
        nonlocal opened, refused
        try:
            open_pt2(path)
            opened += 1
        except ModelError:
            refused += 1
        assert not mark.exists()

    for evil in evils:
        for name in content:
            packed(path, {**content, name: evil})
            attempt()
        for name in ("data/constants/custom_obj_0", "data/constants/opaque_obj_0", "extra/x", "data/weights/model.pt"):
            packed(path, {**content, name: evil})
            attempt()
        for folder, kind in (("weights", "weight"), ("constants", "tensor")):
            config = json.loads(content[f"data/{folder}/model_{folder}_config.json"])
            for file in (f"{kind}_0", "custom_obj_0", "opaque_obj_0"):
                for entry in config["config"].values():
                    entry.update(use_pickle=True, path_name=file)
                changed = {
                    f"data/{folder}/{file}": evil,
                    f"data/{folder}/model_{folder}_config.json": json.dumps(config).encode(),
                }
                packed(path, {**content, **changed})
                attempt()
        path.write_bytes(evil)
        attempt()
        mlp = Mlp()
        plain = members(save(mlp, (torch.randn(1, 5),), tmp_path / "mlp.pt2"))
        for name in ("state_dict", "constants", "example_inputs"):
            old_layout(path, mlp, plain, **{f"serialized_{name}__pt": evil})
            attempt()
    assert opened >= 12  # sample inputs, extra files and example inputs are never looked at
    assert refused >= 40


def test_a_pickled_weight_is_refused_by_name(saved: Callable[..., Path]) -> None:
    path = saved(Mlp(), (torch.randn(1, 5),))
    content = members(path)
    config = json.loads(content["data/weights/model_weights_config.json"])
    config["config"]["2.bias"]["use_pickle"] = True
    content["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    assert "2.bias: is pickled" in refusal(packed(path, content))


def test_damaged_archives(saved: Callable[..., Path], tmp_path: Path) -> None:
    path = saved(Mlp(), (torch.randn(1, 5),))
    data = path.read_bytes()
    broken = tmp_path / "broken.pt2"
    assert "cannot be read" in refusal(broken)
    for size in (0, 1, 100, len(data) // 2, len(data) - 30, len(data) - 1):
        broken.write_bytes(data[:size])
        refusal(broken)
    reference = torch.load(io.BytesIO(torch_bytes(open_pt2(path)[0].state_dict())))
    changed = 0
    for at in range(0, len(data), len(data) // 90):
        broken.write_bytes(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
        try:
            found = open_pt2(broken)[0].state_dict()
        except ModelError:
            changed += 1
            continue
        assert all(torch.equal(found[key], value) for key, value in reference.items())  # padding, dates, samples
    assert changed > 45


def test_bombs_and_names_that_lead_out(saved: Callable[..., Path]) -> None:
    path = saved(Mlp(), (torch.randn(1, 5),))
    content = members(path)
    bomb = packed(path, {**content, "data/weights/weight_0": bytes(2**26)}, compression=zipfile.ZIP_DEFLATED)
    assert "inflate to" in refusal(bomb)
    for name in ("../up", "/etc/passwd", "a\\..\\b", "C:x"):
        assert "lead out of the archive" in refusal(packed(path, {**content, name: b"1"}, root=""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed(path, content)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("m/models/model.json", b"{}")
    assert "two members of one name" in refusal(path)
    assert "members" in refusal(packed(path, {f"n{at}": b"" for at in range(10_001)}))
    assert "holds 2 programs" in refusal(packed(path, {**content, "models/b.json": content["models/model.json"]}))
    assert "is no archive of torch.export" in refusal(packed(path, {"archive_format": b"zip"}))
    assert "holds no program" in refusal(packed(path, {"archive_format": b"pt2"}))
    assert "byteorder that is not little" in refusal(packed(path, {**content, "byteorder": b"big"}))


def test_a_directory_without_end_is_not_read(saved: Callable[..., Path]) -> None:
    """The length of the directory comes from the file, and zipfile makes an object of every entry in it."""
    path = saved(Mlp(), (torch.randn(1, 5),))
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\x01\x02", 20, 3, 20, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * (2**22 // len(entry))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, len(directory), 0, 0)
    path.write_bytes(directory + end)
    assert "asks for more than" in refusal(path)


def test_members_that_overlap_are_refused(saved: Callable[..., Path], tmp_path: Path) -> None:
    path = packed(tmp_path / "m.pt2", {"a": bytes(5000), "b": b""})
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<2L", 5000, 5000)  # b takes the bytes of a as well
    path.write_bytes(bytes(data))
    assert "overlap" in refusal(path)


def first_weight(content: dict[str, bytes], change: Callable[[dict[str, Any]], object]) -> dict[str, bytes]:
    config = json.loads(content["data/weights/model_weights_config.json"])
    change(config["config"]["0.weight"]["tensor_meta"])
    return {**content, "data/weights/model_weights_config.json": json.dumps(config).encode()}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"sizes": [{"as_int": 2**40}, {"as_int": 5}]}, "elements"),
        ({"sizes": [{"as_int": 0}, {"as_int": 2**40}]}, "elements"),
        ({"sizes": [{"as_int": -8}, {"as_int": 5}]}, "elements"),
        ({"sizes": [{"as_int": 9}, {"as_int": 5}]}, "reaches beyond"),
        ({"strides": [{"as_int": 5}, {"as_int": 9}]}, "reaches beyond"),
        ({"strides": [{"as_int": -5}, {"as_int": 1}]}, "negative"),
        ({"storage_offset": {"as_int": 1}}, "reaches beyond"),
        ({"storage_offset": {"as_int": -4}}, "negative"),
        ({"storage_offset": {"as_int": 2**80}}, "is not an integer"),
        ({"strides": []}, "rank"),
        ({"sizes": [{"as_int": 8}]}, "rank"),
        ({"sizes": [{"as_int": 5}, {"as_int": 8}]}, "has shape [5, 8]"),
        ({"dtype": 9}, "dtype"),
        ({"dtype": 8}, "reaches beyond"),
        ({"dtype": True}, "is not an integer"),
        ({"layout": 1}, "dense"),
        ({"sizes": None}, "is not a list"),
    ],
)
def test_weights_stay_within_their_bytes(change: dict[str, Any], text: str, saved: Callable[..., Path]) -> None:
    path = saved(Mlp(), (torch.randn(1, 5),))
    assert text in refusal(packed(path, first_weight(members(path), operator.methodcaller("update", change))))


def test_weights_without_values_are_refused(saved: Callable[..., Path]) -> None:
    """torch.export.load gives zeros for them."""
    path = saved(Mlp(), (torch.randn(1, 5),))
    assert "saved without its values" in refusal(packed(path, {**members(path), "data/weights/weight_0": b""}))


def node(target: str, inputs: dict[str, Any], output: str = "planted") -> dict[str, Any]:
    return {
        "target": f"torch.ops.aten.{target}",
        "inputs": [{"name": name, "arg": value, "kind": 1} for name, value in inputs.items()],
        "outputs": [{"as_tensor": {"name": output}}],
        "metadata": {},
    }


BIG = {"as_ints": [2**40]}
INPUT = {"as_tensor": {"name": "input"}}


@pytest.mark.parametrize(
    ("planted", "text"),
    [
        (node("full.default", {"size": BIG, "fill_value": {"as_int": 1}}), "elements"),
        (node("repeat.default", {"self": INPUT, "repeats": {"as_ints": [2**20, 2**10]}}), "elements"),
        (node("constant_pad_nd.default", {"self": INPUT, "pad": {"as_ints": [0, 2**33]}}), "elements"),
        (node("one_hot.default", {"self": INPUT, "num_classes": {"as_int": 2**33}}), "fails"),
        (node("relu.default", {"self": {"as_tensor": {"name": "nowhere"}}}), "nothing computes"),
        (node("relu.default", {"self": INPUT}, "input"), "a second time"),
        (node("relu.default", {"other": INPUT}), "its arguments"),
        (node("relu.default", {}), "its arguments"),
        (node("relu.default", {"self": {"as_string": "x"}}), "fails"),
        (node("relu.default", {"self": {"as_custom_obj": {"name": "x", "class_fqn": "y"}}}), "cannot be read"),
        (node("relu.default", {"self": {"as_operator": "os.system"}}), "cannot be read"),
        (node("select.int", {"self": INPUT, "dim": {"as_int": 1}, "index": {"as_int": 99}}), "fails"),
        (node("chunk.default", {"self": INPUT, "chunks": {"as_int": 2}}), "planted"),
    ],
)
def test_planted_nodes(planted: dict[str, Any], text: str, saved: Callable[..., Path]) -> None:
    def change(program: dict[str, Any]) -> None:
        graph_of(program)["nodes"].insert(0, planted)
        last = graph_of(program)["nodes"][-1]
        last["inputs"][0]["arg"] = {"as_tensor": {"name": "planted"}}

    assert text in refusal(edited(saved(Mlp(), (torch.randn(1, 5),)), change))


def test_many_values_are_bounded_together(saved: Callable[..., Path]) -> None:
    def change(program: dict[str, Any]) -> None:
        for at in range(20):
            size = {"size": {"as_ints": [2**23]}, "fill_value": {"as_float": 1.0}}
            graph_of(program)["nodes"].insert(0, node("full.default", size, f"planted{at}"))

    text = refusal(edited(saved(Mlp(), (torch.randn(1, 5),)), change))
    assert "planted3 (aten.full.default) brings the values of one call to more than 134,217,728 elements" in text


def test_a_shape_that_is_not_true_is_refused(saved: Callable[..., Path]) -> None:
    def change(program: dict[str, Any]) -> None:
        graph_of(program)["tensor_values"]["linear"]["sizes"][1] = {"as_int": 9}

    assert "gives [1, 8], and the file says [1, 9]" in refusal(edited(saved(Mlp(), (torch.randn(1, 5),)), change))


def test_numbers_cannot_be_made_to_grow(saved: Callable[..., Path]) -> None:
    class Sized(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.reshape(x.shape[0] * 2, 2).reshape(x.shape[0], 4)

    def change(program: dict[str, Any]) -> None:
        nodes = graph_of(program)["nodes"]
        product = next(n for n in nodes if n["target"] == "_operator.mul")
        product["inputs"] = [{"name": "a", "arg": {"as_int": 2**62}}, {"name": "b", "arg": {"as_int": 2**62}}]

    path = saved(Sized(), (torch.randn(3, 4),), dynamic_shapes=({0: BATCH},))
    assert "larger than 62 bits" in refusal(edited(path, change))


@pytest.mark.parametrize(
    ("name", "text"),
    [("0.weight.x", "no module can hold"), ("forward", "no module can hold"), ("a b", "no module can hold")],
)
def test_names_that_no_module_can_have(name: str, text: str, saved: Callable[..., Path]) -> None:
    path = saved(Mlp(), (torch.randn(1, 5),))

    def change(program: dict[str, Any]) -> None:
        for spec in program["graph_module"]["signature"]["input_specs"]:
            if spec.get("parameter", {}).get("parameter_name") == "0.bias":
                spec["parameter"]["parameter_name"] = name

    edited(path, change)
    content = members(path)
    config = json.loads(content["data/weights/model_weights_config.json"])
    config["config"][name] = config["config"].pop("0.bias")
    content["data/weights/model_weights_config.json"] = json.dumps(config).encode()
    assert text in refusal(packed(path, content))


def test_deep_and_endless_json(saved: Callable[..., Path]) -> None:
    path = saved(Mlp(), (torch.randn(1, 5),))
    content = members(path)
    for text in (
        "[" * 100_000,
        "{",
        "1" * 10_000,
        "null",
        "[]",
        '{"schema_version": 3}',
        '"\\ud800"',
    ):
        refusal(packed(path, {**content, "models/model.json": text.encode()}))

    def nested(program: dict[str, Any]) -> None:
        leaf = '{"type": null, "context": null, "children_spec": []}'
        for _ in range(50):
            leaf = f'{{"type": "builtins.tuple", "context": "null", "children_spec": [{leaf}]}}'
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = f"[1, {leaf}]"

    packed(path, content)
    assert "deeper than" in refusal(edited(path, nested))

    def foreign(program: dict[str, Any]) -> None:
        spec = '[1, {"type": "os.system", "context": "null", "children_spec": []}]'
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = spec

    packed(path, content)
    assert "takes or returns a os.system" in refusal(edited(path, foreign))


WEIRD: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    3,
    2**70,
    1e308,
    "",
    "x",
    "Infinity",
    [],
    {},
    [[]],
    {"as_int": 2},
    {"as_none": 1},
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a document."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *places(value[key])]]


def test_changed_documents_never_crash(saved: Callable[..., Path], drawn_seed: int) -> None:
    example = (torch.randn(2, 4), (torch.randn(2, 6), torch.randn(2, 6)))
    path = saved(Cell(), example)
    content, draw = members(path), random.Random(drawn_seed)
    refused = 0
    for _ in range(150):
        name = draw.choice(["models/model.json"] * 4 + ["data/weights/model_weights_config.json"])
        document = json.loads(content[name])
        for _ in range(draw.choice([1, 1, 2])):
            container, key = draw.choice(places(document))
            if draw.random() < 0.2:
                del container[key]
            else:
                container[key] = copy.deepcopy(draw.choice(WEIRD))
        try:
            open_pt2(packed(path, {**content, name: json.dumps(document).encode()}))
        except EdgekitError:
            refused += 1
    assert refused > 60


def test_graphs_in_graphs_end_somewhere(saved: Callable[..., Path]) -> None:
    class Without(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return (x * 2).sum(1, keepdim=True) - x

    path = saved(Without(), (torch.randn(1, 4),))

    def nest(program: dict[str, Any]) -> None:
        nodes = graph_of(program)["nodes"]
        outer = next(n for n in nodes if n["target"].startswith("torch.ops.higher_order"))
        for _ in range(40):
            inner = copy.deepcopy(outer["inputs"][1]["arg"]["as_graph"]["graph"])
            inner["nodes"] = [{**outer, "inputs": [dict(i) for i in outer["inputs"]]}]
            inner["outputs"] = copy.deepcopy(outer["outputs"])
            outer["inputs"][1] = {"name": "g", "arg": {"as_graph": {"name": "g", "graph": inner}}, "kind": 1}

    assert "too de" in refusal(edited(path, nest))


class LayersFirst(nn.Module):
    """States [layers, batch, hidden] as arguments: the batch is not in axis 0 of every input."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.out = nn.LSTM(6, 8, num_layers=2, batch_first=True), nn.Linear(8, 4)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.rnn(x, (h, c))
        return self.out(y), h, c


@pytest.mark.filterwarnings("ignore:The tensor attributes")  # torch's own, of its recurrent layers
@pytest.mark.parametrize("batch", [1, 3])
def test_states_with_the_batch_behind_the_layers(batch: int, tmp_path: Path) -> None:
    example = (torch.randn(batch, 1, 6), torch.zeros(2, batch, 8), torch.zeros(2, batch, 8))
    size = torch.export.Dim("n")
    open_sizes = None if batch == 1 else {"x": {0: size}, "h": {1: size}, "c": {1: size}}
    program = torch.export.export(LayersFirst().eval(), example, dynamic_shapes=open_sizes)
    torch.export.save(program, tmp_path / "net.pt2")
    module, given = open_pt2(tmp_path / "net.pt2")
    imported = import_module(module, given, name="net")
    assert {s.tensor: s.init.shape for s in imported.graph.states} == {"h": (2, 1, 8), "c": (2, 1, 8)}
    assert imported.report.worst_error < 1e-5
    with pytest.raises(RuntimeError, match="x has shape"):  # what it was not exported for reaches no operator
        module(torch.zeros(1, 3, 6), *given[1:])
