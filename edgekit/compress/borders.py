"""The entries that turn raw reals into stored integers, and stored outputs into reals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from edgekit.compress.stored import Array, Stored
from edgekit.compress.writer import Writer
from edgekit.ir import FLOAT32, SPIKE


def write_borders(
    writer: Writer,
    inputs: Sequence[Stored],
    outputs: Sequence[Stored],
    normalisation: Mapping[str, tuple[Array, Array]],
) -> None:
    """Add the entries `quantize` and `dequantize`; offset and scale of a normalisation become part of the first."""
    builder = writer.builder
    shapes = [builder.tensor(s.name).shape for s in (*inputs, *outputs)]
    builder.entry("quantize")
    for stored, shape in zip(inputs, shapes, strict=False):
        raw = builder.input(f"{stored.name}.raw", shape)
        if stored.dtype is SPIKE:
            builder.output(builder.op("cast", raw, out=f"{stored.name}.quantized", to="spike"))
            continue
        offset, scale = normalisation.get(stored.name, (np.zeros(()), np.ones(())))
        gain = np.asarray(scale, np.float64) / stored.scale
        names = (
            builder.const(f"{stored.name}.offset", np.asarray(offset, np.float32)),
            builder.const(f"{stored.name}.gain", gain.astype(np.float32)),
        )
        builder.output(builder.op("quantize", raw, *names, out=f"{stored.name}.quantized", to=stored.dtype.name))
    builder.entry("dequantize")
    for stored, shape in zip(outputs, shapes[len(inputs) :], strict=True):
        name = builder.fresh(f"{stored.name}.stored")
        builder.input(name, shape, stored.dtype)
        real = builder.fresh(f"{stored.name}.real")
        if stored.dtype is SPIKE:
            builder.output(builder.op("cast", name, out=real, to="float32"))
            continue
        factor = builder.const(f"{real}.scale", np.asarray(stored.scale, np.float32), FLOAT32)
        builder.output(builder.op("dequantize", name, factor, out=real))
