"""The original module over whole windows: what verification and the demo compare an artifact with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgekit.frontends.discover import discover
from edgekit.frontends.imported import Imported

CHUNK = 512  # windows side by side


def run_original(imported: Imported, x: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Step outputs [N, T, *out] of the PyTorch module itself over normalised windows x [N, T, *shape], from reset."""
    step = imported.graph.entries["step"]
    examples = tuple(torch.zeros(1, *imported.graph.tensors[n].shape) for n in step.inputs)
    method = imported.provenance["method"]
    found = discover(imported.module, examples, None if method in ("step", "forward") else method)
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
