"""What single rules of a recipe cost the HAR models on split B, without any training: accuracy and bytes of constants.

python -m tools.har_rules [--write]     # ten minutes; --write puts the table into docs/COMPRESS.md

Ranges, and what matrices are fitted to, come from every 40th training window; the accuracy is that of the integer
program on all test windows, the bytes are those of the constants in a Cortex-M4's object file (both measured).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgekit.artifact import check_meta
from edgekit.artifact.atomic import write_atomic
from edgekit.compress.apply import compressed
from edgekit.compress.calibrate import calibrate
from edgekit.compress.integer import quantise_program
from edgekit.compress.rules import Compression, UnitRule, WeightRule
from edgekit.convert.agreement import decision_rule, decisions
from edgekit.convert.inputs import Inputs, normalisation_of, raw_inputs
from edgekit.convert.integer import stored_inputs
from edgekit.demo.har.data import load_windows
from edgekit.frontends import import_file
from edgekit.ir import Graph
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes
from edgekit.runtime.build import build_program
from edgekit.search.trial import lowered
from edgekit.target import load_target

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "COMPRESS.md"
START, END = "<!-- har_rules -->\n", "<!-- end -->"
FAMILIES = ("mlp", "lmu", "l2mu", "elm")
EVERY = 40
TARGET = "smartwatch-m4"
HIDDEN = {"mlp": "network.3", "lmu": "h", "l2mu": "h.membrane", "elm": "mlp.network.0"}
RULES: dict[str, Compression] = {
    "plain int8": Compression(),
    "plain int4": Compression("int4"),
    "palette = 4": Compression(weights=(WeightRule("*", palette=4),)),
    "palette = 3": Compression(weights=(WeightRule("*", palette=3),)),
    "bits = 4, group = 32": Compression(weights=(WeightRule("*", bits=4, group=32),)),
    "bits = 2": Compression(weights=(WeightRule("*", bits=2),)),
    "density = 0.5": Compression(weights=(WeightRule("*", density=0.5, by="activity"),)),
    "density = 0.25": Compression(weights=(WeightRule("*", density=0.25, by="activity"),)),
    "density = 0.5, block = [1, 4]": Compression(weights=(WeightRule("*", density=0.5, block=(1, 4), by="activity"),)),
}


@dataclass(frozen=True)
class Task:
    """A shipped model: its float step, windows to calibrate on, and windows to judge with."""

    family: str
    graph: Graph
    known: dict[str, tuple[np.ndarray, np.ndarray]]
    calibration: Inputs
    test: Inputs
    classes: np.ndarray
    rule: str

    @classmethod
    def of(cls, family: str) -> Task:
        imported = import_file(ROOT / f"examples/har/checkpoints/{family}_B.pt")
        windows, split = load_windows("B")
        meta = check_meta(imported.io or {})
        sides = (windows.x[split.train[::EVERY]], windows.x[split.test])
        raw, test = (raw_inputs(imported.graph, meta, side) for side in sides)
        graph = run_passes(imported.graph, (*OPTIMISE, *FOR_INTEGERS))
        known = normalisation_of(imported.graph, meta)
        rule = decision_rule(imported.graph, meta)
        assert rule is not None
        return cls(family, graph, known, raw, test, windows.y[split.test], rule)

    def measured(self, compression: Compression) -> tuple[float, int]:
        """Accuracy in per cent, and bytes."""
        seen = calibrate(self.graph, self.calibration, normalisation=self.known)
        made = compressed(self.graph, compression, seen)
        assert made.recipe is not None
        again = calibrate(made.graph, self.calibration, normalisation=self.known)
        program = quantise_program(made.graph, again, made.recipe, self.known).graph
        stored = build_program(lowered(program, stored_inputs(program, self.calibration)), load_target(TARGET))
        right = decisions(program, self.test, self.rule) == self.classes
        return float(100 * np.mean(right)), stored.constant_bytes


def main() -> int:
    """Measure every rule and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="put the table into docs/COMPRESS.md")
    options = parser.parse_args()
    rows: dict[str, list[str]] = {name: [] for name in (*RULES, "keep = 0.75 of hidden units")}
    for family in FAMILIES:
        task = Task.of(family)
        hidden = Compression(units=(UnitRule(HIDDEN[family], keep=0.75, by="activity"),))
        for name, compression in (*RULES.items(), (list(rows)[-1], hidden)):
            accuracy, size = task.measured(compression)
            rows[name].append(f"{accuracy:.1f} % ({size / 1000:.1f})")
            print(f"{family}: {name}: {rows[name][-1]}", file=sys.stderr)
    lines = ["| rule | " + " | ".join(FAMILIES) + " |", "|---|" + "---:|" * len(FAMILIES)]
    lines += [f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()]
    table = "\n".join(lines) + "\n"
    print(table)
    if options.write:
        text = PAGE.read_text(encoding="utf-8")
        before, _, rest = text.partition(START)
        write_atomic(PAGE, f"{before}{START}{table}{END}{rest.partition(END)[2]}".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
