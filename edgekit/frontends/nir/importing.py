"""The import as a whole: read, check, choose the conventions, order, lower, replay."""

from __future__ import annotations

import os
from pathlib import Path

from edgekit.frontends.imported import Imported, identifier
from edgekit.frontends.nir.lower import lower
from edgekit.frontends.nir.original import NirOriginal
from edgekit.frontends.replay import replay
from edgekit.nir.conventions import MEANING
from edgekit.nir.memory import from_memory
from edgekit.nir.program import make_program
from edgekit.nir.read import read_nir
from edgekit.passes.rewrite import sweep
from edgekit.passes.state_cleanup import clean_states


def import_nir(
    source: str | os.PathLike[str] | object,
    *,
    dt: float | None = None,
    reset: str | None = None,
    integrator: str | None = None,
    initial: str | None = None,
    synapse: str | None = None,
    charge: str | None = None,
    round_delays: bool = False,
    name: str | None = None,
) -> Imported:
    """The graph of one time step of a NIR graph, checked step by step against a simulation of its equations.

    `source` is a `.nir` file or a `nir.NIRGraph`; `dt` the seconds of a step, which a file may state in its metadata.
    What NIR leaves open is named by `reset` (`v_reset`, `zero`, `subtract`), `integrator` (`euler`: v += dt/tau ·
    (v_leak - v + r i); `exponential`), `initial` (`leak`, `zero`: the membrane at the start), `synapse` (`updated`,
    `previous`: the current that a CubaLIF membrane sees) and `charge` (`current`: I and IF add dt · r · i; `impulse`:
    r · i). Delays that are no whole number of steps are refused, or rounded with `round_delays`.

    Raises ModelError for a file that cannot be read and for choices left open, UnsupportedError with all that cannot be
    stepped, UsageError for an option that contradicts the graph, ReplayError when graph and simulation differ.
    """
    path = Path(source) if isinstance(source, (str, os.PathLike)) else None
    thing = str(path) if path else "NIR graph"
    raw = read_nir(path) if path else from_memory(source)
    asked = {
        "dt": dt,
        "reset": reset,
        "integrator": integrator,
        "initial": initial,
        "synapse": synapse,
        "charge": charge,
    }
    program, assumed, notes = make_program(thing, raw, asked, round_delays=round_delays)
    original = NirOriginal(thing, program)
    graph = clean_states(sweep(lower(program, identifier(name or (path.stem if path else "model")))))
    report = replay(original, graph, original.loud())
    used = program.conventions
    facts = {key: f"{value}: {MEANING[f'{key}:{value}']}" for key, value in program.chosen.items()}
    return Imported(
        graph=graph,
        report=report,
        notes=tuple(notes),
        original=original,
        assumed=assumed,
        provenance={
            "format": "NIR",
            **({"file": path.name} if path else {}),
            **({} if used.dt is None else {"dt": f"{used.dt:g} s"}),
            **facts,
        },
    )
