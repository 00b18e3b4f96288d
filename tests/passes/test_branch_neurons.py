"""Branches of synapses as people write them in PyTorch: imported, optimised, and still what the module computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import edgekit  # noqa: E402
from edgekit import models  # noqa: E402
from edgekit.convert import original_of  # noqa: E402
from edgekit.frontends import import_module  # noqa: E402
from edgekit.ir import Graph  # noqa: E402
from edgekit.passes.pipelines import OPTIMISE, run_passes  # noqa: E402
from edgekit.reference import Interpreter  # noqa: E402
from edgekit.verify import verify_artifact  # noqa: E402

INPUTS, BRANCHES, SYNAPSES = 20, 6, 5
TABLE = torch.randint(INPUTS, (BRANCHES * SYNAPSES,), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(BRANCHES * SYNAPSES) % 4 > 0).float()

CHOICES: dict[str, Callable[[Tensor], Tensor]] = {
    "index_select": lambda x: x.index_select(1, TABLE),
    "indexing": lambda x: x[:, TABLE],
    "gather": lambda x: torch.gather(x, 1, TABLE.expand(len(x), -1)),
    "take_along_dim": lambda x: torch.take_along_dim(x, TABLE[None], 1),
}
SUMS: dict[str, Callable[[Tensor], Tensor]] = {
    "view": lambda s: s.view(len(s), BRANCHES, SYNAPSES).sum(-1),
    "unflatten": lambda s: s.unflatten(1, (BRANCHES, SYNAPSES)).sum(2),
    "mean": lambda s: s.reshape(-1, BRANCHES, SYNAPSES).mean(2) * SYNAPSES,
    "kept": lambda s: s.reshape(-1, BRANCHES, SYNAPSES).sum(2, keepdim=True).squeeze(2),
}


class Neuron(nn.Module):
    """A branch neuron of a user: the state in an attribute, the decay from a softplus, weights clipped and masked."""

    def __init__(self, choose: str = "index_select", add: str = "view") -> None:
        super().__init__()
        random = torch.Generator().manual_seed(1)
        self.choose, self.add = CHOICES[choose], SUMS[add]
        self.weight = nn.Parameter(torch.randn(BRANCHES * SYNAPSES, generator=random))
        self.rate = nn.Parameter(torch.randn(BRANCHES, 1, generator=random))
        self.out = nn.Linear(BRANCHES, 3)
        self.synapses = torch.zeros(1, BRANCHES * SYNAPSES)

    def decay(self) -> Tensor:
        return torch.exp(-nn.functional.softplus(self.rate)).expand(BRANCHES, SYNAPSES).reshape(-1)

    def forward(self, x: Tensor) -> Tensor:
        drive = torch.relu(self.weight) * (self.choose(x) * MASK)
        self.synapses = self.decay() * self.synapses + drive
        return self.out(torch.tanh(self.add(self.synapses)))


def optimised(module: nn.Module) -> tuple[Graph, Graph]:
    """The graph as imported, which the replay check has compared with the module, and after the passes."""
    before = import_module(module.eval(), torch.zeros(1, INPUTS), name="neuron").graph
    return before, run_passes(before, OPTIMISE)


def same(before: Graph, after: Graph) -> None:
    x = np.random.default_rng(0).normal(size=(3, 30, INPUTS)).astype(np.float32)
    a, b = (next(iter(Interpreter(g, np.float64).run({"x": x})[0].values())) for g in (before, after))
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def kinds(graph: Graph) -> set[str]:
    return {op.kind for _, op in graph.ops()}


@pytest.mark.parametrize("choose", CHOICES)
@pytest.mark.parametrize("add", SUMS)
def test_a_filter_per_synapse_becomes_one_per_branch_however_it_is_written(choose, add):
    before, after = optimised(Neuron(choose, add))
    assert [s.init.size for s in before.states] == [BRANCHES * SYNAPSES]
    assert [s.init.size for s in after.states] == [BRANCHES]
    assert not {"gather", "sum"} & kinds(after)
    same(before, after)


def test_the_first_values_of_synapses_are_those_of_their_branch():
    module = Neuron()
    module.synapses = torch.arange(BRANCHES * SYNAPSES, dtype=torch.float32)[None] / 7
    before, after = optimised(module)
    expected = before.states[0].init.reshape(BRANCHES, SYNAPSES).sum(1)
    np.testing.assert_allclose(after.states[0].init, expected, rtol=1e-6)
    same(before, after)


class Mixed(Neuron):
    """Synapses of one branch with unlike time constants."""

    def decay(self) -> Tensor:
        return torch.linspace(0.1, 0.9, BRANCHES * SYNAPSES)


class Watched(Neuron):
    """A synapse is read beside the branches."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.synapses[:, :1]


@pytest.mark.parametrize("kind", [Mixed, Watched])
def test_synapses_that_are_needed_one_by_one_stay(kind):
    before, after = optimised(kind())
    assert [s.init.size for s in after.states] == [BRANCHES * SYNAPSES]
    same(before, after)


def elm(**settings: object) -> nn.Module:
    torch.manual_seed(0)
    common = {"inputs": INPUTS, "outputs": 3, "memory": 8, "branches": BRANCHES, "synapses": SYNAPSES}
    return models.ELM(**{**common, "routing": "neuronio", **settings}).eval()


ELMS = {
    "v1": ({"version": "v1"}, [BRANCHES, 8]),
    "v2": ({"version": "v2"}, [BRANCHES, 8]),
    "v1, random routing": ({"version": "v1", "routing": "random"}, [BRANCHES, 8]),
    "v1, a time constant per branch": ({"version": "v1", "tau": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}, [BRANCHES, 8]),
    "v1, one per synapse": ({"version": "v1", "tau": np.linspace(2, 9, 30).tolist()}, [30, 8]),
    "v1, plain": ({"version": "v1", "routing": "none", "branches": INPUTS, "synapses": 1}, [INPUTS, 8]),
    "v2, plain": ({"version": "v2", "routing": "none", "branches": INPUTS, "synapses": 1}, [INPUTS, 8]),
    "v2, several layers": ({"version": "v2", "layers": 3, "activation": "silu"}, [BRANCHES, 8]),
}


@pytest.mark.parametrize(("settings", "states"), ELMS.values(), ids=ELMS)
def test_every_form_of_the_elm_keeps_no_more_states_than_it_needs(settings, states):
    before, after = optimised(elm(**settings))
    assert sorted(s.init.size for s in after.states) == sorted(states)
    assert not {"concat", "exp"} & kinds(after)
    assert ("sum" in kinds(after)) == (sum(states) == BRANCHES * SYNAPSES + 8)
    same(before, after)


@pytest.mark.parametrize("precision", ["fp32", "w8"])
def test_an_artifact_with_merged_filters_is_verified_against_the_module(precision):
    """The states are not those of the module; outputs, layers that both have and the weights still are."""
    module = elm(version="v1")
    artifact = edgekit.convert(module, precision=precision)
    assert {s.tensor for s in artifact.graph.states} == {"m", "s.sum"}
    x = np.random.default_rng(0).normal(size=(4, 12, INPUTS)).astype(np.float32)
    report = verify_artifact(edgekit.load(artifact), original_of(import_module(module, None, name="elm")), x)
    assert report.passed
    assert {"state m"} <= {layer.name for layer in report.layers}
    if precision == "fp32":
        assert report.worst_output_error < 1e-5
        assert all(layer.step is None for layer in report.layers)
