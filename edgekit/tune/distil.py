"""What a model is taught beside its labels: the scores, spike counts and membranes of another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import torch
from torch import Tensor as Values
from torch import nn
from torch.nn import functional

from edgekit.compress.rules import Tuning
from edgekit.errors import UsageError
from edgekit.ir import SPIKE, Graph
from edgekit.tune.network import GraphNetwork
from edgekit.tune.windows import Step


@dataclass(frozen=True, eq=False)
class Taught:
    """Scores of windows [N, C] before a softmax, and values over their steps [N, T, *shape] by name."""

    scores: Values
    traces: Mapping[str, Values] = field(default_factory=dict)


class Teacher(Protocol):
    """Whatever has an opinion about windows."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Values whose traces it can show, with the shape of one step."""

    def identity(self) -> str:
        """A text that differs where the teacher does."""

    def teach(self, x: Values, watch: Sequence[str] = ()) -> Taught:
        """Its scores of raw windows [N, T, *shape], and the traces of the values in `watch`."""


class GraphTeacher:
    """A float step as a teacher: the model before its compression, or one of another architecture."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self._network = GraphNetwork(step.graph, ())

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        return traced(self.step.graph)

    def identity(self) -> str:
        return self.step.identity()

    def teach(self, x: Values, watch: Sequence[str] = ()) -> Taught:
        with torch.no_grad():
            y, traces = self._network(self.step.normalised(x), watch)
        return Taught(self.step.scores(y), traces)


class ModuleTeacher:
    """A module that gives the scores [N, C] of raw windows [N, T, *shape]."""

    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({})

    def __init__(self, module: nn.Module, name: str) -> None:
        self._module, self._name = module.eval(), name

    def identity(self) -> str:
        return self._name

    def teach(self, x: Values, watch: Sequence[str] = ()) -> Taught:  # noqa: ARG002  (it has no names)
        with torch.no_grad():
            return Taught(self._module(x))


class Several:
    """Teachers that are asked together: their scores are the mean of their log probabilities."""

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self._teachers = teachers

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Those of the first, which traces come from."""
        return self._teachers[0].shapes

    def identity(self) -> str:
        return " ".join(teacher.identity() for teacher in self._teachers)

    def teach(self, x: Values, watch: Sequence[str] = ()) -> Taught:
        first, *others = (t.teach(x, () if at else watch) for at, t in enumerate(self._teachers))
        scores = [torch.log_softmax(taught.scores, 1) for taught in (first, *others)]
        if len({one.shape for one in scores}) > 1:
            found = ", ".join(str(tuple(one.shape[1:])) for one in scores)
            raise UsageError(
                "teachers", f"give scores of the shapes {found}", "take those that decide between the same"
            )
        return Taught(torch.stack(scores).mean(0), first.traces)


def traced(graph: Graph) -> dict[str, tuple[int, ...]]:
    """The values of a step that traces are taken of, with their shapes: what states become, and the outputs."""
    step = graph.entries["step"]
    made = {name for op in step.ops for name in op.outputs}
    return {name: graph.tensors[name].shape for name in (*step.updates.values(), *step.outputs) if name in made}


def common(graph: Graph, teacher: Teacher) -> tuple[str, ...]:
    """The values that a step and a teacher both have, by name and shape."""
    return tuple(name for name, shape in traced(graph).items() if teacher.shapes.get(name) == shape)


def loss_of(tuning: Tuning, graph: Graph, own: Taught, y: Values, taught: Taught | None) -> Values:
    """hard · CE(y, scores) + soft · T² KL(teacher/T, scores/T) + traces · mean over values of their distance."""
    loss = tuning.hard * functional.cross_entropy(own.scores, y)
    if taught is None:
        return loss
    t = tuning.temperature
    wanted = torch.log_softmax(taught.scores / t, 1)
    apart = functional.kl_div(torch.log_softmax(own.scores / t, 1), wanted, log_target=True, reduction="batchmean")
    loss = loss + tuning.soft * t * t * apart
    if own.traces:
        far = [_distance(graph, name, value, taught.traces[name]) for name, value in own.traces.items()]
        loss = loss + tuning.traces * torch.stack(far).mean()
    return loss


def _distance(graph: Graph, name: str, own: Values, wanted: Values) -> Values:
    """Of spikes the mean squared difference of rates, of reals that of values over their variance."""
    if graph.tensors[name].dtype is SPIKE:
        return torch.mean((own.mean(1) - wanted.mean(1)) ** 2)
    return torch.mean((own - wanted) ** 2) / wanted.var().clamp_min(1e-12)
