"""The whole comparison: what original and artifact answer on every window, and whether that passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.ir import Graph
from edgekit.ir.widths import FULL, at_width
from edgekit.passes.own_outputs import own_outputs
from edgekit.reference import Interpreter
from edgekit.runtime import Session
from edgekit.runtime.selftest import relative_error
from edgekit.verify.layers import LayerReport, compare_layers, unmatched_states, window_errors
from edgekit.verify.margins import first_divergence, is_spiking, states_of
from edgekit.verify.noise import noisiest
from edgekit.verify.rounding import output_error
from edgekit.verify.taken_out import without_dropped

Array = npt.NDArray[Any]

FLOAT_TOLERANCE = 1e-4  # of fp32 outputs, relative to the larger of 1 and the original's value
MARGIN = 1e-5  # a spike closer than this to its threshold, in float64, may differ by rounding
MAX_ROUNDED = 0.002  # of all windows
MAX_POINTS_LOST = 0.5  # of accuracy, for precisions below fp32
GROSS = 0.9  # of decisions equal, or of the outputs' standard deviation kept: less is no rounding, labels or not
LIKE = 0.985  # of decisions equal, or 1 less the error of the outputs: below, an integer program says what to widen
LAYER_WINDOWS = 256
EXACT = ("fp32", "w8")  # precisions in which an exported file computes what a graph of ours does
SAME = "is it the model that the program was made from?"
FEWEST_FOR_ONE = 16  # windows, of which one may differ between an engine and the reference by rounding


class Original(Protocol):
    """The model before conversion: its imported graph, the artifact's normalisation included, and the module itself."""

    @property
    def graph(self) -> Graph: ...

    def quantised(self, precision: str) -> Graph:
        """The graph with the weights of a precision."""

    def sources(self) -> Sequence[Graph]:
        """Graphs beside those of `quantised` that an exported file may have been made of."""

    def digest(self) -> str:
        """SHA-256 of its weights."""

    def run(self, x: Array) -> Array:
        """Step outputs of the torch module over raw windows [N, T, *shape] (stateless: [N, *shape])."""

    def states(self, window: Array) -> list[dict[str, Array]]:
        """States of the torch module after each step of one raw window [T, *shape]."""


@dataclass(frozen=True)
class Divergence:
    """A window whose spikes differ: the first step where they do, and the float64 margin of that neuron.

    Both are None when no population that keeps its membrane in a state explains the difference.
    """

    window: int
    step: int | None
    margin: float | None


@dataclass(frozen=True)
class VerifyReport:
    """What was compared and found. `rule` says in words what passing means for this precision.

    `unmatched_states` are states of the program that the original has not, because of which no layer has an isolated
    error. `widen` names the layers and states that an integer program should hold wider when it does not pass, when it
    decides differently in more than 1.5 % of the windows, or when it decides nothing and its outputs are off by more
    than 1.5 % of their standard deviation. `agreement` and the accuracies are None where nothing is
    decided, or where outputs are not finite.
    """

    engine: str
    precision: str
    windows: int
    steps: int
    worst_output_error: float
    windows_differing: int
    divergences: tuple[Divergence, ...]
    layers: tuple[LayerReport, ...]
    unmatched_states: tuple[str, ...]
    agreement: float | None
    accuracy_before: float | None
    accuracy_after: float | None
    passed: bool
    rule: str
    widen: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def verify_artifact(
    session: Session,
    original: Original,
    x: Array,
    y: npt.NDArray[np.integer] | None = None,
    *,
    layer_windows: int = LAYER_WINDOWS,
) -> VerifyReport:
    """Compare a session with the original over windows x [N, T, *shape] (stateless: [N, *shape]) in raw units.

    fp32 passes when every float output is within 1e-4 and every decision is the same; windows in which spikes
    differ must have a first divergence with a float64 margin below 1e-5, and be at most 0.2 % of all. A lower
    precision, or a program that a recipe made smaller, passes when it loses at most 0.5 points of accuracy on labelled
    data; without labels, when 90 % of its decisions are the original's, or its outputs are off by at most a tenth of
    their standard deviation. A session at a narrow width is judged like that, as a whole and not layer by layer.
    Outputs of the artifact that are not finite never pass; DataError when those of the original are not.
    """
    shape = next(iter(session.facts.inputs.values()))
    program = program_of(session, original)
    narrow = session.width != FULL
    if program is not None and narrow:
        program = at_width(program, session.width)
    x = session.arrange(x)
    axes = 2 if session.stateful else 1
    if x.ndim != len(shape) + axes or x.shape[axes:] != shape:
        wants = f"[N, T, {', '.join(map(str, shape))}]" if session.stateful else f"[N, {', '.join(map(str, shape))}]"
        raise DataError("data", f"has shape {x.shape}, the program takes {wants}")
    if not np.isfinite(x).all():
        raise DataError("data", "holds NaN or Inf")
    before = np.asarray(original.run(x), np.float32)
    after = np.asarray(session.run(x), np.float32)
    if before.shape != after.shape:
        raise DataError(
            "reference", f"gives outputs {before.shape}, the program {after.shape}", "is it the same model?"
        )
    _check_finite(before, session.stateful)
    finite = bool(np.isfinite(after).all())
    windows = x if session.stateful else x[:, None]
    # integer and exported programs are made of the optimised graph, and have its states
    optimised = session.facts.graph is None or session.facts.graph.is_integer
    recipe = session.facts.compression
    exact = original.quantised("fp32") if optimised or recipe else original.graph
    whole = bool(recipe) and recipe["original_sha256"] == original.digest()  # else the model that was tuned
    thinner = without_dropped(exact, recipe.get("dropped", {})) if whole else exact
    thinner = None if narrow else thinner  # a width has not the units of the original
    layers = compare_layers(thinner, program, windows[:layer_windows]) if program and thinner else []
    errors = window_errors(before, after)
    differing = np.nonzero(errors > FLOAT_TOLERANCE)[0]
    decides = not session.stateful or session.facts.io.get("decision") is not None
    if y is not None and not decides:
        cause = f"program {session.facts.name!r} declares no decision over a window: it has no accuracy"
        raise DataError("labels", cause, "give windows without labels (array x alone)")
    if y is not None and len(y) != len(x):
        raise DataError("labels", f"there are {len(y)} for {len(x)} windows", "give one for each window")
    classes_before = session.decide(before) if decides and finite else None
    classes_after = session.decide(after) if decides and finite else None
    agreement = None if classes_before is None else float(np.mean(classes_before == classes_after))
    accuracy_before = accuracy_after = None
    if y is not None and agreement is not None:
        accuracy_before, accuracy_after = float(np.mean(classes_before == y)), float(np.mean(classes_after == y))
    like = agreement if agreement is not None else 1 - output_error(before, after) if finite else 0.0
    precision = session.facts.precision
    divergences: list[Divergence] = []
    if precision == "fp32" and not recipe:
        passed, rule = True, f"every output within {FLOAT_TOLERANCE:g}, every decision equal"
        if is_spiking(original.graph):
            for n in differing:
                states = original.states(windows[n]), states_of(session, windows[n])
                found = first_divergence(original.graph, windows[n], *states)
                divergences.append(Divergence(int(n), *(found or (None, None))))
            explained = all(d.margin is not None and d.margin < MARGIN for d in divergences)
            passed = explained and len(differing) <= MAX_ROUNDED * len(x)
            rule = f"spikes equal, but for windows with a margin below {MARGIN:g} ({MAX_ROUNDED:.1%} at most)"
            equal = np.ones(len(x), bool)
            equal[differing] = False
            same = classes_before is None or bool(np.all((classes_before == classes_after)[equal]))
            passed = passed and same
        else:
            passed = len(differing) == 0 and agreement in (None, 1.0)
    elif accuracy_before is not None and accuracy_after is not None:
        passed = 100 * (accuracy_before - accuracy_after) <= MAX_POINTS_LOST
        rule = f"at most {MAX_POINTS_LOST} points of accuracy lost"
    else:
        what = "decisions equal" if agreement is not None else "the outputs' standard deviation kept"
        passed, rule = like >= GROSS, f"{GROSS:.0%} of {what}; accuracy is not judged without labelled data"
    if program is not None:
        passed = passed and _matches_reference(session, program, windows[:layer_windows])
    passed = passed and finite
    return VerifyReport(
        engine=session.engine,
        precision=precision,
        windows=len(x),
        steps=windows.shape[1],
        worst_output_error=float(errors.max()),
        windows_differing=len(differing),
        divergences=tuple(divergences),
        layers=tuple(layers),
        unmatched_states=tuple(unmatched_states(thinner, program)) if program and thinner else (),
        agreement=agreement,
        accuracy_before=accuracy_before,
        accuracy_after=accuracy_after,
        passed=passed,
        rule=rule,
        widen=tuple(noisiest(layers, exact.entries["step"].outputs))
        if program is not None and program.is_integer and (not passed or like < LIKE)
        else (),
    )


def _check_finite(outputs: Array, stateful: bool) -> None:
    """DataError when the original itself leaves the finite numbers: there is then nothing to compare with."""
    wrong = np.argwhere(~np.isfinite(outputs))
    if len(wrong):
        window, step = wrong[0][0], f", step {wrong[0][1]}" if stateful else ""
        raise DataError(
            "reference", f"gives NaN or Inf in window {window}{step}", "use windows on which the model itself is stable"
        )


def program_of(session: Session, original: Original) -> Graph | None:
    """The graph that the session's program computes, after a check that it is the original's.

    An exported file holds none: it is made again from the original; None where that is not possible (QDQ and TFLite
    int8 compute with numbers that no graph of ours has; another version of edgekit may have written the file).
    DataError unless the original has the program's inputs and outputs and, below fp32, exactly its weights. A lower
    precision cannot be told from another model by its outputs.
    """
    facts = session.facts
    theirs = original.graph.entries["step"]
    if len(facts.inputs) != 1 or len(facts.outputs) != 1:
        raise DataError(
            "program", f"has {len(facts.inputs)} inputs and {len(facts.outputs)} outputs, comparing takes one each"
        )
    for side, ours, names in (("inputs", facts.inputs, theirs.inputs), ("outputs", facts.outputs, theirs.outputs)):
        shapes = list(ours.values()), [original.graph.tensors[n].shape for n in names]
        if shapes[0] != shapes[1]:
            raise DataError("reference", f"has {side} {shapes[1]}, the program {shapes[0]}", SAME)
    if facts.graph is None:
        return _exported_graph(session, original)
    _check_weights(session, facts.graph, original)
    return facts.graph


def _exported_graph(session: Session, original: Original) -> Graph | None:
    facts = session.facts
    precision = facts.precision if facts.precision in EXACT else "fp32"
    exact, rounded = (own_outputs(original.quantised(p)) for p in ("fp32", precision))
    sources = {graph.hash() for graph in (exact, rounded, *original.sources())}
    if facts.layout.digest not in sources:
        if facts.precision == "fp32":
            return None  # what it computes is compared, value by value
        raise DataError("reference", f"its graph is not the one that the {facts.precision} file was made of", SAME)
    return rounded if facts.precision in EXACT else None


def _check_weights(session: Session, program: Graph, original: Original) -> None:
    """DataError unless an artifact below fp32 holds the weights that the original gives."""
    precision, recipe = session.facts.precision, session.facts.compression
    tuned = session.artifact.manifest.get("quantisation") or {}
    if recipe and original.digest() not in (recipe["original_sha256"], tuned.get("original_sha256")):
        raise DataError("reference", "its weights are not those that the artifact was made from", SAME)
    if precision == "fp32" or recipe:
        return
    if program.is_integer:  # weights depend on the calibration too: the manifest says what they came from
        if session.artifact.manifest["quantisation"]["original_sha256"] != original.digest():
            raise DataError("reference", "its weights are not those that the artifact was made from", SAME)
        return
    held = {t.data.tobytes() for t in program.consts.values() if t.data is not None}
    plastic = [s.init for s in program.states if s.reset == "keep"]  # learned weights stay float32, as states
    for tensor in original.quantised(precision).consts.values():
        if tensor.quant is None or tensor.data is None or tensor.data.tobytes() in held:
            continue
        same_shape = [init for init in plastic if init.shape == tensor.shape]
        if not any(np.array_equal(tensor.quant.quantize(init), tensor.data) for init in same_shape):
            raise DataError("reference", f"its weights {tensor.name!r} at {precision} are not in the artifact", SAME)


def _matches_reference(session: Session, graph: Graph, windows: Array) -> bool:
    """Whether the engine gives what the reference interpreter gives for the program's own graph."""
    step = graph.entries["step"]
    if session.codec is not None:
        windows = session.codec.quantize([windows])[0]
    expected = Interpreter(graph).run({step.inputs[0]: windows})[0][step.outputs[0]]
    got = session.run(windows if session.stateful else windows[:, 0], stored=session.codec is not None)
    got = got if session.stateful else got[:, None]
    if session.codec is not None:
        return np.array_equal(expected, got)
    if is_spiking(graph):
        differing = window_errors(expected, got) > FLOAT_TOLERANCE  # a spike is off by one
        one_by_rounding = 1 if len(differing) >= FEWEST_FOR_ONE else 0
        return bool(differing.sum() <= max(one_by_rounding, MAX_ROUNDED * len(differing)))
    return relative_error(np.asarray(got), np.asarray(expected, np.float32)) <= FLOAT_TOLERANCE
