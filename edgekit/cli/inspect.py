"""`edgekit inspect`: what is inside an artifact, and what a step of it costs; or what is in a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from edgekit.cli.exits import ANSWER_IS_NO
from edgekit.cli.imports import (
    MODEL_HELP,
    ConfigOption,
    ConstantOption,
    ConventionOption,
    DtOption,
    FactoryOption,
    ResetOption,
    RoundDelaysOption,
    ShapeOption,
    StateOption,
    WeightsOption,
    import_options,
)
from edgekit.cli.learned import learning_lines
from edgekit.cli.ops import op_table
from edgekit.cli.output import JsonOption, Output, kilobytes
from edgekit.cli.quantisation import recipe_lines
from edgekit.cli.ranges import print_ranges
from edgekit.cli.sizes import coding_lines
from edgekit.cli.widths import replayed_widths, width_table
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.artifact import Artifact


def inspect(
    artifact: Annotated[
        Path, typer.Argument(help=f"The .edge file; an .onnx or .tflite that edgekit wrote; or a model. {MODEL_HELP}")
    ],
    graph: Annotated[bool, typer.Option("--graph", help="Print the graph in text form.")] = False,
    cost: Annotated[bool, typer.Option("--cost", help="Count the instructions of each op in the emulator.")] = False,
    ranges: Annotated[
        bool, typer.Option("--ranges", help="Print what is proven of an integer program, and prove it again.")
    ] = False,
    selftest: Annotated[bool, typer.Option("--selftest", help="Replay the self-test on the engine at hand.")] = False,
    units: Annotated[
        bool, typer.Option("--units", help="Of a model: the units, matrices and states that rules of a recipe match.")
    ] = False,
    config: ConfigOption = None,
    factory: FactoryOption = None,
    weights: WeightsOption = None,
    dt: DtOption = None,
    state: StateOption = None,
    shape: ShapeOption = None,
    constant: ConstantOption = None,
    reset: ResetOption = None,
    convention: ConventionOption = None,
    round_delays: RoundDelaysOption = False,
    json: JsonOption = False,
) -> None:
    """Show what an artifact, an exported file or a model holds; of an artifact no code is run unless asked for, and
    then only where that is safe. A model is imported, and replayed against itself.
    """
    from edgekit.artifact import Artifact, is_trusted
    from edgekit.cli.inspect_files import inspect_exported, inspect_model
    from edgekit.frontends.options import PROGRAM, SUFFIXES, check_uses
    from edgekit.ir import to_text
    from edgekit.ir.widths import widths_of
    from edgekit.runtime.exported import is_exported

    importing = import_options(
        config=config,
        factory=factory,
        weights=weights,
        dt=dt,
        state=state,
        shape=shape,
        constant=constant,
        reset=reset,
        convention=convention,
        round_delays=round_delays,
    )
    if artifact.suffix in SUFFIXES or is_exported(artifact):
        asked = {"--cost": cost, "--ranges": ranges, "--selftest": selftest}
        if misfits := [option for option, on in asked.items() if on]:
            raise UsageError(", ".join(misfits), f"{artifact} is no artifact", "only an .edge file has that")
        if units or not inspect_exported(artifact, importing, json=json, graph=graph):
            inspect_model(artifact, importing, json=json, graph=graph, units=units)
        return
    if units:
        raise UsageError("--units", f"{artifact} is a program", "give the model that it was made from")
    check_uses(PROGRAM, importing)
    opened = Artifact.open(artifact)
    manifest = dict(opened.manifest)
    document: dict[str, Any] = {
        "artifact": str(artifact),
        "sha256": opened.sha256,
        "trusted": is_trusted(opened.sha256),
        "manifest": manifest,
    }
    if graph:
        document["graph"] = to_text(opened.graph)
    costs = None
    if cost:
        from edgekit.profile.counts import count_steps

        costs = count_steps(opened)
        document["cost"] = costs.to_dict()
    doubts: list[str] | None = None
    proven: dict[str, Any] | None = None
    if ranges:
        proven, doubts = _proven(opened)
        document["ranges"] = {"certificate": manifest.get("ranges"), "proven": proven, "contradictions": doubts}
    replayed = []
    if selftest:
        replayed = replayed_widths(opened)
        full = replayed[0]
        document["selftest"] = {"engine": full.engine, "steps": full.steps, "worst_error": full.worst_error}

    def human(console: Console) -> None:
        trusted = "trusted" if document["trusted"] else "not trusted"
        console.print(f"{manifest['name']}: {manifest['precision']} for {manifest['target']}, {trusted}", style="bold")
        _print_io(console, manifest)
        sizes = manifest["sizes"]
        console.print(
            f"flash {kilobytes(sizes['flash_bytes'])}, of which weights {kilobytes(sizes['weights_bytes'])}; "
            f"RAM {kilobytes(sizes['ram_bytes'])} (states {kilobytes(sizes['state_bytes'])})"
        )
        for line in coding_lines(sizes):
            console.print(line)
        for line in (*recipe_lines(manifest), *learning_lines(manifest)):
            console.print(line)
        if "widths" in manifest:
            console.print(width_table(manifest))
        _print_states(console, opened.graph)
        console.print(op_table(manifest.get("kernels", []), opened.graph, costs))
        if costs is not None:
            console.print(f"mean of {len(costs.steps)} self-test steps on {costs.core} (emulated, exact counts)")
        for key, value in manifest.get("assumed", {}).items():
            console.print(f"assumed: {key} = {value}")
        for note in manifest.get("notes", []):
            console.print(f"note: {note}")
        if graph:
            console.print(document["graph"])
        if ranges:
            print_ranges(console, proven)
            for doubt in doubts or ():
                console.print(f"NOT PROVEN: {doubt}", style="bold")
            if proven is not None:
                console.print("all of this was proven now, from the graph in the file")
        for percent, report in zip(widths_of(opened.graph), replayed, strict=False):
            which = f" at {percent} %" if len(replayed) > 1 else ""
            console.print(
                f"self-test on {report.engine}{which}: {report.steps} steps, worst error {report.worst_error:.2g}"
            )

    Output(as_json=json).answer(document, human)
    if doubts:
        raise typer.Exit(ANSWER_IS_NO)


def _proven(artifact: Artifact) -> tuple[dict[str, Any] | None, list[str] | None]:
    """The certificate of an integer program, made anew, and what that in the file claims beyond it; None for floats."""
    from edgekit.passes.ranges import analyse, certificate, contradictions

    if not artifact.graph.is_integer:
        return None, None
    proven, claimed = certificate(analyse(artifact.graph), artifact.graph), artifact.manifest.get("ranges")
    return proven, contradictions(claimed, proven) if claimed else ["the file holds no certificate"]


def _print_io(console: Console, manifest: dict[str, Any]) -> None:
    io = manifest["io"]
    for side in ("inputs", "outputs"):
        for port in io[side]:
            facts = [f"{port['dtype']}{port['shape']}"]
            facts += [str(port["unit"])] if port.get("unit") else []
            facts += [f"{port['rate_hz']:g} Hz"] if port.get("rate_hz") else []
            facts += ["normalised in the program"] if port.get("scale") else []
            console.print(f"{side[:-1]} {port['name']}: {', '.join(facts)}")
    if io.get("window"):
        window = io["window"]
        console.print(f"window: {window['length']} steps, stride {window['stride']}, {window['layout']}")
    if io.get("classes"):
        console.print(f"decision: {io.get('decision') or 'argmax of a step'} over {', '.join(io['classes'])}")


def _print_states(console: Console, graph: Any) -> None:
    for state in graph.states:
        tensor = graph.tensors[state.tensor]
        console.print(f"state {state.tensor}: {tensor.dtype}{list(tensor.shape)}, {state.reset}")
