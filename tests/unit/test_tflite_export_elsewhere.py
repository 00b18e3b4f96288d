"""The same .tflite files on tflite-runtime and on TFLite-Micro, each in an environment of its own.

Environments are made with pip once a session, or once for all in the folder that EDGEKIT_TFLITE_ENVS names. Where pip
reaches no index these tests fail under CI and skip elsewhere.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
from c_nets import l2mu
from tflite_cases import CASES, inputs_of, ports
from tflite_int8 import random_plan, run

from edgekit.backends.tflite import TfliteStep, export_tflite
from edgekit.backends.tflite.check import TOLERANCE
from edgekit.backends.tflite.measure import stored_values
from edgekit.compress.quantize import quantize_weights_int8
from edgekit.ir import Graph
from edgekit.passes.own_outputs import own_outputs
from edgekit.passes.pipelines import OPTIMISE, run_passes
from edgekit.reference import Interpreter

pytest.importorskip("ai_edge_litert")
pytestmark = [pytest.mark.slow, pytest.mark.drawn(2)]
SCRIPT = Path(__file__).parents[1] / "tflite_elsewhere.py"
PACKAGES = {"runtime": ("tflite-runtime==2.14.0", "numpy<2"), "micro": ("tflite-micro",)}
NEWEST = {"runtime": (3, 11), "micro": (3, 13)}  # Pythons that there are wheels for
STEPS = 20
FLOATS = {**CASES, "ports": own_outputs(ports()), "l2mu": run_passes(l2mu(hidden=24, channels=8), OPTIMISE)}
WHOLE = ("linear", "conv2", "conv2_depthwise", "spread", "pools", "moves", "where", "tanh", "gt", "ports", "l2mu")


def environment(kind: str, folder: Path) -> Path:
    """The Python of an environment with one runtime; it is made where it is not there yet."""
    python = folder / kind / "bin" / "python"
    done = folder / kind / "complete"
    if not done.exists():
        if sys.version_info[:2] > NEWEST[kind]:
            pytest.skip(f"{kind}: there are no wheels for Python {sys.version_info.major}.{sys.version_info.minor}")
        venv.create(folder / kind, with_pip=True, clear=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[kind]]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if answer.returncode:
            reason = f"pip cannot install {' '.join(PACKAGES[kind])}: {answer.stderr.strip()[-300:]}"
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        done.touch()
    return python


@pytest.fixture(scope="module", params=PACKAGES)
def elsewhere(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A runtime, and the Python that has it."""
    named = os.environ.get("EDGEKIT_TFLITE_ENVS")
    folder = Path(named) if named else tmp_path_factory.getbasetemp() / "tflite-environments"
    folder.mkdir(parents=True, exist_ok=True)
    return request.param, environment(request.param, folder)


def write(folder: Path, name: str, data: bytes, inputs: dict[str, np.ndarray]) -> None:
    """A model and its inputs [T, *shape], as the script reads them."""
    model = TfliteStep(data)
    states = () if model.resource else model.document.states
    given = {n: a[:, None] for n, a in inputs.items()} | {s.input: s.init[None, None] for s in states}
    (folder / f"{name}.tflite").write_bytes(data)
    np.savez(
        folder / f"{name}.npz",
        inputs=[p.name for p in model.document.inputs] + [s.input for s in states],
        outputs=[p.name for p in model.document.outputs] + [s.output for s in states],
        state_of=[""] * len(model.document.inputs) + [s.output for s in states],
        steps=STEPS,
        **given,
    )


def results(elsewhere: tuple[str, Path], folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """What a runtime made of all models of a folder, arrays [T, *shape] by name; a failure is a failure."""
    kind, python = elsewhere
    answer = subprocess.run(
        [python, SCRIPT, kind, folder], capture_output=True, text=True, timeout=300, check=False, env={"PATH": "/bin"}
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert answer.stdout == "", answer.stderr[-2000:]
    found = {}
    for path in folder.glob("*.out.npz"):
        with np.load(path) as file:
            found[path.name.removesuffix(".out.npz")] = {name: file[name][:, 0] for name in file.files}
    return found


def reference(graph: Graph, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outputs and next states [T, *shape] of the numpy reference."""
    engine = Interpreter(graph)
    state, rows = engine.initial_state(), []
    for t in range(STEPS):
        outputs, state = engine.execute({n: a[t][None] for n, a in inputs.items()}, state)
        rows.append({**outputs, **{f"{n}.next": v for n, v in state.items()}})
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.drawn(3)
def test_float_models_equal_the_reference(elsewhere: tuple[str, Path], tmp_path: Path) -> None:
    """All ops, int8 weights, and states inside."""
    graphs = dict(FLOATS)
    graphs["l2mu_w8"] = quantize_weights_int8(FLOATS["l2mu"])
    for name, graph in graphs.items():
        inputs = inputs_of(graph, STEPS)
        write(tmp_path, name, export_tflite(graph, io={}), inputs)
        if graph.states:
            write(tmp_path, f"{name}_inside", export_tflite(graph, io={}, states="resource"), inputs)
    found = results(elsewhere, tmp_path)
    assert found.keys() == {*graphs, *(f"{n}_inside" for n, g in graphs.items() if g.states)}
    for name, values in found.items():
        graph = graphs[name.removesuffix("_inside")]
        wanted = reference(graph, inputs_of(graph, STEPS))
        for key, value in values.items():
            expected = wanted[key].astype(np.float64)
            error = np.abs(value - expected) / np.maximum(1, np.abs(expected))
            assert error.max() <= TOLERANCE, (name, key)
            if wanted[key].dtype == np.bool_:
                np.testing.assert_array_equal(value, expected, err_msg=f"{name} {key}")


def test_int8_models_equal_litert_in_every_byte(elsewhere: tuple[str, Path], tmp_path: Path) -> None:
    wanted = {}
    for name in WHOLE:
        graph = FLOATS[name]
        data = export_tflite(graph, io={}, precision="int8", plan=random_plan(graph))
        model, inputs = TfliteStep(data), inputs_of(graph, STEPS)
        given = {p.name: stored_values(p, inputs[p.name]) for p in model.document.inputs}
        wanted[name] = run(model, given)
        write(tmp_path, name, data, given)
    found = results(elsewhere, tmp_path)
    assert found.keys() == wanted.keys()
    for name, values in found.items():
        for key, value in values.items():
            np.testing.assert_array_equal(value, wanted[name][key], err_msg=f"{name} {key}")


@pytest.mark.drawn(2)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_the_corpus_runs_there_too(
    elsewhere: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules of the corpus, 100 steps, outputs and states."""
    for package in ("torch", "snntorch", "norse", "nir"):
        pytest.importorskip(package)
    from corpus.cases import SOME as CORPUS
    from corpus.cases import imported
    from corpus.compare import STEPS as MANY
    from corpus.compare import inputs_of as corpus_inputs

    monkeypatch.setattr(sys.modules[__name__], "STEPS", MANY)
    graphs, inputs = {}, {}
    for at, name in enumerate(CORPUS):
        graph = own_outputs(run_passes(imported(name).graph, OPTIMISE))
        names, rows = graph.entries["step"].inputs, corpus_inputs(name, graph)
        graphs[f"c{at}"] = graph
        inputs[f"c{at}"] = {n: np.stack([row[i] for row in rows]) for i, n in enumerate(names)}
        write(tmp_path, f"c{at}", export_tflite(graph, io={}), inputs[f"c{at}"])
    found = results(elsewhere, tmp_path)
    assert found.keys() == graphs.keys()
    far = {}
    for key, values in found.items():
        wanted = reference(graphs[key], inputs[key])
        for name, value in values.items():
            expected = wanted[name].astype(np.float64)
            size = np.abs(expected)
            if name.endswith(".next"):  # states by their size, as in check_tflite
                size = size.reshape(len(size), -1).max(axis=1).reshape(-1, *(1,) * (size.ndim - 1))
            error = float((np.abs(value - expected) / np.maximum(1, size)).max())
            if error > TOLERANCE:
                far[list(CORPUS)[int(key[1:])], name] = error
    assert far == {}
