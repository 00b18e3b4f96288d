"""Fine-tuning of graphs in torch, with compression in the loop."""

from edgekit.tune.distil import GraphTeacher, ModuleTeacher, Several
from edgekit.tune.fitting import Epoch, Hooks
from edgekit.tune.model import Run, Tuned, tune
from edgekit.tune.windows import Data, Windows

__all__ = [
    "Data",
    "Epoch",
    "GraphTeacher",
    "Hooks",
    "ModuleTeacher",
    "Run",
    "Several",
    "Tuned",
    "Windows",
    "tune",
]
