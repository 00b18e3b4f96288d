"""The model before conversion, as `verify` needs it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgekit.convert.inputs import normalised
from edgekit.convert.options import FLOAT_PRECISIONS
from edgekit.ir import Graph
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.pipelines import OPTIMISE, run_passes

if TYPE_CHECKING:
    from edgekit.frontends import Imported

Array = npt.NDArray[Any]


def weights_digest(graph: Graph) -> str:
    """SHA-256 of all constants of an imported graph: which model a quantised program came from."""
    digest = hashlib.sha256()
    for name, tensor in graph.consts.items():
        digest.update(name.encode() + b"\0" + np.asarray(tensor.data).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Original:
    """The model before conversion: its imported graph with the normalisation, and the torch module to run."""

    graph: Graph
    imported: Imported

    def quantised(self, precision: str) -> Graph:
        """The optimised graph with the weights of a precision, as a conversion makes them."""
        return FLOAT_PRECISIONS[precision](run_passes(self.graph, OPTIMISE))

    def sources(self) -> tuple[Graph, ...]:
        """Graphs beside those of `quantised` that an exported file may have been made of: without normalisation."""
        return (own_outputs(run_passes(self.imported.graph, OPTIMISE)),)

    def digest(self) -> str:
        """SHA-256 of its weights, in the order of the graph."""
        return weights_digest(self.imported.graph)

    def _normalised(self, x: Array) -> Array:
        spec = (self.imported.io or {}).get("input") or {}
        if spec.get("scale") is None:
            return x
        repeats = x.shape[-1] // len(spec["scale"])
        offset, scale = (np.tile(np.asarray(spec[k], np.float32), repeats) for k in ("offset", "scale"))
        return np.asarray((x.astype(np.float32) - offset) * scale)

    def states(self, window: Array) -> list[dict[str, Array]]:
        """States of the torch module after each step of one raw window [T, *shape]."""
        from edgekit.frontends import original_states

        return original_states(self.imported, self._normalised(window))

    def run(self, x: Array) -> Array:
        """Outputs of the torch module over raw windows: [N, T, *shape] -> [N, T, *out]; stateless [N, *shape]."""
        from edgekit.frontends import run_original

        x = self._normalised(x)
        shape = self.graph.tensors[self.graph.entries["step"].inputs[0]].shape
        sequence = x.ndim == len(shape) + 2
        y = run_original(self.imported, x if sequence else x[:, None])
        return y if sequence else y[:, 0]


def original_of(imported: Imported) -> Original:
    """What `verify` compares an artifact with."""
    return Original(normalised(imported.graph, imported.io or {}), imported)
