"""Training with compression in the loop: it learns, the best epoch counts, and no interruption changes a bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tuned_models import FAMILIES, data, imported, step, windows

from edgekit.compress.rules import Compression, Tuning, UnitRule, WeightRule
from edgekit.compress.shrink import Units, units, without
from edgekit.errors import DataError, UsageError
from edgekit.frontends import import_module
from edgekit.ir import Graph
from edgekit.tune.distil import GraphTeacher, ModuleTeacher, Several
from edgekit.tune.fitting import Hooks
from edgekit.tune.model import Run, Tuned, step_of, tune
from edgekit.tune.network import GraphNetwork
from edgekit.tune.taylor import taylor_scores
from edgekit.tune.windows import Data, Step, Windows

TUNING = Tuning(epochs=4, rate=2e-2, batch=32, seed=3, average=0.5)
RULES = Compression("int4", weights=(WeightRule("*", bits=4),), tuning=TUNING)
LONG = Compression("int8", weights=(WeightRule("*", bits=2),), tuning=replace(TUNING, epochs=16))
"""Long enough for a slow hand to end it; ternary matrices are a set, whose order is another in each process."""


def constants(graph: Graph) -> dict[str, bytes]:
    return {name: np.asarray(tensor.data).tobytes() for name, tensor in graph.consts.items()}


def tuned(family: str, rules: Compression = RULES, run: Run | None = None, given: Data | None = None) -> Tuned:
    return tune(imported(family), rules, given or data(), run)


def test_a_training_of_ten_batches_is_one_too() -> None:
    """A tenth of them is one: the learning rate has risen before it began."""
    few = Data(Windows(data().train.x[:20], data().train.y[:20]), data().valid)
    done = tuned("mlp", replace(RULES, tuning=replace(TUNING, epochs=2, batch=4)), given=few)
    assert done.fitted is not None
    assert len(done.fitted.history) == 2


@pytest.mark.drawn(2)
@pytest.mark.parametrize("family", FAMILIES)
def test_training_helps_and_the_best_epoch_is_kept(family: str) -> None:
    done = tuned(family, replace(RULES, tuning=replace(TUNING, epochs=6)))
    assert done.fitted is not None
    history = done.fitted.history
    assert [epoch.number for epoch in history] == [1, 2, 3, 4, 5, 6]
    reached = [epoch.accuracy for epoch in history]
    before = step(family).exact_accuracy(data().valid)
    assert done.fitted.accuracy == max(reached) > before + 3  # of random weights
    assert reached[done.fitted.best - 1] == max(reached)


@pytest.mark.drawn(4)
@pytest.mark.parametrize("family", FAMILIES)
def test_two_runs_end_in_the_same_bits(family: str) -> None:
    first, second = (tuned(family).imported.graph for _ in range(2))
    assert constants(first) == constants(second)


GRADUAL = Compression(
    "int8",
    weights=(WeightRule("network.0.weight", density=0.25), WeightRule("network.0.*", bits=4)),
    tuning=replace(TUNING, epochs=6, schedule="gradual"),
)


def gradual(path: Path, rules: Compression) -> tuple[Tuned, list[np.ndarray], list[float]]:
    """A training, and the first matrix and the share of it that stays after each epoch, as its checkpoint has them."""
    weights, shares = [], []

    def look(_epoch: object) -> None:
        content = torch.load(path, weights_only=True)
        mask = content["masks"]["network.0.weight"].numpy()
        (raw,) = (value for value in content["parts"]["network"].values() if value.shape == mask.shape)
        weights.append(np.where(mask, raw, 0))
        shares.append(float(mask.mean()))

    return tuned("mlp", rules, Run(hooks=Hooks(on_epoch=look), checkpoint=path)), weights, shares


def test_a_schedule_lets_densities_fall_and_pruned_weights_stay_zero(tmp_path: Path) -> None:
    done, weights, shares = gradual(tmp_path / "run.tuning", GRADUAL)
    assert shares == sorted(shares, reverse=True)
    assert 0.4 < shares[0] < 1
    assert shares[2:] == pytest.approx([0.25] * 4, abs=0.01)
    assert done.fitted is not None
    assert done.fitted.best >= 3  # none before the last density counts
    assert np.mean(np.asarray(done.imported.graph.tensors["network.0.weight"].data) != 0) <= 0.25
    zero = ~np.asarray(done.fitted.masks["network.0.weight"])
    assert not np.asarray(done.imported.graph.tensors["network.0.weight"].data)[zero].any()
    assert [np.mean(w != 0) for w in weights] == shares


def test_a_schedule_begins_with_all_weights(tmp_path: Path) -> None:
    """Nearly without training those that the first mask leaves are the model's: none had gone before."""
    still = replace(GRADUAL, tuning=replace(GRADUAL.tuning, rate=1e-9))
    _, weights, shares = gradual(tmp_path / "run.tuning", still)
    whole = np.asarray(imported("mlp").graph.tensors["network.0.weight"].data)
    stays = weights[0] != 0
    assert np.mean(stays) == shares[0] > 0.4
    np.testing.assert_allclose(weights[0][stays], whole[stays], atol=1e-6)


def test_units_go_by_what_the_loss_loses_with_them() -> None:
    rules = Compression("int8", units=(UnitRule("network.0", keep=0.5, by="taylor"),), tuning=TUNING)
    done = tuned("mlp", rules)
    assert done.imported.graph.tensors["network.0.weight"].shape == (12, 36)
    by_size = replace(rules, units=(UnitRule("network.0", keep=0.5),))
    assert done.compressed.dropped != tuned("mlp", by_size).compressed.dropped


def rises(at: Step, group: Units) -> np.ndarray:
    """By how much the loss rises when each unit is really taken out."""
    given = data().train

    def loss(graph: Graph) -> float:
        with torch.no_grad():
            out, _ = GraphNetwork(graph, ())(at.normalised(torch.from_numpy(given.x)))
            return float(torch.nn.functional.cross_entropy(at.scores(out), torch.from_numpy(given.y)))

    return np.array([loss(without(at.graph, {group: [i]})) for i in range(group.size)]) - loss(at.graph)


class Pooled(torch.nn.Module):
    """Units that a sum and a maximum take in, and no matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(36, 48), torch.nn.Linear(4, 3)
        self.io = imported("mlp").io

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = torch.sigmoid(self.first(x)).reshape(-1, 12, 4)
        return self.last(wide.amax(1) + 0.1 * wide.sum(1))


@pytest.mark.parametrize(
    ("family", "name", "least"),
    [
        *(("mlp", "network.0", 0.95), ("elm", "b", 0.9), ("elm", "m", 0.95), ("elm", "mlp.network.0", 0.95)),
        *(("l2mu", "h.membrane", 0.8), ("pooled", "step.reshape3[0]", 0.9)),
    ],
)
def test_taylor_scores_rank_units_by_what_taking_them_out_changes(family: str, name: str, least: float) -> None:
    """Whatever the ops are called: by what others read of a unit, not by one part of what it sums up."""
    torch.manual_seed(1)
    if family == "pooled":
        at = step_of(import_module(Pooled(), torch.zeros(1, 36), name="pooled"))
    else:
        bits = (WeightRule("*", bits=8),)
        at = step_of(tuned(family, Compression("int8", weights=bits, tuning=replace(TUNING, epochs=10))).imported)
    groups = units(at.graph)
    (group,) = (group for group in groups if group.name == name)
    scores = taylor_scores(at, groups, data().train)  # of all at once, some of which share values
    ranks = [np.argsort(np.argsort(found)) for found in (scores[name], np.abs(rises(at, group)))]
    assert np.corrcoef(*ranks)[0, 1] >= least


def test_a_larger_model_of_another_family_teaches() -> None:
    """The loss falls towards the teacher's scores; a module, or several teachers, are asked like one."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3))
    rules = replace(RULES, tuning=replace(TUNING, hard=0.0, soft=1.0))
    for teacher in (
        ModuleTeacher(module, "linear"),
        GraphTeacher(step("elm")),
        Several([GraphTeacher(step("lmu")), GraphTeacher(step("elm"))]),
    ):
        done = tuned("mlp", rules, Run(teacher))
        assert done.fitted is not None
        losses = [epoch.loss for epoch in done.fitted.history]
        assert losses[-1] < 0.7 * losses[0]
    with pytest.raises(UsageError, match="classes"):
        tuned("mlp", rules, Run(ModuleTeacher(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 4)), "4")))


@pytest.mark.drawn(2)
def test_traces_bring_membranes_near_those_of_the_teacher() -> None:
    """With the model as its own teacher, and nothing else to learn, rounding is what is made good."""
    losses = {}
    for traces in (0.0, 10.0):
        rules = replace(RULES, tuning=replace(TUNING, hard=0.0, soft=1e-6, traces=traces, rate=1e-3))
        done = tuned("lmu", rules)
        assert done.fitted is not None
        losses[traces] = [epoch.loss for epoch in done.fitted.history]
    assert losses[10.0][-1] < 0.85 * losses[10.0][0]
    assert losses[10.0][0] > 100 * losses[0.0][0]
    rules = replace(RULES, tuning=replace(TUNING, traces=1.0))
    with pytest.raises(UsageError, match="traces"):
        tuned("mlp", rules, Run(ModuleTeacher(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3)), "m")))


class Named(torch.nn.Module):
    """Parameters that are called what a network in training has attributes called."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.values = torch.nn.Parameter(torch.randn(3, 36)), torch.nn.Parameter(torch.zeros(3))
        self.graph = torch.nn.Parameter(torch.ones(3))
        self.register_buffer("constant", torch.ones(3))
        self.io = imported("mlp").io

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(x, self.weights, self.values) * self.graph + self.constant


def test_parameters_may_be_called_as_attributes_of_a_network_are() -> None:
    torch.manual_seed(0)
    done = tune(import_module(Named(), torch.zeros(1, 36), name="named"), RULES, data())
    assert done.fitted is not None
    assert len(done.fitted.history) == TUNING.epochs


def test_what_does_not_fit_is_refused() -> None:
    for given, says in (
        (Data(Windows(data().train.x, data().train.y + 1), data().valid), "labels"),
        (Data(data().train, Windows(data().valid.x[:, :5], data().valid.y)), "shape"),
    ):
        with pytest.raises(DataError, match=says):
            tuned("mlp", given=given)
    with pytest.raises(UsageError, match="no integers"):
        tuned("mlp", Compression("fp32", tuning=TUNING))
    with pytest.raises(UsageError, match="gradual"):
        tuned("mlp", replace(RULES, tuning=replace(TUNING, schedule="gradual")))


def nan(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    return x * torch.nan


@pytest.mark.parametrize(
    ("family", "rate", "hooks"),
    [("mlp", 1e30, Hooks()), ("mlp", 1e38, Hooks()), ("elm", 1e30, Hooks()), ("l2mu", 2e-2, Hooks(augment=nan))],
)
def test_a_training_that_diverges_ends_in_a_line(family: str, rate: float, hooks: Hooks) -> None:
    with pytest.raises(UsageError, match=r"training: diverged in epoch \d; a lower rate"):
        tuned(family, replace(RULES, tuning=replace(TUNING, rate=rate)), Run(hooks=hooks))


def test_teachers_of_other_classes_are_refused() -> None:
    wrong = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 4))
    with pytest.raises(UsageError, match="teachers: give scores of the shapes"):
        tuned("mlp", run=Run(Several([GraphTeacher(step("elm")), ModuleTeacher(wrong, "four")])))


SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_tune_fitting import LONG, constants, data, imported
from edgekit.frontends.graph_files import save_graph
from edgekit.tune.fitting import Hooks
from edgekit.tune.model import Run, tune
checkpoint, done, log = map(Path, sys.argv[1:])
def tell(epoch):
    with log.open("a") as file:
        file.write(f"{{epoch.number}}\\n")
run = Run(hooks=Hooks(on_epoch=tell), checkpoint=checkpoint, resume=checkpoint.exists())
graph = tune(imported("mlp"), LONG, data(), run).imported.graph
save_graph(done, graph, {{}})
"""


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_a_killed_training_loses_one_epoch_at_most_and_ends_in_the_same_bits(tmp_path: Path, drawn_seed: int) -> None:
    here = Path(__file__).parent
    script = SCRIPT.format(paths=[str(here), str(here.parent)])
    checkpoint, done, log = (tmp_path / name for name in ("run.tuning", "done.pt", "log"))
    command = [sys.executable, "-c", script, str(checkpoint), str(done), str(log)]
    chance, kills, quiet = random.Random(drawn_seed), 0, {"PYTHONDONTWRITEBYTECODE": "1"}
    while not done.exists():
        child = subprocess.Popen(command, env={**os.environ, **quiet, "PYTHONHASHSEED": str(kills)})
        before, patience = _epochs(log), time.monotonic() + 120
        wait = chance.choice([0, 1])  # epochs that it may finish
        while child.poll() is None and kills < 2 and _epochs(log) <= before + wait and time.monotonic() < patience:
            time.sleep(0.01)
        if child.poll() is None and kills < 2:
            time.sleep(chance.random() * 0.1)
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
            told = _epochs(log)
            assert len(torch.load(checkpoint, weights_only=True)["history"]) >= told
            log.write_text("")
        else:
            assert child.wait(timeout=120) == 0
    assert kills == 2
    from edgekit.frontends import import_file

    assert constants(import_file(done).graph) == constants(tuned("mlp", LONG).imported.graph)


def _epochs(log: Path) -> int:
    """The last epoch that was told of."""
    lines = log.read_text().split() if log.exists() else []
    return int(lines[-1]) if lines else 0


def test_a_checkpoint_of_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "run.tuning"
    with pytest.raises(UsageError, match="does not exist"):
        tuned("mlp", run=Run(checkpoint=path, resume=True))
    tuned("mlp", run=Run(checkpoint=path))
    resumed = tuned("mlp", run=Run(checkpoint=path, resume=True))
    assert constants(resumed.imported.graph) == constants(tuned("mlp").imported.graph)
    seeded = replace(RULES, tuning=replace(TUNING, seed=4))
    others = {
        "tuning": lambda: tuned("mlp", seeded, Run(checkpoint=path, resume=True)),
        "recipe": lambda: tuned("mlp", replace(RULES, weights=()), Run(checkpoint=path, resume=True)),
        "model": lambda: tuned("elm", run=Run(checkpoint=path, resume=True)),
        "training data": lambda: tuned(
            "mlp", run=Run(checkpoint=path, resume=True), given=Data(windows(64, 7), data().valid)
        ),
        "teacher": lambda: tuned("mlp", run=Run(GraphTeacher(step("elm")), checkpoint=path, resume=True)),
        "augmentation": lambda: tuned(
            "mlp", run=Run(hooks=Hooks(augment=lambda x, _: x, augment_name="a:b"), checkpoint=path, resume=True)
        ),
    }
    for what, run in others.items():
        with pytest.raises(UsageError, match=what):
            run()
    turned = Step(step("mlp").graph, {**step("mlp").meta, "decision": "sum"})
    with pytest.raises(UsageError, match="teacher"):  # the same graph, but it decides otherwise
        tuned("mlp", run=Run(GraphTeacher(turned), checkpoint=path, resume=True))
    scaled = {**(imported("mlp").io or {}), "input": {**(imported("mlp").io or {})["input"], "scale": [1.0, 0.5, 3.0]}}
    with pytest.raises(UsageError, match="model"):
        tune(replace(imported("mlp"), io=scaled), RULES, data(), Run(checkpoint=path, resume=True))
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\x80\x04K\x01."):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match="damaged"):
            tuned("mlp", run=Run(checkpoint=path, resume=True))
    path.write_bytes(content)
    known = torch.load(path, weights_only=True)
    best, weight = known["best"], next(iter(known["best"]["constants"]))
    for part in (
        {"parts": {}},
        {"parts": {**known["parts"], "network": {}}},
        {"generator": torch.zeros(3)},
        {"history": [{"number": 1}]},
        {"history": known["history"][1:]},
        {"history": 7},
        {"masks": {weight: torch.zeros(2)}},
        {"settled": {}},
        {"best": {**best, "constants": {weight: torch.zeros(1)}}},
        {"best": {**best, "constants": {"none": torch.zeros(1)}}},
        {"best": {**best, "number": 99}},
        {"best": {}},
    ):
        torch.save({**known, **part}, path)
        with pytest.raises(UsageError, match="damaged"):
            tuned("mlp", run=Run(checkpoint=path, resume=True))
