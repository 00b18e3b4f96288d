"""Continual learning of spiking networks in PyTorch by Hebbian orthogonal projection (HLOP, Xiao et al., ICLR 2024).

    net = SpikingMLP((784, 800, 800, 10), "dsr")
    outcome = train_continual(net, tasks, Schedule(subspaces=growing_subspaces(len(tasks))), checkpoint=path)
    outcome.matrix.acc, outcome.matrix.bwt

Importing this package imports torch; nothing else under `edgekit.learn` does.
"""

from edgekit.learn.torch.continual import Outcome, train_continual
from edgekit.learn.torch.dsr import Dsr, DsrNeuron, DsrSettings
from edgekit.learn.torch.lateral import Lateral, LateralSettings
from edgekit.learn.torch.layer import Layer
from edgekit.learn.torch.metrics import AccuracyMatrix
from edgekit.learn.torch.network import VARIANTS, SpikingMLP
from edgekit.learn.torch.progress import Report, progress
from edgekit.learn.torch.surrogate import Bptt, Ottt, SurrogateNeuron, SurrogateSettings
from edgekit.learn.torch.train import Schedule, Task, evaluate, growing_subspaces, train_task

__all__ = [
    "VARIANTS",
    "AccuracyMatrix",
    "Bptt",
    "Dsr",
    "DsrNeuron",
    "DsrSettings",
    "Lateral",
    "LateralSettings",
    "Layer",
    "Ottt",
    "Outcome",
    "Report",
    "Schedule",
    "SpikingMLP",
    "SurrogateNeuron",
    "SurrogateSettings",
    "Task",
    "evaluate",
    "growing_subspaces",
    "progress",
    "train_continual",
    "train_task",
]
