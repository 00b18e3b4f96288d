"""What convolutions cost: instructions on emulated cores, and microseconds here beside ONNX Runtime on one thread.

python -m tools.conv_speed [--cores raspberrypi4,smartwatch-m4] [--precisions fp32,w8,int8] [--rounds 200]

The net is 1x28x28 -> conv 5x5, 12 -> max pool 2 -> relu -> conv 5x5, 64: 1,401,600 products. Times are medians of short
turns, A B A B …, of the program's own step function against `run_with_iobinding`.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import edgekit
from edgekit.artifact import Artifact
from edgekit.profile.counts import count_steps
from edgekit.profile.stimulus import selftest_stimulus

SHAPE, PRODUCTS = (1, 28, 28), 12 * 25 * 24 * 24 + 64 * 300 * 8 * 8
CALLS = 20  # of a turn


def net() -> Any:
    """The network with seeded weights."""
    import torch

    torch.manual_seed(0)
    conv, pool = torch.nn.Conv2d, torch.nn.MaxPool2d
    return torch.nn.Sequential(conv(1, 12, 5), pool(2), torch.nn.ReLU(), conv(12, 64, 5)).eval()


def converted(target: str, precision: str) -> Artifact:
    """The network for a target."""
    import torch

    windows = np.random.default_rng(0).normal(size=(16, *SHAPE)).astype(np.float32)
    return edgekit.convert(
        net(), torch.zeros(1, *SHAPE), target=target, precision=precision, calib=windows, name="conv_speed"
    )


def print_instructions(target: str, precision: str) -> None:
    """Instructions of a step, and of each op."""
    artifact = converted(target, precision)
    found, sizes = count_steps(artifact, selftest_stimulus(artifact)), artifact.manifest["sizes"]
    print(
        f"{found.core} {precision}: {found.total:,.0f} instructions, {found.total / PRODUCTS:.2f} a product; "
        f"flash {sizes['flash_bytes']:,} RAM {sizes['ram_bytes']:,} bytes"
    )
    for op in found.ops:
        if op.kernel:
            print(f"    {op.kernel:28} {op.instructions:>12,.0f}")


def native_step(artifact: Artifact) -> Callable[[], None]:
    """The step function of the program, called with buffers that stay."""
    with tempfile.NamedTemporaryFile(suffix=".so") as file:
        Path(file.name).write_bytes(artifact.file.members[artifact.manifest["program"]["library"]])
        library = ctypes.CDLL(file.name)
    prefix = f"ek_{artifact.name}"
    model = np.zeros(library[f"{prefix}_sizeof"]() // 4 + 32, np.float32)
    address = -(-model.ctypes.data // 64) * 64
    library[f"{prefix}_init"](ctypes.c_void_p(address))
    x = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    if artifact.graph.is_integer:
        x = (100 * x).clip(-127, 127).astype(artifact.graph.port_dtype(artifact.graph.entries["step"].inputs[0]))
    y = np.zeros(64 * 64, np.float32)
    arguments = [ctypes.c_void_p(n) for n in (address, x.ctypes.data, y.ctypes.data)]
    step, alive = library[f"{prefix}_step"], (model, x, y)
    if code := step(*arguments):  # a refused input would look fast
        raise SystemExit(f"{prefix}_step returns {code}")

    def call() -> None:
        step(*arguments)
        assert alive

    return call


def onnx_step() -> Callable[[], None]:
    """ONNX Runtime with one thread and bound buffers."""
    import onnxruntime as ort
    import torch

    buffer = io.BytesIO()
    program = torch.onnx.export(net(), (torch.zeros(1, *SHAPE),), dynamo=True, verbose=False)
    assert program is not None
    buffer.write(program.model_proto.SerializeToString())
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(buffer.getvalue(), options, providers=["CPUExecutionProvider"])
    x, y = np.random.default_rng(1).normal(size=(1, *SHAPE)).astype(np.float32), np.zeros((1, 64, 8, 8), np.float32)
    binding = session.io_binding()
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    binding.bind_input(given.name, "cpu", 0, np.float32, x.shape, x.ctypes.data)
    binding.bind_output(made.name, "cpu", 0, np.float32, y.shape, y.ctypes.data)

    def call() -> None:
        session.run_with_iobinding(binding)
        assert (x, y) is not None

    return call


def turn(call: Callable[[], None]) -> float:
    """Microseconds of a call, over a short turn."""
    call()
    start = perf_counter()
    for _ in range(CALLS):
        call()
    return (perf_counter() - start) / CALLS * 1e6


def main() -> None:
    """Print instructions, then times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", default="raspberrypi4,smartwatch-m4")
    parser.add_argument("--precisions", default="fp32,w8,int8")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    precisions = options.precisions.split(",")
    for target in filter(None, options.cores.split(",")):
        for precision in precisions:
            print_instructions(target, precision)
    calls = {f"edgekit {p}": native_step(converted("host", p)) for p in precisions} | {"ONNX Runtime": onnx_step()}
    times = {name: [] for name in calls}
    for _ in range(options.rounds):
        for name, call in calls.items():
            times[name].append(turn(call))
    for name, found in times.items():
        low, middle, high = np.percentile(found, (10, 50, 90))
        print(f"{name:16} {middle:8.1f} µs a step (10th to 90th percentile {low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
