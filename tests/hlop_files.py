"""Files of the kinds that hold HLOP, drawn at random: the published equations once more, in plain float64 numpy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def write_subspace(
    path: Path,
    *,
    seed: int,
    size: int,
    rows: tuple[int, int],
    batch: int,
    rate: float = 0.02,
    momentum: float | None = 0.9,
    steps: float | None = None,
    iterations: int = 5,
    batches: int = 3,
    outputs: int = 5,
) -> None:
    """Lateral neurons over two tasks, of any size, with or without momentum and spikes."""
    rng, old = np.random.default_rng(seed), rows[0]
    z: dict[str, Array] = {}
    h = _orthogonal(rng, old, size)
    m = np.zeros_like(h)
    z["H_init_task1"] = h.copy()

    def answer(h: Array, x: Array) -> Array:
        y = x @ h.T
        return y if steps is None else np.round(np.clip(y, -20, 20) / 20 * steps) / steps * 20

    def iterate(h: Array, m: Array, x: Array, first: int) -> tuple[Array, Array, Array]:
        y = answer(h, x)
        change = np.clip(y.T @ (x - y @ h) / len(x), -10, 10)
        change[:first] = 0
        if momentum is not None:
            m = m.copy()
            m[first:] = momentum * m[first:] + (1 - momentum) * change[first:]
            change = np.concatenate([np.zeros_like(m[:first]), m[first:]])
        return h + rate * change, m, y

    x = (rng.standard_normal((batches, batch, size)) @ rng.standard_normal((size, size)) / np.sqrt(size)).astype("f4")
    one, momenta, found = h, m, []
    for _ in range(iterations):
        explained = answer(one, x[0]) @ one
        one, momenta, y = iterate(one, momenta, x[0], 0)
        found.append((one, y, explained))
    z["H_iter_batch0"], z["y_iter_batch0"] = np.stack([f[0] for f in found]), np.stack([f[1] for f in found])
    z["xhat_iter_batch0_first"] = found[0][2]
    for task, first in ((1, 0), (2, old)):
        if task == 2:
            h = np.concatenate([h, _orthogonal(rng, rows[1], size)])
            m = np.concatenate([m, np.zeros((rows[1], size))])
            z["H_init_task2"] = h.copy()
            x = rng.standard_normal((batches, batch, size)).astype("f4")
            z["X_task2_orth_to_task1"] = x - answer(h[:old], x) @ h[:old]
        z[f"X_task{task}"] = x
        seen = []
        for each in x:
            for _ in range(iterations):
                h, m, _ = iterate(h, m, each, first)
            seen.append((h, m))
        z[f"H_task{task}_after_batch"] = np.stack([s[0] for s in seen])
        if momentum is not None:
            z[f"M_task{task}_after_batch"] = np.stack([s[1] for s in seen])
    weights = (rng.standard_normal((outputs, size)) / np.sqrt(size)).astype("f4")
    x, delta = rng.standard_normal((batch, size)).astype("f4"), rng.standard_normal((batch, outputs)).astype("f4")
    free = x - answer(h[:old], x) @ h[:old]
    z |= {"lin_W": weights, "lin_x": x, "lin_gout": delta, "H_final": h}
    z |= {"lin_out": x @ weights.T, "lin_gW_projected": delta.T @ free, "lin_gx": delta @ weights}
    meta = {
        "kind": "HLOP_subspace",
        "N": size,
        "k1": old,
        "k2": rows[1],
        "B": batch,
        "lr": rate,
        "momentum": momentum,
        "spiking": steps is not None,
        "spiking_scale": None if steps is None else 20.0,
        "spiking_timesteps": steps,
        "iterations_per_batch": iterations,
        "n_batches": batches,
    }
    _write(path, meta, z)


def write_ottt(path: Path, *, seed: int, shape: tuple[int, int, int], tau: float = 2.0, threshold: float = 1.0) -> None:
    """LIF neurons with traces over inputs [T, B, N]."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0.5, 1.0, shape).astype("f4")
    v, a = np.zeros(shape[1:], "f4"), np.zeros(shape[1:], "f4")
    kept, limit, found = np.float32(1 - 1 / tau), np.float32(threshold), []
    for each in x:
        v = kept * v + each
        s = (v >= limit).astype("f4")
        v = v - s * limit
        a = kept * a + s
        found.append((s, v, a))
    z = {name: np.stack([f[at] for f in found]) for at, name in enumerate(("spikes", "v_after_reset", "trace"))}
    meta = {"kind": "HLOP_OTTT_LIF", "tau": tau, "v_threshold": threshold, "v_reset": None, "decay_input": False}
    _write(path, meta, {"x": x, **z})


def _orthogonal(rng: np.random.Generator, rows: int, size: int) -> Array:
    q, _ = np.linalg.qr(rng.standard_normal((max(rows, size), min(rows, size))))
    return (q.T if rows <= size else q).astype("f4").astype("f8")


def _write(path: Path, meta: dict[str, Any], arrays: dict[str, Array]) -> None:
    np.savez(path, meta=json.dumps(meta), **{name: a.astype("f4") for name, a in arrays.items()})
