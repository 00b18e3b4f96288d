"""What the neurobench package counts on the models of a file; run in its own environment, by a test.

python tools/bench/neurobench_figures.py FILE.pt  ->  one JSON object on the last line

FILE.pt holds a list of {name, kind, config, weights, x}: `kind` is mlp or leaky, x is [N, F] or [N, T, F].
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations
from neurobench.models import SNNTorchModel, TorchModel
from neurobench_nets import Spiking, dense
from torch.utils.data import DataLoader, TensorDataset


def figures(case: dict[str, Any]) -> dict[str, Any]:
    """All metrics of one model."""
    config = case["config"]
    net = Spiking(**config) if case["kind"] == "leaky" else dense(**config)
    net.load_state_dict(case["weights"], strict=False)
    model = SNNTorchModel(net) if case["kind"] == "leaky" else TorchModel(net)
    x = case["x"]
    data = DataLoader(TensorDataset(x, torch.zeros(len(x), dtype=torch.long)), batch_size=len(x))
    metrics = [Footprint, ParameterCount, ConnectionSparsity], [ActivationSparsity, SynapticOperations, MembraneUpdates]
    with torch.no_grad():
        found: dict[str, Any] = Benchmark(model, data, [], [], list(metrics)).run(quiet=True)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    cases = torch.load(sys.argv[1], weights_only=True)
    print(json.dumps({case["name"]: figures(case) for case in cases}))
