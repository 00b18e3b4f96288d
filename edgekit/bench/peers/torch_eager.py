"""PyTorch eager: the model itself in inference mode, its state dictionary handed from step to step."""

from __future__ import annotations

from typing import Any

from edgekit.bench.cases import Case
from edgekit.bench.packages import require
from edgekit.bench.subject import PythonSubject, Subject


def subjects(case: Case) -> list[Subject]:
    """One subject; PyTorch's threads are set to one."""
    require("torch", "convert")
    import torch

    torch.set_num_threads(1)
    module, state = case.module, case.module.init_state(1)

    def reset() -> None:
        nonlocal state
        state = module.init_state(1)

    def step(x: Any) -> Any:
        nonlocal state
        with torch.inference_mode():
            y, state = module.step(x, state)
        return y

    rows = list(torch.from_numpy(case.stimulus)[:, None])
    return [PythonSubject("PyTorch eager", f"torch {torch.__version__}", rows, case.ring, reset, step)]
