"""Training with compression in the loop: it learns, the best epoch counts, and no interruption changes a bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tuned_models import FAMILIES, data, imported, step, windows

from edgekit.compress.rules import Compression, Tuning, UnitRule, WeightRule
from edgekit.errors import DataError, UsageError
from edgekit.ir import Graph
from edgekit.tune.distil import GraphTeacher, ModuleTeacher, Several
from edgekit.tune.fitting import Fit, Hooks
from edgekit.tune.model import Run, Tuned, tune
from edgekit.tune.windows import Data, Windows

TUNING = Tuning(epochs=4, rate=2e-2, batch=32, seed=3, average=0.5)
RULES = Compression("int4", weights=(WeightRule("*", bits=4),), tuning=TUNING)
LONG = replace(RULES, tuning=replace(TUNING, epochs=16))  # long enough for a slow hand to end it


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


def test_a_schedule_lets_densities_fall_and_pruned_weights_stay_zero() -> None:
    rules = Compression(
        "int8",
        weights=(WeightRule("network.0.weight", density=0.25),),
        tuning=replace(TUNING, epochs=6, schedule="gradual"),
    )
    seen: list[float] = []

    def watch(fit: Fit) -> None:
        weights = fit.network.tuned().tensors["network.0.weight"].data
        seen.append(float(np.mean(np.asarray(weights) != 0)))

    run = _Watched(rules, watch)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] > 0.4
    assert seen[2] == pytest.approx(0.25, abs=0.01)
    best = run.fit.best
    assert best.best >= 3  # none before the last density counts
    assert np.mean(np.asarray(best.graph.tensors["network.0.weight"].data) != 0) <= 0.25
    zero = ~np.asarray(best.masks["network.0.weight"])
    assert not np.asarray(best.graph.tensors["network.0.weight"].data)[zero].any()


class _Watched:
    """A training whose insides a test looks at after each epoch."""

    def __init__(self, rules: Compression, watch: Callable[[Fit], None]) -> None:
        from edgekit.compress.calibrate import calibrate
        from edgekit.tune.compressing import Rounding
        from edgekit.tune.model import compress, thinning

        at = step("mlp")
        seen = calibrate(at.graph, at.inputs(data().train.x), normalisation=at.normalisation)
        made = compress(at, rules, seen, data().train)
        rounding = Rounding(replace(at, graph=made.graph), made.recipe, at.inputs(data().train.x), made.masks)
        hooks = Hooks(thin=thinning(rules, made.masks, rounding))
        self.fit = Fit(rounding, data(), rules.tuning, GraphTeacher(at), hooks)
        for _ in range(rules.tuning.epochs):
            self.fit.run_epoch()
            watch(self.fit)


def test_units_go_by_what_the_loss_loses_with_them() -> None:
    rules = Compression("int8", units=(UnitRule("network.0", keep=0.5, by="taylor"),), tuning=TUNING)
    done = tuned("mlp", rules)
    assert done.imported.graph.tensors["network.0.weight"].shape == (12, 36)
    by_size = replace(rules, units=(UnitRule("network.0", keep=0.5),))
    assert done.compressed.dropped != tuned("mlp", by_size).compressed.dropped


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
    chance, kills = random.Random(drawn_seed), 0
    while not done.exists():
        child = subprocess.Popen(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
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
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"\x80\x04K\x01."):
        path.write_bytes(damaged)
        with pytest.raises(UsageError, match="damaged"):
            tuned("mlp", run=Run(checkpoint=path, resume=True))
