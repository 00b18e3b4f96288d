"""The certificate: what it says, that a manifest with a forged one is refused or contradicted, and what it costs."""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
import time
from pathlib import Path
from typing import Any

import artifact_samples
import numpy as np
import pytest
from converted import artifact, edgekit_main, module
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_families import FAMILIES, family
from range_samples import leaky, memory

import edgekit
from edgekit.artifact import Artifact, validate_manifest
from edgekit.convert.inputs import some
from edgekit.convert.integer import IntegerStage, stored_inputs
from edgekit.convert.options import Options
from edgekit.convert.progress import silent
from edgekit.errors import ArtifactError, UnsupportedError
from edgekit.ir import INT8, INT16, INT32, Graph, GraphBuilder, QuantParams
from edgekit.passes.activity import measure_activity
from edgekit.passes.choose_forms import choose_forms
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.ranges import analyse, certificate, contradictions
from edgekit.passes.ranges.certificate import bits_of
from tools.golden import read_golden

SHIPPED_S, RELEASED_S = 2.0, 5.0  # of CPU time, whatever else the computer does


def certified(graph: Graph) -> dict[str, Any]:
    return certificate(analyse(graph), graph)


def manifest_with(ranges: Any) -> dict[str, Any]:
    members = artifact_samples.members()
    return json.loads(artifact_samples.full_manifest(members, ranges=ranges))


# --- what it says -----------------------------------------------------------------------------------------------------


def test_a_state_in_stored_integers_and_in_real_units():
    graph = leaky((0, 29491, 32440), most=20)
    scales = QuantParams(np.array([0.5, 0.25, 0.125]), np.zeros(3, np.int32), 0, -32768, 32767)
    tensors = {**graph.tensors}
    tensors["s"] = type(tensors["s"])("s", (3,), INT16, scales)
    found = certified(graph.replace(tensors=tensors))
    (state,) = found["states"]
    assert {k: state[k] for k in ("tensor", "dtype", "shape", "bits", "of_bits", "method")} == {
        "tensor": "s",
        "dtype": "int16",
        "shape": [3],
        "bits": 12,
        "of_bits": 16,
        "method": "l1 gain",
    }
    assert state["scale"] == [0.125, 0.5]
    proof = analyse(graph).states["s"]
    assert (state["lo"], state["hi"]) == (proof.lo.min(), proof.hi.max())
    assert state["real_hi"] == max(s * h for s, h in zip((0.5, 0.25, 0.125), proof.hi, strict=True))
    assert state["rounding"] == pytest.approx(0.5 / (1 - 32440 / 2**15))
    assert state["residue"] == math.floor(0.5 / (1 - 32440 / 2**15))
    assert state["real_residue"] == max(0.125 * 49, 0.25 * 4)
    assert found["inputs"] == [{"tensor": "x", "dtype": "int8", "lo": -128, "hi": 127, "bits": 8, "of_bits": 8}]
    assert found["saturates"] == found["wraps"] == []


def test_a_zero_point_moves_real_bounds():
    graph = leaky((0,), most=20)
    tensors = {**graph.tensors}
    quant = QuantParams(np.array([2.0]), np.array([5], np.int32), None, -32768, 32767)
    tensors["s"] = type(tensors["s"])("s", (1,), INT16, quant)
    (state,) = certified(graph.replace(tensors=tensors))["states"]
    assert (state["lo"], state["hi"], state["real_lo"], state["real_hi"]) == (-20, 20, -50.0, 30.0)


def test_the_fullest_sums_come_first():
    b = GraphBuilder("g")
    x = b.input("x", (4,), INT8)
    for name, weight, total in (("low", 1, "int32"), ("full", 63, "int16"), ("high", 60, "int32")):
        b.output(b.op("linear", x, b.const(f"w.{name}", np.full((2, 4), weight), INT8), accumulate=total, out=name))
    rows = certified(b.build())["accumulators"]
    assert [r["tensor"] for r in rows] == ["full", "high", "low"]
    assert (rows[0]["lo"], rows[0]["hi"], rows[0]["bits"], rows[0]["op"]) == (-32256, 32004, 16, "linear")


@pytest.mark.parametrize(
    ("lo", "hi", "bits"),
    [
        (0, 0, 1),
        (-1, 0, 1),
        (0, 1, 2),
        (-2, 1, 2),
        (-128, 127, 8),
        (-129, 0, 9),
        (0, 128, 9),
        (-(2**31), 2**31 - 1, 32),
    ],
)
def test_bits_of_a_range(lo, hi, bits):
    assert bits_of(lo, hi) == bits


def test_what_may_wrap_is_refused_and_all_of_it_listed():
    b = GraphBuilder("g")
    x = b.input("x", (2,), INT8)
    b.output(b.op("add", x, x, out="twice"), b.op("neg", x, out="minus"), b.op("add", x, x, saturate=True))
    with pytest.raises(UnsupportedError, match="may overflow") as error:
        certified(b.build())
    assert error.value.items == ("add -> twice: -256 to 254 in int8", "neg -> minus: -127 to 128 in int8")


@pytest.mark.drawn(2)
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("precision", ["int8", "int8s8", "int4"])
def test_no_shipped_model_can_wrap_and_its_certificate_is_a_valid_section(name, precision):
    pytest.importorskip("torch")
    graph = family(name, precision).graph
    before = time.process_time()
    ranges = analyse(graph)
    assert time.process_time() - before < SHIPPED_S
    found = json.loads(json.dumps(certificate(ranges, graph)))
    validate_manifest(manifest_with(found))
    assert [row["tensor"] for row in found["states"]] == [s.tensor for s in graph.states]
    assert all(row.get("residue", 0) <= max(-row["lo"], row["hi"]) for row in found["states"])
    assert not contradictions(found, certificate(ranges, graph))


def released(path: Path) -> Graph:
    """A published model as an int8 program."""
    from edgekit.frontends import import_file

    golden = read_golden(path)
    imported = import_file(golden.path, config=golden.config)
    x = np.asarray(golden.x[:4], np.float32)
    raw = {imported.graph.entries["step"].inputs[0]: x}
    stage = IntegerStage.run(imported.graph, imported.io or {}, Options(precision="int8", calib=x), raw, silent)
    graph = run_passes(stage.graph, LOWER)
    return choose_forms(graph, measure_activity(graph, some(stored_inputs(graph, raw))))


@pytest.mark.drawn(3)
@pytest.mark.parametrize(
    "name",
    [
        "elm_v1_neuronio_num_memory_100",
        "elm_v2_branch_neuronio_routing",
        "l2mu_leaky_perneuron",
        "l2mu_synaptic_har6",
        "l2mu_trained_braille7",
        "lmu_braille_ann_har6",
        "lmu_psmnist_dims",
    ],
)
def test_no_published_model_can_wrap_and_its_proof_is_fast(shared, name):
    pytest.importorskip("torch")
    graph = released(shared / "golden" / f"{name}.npz")
    before = time.process_time()
    ranges = analyse(graph)
    assert time.process_time() - before < RELEASED_S
    validate_manifest(manifest_with(json.loads(json.dumps(certificate(ranges, graph)))))


# --- in a manifest, which anyone may have written ---------------------------------------------------------------------

GOOD = certified(memory(4, 20))


def test_a_certificate_is_a_valid_section():
    validate_manifest(manifest_with(GOOD))


FORGED = {
    "a wrap": (lambda c: c["wraps"].append({"op": "add", "tensor": "t", "dtype": "int8", "lo": 0, "hi": 1}), "wraps"),
    "bounds beyond the dtype": (lambda c: c["states"][0].update(hi=2**15), "no range of int16"),
    "bounds the wrong way round": (lambda c: c["states"][0].update(lo=9, hi=3), "no range of int16"),
    "more bits than there are": (lambda c: c["states"][0].update(bits=17), "no range of int16"),
    "bits of another dtype": (lambda c: c["accumulators"][0].update(of_bits=16), "no range of int32"),
    "a float": (lambda c: c["states"][0].update(dtype="float32", of_bits=32), "no range of float32"),
    "a fraction": (lambda c: c["states"][0].update(lo=-1.5), "must be an integer"),
    "an endless note": (lambda c: c["states"][0].update(note="x" * 5000), "not a text"),
    "too many states": (lambda c: c.update(states=c["states"] * 5000), "at most 4096"),
    "too many sums": (lambda c: c.update(accumulators=c["accumulators"] * 65), "at most 64"),
    "no shape": (lambda c: c["states"][0].pop("shape"), "shape is missing"),
    "an unknown field": (lambda c: c["states"][0].update(proof="trust me"), "not a known key"),
    "a scale of zero": (lambda c: c["states"][0].update(scale=[0, 1]), "positive number"),
    "three scales": (lambda c: c["states"][0].update(scale=[1, 1, 1]), "at least 2 and at most 2"),
    "an endless bound": (lambda c: c["states"][0].update(real_hi=math.inf), "must be a number"),
    "no number": (lambda c: c["states"][0].update(rounding=math.nan), "must be a number"),
    "a list": (lambda c: c.update(inputs={}), "must be a list"),
}


@pytest.mark.parametrize("fault", FORGED)
def test_a_malformed_certificate_is_refused(fault):
    change, message = FORGED[fault]
    forged = copy.deepcopy(GOOD)
    change(forged)
    manifest = manifest_with(GOOD)
    manifest["ranges"] = forged
    with pytest.raises(ArtifactError, match=message):
        validate_manifest(manifest)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.data(), _JSON)
def test_any_value_anywhere_is_refused_or_fits(data, value):
    """No certificate makes the validation fail in another way than by refusing it."""
    forged = copy.deepcopy(GOOD)
    part = data.draw(st.sampled_from(sorted(forged)))
    if isinstance(forged[part], list) and forged[part] and data.draw(st.booleans()):
        forged[part][0][data.draw(st.sampled_from(sorted(forged[part][0])))] = value
    else:
        forged[part] = value
    manifest = manifest_with(GOOD)
    manifest["ranges"] = forged
    with contextlib.suppress(ArtifactError):
        validate_manifest(manifest)


LIES = {
    "a tighter state": (lambda c: c["states"][0].update(hi=100), "may be .* not .* to 100 in int16"),
    "a state more": (lambda c: c["states"].append({**c["states"][0], "tensor": "ghost"}), "ghost is none"),
    "a state less": (lambda c: c["states"].clear(), "m is not among its states"),
    "another input": (lambda c: c["inputs"][0].update(lo=0), "x may be"),
    "another dtype": (lambda c: c["states"][0].update(dtype="int8"), "may be"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_the_graph_does_not_bear_out_is_told(lie):
    change, message = LIES[lie]
    claimed = copy.deepcopy(GOOD)
    change(claimed)
    found = contradictions(claimed, GOOD)
    assert found
    assert any(re.search(message, fault) for fault in found)


def test_another_computer_may_round_the_proof_differently():
    claimed = copy.deepcopy(GOOD)
    claimed["states"][0]["hi"] -= 1
    assert not contradictions(claimed, GOOD)


def test_an_unlisted_saturation_is_told():
    proven = certified(leaky((29491, 32735)))
    assert proven["saturates"]
    claimed = {**proven, "saturates": []}
    assert contradictions(claimed, proven) == [f"{proven['saturates'][0]['tensor']} may saturate"]


def test_what_a_restored_state_may_wrap_is_told():
    """s' = x between -20 and 20, of which the sum s + s fits int8; from any state at all it does not."""
    b = GraphBuilder("g")
    x, s = b.input("x", (2,), INT8), b.state("s", np.zeros(2), INT8)
    low, high = b.const("low", -20, INT8), b.const("high", 20, INT8)
    b.update(s, b.op("minimum", b.op("maximum", x, low), high))
    b.output(b.op("add", s, s))
    proven = certified(b.build())
    assert proven["from_any_state"] is False
    assert contradictions({**proven, "from_any_state": True}, proven) == [
        "a state that was restored may make a value wrap around"
    ]
    saturating = certified(leaky((0,), most=20))
    assert saturating["from_any_state"] is True
    assert not contradictions({**saturating, "from_any_state": False}, saturating)


# --- edgekit inspect --ranges -----------------------------------------------------------------------------------------


@pytest.fixture
def edge(tmp_path) -> Path:
    windows = np.random.default_rng(0).normal(size=(8, 20, 3)).astype(np.float32)
    return edgekit.convert(module("l2mu"), precision="int8", calib=windows, name="tiny").save(tmp_path / "tiny.edge")


def test_inspect_prints_the_certificate_and_proves_it_again(edge):
    answer = edgekit_main("inspect", edge, "--ranges")
    assert answer.returncode == 0
    for text in ("u.membrane", "of 16", "invariant, decay", "residue", "no value wraps around", "was proven now"):
        assert text in answer.stdout, text
    assert "u.membrane" not in edgekit_main("inspect", edge).stdout.split("state", 1)[0]
    document = json.loads(edgekit_main("inspect", edge, "--ranges", "--json").stdout)
    assert document["ranges"]["contradictions"] == []
    assert document["ranges"]["certificate"] == document["manifest"]["ranges"]
    names = [row["tensor"] for row in document["ranges"]["certificate"]["states"]]
    assert names == ["u.membrane", "m.membrane", "m.spikes", "h.membrane", "h.spikes", "o.membrane"]


def test_inspect_says_that_a_float_program_has_none(tmp_path):
    path = artifact("mlp").save(tmp_path / "net.edge")
    answer = edgekit_main("inspect", path, "--ranges")
    assert answer.returncode == 0
    assert "no certificate: a float program" in answer.stdout
    document = json.loads(edgekit_main("inspect", path, "--ranges", "--json").stdout)
    assert document["ranges"] == {"certificate": None, "proven": None, "contradictions": None}


def test_inspect_answers_no_to_a_forged_certificate(edge, tmp_path):
    honest = Artifact.open(edge)
    manifest = copy.deepcopy(dict(honest.manifest))
    manifest["ranges"]["states"][0]["hi"] = 3
    manifest["ranges"]["states"][0]["lo"] = -3
    del manifest["members"], manifest["program"]
    forged = Artifact.build(manifest, honest.graph, honest.selftest, {})
    path = forged.save(tmp_path / "forged.edge")
    answer = edgekit_main("inspect", path, "--ranges")
    assert answer.returncode == 1
    assert "NOT PROVEN: u.membrane may be" in answer.stdout
    assert answer.stdout.count("NOT PROVEN") == 1


def test_an_int32_accumulator_reports_its_bits():
    b = GraphBuilder("g")
    b.output(b.op("linear", b.input("x", (3,), INT16), b.const("w", np.ones((1, 3)), INT16), accumulate="int32"))
    (row,) = certified(b.build())["accumulators"]
    assert (row["dtype"], row["of_bits"], row["bits"]) == (str(INT32), 32, 18)
