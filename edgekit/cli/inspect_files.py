"""What `edgekit inspect` shows of files that are no artifacts: exported programs, and models as they are imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgekit.cli.inspect_units import print_units, units_of
from edgekit.cli.output import Output, kilobytes, table
from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.frontends.options import ImportOptions


def inspect_exported(path: Path, importing: ImportOptions, *, json: bool, graph: bool) -> bool:
    """Show the document in an exported file; False for a file that is none of edgekit's.

    An .onnx file of another maker, or one that is to be read in a certain way, is a model.
    """
    from edgekit.errors import ArtifactError
    from edgekit.frontends.options import PROGRAM, check_uses
    from edgekit.runtime.exported import FOREIGN, is_exported, read_exported

    asked = importing != type(importing)()
    if not is_exported(path) or (path.suffix == ".onnx" and (asked or graph)):
        return False
    check_uses(PROGRAM, importing)
    if graph:
        raise UsageError("--graph", f"{path} holds no graph of edgekit's", "leave it out")
    try:
        data, document = read_exported(path)
    except ArtifactError as error:
        if path.suffix == ".onnx" and error.cause == FOREIGN:
            return False
        raise
    sides = {"input": document.inputs, "output": document.outputs}
    ports = [
        {"side": side, "name": p.name, "dtype": p.dtype.name, "shape": list(p.shape), **_scale(p)}
        for side, ends in sides.items()
        for p in ends
    ]
    states = [
        {
            **{"name": s.name, "input": s.input, "output": s.output, "dtype": s.dtype.name, "shape": list(s.shape)},
            **{"reset": s.reset, "starts_at_zero": not s.init.any(), **_scale(s)},
        }
        for s in document.states
    ]
    answer = {
        "file": str(path),
        "bytes": len(data),
        "name": document.name,
        "precision": document.precision,
        "dt": document.dt,
        "graph_sha256": document.graph_sha256,
        "ports": ports,
        "states": states,
        "io": dict(document.io),
    }

    def human(console: Console) -> None:
        console.print(
            f"{document.name}: {document.precision}, {kilobytes(len(data))}, written by edgekit", style="bold"
        )
        console.print(f"dt: {'not told' if document.dt is None else f'{document.dt:g} s'}")
        for p in ports:
            console.print(f"{p['side']} {p['name']}: {p['dtype']}{p['shape']}{_scaled(p)}")
        for s in states:
            first = "" if s["starts_at_zero"] else ", does not start at zero"
            ends = f"{s['input']} -> {s['output']}"
            console.print(f"state {s['name']}: {s['dtype']}{s['shape']}{_scaled(s)}, {ends}, {s['reset']}{first}")
        if document.io.get("classes"):
            console.print(f"decision: {document.io.get('decision') or 'argmax of a step'}")

    Output(as_json=json).answer(answer, human)
    return True


def _scale(port: Any) -> dict[str, Any]:
    return {} if port.quant is None else {"scale": port.quant.scale, "zero_point": port.quant.zero_point}


def _scaled(row: dict[str, Any]) -> str:
    return f" x {row['scale']:.4g}" if "scale" in row else ""


def inspect_model(path: Path, importing: ImportOptions, *, json: bool, graph: bool, units: bool) -> None:
    """Import a model file and show what was found in it; `units` adds what rules of a recipe can name."""
    from edgekit.frontends.files import import_with
    from edgekit.ir import to_text

    imported = import_with(path, importing)
    found, report = imported.graph, imported.report
    step, states = found.entries["step"], found.state_names

    def rows(names: Any) -> list[dict[str, Any]]:
        return [{"name": n, "dtype": str(found.tensors[n].dtype), "shape": list(found.tensors[n].shape)} for n in names]

    kinds: dict[str, int] = {}
    for op in step.ops:
        kinds[op.kind] = kinds.get(op.kind, 0) + 1
    answer: dict[str, Any] = {
        "file": str(path),
        "name": found.name,
        "dt": found.dt,
        "inputs": rows(step.inputs),
        "outputs": rows(step.outputs),
        "states": rows(states),
        "ops": kinds,
        "weights": sum(t.size for t in found.consts.values()),
        "replay": {"steps": report.steps, "worst_error": report.worst_error},
        "assumed": {key: str(value) for key, value in imported.assumed.items()},
        "notes": list(imported.notes),
        "provenance": dict(imported.provenance),
        **({"graph": to_text(found)} if graph else {}),
        **({"rules": units_of(found)} if units else {}),
    }

    def human(console: Console) -> None:
        console.print(f"{found.name}: a model, imported from {path}", style="bold")
        console.print(f"dt: {'not told' if found.dt is None else f'{found.dt:g} s'}")
        for side in ("inputs", "outputs", "states"):
            for row in answer[side]:
                console.print(f"{side[:-1]} {row['name']}: {row['dtype']}{row['shape']}")
        shown = table("op", "number", right=(1,))
        for kind, number in sorted(kinds.items(), key=lambda item: -item[1]):
            shown.add_row(kind, str(number))
        console.print(shown)
        console.print(f"constants: {answer['weights']:,} numbers")
        spikes = f", {report.spikes_differing} of {report.spikes_compared} spikes differ" * bool(report.spikes_compared)
        console.print(
            f"replay of the original: {report.steps} steps x {report.batch} streams, worst error "
            f"{report.worst_error:.2g}{spikes}"
        )
        for key, value in imported.assumed.items():
            console.print(f"assumed: {key} = {value}")
        for note in imported.notes:
            console.print(f"note: {note}")
        if graph:
            console.print(answer["graph"])
        if units:
            print_units(console, answer["rules"])

    Output(as_json=json).answer(answer, human)
