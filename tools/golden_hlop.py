"""Golden files of HLOP through entries of an artifact: written, loaded, and called on several engines, without torch.

Lateral neurons and OTTT neurons are programs of their own. DSR neurons and whole training steps are not for devices:
`edgekit.learn.torch` is held to those files.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edgekit
from edgekit.convert.options import Options
from edgekit.convert.programs import convert_graph
from edgekit.ir import Graph
from edgekit.learn.lateral import LateralSettings
from edgekit.learn.ottt import TracedLif
from edgekit.learn.subspace import SubspaceLayer
from edgekit.reference import unpack_states
from edgekit.runtime import Session

TOLERANCE = 5e-6
"""The largest absolute difference allowed of anything in a file; spikes must be equal."""
REFERENCE = "reference"
TARGETS = "host", "raspberrypi4"
IN_TORCH = "HLOP_DSR_LIF", "HLOP_MLP_step"
CLIP, SCALE = 10.0, 20.0  # of the published code, where a file does not say

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Open = Callable[[Graph], Session]
Errors = dict[str, float]


def read_hlop(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """What a file says of itself, and its arrays."""
    with np.load(path, allow_pickle=False) as z:
        return json.loads(str(z["meta"])), {name: z[name] for name in z.files if name != "meta"}


def check_artifact(path: Path, target: str, folder: Path) -> tuple[str, Errors]:
    """The engine that ran, and the largest absolute difference from each array of a file, by its `meta`.

    `target` is that of the artifacts, which are written to `folder` and loaded again, or `reference`.
    """
    meta, z = read_hlop(path)
    opened: list[Session] = []

    def open_program(graph: Graph) -> Session:
        done = convert_graph(graph, Options(target="host" if target == REFERENCE else target))
        file = folder / f"{path.stem}.{target}.{len(opened)}.edge"
        done.artifact.save(file)
        engine = {REFERENCE: REFERENCE, "host": "native"}.get(target, "emulator")
        opened.append(edgekit.load(file, engine=engine))
        return opened[-1]

    errors: Errors = {}
    for name, error in KINDS[str(meta["kind"])](z, meta, open_program):
        errors[name] = max(error, errors.get(name, 0.0))
    return opened[0].engine, errors


def _error(got: Array, expected: Array) -> float:
    if got.shape != expected.shape:
        return float("inf")
    worst = float(np.abs(got.astype(np.float64) - expected).max(initial=0.0))
    return worst if np.isfinite(worst) else float("inf")


def _subspace(z: Arrays, meta: dict[str, Any], open_program: Open) -> Iterator[tuple[str, float]]:
    old = len(z["H_init_task1"])
    settings = LateralSettings(
        rows=(old, len(z["H_init_task2"]) - old),
        rate=meta["lr"],
        iterations=meta["iterations_per_batch"],
        momentum=meta["momentum"],
        steps=meta["spiking_timesteps"] if meta["spiking"] else None,
        scale=meta["spiking_scale"] or SCALE,
        clip=CLIP,
    )
    init = np.concatenate([z["H_init_task1"], z["H_init_task2"][old:]])
    layer = SubspaceLayer(init, z["lin_W"], z["X_task1"].shape[1], settings)
    yield from _iterations(z, layer, open_program)
    program = open_program(layer.graph())
    for task, rows in ((1, old), (2, len(init))):
        if task == 2:
            program.call("merge")
            yield "H_init_task2", _error(_state(program, "layer.lateral"), z["H_init_task2"])
        for at, batch in enumerate(z[f"X_task{task}"]):
            if task == 2:
                yield "X_task2_orth_to_task1", _error(program.call("project", batch), z["X_task2_orth_to_task1"][at])
            program.call("learn", batch)
            for name, state in (("H", "layer.lateral"), ("M", "layer.momentum")):
                if (key := f"{name}_task{task}_after_batch") in z:
                    yield key, _error(_state(program, state)[:rows], z[key][at])
    yield "H_final", _error(_state(program, "layer.lateral"), z["H_final"])
    found = program.call("gradient", z["lin_x"], z["lin_gout"])
    for name, got in zip(("lin_out", "lin_gW_projected", "lin_gx"), found, strict=True):
        yield name, _error(got, z[name])


def _iterations(z: Arrays, layer: SubspaceLayer, open_program: Open) -> Iterator[tuple[str, float]]:
    """The first batch one iteration at a time, which takes a program that does just one."""
    one = dataclasses.replace(layer, settings=dataclasses.replace(layer.settings, iterations=1))
    program, x = open_program(one.graph("one_iteration")), z["X_task1"][0]
    rows = len(z["H_init_task1"])
    for at, expected in enumerate(z["H_iter_batch0"]):
        y, explained = program.call("step", x)
        if at == 0:
            yield "xhat_iter_batch0_first", _error(explained, z["xhat_iter_batch0_first"])
        yield "y_iter_batch0", _error(y[:, :rows], z["y_iter_batch0"][at])
        yield "y_iter_batch0", _error(program.call("learn", x)[:, :rows], z["y_iter_batch0"][at])
        yield "H_iter_batch0", _error(_state(program, "layer.lateral")[:rows], expected)


def _ottt(z: Arrays, meta: dict[str, Any], open_program: Open) -> Iterator[tuple[str, float]]:
    if meta.get("v_reset") is not None or meta.get("decay_input"):
        raise SystemExit("error: OTTT neurons here reset by subtraction and take their input undecayed")
    neurons = TracedLif(*z["x"].shape[1:], tau=meta["tau"], threshold=meta["v_threshold"])
    program = open_program(neurons.graph())
    for at, x in enumerate(z["x"]):
        for name, got in zip(("spikes", "v_after_reset", "trace"), program.call("step", x), strict=True):
            wrong = int((got != z[name][at]).sum())
            yield name, float(wrong) if name == "spikes" else _error(got, z[name][at])


def _state(program: Session, name: str) -> Array:
    return unpack_states(program.artifact.graph, program.save_state())[name]


KINDS: Mapping[str, Callable[[Arrays, dict[str, Any], Open], Iterator[tuple[str, float]]]] = {
    "HLOP_subspace": _subspace,
    "HLOP_OTTT_LIF": _ottt,
}
"""Kind of a file -> its check, which yields the name of an array and a difference from it, some more than once."""


def check_file(path: Path, targets: Sequence[str], folder: Path) -> Iterator[tuple[str, Errors]]:
    """Each engine in words, and its differences from the arrays of a file."""
    kind = str(read_hlop(path)[0].get("kind"))
    if kind in IN_TORCH:
        try:
            from tools.hlop_torch import check_hlop
        except ImportError as error:
            raise SystemExit(f"error: {path} holds {kind}, which takes PyTorch: {error}") from error

        yield "edgekit.learn.torch", check_hlop(path)
        return
    if kind not in KINDS:
        raise SystemExit(f"error: {path} holds {kind}, not one of {', '.join((*KINDS, *IN_TORCH))}")
    for target in (REFERENCE, *targets):
        yield check_artifact(path, target, folder)


def lines(path: Path, engine: str, errors: Errors) -> list[str]:
    """A line for each array, and the verdict."""
    found = []
    for name, error in errors.items():
        if name == "spikes" and engine != "edgekit.learn.torch":
            said = "every spike equal" if not error else f"{error:.0f} spikes differ"
        else:
            said = f"largest error {error:.1e} of {TOLERANCE:.0e} allowed"
        verdict = "" if error <= TOLERANCE else "  WRONG"
        found.append(f"{path.stem:28}{engine:38}{name:24}{said}{verdict}")
    return found
