"""Training of nested widths, and the way from a recipe file to a run at a width."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from converted import edgekit_main
from nested_models import WIDTHS, rules
from tuned_models import data, imported, step, windows

from edgekit.compress.nested import Nesting, nesting_of
from edgekit.compress.rules import Compression, Tuning
from edgekit.errors import UsageError
from edgekit.frontends.graph_files import save_graph
from edgekit.reference import Interpreter
from edgekit.runtime import load
from edgekit.tune.model import Run
from edgekit.tune.nested import NestedNetwork, narrow_losses
from edgekit.tune.nested_floats import NestedEpoch, accuracies, fit_nested
from edgekit.tune.outcome import Asked, outcome

TUNING = Tuning(epochs=10, rate=2e-2, batch=32)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("family", ["mlp", "lmu", "elm"])
def test_a_network_at_a_width_is_the_step_without_the_other_units(family: str) -> None:
    graph = step(family).graph
    nesting = nesting_of(graph, rules(family))
    network = NestedNetwork(graph, nesting)
    (name,) = graph.entries["step"].inputs
    x = np.random.default_rng(2).standard_normal((3, 9, *graph.tensors[name].shape)).astype(np.float32)
    for at, outs in enumerate(network(torch.from_numpy(x))):
        alone = graph if at == 2 else nesting.narrowed(graph, at)
        (wanted,) = Interpreter(alone).run({name: x})[0].values()
        np.testing.assert_allclose(outs.detach().numpy(), wanted, rtol=2e-5, atol=2e-5)
    assert {id(p) for p in network.parameters()} == {id(p) for p in network.whole.parameters()}


def test_all_widths_learn_at_once_and_to_the_same_bits() -> None:
    seen: list[NestedEpoch] = []
    model = step("mlp")
    nesting = nesting_of(model.graph, rules("mlp"))
    one = fit_nested(model, nesting, data(), TUNING, on_epoch=seen.append)
    assert tuple(seen) == one.history
    assert len(seen) == TUNING.epochs
    assert np.mean(one.best.accuracies) == max(np.mean(e.accuracies) for e in one.history)
    assert np.all(np.array(one.best.accuracies) > (60, 75, 90))  # of three classes, a third is chance
    tuned = NestedNetwork(one.graph, nesting)
    assert accuracies(model, tuned, data().valid) == one.best.accuracies
    again = fit_nested(model, nesting, data(), TUNING)
    assert all(np.array_equal(t.data, again.graph.tensors[n].data) for n, t in one.graph.consts.items())


def test_the_whole_width_teaches_the_others_and_learns_nothing_from_them() -> None:
    y = torch.tensor([0, 2])
    one, other, whole = (torch.randn(2, 3, requires_grad=True) for _ in range(3))
    narrow_losses(Tuning(epochs=1, hard=0.0, soft=1.0), [one, other], whole, y).backward()
    assert whole.grad is None
    assert min(one.grad.abs().sum(), other.grad.abs().sum()) > 0
    assert narrow_losses(Tuning(hard=0.0, soft=1.0), [whole], whole, y).item() == pytest.approx(0, abs=1e-6)


def test_what_would_train_nothing_is_refused() -> None:
    model, nesting = step("mlp"), Nesting((100,), ())
    for tuning in (Tuning(), Tuning(epochs=1, traces=1.0), Tuning(epochs=1, average=0.9)):
        with pytest.raises(UsageError):
            fit_nested(model, nesting, data(), tuning)


@pytest.mark.slow
def test_from_a_recipe_to_a_run(tmp_path: Path) -> None:
    recipe, calib = tmp_path / "r.toml", tmp_path / "windows.npz"
    recipe.write_text('schema_version = 1\nprecision = "int8"\n[[nested]]\nmatch = "*"\nwidths = [0.5, 1.0]\n')
    np.savez(calib, x=windows(40, 3).x, y=windows(40, 3).y)
    model, edge = tmp_path / "model.pt", tmp_path / "m.edge"
    save_graph(model, imported("mlp").graph, imported("mlp").io)
    made = edgekit_main("convert", model, "--recipe", recipe, "--calib", calib, "-o", edge)
    assert made.returncode == 0, made.stderr
    told = json.loads(edgekit_main("inspect", edge, "--json").stdout)
    assert [row["percent"] for row in told["manifest"]["widths"]] == [100, 50]
    shown = edgekit_main("inspect", edge, "--selftest").stdout
    assert "50 %" in shown
    assert "at 50 %" in shown
    half = edgekit_main("run", edge, "-i", calib, "--width", 50, "--json")
    assert json.loads(half.stdout)["width"] == 50
    none = edgekit_main("run", edge, "-i", calib, "--width", 30)
    assert none.returncode == 2
    assert "width 30 %: is not in artifact" in none.stderr.splitlines()[0]
    assert "100 %, 50 %" in none.stderr


def test_a_recipe_trains_its_widths_with_the_rounding_in_the_loop() -> None:
    """Judged is the integer program, by the mean of its widths; what it is converted to decides as it was judged."""
    compression = Compression("int8", nested=rules("mlp"), tuning=dataclasses.replace(TUNING, epochs=6))
    done = outcome(imported("mlp"), Asked(compression, data().train, data().valid), Run())
    fitted, artifact = done.tuned.fitted, done.conversion.artifact
    assert fitted is not None
    assert fitted.accuracy == max(epoch.accuracy for epoch in fitted.history)
    found = []
    for percent in WIDTHS:
        session = load(artifact, width=percent / 100)
        found.append(100 * np.mean(session.decide(session.run(data().valid.x)) == data().valid.y))
    assert np.mean(found) == pytest.approx(fitted.accuracy, abs=3)  # scales have room for all widths at once
    assert np.all(np.array(found) > (50, 65, 85))
