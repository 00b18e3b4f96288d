"""Nested widths on HAR split B: accuracy when cut, trained together and alone; one int8 artifact on every core.

python -m tools.nested_har [--family mlp lmu] [--seeds 0 1 …] [-o docs/logs/nested-har.txt]
python -m tools.nested_har --page     puts that log into docs/NESTED.md

Training starts from the shipped float checkpoints and sees the training subjects; the best epoch is chosen on the
validation subjects and the test subjects are read once. No augmentation: these are short trainings.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from edgekit.artifact.atomic import write_atomic
from edgekit.compress.calibrate import calibrate
from edgekit.compress.nested import Nesting, nesting_of
from edgekit.compress.order import by_saliency
from edgekit.compress.rules import Compression, NestedRule, Tuning
from edgekit.compress.saliency import by_activity
from edgekit.convert.options import Options
from edgekit.convert.pipeline import Conversion, convert_imported
from edgekit.demo.har.data import load_windows
from edgekit.frontends import Imported, import_file
from edgekit.frontends.graph_original import GraphOriginal
from edgekit.ir import Graph
from edgekit.ir.widths import FULL
from edgekit.profile.counts import count_steps
from edgekit.runtime import load
from edgekit.runtime.streams import ReferenceStream
from edgekit.tune.model import few, step_of
from edgekit.tune.nested import NestedNetwork
from edgekit.tune.nested_floats import accuracies, fit_nested
from edgekit.tune.windows import Data, Step, Windows

ROOT = Path(__file__).parent.parent
LOG, PAGE = ROOT / "docs/logs/nested-har.txt", ROOT / "docs/NESTED.md"
START, END = "<!-- nested_har -->\n", "<!-- end -->"
RULES = {
    "mlp": (NestedRule("network.0"), NestedRule("network.3")),
    "lmu": (NestedRule("h"), NestedRule("m[0]")),
}
TUNING = {
    "mlp": Tuning(epochs=30, rate=3e-3, batch=256),
    "lmu": Tuning(epochs=10, rate=2e-3, batch=256),
}
SEEDS = {"mlp": (0, 1, 2), "lmu": (0,)}  # an epoch of the LMU at all widths takes as long as 20 of the MLP
TARGETS = ("host", "raspberrypi4", "smartwatch-m4", "smartwatch-m55")
COMPARED = {"mlp": 400, "lmu": 20}  # test windows that are compared byte for byte on each target at each width

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Task:
    """A checkpoint, its float step, and the sides of the split."""

    family: str
    imported: Imported
    step: Step
    data: Data
    test: Windows

    @classmethod
    def of(cls, family: str) -> Task:
        windows, split = load_windows("B")
        imported = import_file(ROOT / f"examples/har/checkpoints/{family}_B.pt")
        sides = [Windows(windows.x[i], windows.y[i]) for i in (split.train, split.validation, split.test)]
        return cls(family, imported, step_of(imported), Data(sides[0], sides[1]), sides[2])

    def nesting(self, graph: Graph) -> Nesting:
        return nesting_of(graph, RULES[self.family])

    def judged(self, graph: Graph) -> tuple[float, ...]:
        """Per cent of test windows decided right at each width, ascending."""
        return accuracies(self.step, NestedNetwork(graph, self.nesting(graph)), self.test)


def ordered(task: Task) -> Graph:
    """The step with its units in falling order of what they hand on over training windows."""
    step = task.step
    seen = calibrate(step.graph, step.inputs(few(task.data.train.x)), normalisation=step.normalisation)
    groups = [group for group, _ in task.nesting(step.graph).groups]
    return by_saliency(step.graph, {group: by_activity(step.graph, group, seen).scores for group in groups})


def alone(task: Task, graph: Graph, seed: int) -> list[float]:
    """Each width cut out and trained by itself for as many epochs, ascending."""
    nesting, tuning, found = task.nesting(graph), dataclasses.replace(TUNING[task.family], seed=seed), list[float]()
    for at in range(len(nesting.percents)):
        own = graph if nesting.percents[at] == FULL else nesting.narrowed(graph, at)
        step, single = Step(own, task.step.meta), Nesting((FULL,), ())
        fitted = fit_nested(step, single, task.data, tuning)
        found += accuracies(step, NestedNetwork(fitted.graph, single), task.test)
    return found


def accuracy(task: Task, seeds: Sequence[int], say: Say) -> Graph:
    """The table of accuracies; the graph that was trained together with the first seed."""
    say(f"{task.family}: per cent of {len(task.test.y)} test windows decided right in float (measured)")
    say(f"{'':34s}" + "".join(f"{percent:>8d} %" for percent in task.nesting(task.step.graph).percents))
    rows = {"cut, units as they are": [task.judged(task.step.graph)]}
    graph = ordered(task)
    rows["cut, units by their activity"] = [task.judged(graph)]
    together, apart, first = [], [], graph
    for seed in seeds:
        tuning = dataclasses.replace(TUNING[task.family], seed=seed)
        fitted = fit_nested(Step(graph, task.step.meta), task.nesting(graph), task.data, tuning)
        first = fitted.graph if seed == seeds[0] else first
        together.append(task.judged(fitted.graph))
        apart.append(tuple(alone(task, graph, seed)))
    rows[f"trained together, seeds {', '.join(map(str, seeds))}"] = together
    rows["each trained alone, same seeds"] = apart
    for name, found in rows.items():
        mean, spread = np.mean(found, axis=0), np.ptp(found, axis=0) / 2
        say(f"{name:34s}" + "".join(f"{m:10.2f}" for m in mean))
        if len(found) > 1:
            say(f"{'  ± half the range':34s}" + "".join(f"{s:10.2f}" for s in spread))
    say(f"{tuning.epochs} epochs of Adam up to {tuning.rate:g}, batches of {tuning.batch}; alone: three models\n")
    return first


def artifacts(task: Task, graph: Graph, say: Say) -> bool:
    """One int8 artifact with all widths for each target, beside one without; whether every byte was the reference's."""
    model = dataclasses.replace(task.imported, graph=graph, original=GraphOriginal(task.imported.original.thing, graph))
    calib, equal = few(task.data.train.x), True
    say(f"{task.family}: int8 with all widths in one artifact, calibrated on {len(calib)} training windows")
    for target in TARGETS:
        nested = _converted(model, target, calib, RULES[task.family])
        plain = _converted(model, target, calib, ())
        if target == TARGETS[0]:
            _decided(task, nested, say)
        sizes, before = nested.artifact.manifest["sizes"], plain.artifact.manifest["sizes"]
        say(
            f"{target}: flash {sizes['flash_bytes']:,} bytes, of which weights {sizes['weights_bytes']:,}; RAM "
            f"{sizes['ram_bytes']:,}; without widths {before['flash_bytes']:,}, {before['weights_bytes']:,}, "
            f"{before['ram_bytes']:,} (derived)"
        )
        if target != TARGETS[0]:
            mean = np.mean(count_steps(plain.artifact).steps)
            say(f"  without widths                {mean:10,.0f} instructions per step (emulated)")
        for row in nested.artifact.manifest["widths"]:
            same, engine, steps = _compared(task, nested, target, row["percent"])
            equal &= same
            counted = f"{row['instructions']:10,d} instructions per step (emulated)" if "instructions" in row else ""
            verdict = "the reference's bytes" if same else "NOT the reference's bytes"
            say(f"  {row['percent']:3d} %: {steps:,} steps, states too: {verdict:24s} {counted}".rstrip())
        say(f"  on {engine}")
    say("")
    return equal


def _converted(model: Imported, target: str, calib: np.ndarray, rules: tuple[NestedRule, ...]) -> Conversion:
    compression = Compression("int8", nested=rules) if rules else None
    return convert_imported(model, Options(target, "int8", calib, compression=compression))


def _decided(task: Task, made: Conversion, say: Say) -> None:
    """The accuracy of the integer program at each width."""
    found = []
    for row in reversed(made.artifact.manifest["widths"]):
        session = load(made.artifact, width=row["percent"] / FULL)
        found.append(100 * np.mean(session.decide(session.run(task.test.x)) == task.test.y))
    say(f"{'int8, trained together, seed 0':34s}" + "".join(f"{a:10.2f}" for a in found) + "  % of test windows")


def _compared(task: Task, made: Conversion, target: str, percent: int) -> tuple[bool, str, int]:
    """Whether the first test windows, one after the other, give the bytes of the reference; on what, and the steps."""
    engine = "auto" if target == TARGETS[0] else "emulator"
    session = load(made.artifact, engine=engine, width=percent / FULL)
    reference, codec = ReferenceStream(made.artifact.graph, percent), session.codec
    assert codec is not None
    x = session.arrange(task.test.x[: COMPARED[task.family]])
    (given,) = codec.quantize([x.reshape(-1, *next(iter(session.facts.inputs.values())))])
    got, wanted = session.run(given, stored=True), reference.run([given])[0]
    same = got.tobytes() == wanted.tobytes() and session.save_state() == reference.save()
    return same, session.engine, len(given)


def put_into_page() -> None:
    """The log as it is, between two marks of the page."""
    before, rest = PAGE.read_text("utf-8").split(START)
    after = rest.split(END)[1]
    page = f"{before}{START}```text\n{LOG.read_text('utf-8').strip()}\n```\n{END}{after}"
    write_atomic(PAGE, page.encode())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.nested_har", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--family", nargs="+", default=list(RULES), choices=list(RULES))
    parser.add_argument("--seeds", nargs="+", type=int, help="default: 0 1 2 of the MLP, 0 of the LMU")
    parser.add_argument("--page", action="store_true", help="only put the log into the page")
    parser.add_argument("-o", "--output", type=Path, help="where the log goes besides")
    options = parser.parse_args(arguments)
    if options.page:
        put_into_page()
        return 0
    torch.set_num_threads(1)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    seeds = f" --seeds {' '.join(map(str, options.seeds))}" if options.seeds else ""
    say(f"python -m tools.nested_har --family {' '.join(options.family)}{seeds}\n")
    equal, began = True, time.process_time()
    for family in options.family:
        task = Task.of(family)
        equal &= artifacts(task, accuracy(task, options.seeds or SEEDS[family], say), say)
    say(f"every byte equal: {'yes' if equal else 'NO'}; {time.process_time() - began:.0f} s of one core, measured")
    if options.output is not None:
        write_atomic(options.output, "\n".join(lines).encode() + b"\n")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
