"""An artifact with what was learned built in: the same program, whose first weights are the learned ones."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from edgekit.artifact import Artifact
from edgekit.convert.manifest import library_name, members
from edgekit.convert.progress import Progress, silent
from edgekit.reference import unpack_states
from edgekit.runtime import Session, program_stream
from edgekit.runtime.build import build_program
from edgekit.runtime.firmware import with_selftest
from edgekit.runtime.selftest import make_selftest, replay_selftest
from edgekit.target import load_target

NOTE = "the weights are those that were learned on a device"


def export_learned(session: Session, progress: Progress = silent) -> Artifact:
    """The artifact of a session, compiled and proven again with what the session has learned as its first weights."""
    artifact = session.artifact
    target = load_target(str(artifact.manifest["target"]))
    learned = unpack_states(artifact.graph, session.save_state())
    states = tuple(
        dataclasses.replace(s, init=np.asarray(learned[s.tensor])) if s.reset == "keep" else s
        for s in artifact.graph.states
    )
    graph = artifact.graph.replace(states=states)
    progress("compile")
    sizes = artifact.manifest["sizes"]
    program = build_program(graph, target, coded="coded_bytes" in sizes)
    progress("prove")
    selftest = make_selftest(graph, {name: array[None] for name, array in artifact.selftest.inputs.items()})
    if target.is_bare:
        program = with_selftest(graph, program, selftest, target)
    report = replay_selftest(graph, selftest, program_stream(graph, program, target))
    progress("pack")
    commit = session.commit
    sizes |= {"flash_bytes": program.flash_bytes, "weights_bytes": program.constant_bytes}
    sizes |= {"text_bytes": program.sizes.code} if program.sizes else {}
    checked = {"selftest_on": report.engine, "selftest_worst_error": report.worst_error}
    origin = {"learned_from": artifact.sha256, "learned_commit": commit.commit if commit else 0}
    manifest: dict[str, Any] = {
        **{key: value for key, value in artifact.manifest.items() if key != "members"},
        "graph_sha256": graph.hash(),
        "sizes": sizes,
        "program": {
            **artifact.manifest["program"],
            "compiler": program.compiler,
            "flags": list(program.flags),
            "library": library_name(graph, program),
        },
        "verification": artifact.manifest["verification"] | checked,
        "provenance": artifact.manifest["provenance"] | origin,
        "notes": list(dict.fromkeys([*artifact.manifest.get("notes", []), NOTE])),
    }
    return Artifact.build(manifest, graph, selftest, members(graph, program))
