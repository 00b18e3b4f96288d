"""PyTorch eager: the model itself in inference mode, its state dictionary handed from step to step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgekit.bench.cases import Case
from edgekit.bench.subject import PythonSubject, Subject


def subjects(case: Case, folder: Path, threads: int) -> dict[str, Callable[[], Subject]]:  # noqa: ARG001
    """One subject."""
    name = "PyTorch eager"
    return {name: lambda: _eager(name, case, threads)}


def _eager(name: str, case: Case, threads: int) -> Subject:
    import torch

    torch.set_num_threads(threads)
    module, state = case.module, case.module.init_state(1)

    def reset() -> None:
        nonlocal state
        state = module.init_state(1)

    def step(x: Any) -> Any:
        nonlocal state
        with torch.inference_mode():
            y, state = module.step(x, state)
        return y

    detail = f"torch {torch.__version__}"
    return PythonSubject(name, detail, case, lambda row: torch.from_numpy(row[None].copy()), reset, step)
