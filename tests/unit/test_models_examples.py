"""Every example runs from training, or from what is shipped, to a program that is verified and profiled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgekit.cli.packages import EXTRAS

pytest.importorskip("torch")

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
ROAD = ["converted", "verified", "passed", "instructions a step", "energy of a step"]
SAME = ["decisions equal in 100.00%", *ROAD]
CARD = json.loads((EXAMPLES / "braille7.json").read_text(encoding="utf-8"))
# What is run, and what it says; a word in front names the packages that it needs.
CASES: dict[str, list[str]] = {
    "mlp": ["PyTorch 100.00%, program 100.00%", *SAME],
    "l2mu": ["same spikes True", *SAME],
    "lmu": ["same values True", *ROAD],
    "lmu_psmnist --batches 1 --batch 4 --verify 1": ["1 windows of 784 steps", *ROAD],
    "memory": ["learned on the device: 24 of 24", "same bytes: True"],
    "elm": ["same values True", *SAME],
    "elm_neuronio {shared}/golden/elm_v1_neuronio_num_memory_15.npz": ["2 windows of 100 steps", *SAME],
    "wrist mlp": SAME,
    "wrist lmu --target smartwatch --precision int8": ["cortex-m33 (emulated)", *ROAD],
    "wrist l2mu --target host": ["spikes equal", "on this computer (measured)"],
    "wrist elm": SAME,
    "snntorch_net": ["_1.mem, _3.mem: found", "spikes equal", *SAME],
    "norse_net": ["state1.v, state1.i, state3.v, state3.i: found", "spikes equal", *SAME],
    "nir_graph": ["spikes equal", *SAME],
    "personalise": ["taught     synthetic_wave in 20 of 20", "undone     synthetic_wave in 0 of 20", "the same: True"],
    "jetson_onnx": ["elm_synthetic.seq.onnx: all of it is documented", "decisions equal in 100.00%", "passed"],
    "wear_os --states resource -o watch.tflite": ["watch.tflite", "decisions equal in 100.00%", "passed"],
    "cortex_m": ["the firmware says what the reference says: True", *ROAD],
    "zephyr_app -o watch": ["cd watch && west build", *ROAD],
    "braille --data {shared}/data/braille7_events.npz --epochs 0 --start {examples}/braille7.pt --verify 2": [
        *(f"{said} {CARD['test_accuracy']:.1%} of" for said in ("929 letters:", "the program reads")),
        *("passed", "a step on this computer (measured)"),
    ],
}
PACKAGES = {"snntorch_net": "snntorch", "norse_net": "norse", "nir_graph": "nir", "jetson_onnx": "onnxruntime"}
PACKAGES |= {"wear_os": "ai_edge_litert"}


def example(folder: Path, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_every_example_is_run_and_in_the_table() -> None:
    files = {path.stem for path in EXAMPLES.glob("*.py")} - {"road"}
    assert {case.split()[0] for case in CASES} == files
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in files if f"({name}.py)" not in table] == []


@pytest.mark.drawn(8)
@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_an_example_does_what_it_says(case: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    shared = request.getfixturevalue("shared") if "{shared}" in case else None
    name, *arguments = case.format(shared=shared, examples=EXAMPLES).split()
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    done = example(tmp_path, name, *arguments)
    if name == "cortex_m" and "is not installed" in done.stderr and "CI" not in os.environ:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    assert [promise for promise in CASES[case] if promise not in done.stdout] == [], done.stdout


WITHOUT = """
import runpy, sys
from importlib.machinery import PathFinder

packages, folder, *cases = sys.argv[1:]

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, *where):
        return None if name.split(".")[0] in packages.split(",") else super().find_spec(name, *where)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
sys.path.insert(0, folder)
for case in cases:
    sys.argv = case.split()
    try:
        if sys.argv[0].startswith("examples."):
            runpy.run_module(sys.argv[0], run_name="__main__")
        else:
            runpy.run_path(f"{folder}/{sys.argv[0]}.py", run_name="__main__")
    except SystemExit as ended:
        print(f"{ended.code}: {case}", file=sys.stderr)
"""


def without(packages: Iterable[str], folder: Path, cases: Sequence[str]) -> list[str]:
    """Run examples in turn where packages are not installed: what each says, then its exit code and itself."""
    command = [sys.executable, "-c", WITHOUT, ",".join(packages), str(EXAMPLES), *cases]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_what_a_reader_can_mend_is_one_line(tmp_path: Path) -> None:
    contents = {"other": {"x": np.zeros(3)}, "half": {"x_packed": np.zeros(3), "shape": np.array([2, 4])}}
    for name, content in contents.items():
        np.savez(tmp_path / f"{name}.npz", **content)
    cases = {
        "zephyr_app -o watch --target jetson": "error: --target jetson: does not run Zephyr",
        f"elm_neuronio {EXAMPLES}/braille7.pt": "braille7.pt: holds no ELM neuron but l2mu",
        "lmu_psmnist --verify 1024": "error: --verify 1024: leaves none of 1024 digits to train on",
        "lmu_psmnist --data none.npz": "error: none.npz: cannot be read: No such file or directory; give a file of",
        "braille --data none.npz": "error: none.npz: no such file; give --data FILE, or set EDGEKIT_SHARED",
        **{f"braille --data {name}.npz": f"{name}.npz: does not hold Braille events" for name in contents},
    }
    if find_spec("nir") is not None:
        cases["nir_graph --dt 1e-3"] = "error: --dt and --reset: are for a graph that is given"
    said = without([], tmp_path, list(cases))
    assert said[1::2] == [f"2: {case}" for case in cases]
    for line, expected in zip(said[::2], cases.values(), strict=True):
        assert expected in line


def test_a_package_that_is_missing_is_one_line(tmp_path: Path) -> None:
    cases = [case for case in CASES if "{shared}" not in case]
    cases += [f"elm_neuronio {EXAMPLES}/braille7.pt", "braille", "examples.har.train --family elm --split synthetic"]
    said = without(EXTRAS, tmp_path, cases)
    assert said[1::2] == [f"2: {case}" for case in cases]
    assert [line for line in said[::2] if 'is not installed; pip install "edgekit[' not in line] == []


@pytest.mark.parametrize(
    ("line", "stdout", "code", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGINT)", os.devnull, 130, "error: interrupted; no file is half written\n"),
        (
            *("print('x' * 5)", "/dev/full", 2),
            "error: standard output: cannot be written: No space left on device; make some room\n",
        ),
        ("os.dup2(closed, 1); print('x' * 5)", os.devnull, 0, ""),
    ],
)
def test_an_example_ends_as_the_command_line_does(line: str, stdout: str, code: int, said: str) -> None:
    script = "import os, signal; from road import run; reader, closed = os.pipe(); os.close(reader)"
    command = [sys.executable, "-c", f"{script}; run(lambda: exec({line!r}))"]
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{EXAMPLES}"}
    with Path(stdout).open("w") as out:
        done = subprocess.run(
            command, env=environment, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.slow
def test_a_folder_for_zephyr_is_whole_or_not_there(tmp_path: Path) -> None:
    said, ended = without(["unicorn"], tmp_path, ["zephyr_app -o some/watch"])
    assert (said.split(";")[0], ended) == ("error: unicorn: is not installed", "2: zephyr_app -o some/watch")
    assert list((tmp_path / "some").iterdir()) == []
