"""A tuned graph as a model file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgekit import models
from edgekit.convert import Options, convert_imported
from edgekit.errors import ModelError, UsageError
from edgekit.frontends import import_file, import_module
from edgekit.frontends.graph_files import save_graph
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes

META = {"decision": "sum", "input": {"offset": [0.5, -1.0, 0.0], "scale": [2.0, 1.0, 0.25], "rate_hz": 50.0}}


@pytest.fixture(name="written")
def _written(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = models.build("l2mu", {"inputs": 3, "hidden": 6, "memory": 4, "order": 2, "outputs": 3, "theta": 8.0})
    model.io = META
    imported = import_module(model.eval(), None, name="small", dt=0.02)
    path = tmp_path / "tuned.pt"
    save_graph(path, run_passes(imported.graph, (*OPTIMISE, *FOR_INTEGERS)), META, {"parameters": 7})
    return path


def test_a_tuned_graph_is_imported_and_converted_as_it_is(written: Path) -> None:
    imported = import_file(written)
    assert imported.io == META
    assert imported.provenance["parameters"] == 7
    again = written.with_name("again.pt")
    save_graph(again, run_passes(imported.graph, (*OPTIMISE, *FOR_INTEGERS)), META, {"parameters": 7})
    # the name of a graph is that of its file
    assert import_file(again, name="x").graph.hash() == import_file(written, name="x").graph.hash()
    done = convert_imported(imported, Options(precision="int8", calib="synthetic"))
    assert done.artifact.manifest["precision"] == "int8"


def test_files_that_hold_something_else_are_refused(written: Path) -> None:
    content = torch.load(written, weights_only=True)
    name = next(iter(content["tensors"]))
    damages = {
        "version": {"version": 2},
        "wrong or missing tensors": {"tensors": []},
        "damaged": {"document": "[[" * 100_000},
        "missing": {"tensors": {n: t for n, t in content["tensors"].items() if n != name}},
        "is damaged (tensor": {"tensors": {**content["tensors"], name: torch.zeros(1)}},
    }
    for says, change in damages.items():
        torch.save({**content, **change}, written)
        with pytest.raises(ModelError) as refused:
            import_file(written)
        assert says in str(refused.value)
    torch.save(content, written)
    with pytest.raises(UsageError):
        import_file(written, config={"family": "elm"})
    with pytest.raises(UsageError):
        import_file(written, dt=3.0)
