"""Normalisation inside the program: a step takes raw units, so that no caller can forget or double the scaling."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from edgekit.errors import ModelError
from edgekit.ir.dtypes import FLOAT32
from edgekit.ir.graph import Entry, Graph, Op, Tensor
from edgekit.ir.verify import verify


def prepend_normalisation(graph: Graph, name: str, offset: Sequence[float], scale: Sequence[float]) -> Graph:
    """Let every entry that takes the input `name` compute (x - offset) · scale first.

    `offset` and `scale` have one value per channel; the channels are the last axis of the input, repeated as often as
    it holds them (a flattened window holds all channels of the first step, then of the second, …).
    """
    tensor = graph.tensor(name)
    channels = len(offset)
    if not tensor.shape or channels == 0 or len(scale) != channels or tensor.shape[-1] % channels:
        raise ModelError(
            f"normalisation of input {name!r}",
            f"{channels} offsets and {len(scale)} scales do not fit shape {tensor.shape}",
            "give one offset and one scale per channel",
        )
    tensors = dict(graph.tensors)
    for part, values in (("offset", offset), ("scale", scale)):
        data = np.tile(np.asarray(values, np.float32), tensor.shape[-1] // channels)
        tensors[f"{name}.{part}"] = Tensor(f"{name}.{part}", data.shape, FLOAT32, data=data)
    entries: list[Entry] = []
    for entry in graph.entries.values():
        if name not in entry.inputs:
            entries.append(entry)
            continue
        centred, scaled = f"{entry.name}.{name}.centred", f"{entry.name}.{name}.normalised"
        for value in (centred, scaled):
            tensors[value] = Tensor(value, tensor.shape, FLOAT32)
        head = (
            Op("sub", (name, f"{name}.offset"), (centred,), source="io"),
            Op("mul", (centred, f"{name}.scale"), (scaled,), source="io"),
        )
        ops = [dataclasses.replace(op, inputs=tuple(scaled if n == name else n for n in op.inputs)) for op in entry.ops]
        entries.append(dataclasses.replace(entry, ops=(*head, *ops)))
    return verify(graph.replace(tensors=tensors).with_entries(*entries))
