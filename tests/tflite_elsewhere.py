"""Runs .tflite files of a folder on another runtime; a script for an environment with numpy and that runtime alone.

    python tests/tflite_elsewhere.py litert|runtime|micro FOLDER

Beside NAME.tflite lies NAME.npz: `inputs` and `outputs` (names in the order of the subgraph), `state_of` (the output
that is the next value of each input, or ""), and an array [T, 1, *shape] of each input, [1, 1, *shape] of each state.
Written is NAME.out.npz: an array [T, 1, *shape] of each output. What a runtime cannot load is a line `NAME: why`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np


class Lite:
    """tflite-runtime, or LiteRT, by its signature."""

    def __init__(self, package: Any, data: bytes, inputs: list[str], outputs: list[str]) -> None:
        self.model = package.Interpreter(model_content=data, num_threads=1)
        self.model.allocate_tensors()
        self.step = self.model.get_signature_runner("step")

    def __call__(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(self.step(**values))


class Micro:
    """TFLite-Micro, by position."""

    def __init__(self, package: Any, data: bytes, inputs: list[str], outputs: list[str]) -> None:
        self.model = package.runtime.Interpreter.from_bytes(data, arena_size=1 << 22)
        self.inputs, self.outputs = inputs, outputs

    def __call__(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for at, name in enumerate(self.inputs):
            self.model.set_input(values[name], at)
        self.model.invoke()
        return {name: np.array(self.model.get_output(at)) for at, name in enumerate(self.outputs)}


def runtime(kind: str) -> Any:
    """The class that runs a model, with its package bound."""
    if kind == "micro":
        import tflite_micro as package

        return lambda *args: Micro(package, *args)
    if kind == "runtime":
        from tflite_runtime import interpreter as package
    else:
        from ai_edge_litert import interpreter as package
    return lambda *args: Lite(package, *args)


def main(kind: str, folder: Path) -> None:
    """Run every model of a folder."""
    make = runtime(kind)
    for path in sorted(folder.glob("*.tflite")):
        given = dict(np.load(path.with_suffix(".npz"), allow_pickle=False))
        inputs, outputs = (list(map(str, given.pop(k))) for k in ("inputs", "outputs"))
        state_of = dict(zip(inputs, map(str, given.pop("state_of")), strict=True))
        steps = int(given.pop("steps"))
        try:
            step = make(path.read_bytes(), inputs, outputs)
            values = {name: given[name][0] for name in inputs}
            found: dict[str, list[np.ndarray]] = {name: [] for name in outputs}
            for t in range(steps):
                values |= {name: given[name][t] for name in inputs if not state_of[name]}
                got = step(values)
                for name in outputs:
                    found[name].append(got[name])
                values |= {name: got[source] for name, source in state_of.items() if source}
        except (RuntimeError, ValueError) as error:
            print(f"{path.stem}: {' '.join(str(error).split())[:300]}", flush=True)
            continue
        np.savez(path.with_suffix(".out.npz"), **{name: np.stack(rows) for name, rows in found.items()})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
