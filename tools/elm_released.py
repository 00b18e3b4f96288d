"""The released ELM neuron of 100 memories, smaller without training: fewer levels per matrix, entropy-coded.

python -m tools.elm_released [--target smartwatch-m33] [--log docs/logs/elm-released.txt]

Each matrix gets one scale for all of its outputs, and weights are rounded with error feedback: entropy coding makes of
fewer levels fewer bytes, whatever their number. A matrix of n weights with steps of size d adds c d^2 to the squared
error of the soma and takes n log2(1/d) bits more or less, so that for a given error all together are smallest where
each adds in proportion to its n. c is measured, one matrix after the other on COARSE levels.

Scales and levels come from spike trains of seeds of their own, at steady rates and at rates that swing, and from the
first 150 steps of the golden inputs. The soma's error is that over steps 150 to 300 of the golden inputs and of trains
that nothing else has seen; they are as the neuron's data: 639 excitatory inputs of +1, 639 inhibitory ones of -1.

The neuron and its golden inputs: A. Spieler et al., The Expressive Leaky Memory Neuron, ICLR 2024 (weights MIT).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit._version import __version__
from edgekit.artifact.atomic import write_atomic
from edgekit.artifact.weights import dump_weights
from edgekit.artifact.zipform import packed_bytes
from edgekit.compress.calibrate import Calibration, calibrate
from edgekit.compress.integer import quantise_program
from edgekit.compress.recipes import recipe
from edgekit.compress.rules import Compression, WeightRule
from edgekit.convert import Options, convert_imported
from edgekit.frontends import import_file
from edgekit.frontends.imported import Imported
from edgekit.ir import Graph, to_document
from edgekit.passes.pipelines import FOR_INTEGERS, OPTIMISE, run_passes
from edgekit.runtime.codec import real_outputs
from tools.golden import read_golden
from tools.integer_accuracy import BURN_IN, MILLIVOLTS, SHARED

NEURON = "elm_v1_neuronio_num_memory_100.npz"
STEPS, INPUTS = 300, 1278
RATES = (0.01, 0.02, 0.03, 0.04, 0.05)
CALIBRATION, VALIDATION, TEST = 100, 200, 300  # the first seed of each, one per rate
TRAINS = 4  # of each rate to choose and to test with
PERIOD, EXCITED, INHIBITED = 110, (0.003, 0.03), (0.002, 0.007)  # steps, and the least and the largest rate of a swing
LARGEST, COARSE, FEWEST = 127, 20, 2  # levels
SWEEP = 2.0 ** (-np.arange(-3, 11) / 4)  # of all levels together
GOAL_BYTES, STRETCH_BYTES, GOAL_MV = 46_000, 40_000, 0.25
SPARE = 0.6  # of the error that may be, on validation: other trains differ

Array = npt.NDArray[Any]
Say = Callable[[str], None]


def trains(rate: float, seed: int, count: int = 1) -> Array:
    """Spike trains [count, STEPS, INPUTS]: +1 of excitatory inputs, -1 of inhibitory ones, 0 elsewhere."""
    x = (np.random.default_rng(seed).random((count, STEPS, INPUTS)) < rate).astype(np.float32)
    x[:, :, INPUTS // 2 :] *= -1
    return x


def swings(seed: int, count: int = 1) -> Array:
    """Spike trains [count, STEPS, INPUTS] of both kinds of inputs, whose rates swing, each train from another phase."""
    random = np.random.default_rng(seed)
    phases = random.random((count, 1, 2)) + np.arange(STEPS)[:, None] / PERIOD
    low, high = np.transpose([EXCITED, INHIBITED])
    rates = low + (high - low) * (0.5 - 0.5 * np.cos(2 * np.pi * phases))  # [count, STEPS, 2]
    spikes = random.random((count, STEPS, 2, INPUTS // 2)) < rates[..., None]
    return np.asarray(spikes * np.array([[1], [-1]]), np.float32).reshape(count, STEPS, INPUTS)


@dataclass(frozen=True, eq=False)
class Neuron:
    """The released neuron, its golden inputs [1, STEPS, INPUTS], and inputs to calibrate and to choose levels with."""

    imported: Imported
    golden: Array

    @classmethod
    def read(cls) -> Neuron:
        golden = read_golden(SHARED / "golden" / NEURON)
        return cls(import_file(golden.path, config=golden.config), np.asarray(golden.x, np.float32))

    @property
    def source(self) -> str:
        (name,) = self.imported.graph.entries["step"].inputs
        return name

    @cached_property
    def early(self) -> Array:
        """The golden inputs before those that are judged, and silence after them."""
        return np.where(np.arange(STEPS)[:, None] < BURN_IN, self.golden, 0).astype(np.float32)

    @cached_property
    def calibration(self) -> Array:
        steady = (trains(r, CALIBRATION + i) for i, r in enumerate(RATES))
        return np.concatenate([self.early, *steady, swings(CALIBRATION + len(RATES), TRAINS)])

    @cached_property
    def validation(self) -> dict[str, Array]:
        steady = {f"{r:.0%}": trains(r, VALIDATION + i, TRAINS) for i, r in enumerate(RATES)}
        return {"swings": swings(VALIDATION + len(RATES), TRAINS), **steady}

    @cached_property
    def test(self) -> dict[str, Array]:
        return {
            "golden": self.golden,
            **{f"{r:.0%}": trains(r, TEST + i, TRAINS) for i, r in enumerate(RATES)},
        }

    @cached_property
    def exact(self) -> Graph:
        return run_passes(self.imported.graph, OPTIMISE)

    @cached_property
    def optimised(self) -> Graph:
        return run_passes(self.imported.graph, (*OPTIMISE, *FOR_INTEGERS))

    @cached_property
    def seen(self) -> Calibration:
        return calibrate(self.optimised, {self.source: self.calibration})

    def soma(self, graph: Graph, x: Array) -> Array:
        """The soma voltage [N, STEPS] in mV above its rest."""
        (y,) = real_outputs(graph, {self.source: x})
        return np.asarray(MILLIVOLTS * y[:, :, 1], np.float64)

    @cached_property
    def wanted(self) -> dict[str, Array]:
        """The soma of the released neuron on validation."""
        return {name: self.soma(self.exact, x) for name, x in self.validation.items()}

    def errors(self, graph: Graph, given: Mapping[str, Array], wanted: Mapping[str, Array]) -> dict[str, float]:
        """Root mean square errors in mV over the steps that are judged."""
        off = {name: (self.soma(graph, x) - wanted[name])[:, BURN_IN:] for name, x in given.items()}
        return {name: float(np.sqrt(np.mean(o**2))) for name, o in off.items()}


@dataclass(frozen=True, eq=False)
class Point:
    """Levels of each matrix, the bytes of the coded weights, and the errors on validation in mV."""

    levels: Mapping[str, int]
    nbytes: int
    errors: Mapping[str, float]

    @property
    def worst(self) -> float:
        return max(self.errors.values())

    @property
    def squared(self) -> float:
        return float(np.mean(np.square(list(self.errors.values()))))


def coded_bytes(graph: Graph) -> int:
    """What the weights of a graph take in an artifact."""
    return packed_bytes(dump_weights(to_document(graph)[1])[0])


def point(neuron: Neuron, levels: Mapping[str, int]) -> Point:
    """What levels come to."""
    made = quantise_program(neuron.optimised, neuron.seen, recipe("int8").widened(levels=levels))
    return Point(dict(levels), coded_bytes(made.graph), neuron.errors(made.graph, neuron.validation, neuron.wanted))


def shares(neuron: Neuron, say: Say) -> dict[str, float]:
    """Levels of each matrix up to a common factor, at which all of them together are smallest for their error."""
    plain = quantise_program(neuron.optimised, neuron.seen, recipe("int8"))
    data = {t.name: t.data for t in plain.graph.tensors.values() if t.data is not None}
    names = [name for name, found in plain.rounded.items() if found.largest == LARGEST]
    counts = {name: np.count_nonzero(data[f"{name}.int8"]) for name in names}
    fine = point(neuron, dict.fromkeys(names, LARGEST))
    found = {}
    for name in names:
        coarse = point(neuron, {**fine.levels, name: COARSE})
        added = max(coarse.squared - fine.squared, 1e-9)
        found[name] = COARSE * float(np.sqrt(added / counts[name]))
        say(f"  {name}: {counts[name]:,} weights, {COARSE} levels instead of {LARGEST} add {added:.5f} mV^2")
    largest = max(found.values())
    return {name: share / largest for name, share in found.items()}


def path(neuron: Neuron, say: Say) -> list[Point]:
    """Points from fine to coarse."""
    found, points = shares(neuron, say), list[Point]()
    for factor in SWEEP:
        levels = {n: int(np.clip(round(LARGEST * s * factor), FEWEST, LARGEST)) for n, s in found.items()}
        points.append(at := point(neuron, levels))
        shown = ", ".join(map(str, levels.values()))
        say(f"  levels {shown:18s} {at.nbytes:7,d} bytes, {at.worst:.3f} mV on validation")
    return points


def chosen(points: Sequence[Point]) -> dict[str, Point]:
    """What to convert: the finest below each size, and the smallest that has error to spare."""
    found = {}
    for what, most in (("goal", GOAL_BYTES), ("stretch", STRETCH_BYTES)):
        fitting = [p for p in points if p.nbytes <= most]
        if fitting:
            found[f"{what}: finest below {most // 1000} kB"] = max(fitting, key=lambda p: p.nbytes)
    exact = [p for p in points if p.worst <= SPARE * GOAL_MV]
    if exact:
        found[f"smallest below {SPARE * GOAL_MV:.2f} mV on validation"] = min(exact, key=lambda p: p.nbytes)
    return found


def report(neuron: Neuron, what: str, levels: Mapping[str, int], target: str, say: Say) -> None:
    """Convert with these levels, with and without coding in flash, and print what it comes to."""
    rules = tuple(WeightRule(name, levels=n) for name, n in levels.items())
    compression = Compression("int8", weights=rules) if rules else None
    options = Options(target, "int8", neuron.calibration, compression=compression)
    plain, coded = (
        convert_imported(neuron.imported, replace(options, flash_coding=on)).artifact for on in (False, True)
    )
    sizes, packed = plain.manifest["sizes"], coded.manifest["sizes"]
    say(f"\n{what}")
    for name, n in levels.items():
        say(f"  {name}: {n} levels each way")
    say(f"  artifact: weights {sizes['weights_coded_bytes']:,} bytes, entropy-coded; file {len(plain.packed):,}")
    say(f"  {target}: {taken(sizes)}")
    say(f"  with --flash-coding: {taken(packed)}")
    say(f"  {next(note for note in coded.manifest['notes'] if note.startswith('init decodes'))} (emulated)")
    assert plain.graph.hash() == coded.graph.hash()
    wanted = {name: neuron.soma(neuron.exact, x) for name, x in neuron.test.items()}
    errors = neuron.errors(plain.graph, neuron.test, wanted)
    say("  soma RMSE, steps 150-300, mV: " + ", ".join(f"{name} {e:.3f}" for name, e in errors.items()))
    if rules:
        nbytes, worst = sizes["weights_coded_bytes"], max(errors.values())
        most = GOAL_BYTES if what.startswith("goal") else STRETCH_BYTES
        say(f"  weights at most {most:,} bytes: {verdict(nbytes <= most)}")
        for name, e in errors.items():
            say(f"  soma on {name} at most {GOAL_MV} mV: {verdict(e <= GOAL_MV)}")
        say(f"  all: {verdict(nbytes <= most and worst <= GOAL_MV)}")


def taken(sizes: Mapping[str, int]) -> str:
    """Flash and RAM in words."""
    ram = sizes["ram_bytes"] + sizes.get("stack_bytes", 0)
    return f"flash {sizes['flash_bytes']:,} bytes, of which weights {sizes['weights_bytes']:,}; RAM {ram:,}"


def verdict(met: bool) -> str:
    """Met or missed."""
    return "met" if met else "MISSED"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.elm_released", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--target", default="smartwatch-m33")
    parser.add_argument("--log", type=Path, help="also write what is printed to this file")
    options = parser.parse_args(arguments)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    neuron = Neuron.read()
    say(f"python -m tools.elm_released --target {options.target}, edgekit {__version__}; errors measured")
    say(f"seeds: calibration {CALIBRATION} on, validation {VALIDATION} on, test {TEST} on, one for each rate")
    points = path(neuron, say)
    report(neuron, "plain int8, for comparison", {}, options.target, say)
    for what, at in chosen(points).items():
        report(neuron, what, at.levels, options.target, say)
    if options.log is not None:
        write_atomic(options.log, "".join(f"{line}\n" for line in lines).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
