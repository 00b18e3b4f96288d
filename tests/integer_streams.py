"""Inputs of integer programs: stored values of every kind, raw values that nobody should send, and full-scale waves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgekit.ir import INT8, SPIKE, DType, Graph


def edges(rng: np.random.Generator, shape: Sequence[int], dtype: DType) -> np.ndarray:
    """Stored values at the ends of a range and around zero."""
    low, high = dtype.limits
    return rng.choice([low, high, low + 1, -1, 0, 1], size=shape).astype(dtype.numpy)


def whole_numbers(rng: np.random.Generator, shape: Sequence[int], dtype: DType) -> np.ndarray:
    """Stored values of a dtype, of one of several kinds: anything, the ends of the range, small ones, rare ones."""
    if dtype is SPIKE:
        return rng.random(shape) < rng.choice([0.0, 0.05, 0.3, 0.9, 1.0])
    low, high = dtype.limits
    kind = rng.integers(5)
    anything = rng.integers(low, high + 1, size=shape)
    if kind == 0:
        return anything.astype(dtype.numpy)
    if kind == 1:
        return edges(rng, shape, dtype)
    if kind == 2:
        return rng.integers(-7, 8, size=shape).astype(dtype.numpy)
    if kind == 3:
        return np.where(rng.random(shape) < 0.1, anything, 0).astype(dtype.numpy)
    wide = rng.normal(scale=high / 4, size=shape)
    return np.clip(np.round(wide), low, high).astype(dtype.numpy)


def distinct(weights: np.ndarray, dtype: DType) -> np.ndarray:
    """The same with so many distinct values that they are not stored as numbers of a few."""
    varied = np.array(weights)
    varied.reshape(-1)[:17] = np.resize(np.arange(-8, 9 if dtype is INT8 else 8), min(17, varied.size))
    return varied


def random_stream(graph: Graph, seed: int, steps: int, entry: str = "step") -> list[np.ndarray]:
    """Port arrays [steps, *shape] for an entry's inputs: every few steps another kind of value, silence among them."""
    rng, arrays = np.random.default_rng([seed, 77]), []
    for name in graph.entries[entry].inputs:
        tensor = graph.tensors[name]
        if tensor.dtype.is_float:
            parts = [_reals(rng, tensor.shape) for _ in range(steps)]
        else:
            parts = [whole_numbers(rng, tensor.shape, tensor.dtype) for _ in range(steps)]
            silent = rng.integers(steps)
            parts[silent : silent + 3] = [np.zeros_like(p) for p in parts[silent : silent + 3]]
        arrays.append(np.stack(parts).astype(graph.port_dtype(name) if entry == "step" else parts[0].dtype))
    return arrays


SPECIAL = np.array(
    [np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -1e-45, 1.1e-38, -0.0, 0.0, 0.5, -0.5, 1.5, 127.49999],
    np.float32,
)


def _reals(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Raw values: ordinary ones of many sizes, with what nobody should send among them."""
    ordinary = (rng.normal(size=shape) * 10.0 ** rng.integers(-4, 4, size=shape)).astype(np.float32)
    return np.where(rng.random(shape) < 0.2, rng.choice(SPECIAL, size=shape), ordinary)


def square_waves(graph: Graph, seed: int, steps: int) -> list[np.ndarray]:
    """Inputs at both ends of their range in turn, each element with a period of its own; spikes all on and all off."""
    rng, arrays = np.random.default_rng([seed, 5]), []
    for name in graph.entries["step"].inputs:
        tensor = graph.tensors[name]
        low, high = (0, 1) if tensor.dtype is SPIKE else tensor.dtype.limits
        period = rng.choice([1, 2, 5, 13, 2 * steps], size=tensor.shape)
        up = np.stack([(t // period + seed) % 2 == 0 for t in range(steps)])
        arrays.append(np.where(up, high, low).astype(graph.port_dtype(name)))
    return arrays
