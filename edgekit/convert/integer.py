"""The stages that only integer precisions have: calibrate, quantise, prove the ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.convert.inputs import Inputs
from edgekit.convert.options import Options
from edgekit.ir import Graph
from edgekit.runtime.codec import Codec

Progress = Callable[[str], None]


@dataclass(frozen=True)
class IntegerStage:
    """An integer program before lowering, and what the manifest says of how it came about."""

    graph: Graph
    notes: tuple[str, ...]

    @classmethod
    def run(
        cls, graph: Graph, meta: Mapping[str, Any], options: Options, raw: Inputs, progress: Progress
    ) -> IntegerStage:
        raise NotImplementedError

    def sections(self, lowered: Graph) -> dict[str, Any]:
        """The sections `quantisation` and `ranges` of the manifest."""
        raise NotImplementedError


def stored_inputs(graph: Graph, raw: Inputs) -> Inputs:
    """The step's inputs as an integer program takes them."""
    names = graph.entries["step"].inputs
    return dict(zip(names, Codec(graph).quantize([raw[n] for n in names]), strict=True))
