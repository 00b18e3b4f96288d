"""What the artifact of a conversion holds: its manifest and its members."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgekit._version import __version__
from edgekit.artifact import SCHEMA_VERSION, describe_io
from edgekit.convert.options import Options
from edgekit.ir import Graph
from edgekit.runtime.build import Program
from edgekit.runtime.selftest import SelfTestReport
from edgekit.target import Target
from edgekit.verify import Rounding

if TYPE_CHECKING:
    from edgekit.frontends import Imported


def library_name(graph: Graph, program: Program) -> str:
    """The member that is run: a shared library, or firmware that starts from reset."""
    return f"native/{graph.name}.{'so' if program.archive is None else 'elf'}"


def beside_name(graph: Graph, arch: str) -> str:
    """The member with the library for a further machine of the target."""
    return f"native/{arch}/{graph.name}.so"


def members(graph: Graph, program: Program) -> dict[str, bytes]:
    """The files of a program by their name in the artifact: its C, its header, its library, its static library."""
    header = f"ek_{graph.name}.h"
    archive = {f"native/lib{graph.name}.a": program.archive} if program.archive is not None else {}
    return {
        library_name(graph, program): program.library,
        **{beside_name(graph, arch): other.library for arch, other in program.also.items()},
        **archive,
        f"native/{header}": program.files[header].encode(),
        **{f"c/{path}": text.encode() for path, text in program.files.items()},
    }


def _beside(graph: Graph, program: Program) -> list[dict[str, Any]]:
    return [
        {
            "arch": arch,
            "cpu": other.target.cpu,
            "simd": other.target.simd,
            "flags": list(other.flags),
            "library": beside_name(graph, arch),
        }
        for arch, other in program.also.items()
    ]


def manifest_of(
    *,
    imported: Imported,
    graph: Graph,
    meta: Mapping[str, Any],
    options: Options,
    target: Target,
    program: Program,
    stack: int | None,
    report: SelfTestReport,
    rounding: Rounding | None,
    notes: Sequence[str],
    sections: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest; `sections` are those that only some programs have, as they are."""
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "edgekit": __version__,
        "name": graph.name,
        "target": target.name,
        "precision": options.precision,
        "graph_sha256": graph.hash(),
        "entries": {e.name: {"inputs": list(e.inputs), "outputs": list(e.outputs)} for e in graph.entries.values()},
        "io": describe_io(graph, meta),
        "sizes": {
            "flash_bytes": program.flash_bytes,
            "ram_bytes": program.struct_bytes,
            "state_bytes": program.plan.state_bytes,
            "arena_bytes": program.plan.arena_bytes,
            "weights_bytes": program.constant_bytes,
            **({"text_bytes": program.sizes.code} if program.sizes else {}),
            **({"coded_bytes": program.coded_bytes} if program.coded_bytes else {}),
            **({"decoded_bytes": program.decoded_bytes} if program.decoded_bytes else {}),
            **({} if stack is None else {"stack_bytes": stack}),
        },
        "program": {
            "arch": target.arch,
            "cpu": target.cpu,
            "simd": target.simd,
            "compiler": program.compiler,
            "flags": list(program.flags),
            "library": library_name(graph, program),
            **({"grade": target.grade} if target.grade else {}),
            **({"also": _beside(graph, program)} if program.also else {}),
        },
        "kernels": [
            {"entry": k.entry, "op": k.symbol.removeprefix(f"ek_{graph.name}_{k.entry}_"), "kernel": k.kernel}
            for k in program.kernels
        ],
        "verification": {
            "replay_steps": imported.report.steps,
            "replay_worst_error": float(imported.report.worst_error),
            "selftest_on": report.engine,
            "selftest_worst_error": report.worst_error,
        },
        "provenance": {"python": platform.python_version(), **imported.provenance},
    }
    manifest |= sections
    if rounding is not None:
        changed = {"rounding_worst_change": rounding.worst, "rounding_spikes_changed": rounding.spikes}
        manifest["verification"] |= {key: value for key, value in changed.items() if value is not None}
    if notes:
        manifest["notes"] = list(notes)
    if imported.family:
        manifest["family"] = imported.family
    if imported.assumed:
        manifest["assumed"] = {
            k: v if isinstance(v, (str, int, float)) else str(v) for k, v in imported.assumed.items()
        }
    return manifest
