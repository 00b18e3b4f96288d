"""One constant for several ops: each op reads as much of it as it needs, in the form that its kernel wants."""

from __future__ import annotations

import numpy as np
import pytest
from integer_engines import EMULATED, HOST, every, opened
from integer_equality import same

from edgekit.ir import INT16, INT32, Graph, GraphBuilder
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.runtime.streams import ReferenceStream

WIDTHS = (8, 24, 7)


def shared_factor() -> Graph:
    """Linears of several widths over one int16 input, requantised by one constant."""
    builder, rng = GraphBuilder("shared"), np.random.default_rng(0)
    x, factor = builder.input("x", (6,), INT16), builder.const("factor", 2**29, INT32)
    for at, width in enumerate(WIDTHS):
        weights = builder.const(f"w{at}", rng.integers(-40, 40, (width, 6)), INT16)
        total = builder.op("linear", x, weights, accumulate="int32")
        builder.output(builder.op("rescale", total, factor, shift=31, to="int16"))
    return run_passes(builder.build(), LOWER)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("engine", [*HOST, *EMULATED])
def test_layers_of_different_widths_share_a_factor(engine: str) -> None:
    if not every()[engine].there:
        pytest.skip(f"{engine}: its tools are not installed")
    graph = shared_factor()
    given = [np.arange(-30, 30, 10, dtype=np.int16)]
    wanted = ReferenceStream(graph).call("step", given)
    with opened(every()[engine], [graph]) as stream:
        same(stream(graph).call("step", given), wanted, graph.entries["step"].outputs, engine)
