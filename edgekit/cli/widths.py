"""What the command line shows of nested widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from edgekit.cli.output import kilobytes

if TYPE_CHECKING:
    from edgekit.artifact import Artifact
    from edgekit.runtime.selftest import SelfTestReport


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
    from edgekit.runtime.selftest import replay_selftest, width_selftest

    graph, stored = artifact.graph, artifact.selftest
    reports = []
    for percent in widths_of(graph):
        wanted = stored if percent == FULL else width_selftest(graph, percent, stored.inputs)
        reports.append(replay_selftest(graph, wanted, load(artifact, width=percent / FULL).engine_stream))
    return reports
