"""ONNX files as torch writes them, quantised files as ONNX Runtime writes them, and our own exports read back."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekit.backends.onnx import calibrate_onnx, export_onnx
from edgekit.errors import UnsupportedError
from edgekit.frontends.imported import Imported
from edgekit.frontends.onnx import import_onnx
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.reference import Interpreter


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(10, 16), nn.LayerNorm(16), nn.SiLU(), nn.Linear(16, 16), nn.GELU(approximate="tanh")),
            *(nn.GroupNorm(4, 16), nn.Mish(), nn.Linear(16, 4), nn.Softmax(-1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Lstm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTM(8, 12, 2, batch_first=True), nn.Linear(12, 3)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.cell(x, (h, c))
        return self.out(y[:, -1]), h, c


class Gru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRU(8, 12, 2, batch_first=True), nn.Linear(12, 3)

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.cell(x, h)
        return self.out(y[:, -1]), h


class Stream(nn.Module):
    """Convolutions over a stream: each keeps the end of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(4, 8, 5), nn.Conv1d(8, 8, 3, dilation=2, groups=2)
        self.norm, self.out = nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x: Tensor, buffer: Tensor, later: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = torch.cat([buffer, x], 2)
        y = torch.cat([later, torch.relu(self.norm(self.first(x)))], 2)
        return self.out(self.second(y).mean(-1)), x[:, :, -4:], y[:, :, -4:]


class Image(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU6(), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 6, 3, groups=6, stride=2, padding=1), nn.Hardswish(), nn.AvgPool2d(2, ceil_mode=True)),
            *(nn.Flatten(), nn.Linear(24, 4)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Spiking(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        snntorch = pytest.importorskip("snntorch")
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 4)
        self.leaky = snntorch.Leaky(0.9, reset_mechanism="subtract")
        self.synaptic = snntorch.Synaptic(alpha=0.8, beta=0.7, reset_mechanism="zero")

    def forward(self, x: Tensor, mem: Tensor, syn: Tensor, last: Tensor) -> tuple[Tensor, ...]:
        spikes, mem = self.leaky(self.a(2 * x), mem)
        spikes, syn, last = self.synaptic(self.b(spikes), syn, last)
        return spikes, mem, syn, last


class Selective(nn.Module):
    """A selective state-space step behind a short convolution, whose window is written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.decay, self.kernel = nn.Parameter(torch.rand(8, 4)), nn.Parameter(torch.randn(8, 4))
        self.project, self.rate, self.skip = nn.Linear(8, 9), nn.Linear(1, 8), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor, h: Tensor, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        window = torch.roll(window, -1, -1).clone()
        window[:, :, -1] = x
        u = nn.functional.silu((window * self.kernel).sum(-1))
        rate, b, c = torch.split(self.project(u), [1, 4, 4], -1)
        dt = nn.functional.softplus(self.rate(rate))[:, :, None]
        h = torch.exp(-dt * self.decay) * h + dt * b[:, None] * u[:, :, None]
        return torch.einsum("bdn,bn->bd", h, c) + self.skip * u, h, window


class Splines(nn.Module):
    """A KAN layer of cubic B-splines by their recursion."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("knots", torch.linspace(-2, 2, 12))
        self.weights = nn.Parameter(torch.randn(3, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        x, t = x[:, :, None], self.knots
        basis = ((x >= t[:-1]) & (x < t[1:])).float()
        for k in range(1, 4):
            left = (x - t[: -k - 1]) / (t[k:-1] - t[: -k - 1]) * basis[:, :, :-1]
            basis = left + (t[k + 1 :] - x) / (t[k + 1 :] - t[1:-k]) * basis[:, :, 1:]
        return torch.einsum("bik,oik->bo", basis, self.weights)


class Upwards(nn.Module):
    """A dilated convolution over a buffer, and a transposed one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up = nn.Conv1d(4, 4, 3, dilation=4), nn.ConvTranspose1d(4, 2, 4, stride=2, padding=1)
        self.slope = nn.PReLU(4)

    def forward(self, x: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([buffer, x], -1)
        return self.up(self.slope(self.conv(x))), x[..., -8:]


CASES: dict[str, tuple[type[nn.Module], dict[str, tuple[int, ...]], list[str], int]] = {
    "mlp": (Mlp, {"x": (2, 10)}, ["y"], 0),
    "lstm": (Lstm, {"x": (2, 1, 8), "h0": (2, 2, 12), "c0": (2, 2, 12)}, ["y", "hn", "cn"], 2),
    "gru": (Gru, {"x": (2, 1, 8), "h": (2, 2, 12)}, ["y", "h_out"], 1),
    "stream": (
        Stream,
        {"x": (2, 4, 2), "cache_in": (2, 4, 4), "late_in": (2, 8, 4)},
        ["y", "cache_out", "late_out"],
        2,
    ),
    "image": (Image, {"x": (2, 1, 14, 14)}, ["y"], 0),
    "selective": (Selective, {"x": (2, 8), "ssm": (2, 8, 4), "window": (2, 8, 4)}, ["y", "ssm_out", "window_out"], 2),
    "splines": (Splines, {"x": (2, 8)}, ["y"], 0),
    "upwards": (Upwards, {"x": (2, 4, 6), "buf": (2, 4, 8)}, ["y", "buf_next"], 1),
    "spiking": (
        Spiking,
        {"x": (2, 8), "mem": (2, 16), "syn": (2, 4), "last": (2, 4)},
        ["spk", "mem_out", "syn_out", "last_out"],
        3,
    ),
}


def exported(
    module: nn.Module,
    shapes: Mapping[str, tuple[int, ...]],
    outputs: list[str],
    opset: int = 17,
    *,
    dynamo: bool = False,
) -> Any:
    """What torch writes, with a free batch axis: axis 0, or axis 1 of what nn.LSTM and nn.GRU carry."""
    module.eval()
    args = tuple(torch.randn(shape) if at == 0 else torch.zeros(shape) for at, shape in enumerate(shapes.values()))
    axes = {n: {1 if n in ("h", "h0", "c0") and len(s) == 3 else 0: "batch"} for n, s in shapes.items()}
    names: dict[str, Any] = {"input_names": list(shapes), "output_names": outputs, "opset_version": opset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own exporters
        if dynamo:
            logging.disable(logging.WARNING)
            try:
                dim = torch.export.Dim("batch", min=1, max=64)
                dynamic = tuple(dict.fromkeys(found, dim) for found in axes.values())
                program = torch.onnx.export(module, args, dynamo=True, dynamic_shapes=dynamic, verbose=False, **names)
            finally:
                logging.disable(logging.NOTSET)
            return program.model_proto
        buffer = io.BytesIO()
        torch.onnx.export(module, args, buffer, dynamo=False, dynamic_axes=axes, **names)
    return buffer.getvalue()


def equal(imported: Imported, module: nn.Module, shapes: Mapping[str, tuple[int, ...]], opening: int = 8) -> None:
    """AssertionError unless graph and torch module give the same over a stream of two samples."""
    inputs = list(shapes.items())
    rng, interpreter = np.random.default_rng(4), Interpreter(imported.graph)
    states, carried = interpreter.initial_state(2), [torch.zeros(shape) for _, shape in inputs[1:]]
    name, output = imported.graph.entries["step"].inputs[0], imported.graph.entries["step"].outputs[0]
    for _ in range(opening):
        x = rng.normal(size=inputs[0][1]).astype(np.float32)
        found, states = interpreter.execute({name: x.reshape(2, *imported.graph.tensor(name).shape)}, states)
        with torch.no_grad():
            given = module(torch.from_numpy(x), *carried)
        expected, *carried = given if isinstance(given, tuple) else (given,)
        np.testing.assert_allclose(found[output].reshape(expected.shape), expected.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("opset", [13, 17, 20])
def test_torchscript_exports(name: str, opset: int) -> None:
    torch.manual_seed(7)
    make, shapes, outputs, states = CASES[name]
    module = make()
    imported = import_onnx(exported(module, shapes, outputs, opset))
    assert len(imported.graph.states) == states
    assert imported.report.worst_error < 1e-5
    assert imported.report.excused == 0
    equal(imported, module, shapes)


@pytest.mark.drawn(8)
@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("opset", [18, 20])
def test_dynamo_exports(name: str, opset: int) -> None:
    pytest.importorskip("onnxscript")
    torch.manual_seed(8)
    make, shapes, outputs, states = CASES[name]
    module = make()
    imported = import_onnx(exported(module, shapes, outputs, opset, dynamo=True))
    assert len(imported.graph.states) == states
    equal(imported, module, shapes)


def test_a_graph_keeps_the_axes_of_a_state_but_the_batch() -> None:
    imported = import_onnx(exported(Lstm(), *CASES["lstm"][1:3]))
    assert {s.tensor: s.init.shape for s in imported.graph.states} == {"h0": (2, 12), "c0": (2, 12)}


def test_a_fixed_batch_of_one() -> None:
    torch.manual_seed(9)
    buffer, module = io.BytesIO(), Gru().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        args = (torch.randn(1, 1, 8), torch.zeros(2, 1, 12))
        torch.onnx.export(module, args, buffer, dynamo=False, opset_version=16)  # no names at all
    imported = import_onnx(buffer.getvalue())
    assert [note.endswith("by its recurrent cell") for note in imported.notes] == [True]
    assert [s.init.shape for s in imported.graph.states] == [(2, 1, 12)]  # axis 0 are the layers


def test_a_whole_sequence_asks_for_its_length_or_its_step() -> None:
    make, shapes, outputs, _ = CASES["lstm"]
    buffer, module = io.BytesIO(), make().eval()
    axes = {"x": {0: "batch", 1: "time"}, "h0": {1: "batch"}, "c0": {1: "batch"}}
    args = (torch.randn(2, 5, 8), torch.zeros(2, 2, 12), torch.zeros(2, 2, 12))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, args, buffer, dynamo=False, dynamic_axes=axes, input_names=list(shapes), output_names=outputs
        )
    with pytest.raises(UnsupportedError, match=r"--shape x=1,…,8"):
        import_onnx(buffer.getvalue())
    imported = import_onnx(buffer.getvalue(), shapes={"x": (1, 1, 8)})
    assert imported.graph.tensor("x").shape == (1, 8)
    assert len(imported.graph.states) == 2


def test_an_embedding_takes_its_index_as_a_whole_number() -> None:
    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 4)

        def forward(self, x: Tensor, index: Tensor) -> Tensor:
            return self.table(index) + x

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Embedding(), (torch.randn(1, 4), torch.tensor([1])), buffer, dynamo=False, input_names=["x", "index"]
        )
    imported = import_onnx(buffer.getvalue())
    assert "input index takes whole numbers from 0 to 9, as float32" in imported.notes
    assert imported.report.worst_error < 1e-6
    assert import_onnx(buffer.getvalue(), constants={"index": [3]}).graph.entries["step"].inputs == ("x",)


# --- quantised by ONNX Runtime ---------------------------------------------------------------------------------------


class Reader:
    """Calibration data as ONNX Runtime wants them."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        rng = np.random.default_rng(1)
        self._rows = iter([{n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()} for _ in range(12)])

    def get_next(self) -> Any:
        return next(self._rows, None)


def quantised(tmp_path: Path, data: bytes, shapes: Mapping[str, tuple[int, ...]], **options: Any) -> Path:
    quantization = pytest.importorskip("onnxruntime.quantization")
    source, result = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    source.write_bytes(data)
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if options.pop("dynamic", False):
                quantization.quantize_dynamic(source, result)
            else:
                form = quantization.QuantFormat.QDQ
                quantization.quantize_static(source, result, Reader(shapes), quant_format=form, **options)
    finally:
        logging.disable(logging.NOTSET)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp", "gru", "stream", "image"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_static_quantisation(tmp_path: Path, name: str, per_channel: bool) -> None:
    """Rounding is exact: what differs at all differs by a step of a quantiser, and only near a tie."""
    torch.manual_seed(11)
    make, shapes, outputs, states = CASES[name]
    path = quantised(tmp_path, exported(make(), shapes, outputs), shapes, per_channel=per_channel)
    imported = import_onnx(path)
    assert len(imported.graph.states) == states
    assert any(op.kind == "round" for op in imported.graph.entries["step"].ops)
    assert imported.report.worst_error < 1e-6


@pytest.mark.slow
def test_dynamic_quantisation(tmp_path: Path) -> None:
    torch.manual_seed(12)
    make, shapes, outputs, _ = CASES["mlp"]
    imported = import_onnx(quantised(tmp_path, exported(make(), shapes, outputs), shapes, dynamic=True))
    assert imported.report.worst_error < 1e-5
    assert imported.notes[-1].startswith("its dynamic quantisation has one scale for a whole batch")


# --- our own exports -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "stream", "spiking"])
@pytest.mark.parametrize("form", ["step", "sequence"])
def test_own_exports_come_back(name: str, form: str) -> None:
    torch.manual_seed(13)
    make, shapes, outputs, _ = CASES[name]
    graph = run_passes(import_onnx(exported(make(), shapes, outputs)).graph, OPTIMISE)
    back = import_onnx(export_onnx(graph, form=form), name=graph.name)
    assert {s.tensor: s.init.tolist() for s in back.graph.states} == {s.tensor: s.init.tolist() for s in graph.states}
    assert back.graph.entries["step"].inputs == graph.entries["step"].inputs
    x = {n: np.random.default_rng(2).normal(size=(2, 9, *graph.tensor(n).shape)) for n in graph.entries["step"].inputs}
    (before, _), (after, _) = Interpreter(graph).run(x), Interpreter(back.graph).run(x)
    for (_, a), (_, b) in zip(before.items(), after.items(), strict=True):
        np.testing.assert_allclose(b.astype(np.float32), a.astype(np.float32), rtol=1e-5, atol=1e-6)


def test_own_int8_steps_come_back() -> None:
    torch.manual_seed(14)
    make, shapes, outputs, _ = CASES["gru"]
    graph = run_passes(import_onnx(exported(make(), shapes, outputs)).graph, OPTIMISE)
    shape = graph.tensor("x").shape
    windows = {"x": np.random.default_rng(0).normal(size=(4, 20, *shape)).astype(np.float32)}
    data = export_onnx(graph, precision="int8", calibration=calibrate_onnx(graph, windows))
    back = import_onnx(data)
    assert [s.tensor for s in back.graph.states] == [s.tensor for s in graph.states]
    assert back.report.worst_error < 1e-5
