"""torch.compile: the step as one graph of fixed shapes, compiled by Inductor, its states handed from call to call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from edgekit.bench.cases import Case
from edgekit.bench.peers.step import example, step_module
from edgekit.bench.subject import PythonSubject, Subject

_WAYS: Mapping[str, Mapping[str, Any]] = {
    "torch.compile": {},
    "torch.compile, C++ wrapper": {"options": {"cpp_wrapper": True}},  # less Python around the compiled graph
}


def subjects(case: Case, folder: Path, threads: int) -> dict[str, Callable[[], Subject]]:  # noqa: ARG001
    """The two ways that matter without a GPU."""
    return {name: partial(_compiled, name, options, case, threads) for name, options in _WAYS.items()}


def _compiled(name: str, options: Mapping[str, Any], case: Case, threads: int) -> Subject:
    import torch

    torch.set_num_threads(threads)
    function: Any = torch.compile(step_module(case), fullgraph=True, dynamic=False, **options)
    _, *start = example(case)
    states: Any = ()

    def reset() -> None:
        nonlocal states
        states = [state.clone() for state in start]

    def step(x: Any) -> Any:
        nonlocal states
        with torch.inference_mode():
            y, *states = function(x, *states)
        return y

    reset()
    step(example(case)[0])  # compiles
    detail = f"torch {torch.__version__}, Inductor"
    return PythonSubject(name, detail, case, lambda row: torch.from_numpy(row[None].copy()), reset, step)
