"""The original module over whole windows: what verification and the demo compare an artifact with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgekit.frontends.discover import Discovered, discover
from edgekit.frontends.imported import Imported

CHUNK = 512  # windows side by side


def _discovered(imported: Imported) -> Discovered:
    step = imported.graph.entries["step"]
    examples = tuple(torch.zeros(1, *imported.graph.tensors[n].shape) for n in step.inputs)
    method = imported.provenance["method"]
    return discover(imported.module, examples, None if method in ("step", "forward") else method)


def original_states(imported: Imported, window: npt.NDArray[Any]) -> list[dict[str, npt.NDArray[Any]]]:
    """States of the PyTorch module after each step of one normalised window [T, *shape], by name, from reset."""
    found = _discovered(imported)
    states, history = found.initial_states(1), []
    with torch.no_grad():
        for x in torch.from_numpy(np.ascontiguousarray(window, dtype=np.float32)):
            _, states = found.step((x[None],), states)
            history.append({n: s[0].numpy().copy() for n, s in zip(found.states, states, strict=True)})
    return history


def run_original(imported: Imported, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Step outputs [N, T, *out] of the PyTorch module itself over normalised windows x [N, T, *shape], from reset."""
    found = _discovered(imported)
    parts = []
    with torch.no_grad():
        for start in range(0, len(x), CHUNK):
            chunk = torch.from_numpy(np.ascontiguousarray(x[start : start + CHUNK], dtype=np.float32))
            states, outputs = found.initial_states(len(chunk)), []
            for t in range(chunk.shape[1]):
                given, states = found.step((chunk[:, t],), states)
                outputs.append(given[0])
            parts.append(torch.stack(outputs, dim=1).numpy().astype(np.float32))
    return np.concatenate(parts)
