"""States that grow without end are named at conversion; whatever is stable, or bounded, is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from converted import edgekit_main

torch = pytest.importorskip("torch")

import edgekit  # noqa: E402
from edgekit.errors import ReplayError  # noqa: E402
from edgekit.frontends import import_module  # noqa: E402
from edgekit.models import ELM, L2MU, LMU  # noqa: E402
from edgekit.reference import growing_states  # noqa: E402


def lmu(order: int, theta: float, discretisation: str = "euler", **settings: object) -> LMU:
    torch.manual_seed(0)
    sizes = {"inputs": 3, "hidden": 8, "memory": 2, "order": order, "outputs": 3}
    return LMU(**sizes, theta=theta, discretisation=discretisation, **settings).eval()


def radius(model: LMU) -> float:
    return float(np.abs(np.linalg.eigvals(model.A.weight.detach().double().numpy())).max())


class Cell(torch.nn.Module):
    """s' = `a` s + x: a leak below 1, an integrator at 1."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = a
        self.register_buffer("s", torch.zeros(1, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.s = self.a * self.s + x
        return self.s


def growth_of(model: torch.nn.Module, example: torch.Tensor | None = None) -> list:
    return growing_states(import_module(model, example, name="net").graph)


@pytest.mark.parametrize("factor", [0.5, 0.999, 1.0])
def test_leaks_and_integrators_do_not_grow(factor):
    assert growth_of(Cell(factor), torch.zeros(1, 2)) == []


@pytest.mark.parametrize("factor", [1.01, 1.2, 3.0])
def test_the_factor_of_a_step_is_found(factor):
    (found,) = growth_of(Cell(factor), torch.zeros(1, 2))
    assert found.state == "s"
    assert found.factor == pytest.approx(factor, rel=1e-3)
    assert found.steps == pytest.approx(np.log(3.4e38) / np.log(factor), rel=1e-3, abs=1)


@pytest.mark.parametrize(
    "model",
    [
        lmu(6, 40.0, "zoh"),
        lmu(12, 8.0, "zoh"),
        lmu(6, 26.0),
        lmu(6, 40.0, activation="relu"),
        ELM(inputs=4, outputs=2, memory=6).eval(),
        L2MU(inputs=3, hidden=8, memory=4, order=4, outputs=3, theta=8.0).eval(),
    ],
    ids=["zoh", "zoh of a short window", "euler", "relu", "elm", "l2mu"],
)
def test_stable_models_do_not_grow(model):
    assert growth_of(model) == []


def test_an_unstable_euler_memory_is_said_to_grow_by_its_spectral_radius(tmp_path):
    model = lmu(5, 7.5)
    assert 1.01 < radius(model) < 1.02
    edgekit.save(model, tmp_path / "m.pt")
    answer = edgekit_main("convert", tmp_path / "m.pt", "-o", tmp_path / "m.edge", "--json")
    assert answer.returncode == 0
    (note,) = json.loads(answer.stdout)["notes"]
    assert "state 'm' is unstable" in note
    assert f"{radius(model):.4g} a step" in note
    assert "larger theta" in note
    assert note in edgekit_main("inspect", tmp_path / "m.edge").stdout
    assert f"note: {note}" in edgekit_main("convert", tmp_path / "m.pt", "-o", tmp_path / "m.edge").stdout


def test_a_model_too_unstable_to_be_replayed_is_refused_for_that_reason():
    with pytest.raises(ReplayError, match="unstable state") as refused:
        edgekit.convert(lmu(8, 10.0))
    assert any("grows by a factor of 1.31" in item for item in refused.value.items)


def test_an_overflow_is_said_where_it_shows(tmp_path):
    edge = edgekit.convert(Cell(3.0), torch.zeros(1, 2), name="net").save(tmp_path / "m.edge")
    np.save(tmp_path / "x.npy", np.ones((100, 2), np.float32))
    answer = edgekit_main("run", edge, "-i", tmp_path / "x.npy", "-o", tmp_path / "y.npy", "--json")
    assert answer.returncode == 0
    (first,) = json.loads(answer.stdout)["overflow_at"]
    y = np.load(tmp_path / "y.npy")
    assert np.isfinite(y[:first]).all()
    assert not np.isfinite(y[first]).all()
    assert f"NaN or Inf from [{first}] on" in edgekit_main("run", edge, "-i", tmp_path / "x.npy").stdout
