"""What the command line shows of nested widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from edgekit.cli.output import kilobytes

if TYPE_CHECKING:
    from edgekit.artifact import Artifact, SelfTest
    from edgekit.runtime.selftest import SelfTestReport

STREAMS = 8  # from which one is chosen that keeps its distance from thresholds


def width_table(manifest: Mapping[str, Any]) -> Table:
    """Each width with what its weights and RAM would be in a program of its own, and the instructions of a step."""
    table = Table(title="widths: one set of weights, chosen with --width")
    for column in ("units", "weights", "RAM", "instructions per step"):
        table.add_column(column, justify="right")
    for row in manifest["widths"]:
        counted = f"{row['instructions']:,}" if "instructions" in row else "unavailable"
        table.add_row(f"{row['percent']} %", kilobytes(row["weights_bytes"]), kilobytes(row["ram_bytes"]), counted)
    target = manifest["target"]
    emulated = "instructions counted in the emulator" if any("instructions" in r for r in manifest["widths"]) else ""
    parts = ["weights and RAM of that width alone (derived)", *([emulated] if emulated else [])]
    table.caption = f"{'; '.join(parts)}; {target}"
    return table


def replayed_widths(artifact: Artifact) -> list[SelfTestReport]:
    """The self-test on the engine at hand, at every width, the full one first."""
    from edgekit.ir.widths import FULL, widths_of
    from edgekit.runtime import load
    from edgekit.runtime.selftest import replay_selftest

    reports = []
    for percent in widths_of(artifact.graph):
        wanted = artifact.selftest if percent == FULL else _narrow_selftest(artifact, percent)
        reports.append(replay_selftest(artifact.graph, wanted, load(artifact, width=percent / FULL).engine_stream))
    return reports


def _narrow_selftest(artifact: Artifact, percent: int) -> SelfTest:
    """What the reference does at a width with the stream of the full one; of floats, with one away from thresholds.

    The artifact holds one stream, chosen for the full width. Begun at another of its steps, with what was before at
    the end, it takes states elsewhere.
    """
    import numpy as np

    from edgekit.ir.widths import at_width
    from edgekit.runtime.selftest import make_selftest, width_selftest

    graph, inputs = artifact.graph, artifact.selftest.inputs
    if not graph.is_integer:
        steps = len(next(iter(inputs.values())))
        first = sorted({at * steps // STREAMS for at in range(STREAMS)})
        candidates = {name: np.stack([np.roll(x, -at, axis=0) for at in first]) for name, x in inputs.items()}
        inputs = make_selftest(at_width(graph, percent), candidates).inputs
    return width_selftest(graph, percent, inputs)
