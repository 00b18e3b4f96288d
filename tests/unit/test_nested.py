"""Nested widths: each is the model without the units beyond it, over one set of weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from nested_models import WIDTHS, converted, raw, rules
from tuned_models import FAMILIES, imported, step, windows

from edgekit.cli.widths import replayed_widths
from edgekit.compress.calibrate import calibrate
from edgekit.compress.nested import joined, nested, nesting_of
from edgekit.compress.order import reordered
from edgekit.compress.rules import Compression, NestedRule, WeightRule
from edgekit.convert import original_of
from edgekit.convert.exports import Wanted, check_wanted
from edgekit.convert.options import Options, check_options
from edgekit.convert.pipeline import convert_file, convert_imported
from edgekit.errors import GraphError, UsageError
from edgekit.frontends.graph_files import save_graph
from edgekit.ir import Graph, GraphBuilder, verify
from edgekit.ir.widths import at_width, widths_of
from edgekit.learn import Learning
from edgekit.reference import Interpreter, unpack_states
from edgekit.runtime import load
from edgekit.verify import verify_artifact


def outputs(graph: Graph, family: str, steps: int = 30) -> np.ndarray:
    """The first output of a float step over random inputs [2, T, …]."""
    (name,) = graph.entries["step"].inputs
    x = np.random.default_rng(1).standard_normal((2, steps, *graph.tensors[name].shape)).astype(np.float32)
    found, _ = Interpreter(graph).run({name: x})
    return next(iter(found.values()))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_width_is_the_model_without_the_other_units(family: str) -> None:
    graph = step(family).graph
    nesting = nesting_of(graph, rules(family))
    whole = nested(graph, nesting)
    assert widths_of(whole) == (100, 50, 25)
    assert nesting.percents == WIDTHS
    for at, percent in enumerate(nesting.percents):
        alone = graph if percent == 100 else nesting.narrowed(graph, at)
        narrow = at_width(whole, percent)
        verify(narrow)
        np.testing.assert_allclose(outputs(narrow, family), outputs(alone, family), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_widths_read_the_same_constants(family: str) -> None:
    graph = step(family).graph
    whole = nested(graph, nesting_of(graph, rules(family)))
    assert sum(t.size for t in whole.consts.values()) == sum(t.size for t in graph.consts.values())
    read = {e.name: {n for op in e.ops for n in op.inputs if whole.tensors[n].is_const} for e in whole.entries.values()}
    assert read["step_25"] < read["step_50"] < read["step"]


def test_scales_have_room_for_what_narrow_widths_do() -> None:
    graph = step("lmu").graph
    nesting = nesting_of(graph, rules("lmu"))
    x = step("lmu").inputs(windows(20, 3).x)
    seen, narrow = calibrate(graph, x), [calibrate(nesting.narrowed(graph, at), x) for at in range(2)]
    both = joined(seen, graph, nesting, narrow)
    assert both.of("y").clip == max(found.of("y").clip for found in (seen, *narrow))
    assert both.of("h").lo.shape == (12,)
    assert (both.of("h").lo[:3] <= narrow[0].of("h").lo).all()
    assert np.array_equal(both.of("h").hi[6:], seen.of("h").hi[6:])


def test_units_in_another_order_are_the_same_model() -> None:
    graph = step("lmu").graph
    for group, _ in nesting_of(graph, rules("lmu")).groups:
        order = np.random.default_rng(3).permutation(group.size)
        other = reordered(graph, group, order)
        np.testing.assert_allclose(outputs(other, "lmu"), outputs(graph, "lmu"), rtol=2e-5, atol=2e-5)
        for name in ("e_h.weight", "W_h.weight") if group.value == "h" else ():
            before, after = graph.tensors[name].data, other.tensors[name].data
            rows = order if name == "W_h.weight" else np.arange(len(before))
            assert np.array_equal(after, before[rows][:, order])


@pytest.mark.parametrize(
    ("family", "given", "says"),
    [
        ("mlp", [NestedRule("nothing")], "groups of units"),
        ("mlp", [NestedRule("*", (0.333, 1.0))], "whole per cents"),
        ("mlp", [NestedRule("*", (1.0,))], "the whole width alone"),
        ("mlp", [NestedRule("*", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0))], "9 widths: are more than 8"),
        ("mlp", [NestedRule("*", (0.02, 0.04, 1.0))], "too few"),
        ("lmu", [NestedRule("h", (0.5,)), NestedRule("m[0]", (0.25,))], "different widths"),
        ("lmu", [NestedRule("m*")], "two axes"),
        ("lmu", [NestedRule("m[1]")], "orders of a memory"),
    ],
)
def test_rules_that_cannot_be_followed_are_refused(family: str, given: list[NestedRule], says: str) -> None:
    graph = step(family).graph
    with pytest.raises(UsageError, match=says):
        nested(graph, nesting_of(graph, given))


def test_groups_of_inputs_that_a_width_would_lack_are_refused_in_its_own_words() -> None:
    grouped = Compression("int8", weights=(WeightRule("*", group=8),), nested=rules("mlp"))
    with pytest.raises(UsageError, match=r"cannot be nested: at 25 %.*group"):
        convert_imported(imported("mlp"), Options(precision="int8", calib=windows(9, 3).x, compression=grouped))


def test_learning_and_widths_exclude_each_other() -> None:
    compression = Compression("fp32", nested=rules("mlp"))
    with pytest.raises(UsageError, match="nested"):
        check_options(Options(precision="fp32", learn=Learning(rule="delta"), compression=compression))


@pytest.mark.parametrize("name", ["onnx", "tflite"])
def test_files_of_one_width_are_refused(name: str) -> None:
    """Their recipe would be lost."""
    options = Options(precision="w8", compression=Compression("w8", nested=rules("mlp")))
    with pytest.raises(UsageError, match="one width"):
        check_wanted(Wanted((name,)), options)
    check_wanted(Wanted(("edge",)), options)


def test_a_session_runs_at_one_width(tmp_path: Path) -> None:
    file = tmp_path / "model.edge"
    converted("lmu").artifact.save(file)
    x = raw("lmu", 40)
    found = {width: load(file, width=width) for width in (1.0, 0.5, 0.25)}
    assert [session.width for session in found.values()] == [100, 50, 25]
    ys = {width: session.run(x) for width, session in found.items()}
    assert not np.array_equal(ys[1.0], ys[0.5])
    assert not np.array_equal(ys[0.5], ys[0.25])
    for width, session in found.items():
        reference = load(file, engine="reference", width=width)
        assert np.array_equal(reference.run(x), ys[width])
        assert reference.save_state() == session.save_state()
        assert np.array_equal(session.stream().run(x), ys[width])
        session.reset()
        assert np.array_equal([session.step(row) for row in x], ys[width])
        assert np.array_equal(session.run(x[None])[0], ys[width])  # a sample of its own, from reset
    with pytest.raises(UsageError, match="it has 100 %, 50 %, 25 %"):
        load(file, width=0.3)
    with pytest.raises(UsageError, match="it has 100 %"):
        load(file, width=0.5001)


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_verify_judges_a_width_as_a_whole(precision: str) -> None:
    artifact, original = converted("lmu", precision=precision).artifact, original_of(imported("lmu"))
    x = np.asarray(windows(12, 3).x, np.float32)
    narrow = load(artifact, width=0.5)
    own = narrow.decide(narrow.run(x))
    report = verify_artifact(narrow, original, x, own)
    assert report.accuracy_after == 1
    assert report.passed  # which takes that it is what the reference says of that width
    assert (report.layers, report.unmatched_states) == ((), ())
    assert verify_artifact(load(artifact), original, x).layers


def on_thresholds(levels: np.ndarray | None = None) -> Graph:
    """Leaky membranes [32] behind nested units [24] that spike at these levels, or never."""
    rng, b = np.random.default_rng(4), GraphBuilder("on_thresholds", dt=0.05)
    w1, w2 = (rng.standard_normal(shape).astype(np.float32) for shape in ((24, 6), (32, 24)))
    h = b.op("relu", b.op("linear", b.input("x", (6,)), b.const("W1", w1)), out="h")
    m = b.state("m", np.zeros(32, np.float32))
    leaky = b.op("mul", m, b.const("decay", np.float32(0.9)))
    following = b.op("linear", h, b.const("W2", w2), leaky, out="following")
    b.update(m, following)
    b.output(b.op("ge", following, b.const("levels", np.full(32, 1e9, np.float32) if levels is None else levels)))
    return b.build()


def test_a_width_whose_membranes_meet_thresholds_is_not_called_broken(tmp_path: Path) -> None:
    """Where the stream of the full width is on the brink of spikes at another one, that is tested by another."""
    calib = np.random.default_rng(5).standard_normal((8, 32, 6)).astype(np.float32)
    whole = nested(on_thresholds(), nesting_of(on_thresholds(), [NestedRule("*", (0.5, 1.0))]))
    _, met = Interpreter(at_width(whole, 50)).run({"x": calib[:1, :9]})
    file = tmp_path / "model.pt"
    save_graph(file, on_thresholds(met["m"][0]), None)
    compression = Compression("fp32", nested=(NestedRule("*", (0.5, 1.0)),))
    made = convert_file(file, Options(precision="fp32", calib=calib, compression=compression)).artifact
    narrow = at_width(made.graph, 50)
    exact, _ = Interpreter(narrow, np.float64).run({"x": calib[:1]})
    rounded, _ = Interpreter(narrow).run({"x": calib[:1]})
    assert any(not np.array_equal(exact[n], rounded[n]) for n in exact)  # the stream of the full width
    assert np.array_equal(made.selftest.inputs["x"], calib[0])
    assert [report.steps for report in replayed_widths(made)] == [32, 32]


def test_a_state_goes_from_width_to_width(tmp_path: Path) -> None:
    """What a narrow width saves a wide one goes on from: the units beyond begin at their first values."""
    artifact, x = converted("lmu").artifact, raw("lmu", 20)
    narrow = load(artifact, width=0.25)
    narrow.run(x)
    blob = narrow.save_state()
    got = []
    for engine in ("auto", "reference"):
        wide = load(artifact, engine=engine)
        wide.restore_state(blob)
        got.append((wide.run(x).tobytes(), wide.save_state()))
    assert got[0] == got[1]
    fresh = load(artifact)
    assert fresh.run(x).tobytes() != got[0][0]


def test_a_narrow_width_leaves_the_units_beyond_it_alone() -> None:
    """What a wider one saved stays where no unit of the width is, until a reset."""
    artifact, x = converted("lmu").artifact, raw("lmu", 20)
    wide = load(artifact)
    wide.run(x)
    for engine in ("auto", "reference"):
        narrow = load(artifact, engine=engine, width=0.25)
        narrow.restore_state(wide.save_state())
        narrow.run(x)
        graph = artifact.graph
        before, after = (unpack_states(graph, session.save_state()) for session in (wide, narrow))
        same = {name for name in before if np.array_equal(before[name], after[name])}
        assert same == {name for name in before if not name.endswith("/25")}
        narrow.reset()
        assert narrow.save_state() == load(artifact).save_state()


@pytest.mark.parametrize(("family", "precision"), [("mlp", "int8"), ("lmu", "int8"), ("mlp", "fp32")])
def test_what_the_manifest_says_of_widths(family: str, precision: str) -> None:
    made = converted(family, precision=precision)
    rows = made.artifact.manifest["widths"]
    assert [row["percent"] for row in rows] == [100, 50, 25]
    for key in ("weights_bytes", "ram_bytes"):
        found = [row[key] for row in rows]
        assert found == sorted(found, reverse=True)
        assert found[0] > found[-1]
    notes = made.notes
    assert [sum(note.startswith(f"at {p} % of the units") for note in notes) for p in (50, 25)] == [1, 1]
    assert rows[0]["weights_bytes"] <= made.artifact.manifest["sizes"]["weights_bytes"]


def test_a_width_that_is_another_step_is_refused() -> None:
    b = GraphBuilder("two")
    b.output(b.op("tanh", b.input("x", (4,))))
    b.entry("step_50")
    b.output(b.op("tanh", b.input("x50", (3,))))
    with pytest.raises(GraphError, match="'step_50': takes or gives other things"):
        b.build()
