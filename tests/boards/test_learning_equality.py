"""HLOP in integers: the same bytes in the reference, in C here and on emulated Cortex-M, after over 1,000 updates."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import edgekit
from edgekit.learn import Learning
from edgekit.reference import unpack_states
from edgekit.runtime import Session
from edgekit.toolchain.qemu_system import find_qemu_system
from tools import device_digits

SIZE, CLASSES, TASKS, WINDOW = 24, 4, 3, 5
ROUNDS = (1, 99, 240, 240, 240, 240)  # updates before each comparison; a task ends after the third and the fifth
ENDS = (2, 4)
MANY, FEW = sum(ROUNDS), 100
BOARDS = {"smartwatch-m33": MANY, "smartwatch-m4": MANY, "smartwatch-m55": FEW}
Snapshot = dict[str, np.ndarray]


def samples() -> Iterator[tuple[np.ndarray, int]]:
    """Points around a centre for each class; each task mixes the coordinates in its own way."""
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(CLASSES, SIZE))
    mixed = [rng.permutation(SIZE) for _ in range(TASKS)]
    for at, count in enumerate(ROUNDS):
        task = sum(at > end for end in ENDS)
        for _ in range(count):
            label = int(rng.integers(CLASSES))
            x = centres[label] + rng.normal(scale=0.6, size=(WINDOW, SIZE))
            yield x[:, mixed[task]].astype(np.float32), label


@functools.cache
def artifact(family: str, target: str) -> edgekit.Artifact:
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    torch.set_num_threads(1)
    calib = np.stack([x for x, _ in samples()])[::4]
    numbers: dict[str, Any] = {"rate": 0.05, "subspace": (4,) * TASKS, "subspace_rate": 0.01, "iterations": 2}
    if family == "mlp":
        net = torch.nn.Sequential(torch.nn.Linear(SIZE, 18), torch.nn.ReLU(), torch.nn.Linear(18, CLASSES))
        asked = Learning("hlop", ("0", "readout"), **numbers)
        calib = calib[:, :1]
    else:
        from edgekit.models import LMU

        net = LMU(inputs=SIZE, hidden=14, memory=2, order=3, theta=float(WINDOW), outputs=CLASSES)
        asked = Learning("hlop", window=WINDOW, trace=0.5, lateral_steps=40, **numbers)
    example = torch.zeros(1, SIZE) if family == "mlp" else None
    return edgekit.convert(net, example, name="m", target=target, precision="int8", calib=calib, learn=asked)


def snapshots(session: Session, most: int = MANY) -> list[Snapshot]:
    """All states at each comparison, in a run of the same samples."""
    given, found = samples(), []
    window = int(session.facts.learning["window"])
    for at, count in enumerate(ROUNDS):
        for _ in range(count):
            x, label = next(given)
            session.learn(x if window > 1 else x[0], label)
        if at in ENDS:
            session.merge()
        found.append(unpack_states(session.artifact.graph, session.save_state()))
        if sum(ROUNDS[: at + 1]) >= most:
            break
    return found


@functools.cache
def wanted(family: str) -> list[Snapshot]:
    return snapshots(edgekit.load(artifact(family, "host"), engine="reference"))


def same(found: list[Snapshot], family: str, count: int) -> None:
    expected = wanted(family)[:count]
    assert len(found) == count
    for at, (got, reference) in enumerate(zip(found, expected, strict=True)):
        assert got.keys() == reference.keys()
        for name, values in reference.items():
            assert got[name].tobytes() == values.tobytes(), f"{name}, comparison {at}"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mlp", "lmu"])
def test_the_reference_learns_and_protects(family: str) -> None:
    """What is compared is worth it: weights move until the end, old rows stand still, new ones move, none saturates."""
    states, scales = wanted(family), artifact(family, "host").graph.tensors
    assert sum(ROUNDS) >= 1000
    laterals = [name for name in states[0] if name.endswith(".lateral")]
    assert len(laterals) == (2 if family == "mlp" else 1)
    for name in laterals:
        moved = [(after[name] != before[name]).any(axis=1) for before, after in pairwise(states)]
        for rows, task in zip(moved, (0, 0, 1, 1, 2), strict=True):
            assert rows.tolist() == [row // 4 == task for row in range(4 * TASKS)]
    for name in (n for n in states[0] if n.endswith(".plastic")):
        assert all((after[name] != before[name]).any() for before, after in pairwise(states))
        assert np.abs(states[-1][name].astype(int)).max() < 2**15 - 1
        assert scales[name].dtype.name == "int16"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["mlp", "lmu"])
def test_c_here_is_in_the_state_of_the_reference(family: str) -> None:
    same(snapshots(edgekit.load(artifact(family, "host"))), family, len(ROUNDS))


@pytest.mark.drawn(4)
@pytest.mark.slow
@pytest.mark.parametrize("target", BOARDS)
@pytest.mark.parametrize("family", ["mlp", "lmu"])
def test_emulated_boards_are_in_the_state_of_the_reference(family: str, target: str) -> None:
    if target == "smartwatch-m55" and find_qemu_system() is None:
        pytest.skip("qemu-system-arm is not installed")
    done = 2 if BOARDS[target] == FEW else len(ROUNDS)
    session = edgekit.load(artifact(family, target), engine="emulator")
    assert session.engine.startswith("emulated cortex-m")
    same(snapshots(session, BOARDS[target]), family, done)


@pytest.mark.drawn(4)
@pytest.mark.slow
def test_the_digits_of_a_watch(capsys: pytest.CaptureFixture[str]) -> None:
    """One epoch a task: integers as good as floats, and the watch in the state of the reference."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    assert device_digits.main(["--seeds", "1", "--epochs", "1", "--updates", "24", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    acc = {each["setting"]: each["mean"]["acc"] for each in told["settings"]}
    assert acc["int16"] > 80
    assert told["loss"] == pytest.approx(acc["float"] - acc["int16"])
    watch = told["watch"]
    assert watch["equal"] == [True] * 6
    assert watch["merges"] == [1, 1]
    assert watch["ram_bytes"] < watch["ram_there"]
    assert watch["flash_bytes"] + watch["journal_bytes"] < watch["flash_there"]
    assert 0 < watch["instructions"]["step"] < watch["instructions"]["learn"]


@pytest.mark.parametrize("words", [["--seeds", "-1"], ["--epochs", "0"], ["--updates", "x"]])
def test_what_the_tool_is_not_for_is_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        device_digits.main(words)
    assert ended.value.code == 2
