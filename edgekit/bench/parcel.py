"""A case as files, on its way to a worker in another environment: the module, the stimulus and what it answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgekit.bench.cases import Case

_ARRAYS = ("stimulus", "expected", "contrast", "calibration")
_MODEL, _FACTS = "model.pt", "case.json"


def write_case(case: Case, folder: Path) -> None:
    """Write all of a case that peers need."""
    from edgekit.models import save

    save(case.module, folder / _MODEL)
    facts = {"name": case.name, "description": case.description, "weights": case.weights}
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")
    for name in _ARRAYS:
        if (array := getattr(case, name)) is not None:
            np.save(folder / f"{name}.npy", array)


def read_case(folder: Path) -> Case:
    """The case that `write_case` wrote."""
    from edgekit.models import load

    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    arrays = {name: np.load(path) for name in _ARRAYS if (path := folder / f"{name}.npy").is_file()}
    return Case(**facts, module=load(folder / _MODEL), **arrays)
