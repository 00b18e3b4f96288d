"""Rules for weights: masks, low rank, slices, few levels; and convert --recipe, whose artifacts can be replayed."""

from __future__ import annotations

import itertools
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from converted import edgekit_main
from float_steps import SNN, STEPS, constant, float_step, noise, outputs, with_constants
from hypothesis import given, settings
from hypothesis import strategies as st

import edgekit
from edgekit.artifact import Artifact
from edgekit.compress.apply import Compressed, compressed
from edgekit.compress.calibrate import calibrate
from edgekit.compress.feedback import rounded_to
from edgekit.compress.forms import ternary_scale
from edgekit.compress.integer import IntegerProgram, quantise_program
from edgekit.compress.lowrank import factors
from edgekit.compress.masks import costs, damped, mask_of, refitted
from edgekit.compress.matrices import matrices
from edgekit.compress.palette import best_levels, nearest
from edgekit.compress.pinned import pinned
from edgekit.compress.rules import Compression, StateRule, Tuning, UnitRule, WeightRule
from edgekit.errors import UsageError
from edgekit.ir import Graph


def small(graph: Graph, *rules: WeightRule, precision: str = "int8", states: tuple[StateRule, ...] = ()) -> Compressed:
    seen = calibrate(graph, noise(graph))
    return compressed(graph, Compression(precision, weights=rules, states=states), seen)


def program_of(made: Compressed) -> IntegerProgram:
    assert made.recipe is not None
    return quantise_program(made.graph, calibrate(made.graph, noise(made.graph, 32)), made.recipe)


def integers(program: IntegerProgram, name: str) -> np.ndarray:
    """The constant that a matrix of the float graph became, in units of its rounding."""
    (found,) = [n for n in program.graph.consts if n.startswith(f"{name}.int")]
    data, step = np.asarray(program.graph.consts[found].data), program.rounded[name].step
    assert not (data % step).any()
    return data // step


# --- masks ---


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 33),
    st.floats(0.01, 1),
    st.tuples(st.integers(1, 3), st.integers(1, 16)),
    st.data(),
)
def test_a_mask_keeps_the_share_of_blocks_that_weighs_most(
    rows: int, columns: int, density: float, block: tuple[int, int], data: st.DataObject
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    weights = random.normal(size=(rows, columns))
    mask = mask_of(weights, density, block)
    blocks = [
        (mask[i : i + block[0], j : j + block[1]], (weights**2)[i : i + block[0], j : j + block[1]].sum())
        for i in range(0, rows, block[0])
        for j in range(0, columns, block[1])
    ]
    assert all(m.all() or not m.any() for m, _ in blocks)
    kept = [energy for m, energy in blocks if m.all()]
    gone = [energy for m, energy in blocks if not m.any()]
    assert len(kept) == max(1, int(np.floor(density * len(blocks) + 0.5)))
    assert not gone or min(kept) >= max(gone) - 1e-12


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.tuples(st.integers(1, 3), st.integers(1, 4)))
def test_what_the_loss_of_a_block_costs_is_what_is_left_when_the_others_made_it_good(
    seed: int, block: tuple[int, int]
) -> None:
    """One block goes, all other weights are refitted: their error is the cost that was told beforehand."""
    random = np.random.default_rng(seed)
    w, x = random.normal(size=(3, 6)), random.normal(size=(50, 6)) @ random.normal(size=(6, 6))
    moments = x.T @ x / 50
    told, h = costs(w, block, moments), damped(moments)
    for i, j in np.ndindex(told.shape):
        mask = np.ones(w.shape, bool)
        mask[i * block[0] : (i + 1) * block[0], j * block[1] : (j + 1) * block[1]] = False
        off = w - refitted(w, mask, moments)
        assert not refitted(w, mask, moments)[~mask].any()
        np.testing.assert_allclose(np.einsum("oi,ij,oj->", off, h, off), told[i, j], rtol=1e-6)
        plain = np.where(mask, 0, w)
        assert told[i, j] <= np.einsum("oi,ij,oj->", plain, h, plain) * (1 + 1e-9)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("family", STEPS)
def test_pruned_weights_are_zero_in_the_program(family: str, precision: str) -> None:
    """Error feedback hands errors on to other weights, never to those that are gone."""
    made = small(float_step(family), WeightRule("*", density=0.4, block=(1, 4), by="activity"), precision=precision)
    assert set(made.masks) == set(matrices(made.graph))
    program = program_of(made)
    for name, mask in made.masks.items():
        whole = integers(program, name)
        assert not whole[~mask].any()
        assert whole[mask].any()


# --- low rank and slices ---


@pytest.mark.parametrize("seen", [False, True])
def test_factors_of_full_rank_are_the_matrix(seen: bool) -> None:
    random = np.random.default_rng(3)
    w, x = random.normal(size=(7, 5)), random.normal(size=(40, 5)) * [3, 1, 1, 0.1, 0]
    outer, inner = factors(w, 5, x.T @ x / 40 if seen else None)
    np.testing.assert_allclose(outer @ inner, w, atol=1e-8)


def test_factors_serve_the_inputs_that_were_seen() -> None:
    """Of rank 2 they are far better for inputs of a plane than those that know nothing of it."""
    random = np.random.default_rng(4)
    w, x = random.normal(size=(8, 8)), random.normal(size=(200, 2)) @ random.normal(size=(2, 8))
    errors = [
        np.linalg.norm((w - outer @ inner) @ x.T) / np.linalg.norm(w @ x.T)
        for outer, inner in (factors(w, 2), factors(w, 2, x.T @ x / 200))
    ]
    assert errors[1] < 0.02 < errors[0]


def test_a_matrix_of_low_rank_loses_nothing() -> None:
    """Recurrent, and with spikes for inputs: the first factor takes the spikes."""
    graph, random = float_step("l2mu"), np.random.default_rng(2)
    w = random.normal(size=(16, 3)) @ random.normal(size=(3, 16)) / 4
    graph = with_constants(graph, {"W_h.weight": w.astype(np.float32)})
    made = small(graph, WeightRule("W_h*", rank=3, bits=4), WeightRule("*.V", bits=8))
    assert {n: made.graph.tensors[n].shape for n in ("W_h.weight.U", "W_h.weight.V")} == {
        "W_h.weight.U": (16, 3),
        "W_h.weight.V": (3, 16),
    }
    x = noise(graph)
    np.testing.assert_allclose(outputs(made.graph, x), outputs(graph, x), atol=1e-5)
    program = program_of(made)
    assert np.abs(integers(program, "W_h.weight.U")).max() == 7
    assert np.abs(integers(program, "W_h.weight.V")).max() == 127


def test_a_rank_that_saves_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"rank 8 of W_h.weight \[16, 16\]: saves nothing; take at most 7"):
        small(float_step("l2mu"), WeightRule("W_h*", rank=8))


@pytest.mark.parametrize("family", STEPS)
def test_slices_have_scales_of_their_own_and_add_up(family: str) -> None:
    graph = float_step(family)
    made = small(graph, WeightRule("*", group=4, bits=4))
    x = noise(graph)
    np.testing.assert_allclose(outputs(made.graph, x), outputs(graph, x), rtol=1e-4, atol=1e-4)
    program = program_of(made)
    name = next(n for n in matrices(graph) if graph.tensors[n].shape[1] >= 9)
    for k in range(2):  # every slice uses all of its bits in every row
        assert (np.abs(integers(program, f"{name}.{k}")).max(axis=1) == 7).all()


def test_a_group_that_slices_nothing_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"group = 1000: slices nothing: what match = 'W_\*' fits has 24 inputs at most"
    ):
        small(float_step("l2mu"), WeightRule("W_*", group=1000))
    graph = float_step("l2mu")  # that keeps one matrix whole does something
    made = small(graph, WeightRule("W_*", group=8), WeightRule("W_h*", group=1000))
    assert "W_h.weight" in matrices(made.graph)
    assert "W_m.weight.1" in matrices(made.graph)


# --- few levels ---


@pytest.mark.parametrize(
    ("precision", "rules", "says"),
    [
        ("int8", (WeightRule("W_h*", levels=1), WeightRule("*", bits=2)), "levels = 1 is not used with bits = 2"),
        (
            "int8",
            (WeightRule("*", bits=4), WeightRule("W_h*", levels=100)),
            "levels = 100 is more than the 7 of 4 bits",
        ),
        ("int4", (WeightRule("W_h*", levels=8),), "levels = 8 is more than the 7 of 4 bits"),
    ],
)
def test_levels_beyond_the_bits_are_refused(precision: str, rules: tuple[WeightRule, ...], says: str) -> None:
    """Also where several rules, or the precision, have made them meet."""
    with pytest.raises(UsageError, match=f"weights W_h.weight: {says}"):
        program_of(small(float_step("l2mu"), *rules, precision=precision))


def brute(weights: np.ndarray, count: int, power: np.ndarray) -> float:
    """The least error of any levels among the integers."""
    p = np.broadcast_to(power, weights.shape)
    every = itertools.combinations(range(-6, 7), count)
    return min(float((p * (weights - nearest(weights, levels)) ** 2).sum()) for levels in every)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.integers(1, 4))
def test_levels_are_the_best_ones(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    weights, power = random.uniform(-6, 6, size=(3, 5)), random.uniform(0.1, 1, size=5)
    binned = np.floor(weights + 0.5)  # levels part whole bins
    levels = best_levels(binned + 1e-9, count, 6, power)
    found = float((power * (binned - nearest(binned, levels)) ** 2).sum())
    assert found <= brute(binned, min(count, len(np.unique(binned))), power) + 1e-6


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999))
def test_the_scale_of_ternary_weights_is_the_best_one(seed: int) -> None:
    random = np.random.default_rng(seed)
    weights, power = random.normal(size=(2, 6)), random.uniform(0.1, 1, size=6)
    found = ternary_scale(weights, power)
    for row, scale in zip(weights, found, strict=True):
        best = np.inf
        for signs in itertools.product((-1, 0, 1), repeat=6):
            t = np.array(signs)
            if t.any():
                alpha = max((power * row * t).sum() / (power * t**2).sum(), 0)
                best = min(best, (power * (row - alpha * t) ** 2).sum())
        error = (power * (row - scale * np.clip(np.floor(row / scale + 0.5), -1, 1)) ** 2).sum()
        assert error <= best * (1 + 1e-9)


FORMS = {
    "int8": (),
    "int4": (WeightRule("*", bits=4),),
    "ternary": (WeightRule("*", bits=2),),
    "palette": (WeightRule("*", palette=3),),
    "sparse palette": (WeightRule("*", palette=2, density=0.5),),
    "slices": (WeightRule("*", bits=4, group=4),),
    "mixed": (WeightRule("*", bits=8), WeightRule("*2.weight*", bits=2), WeightRule("*_h*", bits=4)),
}
ALLOWED = {"ternary": 3, "palette": 8, "sparse palette": 4, "int4": 15, "slices": 15}


@lru_cache
def program_in(family: str, form: str) -> tuple[Compressed, IntegerProgram]:
    rules = [
        r for r in FORMS[form] if form != "mixed" or any(r.match.strip("*") in n for n in float_step(family).consts)
    ]
    made = small(float_step(family), *rules)
    return made, program_of(made)


@pytest.mark.drawn(3)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("family", STEPS)
def test_weights_on_the_grid_keep_their_integers(family: str, form: str) -> None:
    """As a training leaves them: other multiples of the same units, on another calibration, are held exactly."""
    made, program = program_in(family, form)
    random, wanted, tuned = np.random.default_rng(1), {}, {}
    for name, rounded in program.rounded.items():
        if rounded.largest > 127:  # 16 bits are not pinned
            continue
        near = constant(made.graph, name) / rounded.unit * random.uniform(0.5, 1.2, size=rounded.unit.shape)
        wanted[name] = rounded_to(near, rounded.largest, rounded.levels)
        assert len(np.unique(wanted[name])) <= ALLOWED.get(form, 255)
        tuned[name] = (wanted[name] * rounded.unit).astype(np.float32)
    assert wanted or form == "int8"
    graph = with_constants(made.graph, tuned)
    assert made.recipe is not None
    again = quantise_program(graph, calibrate(graph, noise(graph, 8)), pinned(made.recipe, program))
    for name, whole in wanted.items():
        np.testing.assert_array_equal(integers(again, name), whole)


@pytest.mark.parametrize("family", ["lmu", SNN])
def test_few_levels_compute_nearly_as_the_matrix_does(family: str) -> None:
    """16 levels change outputs less than 4 do, and matrices of few bits leave the others theirs."""
    made, _ = program_in(family, "int8")
    x = noise(made.graph)
    exact = outputs(made.graph, x).astype(float)

    def error(*rules: WeightRule) -> float:
        program = program_of(small(float_step(family), *rules))
        data = {n: r.unit * integers(program, n) for n, r in program.rounded.items()}
        return float(np.abs(outputs(with_constants(made.graph, data), x).astype(float) - exact).mean())

    assert error(WeightRule("*", palette=4)) <= error(WeightRule("*", palette=2))
    coarse, fine = ("e_h.weight", "W_h.weight") if family == "lmu" else ("_0.weight", "_2.weight")
    program = program_of(small(float_step(family), WeightRule("*", bits=8), WeightRule(coarse, bits=2)))
    assert np.abs(integers(program, fine)).max() > 64


def test_states_and_operands_have_bits() -> None:
    made = small(float_step("lmu"), states=(StateRule("m", 32), StateRule("step.tanh*", 8)))
    assert made.recipe is not None
    assert (dict(made.recipe.states), dict(made.recipe.operands)) == ({"m": 32}, {"step.tanh23": 8})
    assert program_of(made).choices["m"].dtype == "int32"
    with pytest.raises(UsageError, match="operands are held in 8, 16 bits"):
        small(float_step("lmu"), states=(StateRule("step.tanh*", 32),))


# --- convert ---

RECIPE = """
schema_version = 1
precision = "int8"

[[units]]
match = "h.membrane"
keep = 0.75
by = "activity"

[[weights]]
match = "W_*"
bits = 4
density = 0.5
block = [1, 4]
"""


def _l2mu(seed: int) -> Any:
    torch = pytest.importorskip("torch")
    from edgekit import models

    torch.manual_seed(seed)
    return models.L2MU(inputs=3, hidden=16, memory=6, order=4, outputs=3, theta=8.0).eval()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny L2MU, and windows to calibrate with, beside each other."""
    folder = tmp_path_factory.mktemp("recipe")
    edgekit.save(_l2mu(seed=1), folder / "m.pt")
    np.savez(folder / "x.npz", x=np.random.default_rng(0).normal(scale=2, size=(24, 12, 3)).astype(np.float32))
    (folder / "small.toml").write_text(RECIPE)
    return folder / "m.pt"


def test_an_artifact_is_a_recipe_that_gives_the_same_bytes(model: Path, tmp_path: Path) -> None:
    files = [tmp_path / "a.edge", tmp_path / "b.edge"]
    for recipe, file in zip((model.parent / "small.toml", files[0]), files, strict=True):
        options = ("--calib", model.parent / "x.npz", "--recipe", recipe, "-o", file, "--json")
        done = edgekit_main("convert", model, *options)
        assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["compression"]
    assert told["recipe"]["weights"] == [{"match": "W_*", "bits": 4, "density": 0.5, "block": [1, 4]}]
    assert len(told["dropped"]["h.membrane"]) == 4
    assert files[0].read_bytes() == files[1].read_bytes()
    graph = Artifact.open(files[0]).graph
    assert graph.tensors["h.membrane"].shape == (12,)
    shown = edgekit_main("inspect", files[0])
    assert "recipe: int8, rules 1 of units, 1 of weights" in shown.stdout


@pytest.mark.drawn(2)
def test_floats_follow_a_recipe_too(model: Path, tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(
        RECIPE.replace("int8", "fp32").replace("bits = 4\n", "").replace("activity", "magnitude")
    )
    file = tmp_path / "f.edge"
    done = edgekit_main("convert", model, "--recipe", tmp_path / "f.toml", "-o", file)
    assert done.returncode == 0, done.stderr
    graph = Artifact.open(file).graph
    assert graph.tensors["h.membrane"].shape == (12,)
    (name,) = [n for n in graph.consts if n.startswith("W_m")]
    assert 0.4 < np.mean(np.asarray(graph.tensors[name].data) != 0) < 0.6
    assert "of 16 units taken out" in done.stdout
    verified = json.loads(edgekit_main("verify", file, "--reference", model, "--limit", 8, "--json").stdout)
    assert {"state h.membrane", "state m.membrane"} <= {layer["name"] for layer in verified["layers"]}
    assert verified["layers"][0]["worst"] < 1e-5  # nothing that a layer hears before the first pruned one is lost
    other = tmp_path / "other.pt"
    edgekit.save(_l2mu(seed=2), other)
    refused = edgekit_main("verify", file, "--reference", other)
    assert (refused.returncode, "not those that the artifact was made from" in refused.stderr) == (2, True)


REFUSED = {
    "another precision": (("--precision", "int4"), "precision = 'int8', asked for is 'int4'; leave --precision out"),
    "no calibration": (("--calib", ""), "needs calibration windows"),
    "a format without": (("--format", "nir"), "nir: has no precision 'int8'|--recipe: nir"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_with_a_recipe_is_refused(model: Path, case: str) -> None:
    extra, why = REFUSED[case]
    calib = () if "--calib" in extra else ("--calib", model.parent / "x.npz")
    given = () if "--calib" in extra else extra
    done = edgekit_main("convert", model, *calib, "--recipe", model.parent / "small.toml", *given)
    assert done.returncode == 2
    assert any(part in done.stderr for part in why.split("|"))


@pytest.mark.parametrize(
    ("compression", "why"),
    [
        (
            Compression(tuning=Tuning(epochs=3)),
            "3 epochs of training, and a conversion does not train; use edgekit compress",
        ),
        (Compression(weights=(WeightRule("V_*", bits=4),)), "fits none of the matrices"),
        (Compression(units=(UnitRule("h.membrane", drop=(16,)),)), "has units 0 to 15"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(model: Path, compression: Compression, why: str) -> None:
    windows = np.load(model.parent / "x.npz")["x"]
    with pytest.raises(UsageError, match=why):
        edgekit.convert(model, recipe=compression, calib=windows)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_weights_that_learn_have_no_form_of_a_recipe(model: Path, precision: str) -> None:
    windows = np.load(model.parent / "x.npz")["x"]
    rules = Compression(precision, weights=(WeightRule("output_transformation*", density=0.5),))
    with pytest.raises(UsageError, match=r"output_transformation\.weight: learn on the device"):
        edgekit.convert(model, recipe=rules, calib=windows, learn="delta")


def test_inspect_lists_what_rules_match(model: Path) -> None:
    done = edgekit_main("inspect", model, "--units", "--json")
    found = json.loads(done.stdout)["rules"]
    assert [u["name"] for u in found["units"]] == ["u.membrane", "m.membrane[1]", "h.membrane"]
    assert {"W_h.weight", "e_h.weight"} <= {m["name"] for m in found["matrices"]}
    assert "u.membrane" in {s["name"] for s in found["states"]}
    assert "m.membrane[1]" in edgekit_main("inspect", model, "--units").stdout
