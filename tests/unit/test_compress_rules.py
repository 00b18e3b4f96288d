"""Recipes as files: what is written is read back, and what is wrong is told in a line with its place and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.compress.matching import fits, fitting
from edgekit.compress.recipe_data import from_data
from edgekit.compress.recipe_file import dump_recipe, parse_recipe, read_recipe
from edgekit.compress.rules import (
    BITS,
    PALETTE_BITS,
    SALIENCES,
    STATE_BITS,
    WEIGHT_SALIENCES,
    Compression,
    NestedRule,
    StateRule,
    Tuning,
    UnitRule,
    WeightRule,
)
from edgekit.errors import UsageError

ROOT = Path(__file__).parents[2]
NAMES = st.text(min_size=1, max_size=12)
SHARES = st.floats(0.01, 1)
UNITS = st.one_of(
    st.builds(UnitRule, NAMES, keep=SHARES, by=st.sampled_from(SALIENCES)),
    st.builds(UnitRule, NAMES, drop=st.lists(st.integers(0, 99), min_size=1, max_size=4).map(tuple)),
)
WEIGHTS = st.one_of(
    st.builds(WeightRule, NAMES, bits=st.sampled_from(BITS), group=st.none() | st.integers(1, 64)),
    st.builds(WeightRule, NAMES, palette=st.sampled_from(PALETTE_BITS), rank=st.none() | st.integers(1, 64)),
    st.builds(WeightRule, NAMES, bits=st.just(8), levels=st.integers(1, 127)),
    st.builds(
        WeightRule,
        NAMES,
        density=SHARES,
        block=st.tuples(st.integers(1, 4), st.integers(1, 16)),
        by=st.sampled_from(WEIGHT_SALIENCES),
    ),
)
TUNINGS = st.builds(Tuning, st.integers(0, 9), st.floats(1e-6, 1), schedule=st.sampled_from(["one-shot", "gradual"]))
RECIPES = st.builds(
    Compression,
    st.sampled_from(["int8", "int8s8", "int4"]),
    st.lists(UNITS, max_size=3).map(tuple),
    st.lists(WEIGHTS, max_size=3).map(tuple),
    st.lists(st.builds(StateRule, NAMES, st.sampled_from(STATE_BITS)), max_size=2).map(tuple),
    st.lists(st.builds(NestedRule, NAMES), max_size=1).map(tuple),
    TUNINGS,
)


@settings(max_examples=60, deadline=None)
@given(RECIPES)
def test_what_is_written_is_read_back(recipe: Compression) -> None:
    assert parse_recipe(dump_recipe(recipe)) == recipe


HEAD = "schema_version = 1\n"
WRONG = {
    "": "schema_version is missing",
    "schema_version = 2": "line 1: schema_version = 2 is unknown",
    "a = [": "is no TOML",
    "a = " + "[" * 3000: "TOML|deeply",
    HEAD + "unit = 1": "line 2: unit is not a known key; known are schema_version, precision, units",
    HEAD + "units = 1": "line 2: units is no list of rules",
    HEAD + "precision = 'int9'": "line 2: precision = 'int9' is not known; known are fp32",
    HEAD + "[[units]]\nkeep = 0.5": "line 2: units.0..match is missing",
    HEAD + "[[units]]\nmatch = 'h'\nkeep = '1'": "line 4: units.0..keep = '1' is no number",
    HEAD + "[[units]]\nmatch = 'h'\nkeep = true": "line 4: units.0..keep = True is no number",
    HEAD + "[[units]]\nmatch = 'h'\nkeep = 1.5": "line 4: units.0. 'h': keep = 1.5 is no share above 0",
    HEAD + "[[units]]\nmatch = 'h'": "line 3: units.0. 'h': has neither keep nor drop",
    HEAD + "[[units]]\nmatch = 'h'\nkeep = 1\ndrop = [1]": "line 3: units.0. 'h': has both keep and drop",
    HEAD + "[[units]]\nmatch = 'h'\ndrop = [1.0]": "line 4: units.0..drop.0. = 1.0 is no whole number",
    HEAD + "[[weights]]\nmatch = 'W'": "line 3: weights.0. 'W': says nothing",
    HEAD + "[[weights]]\nmatch = 'W'\nbits = 3": "line 4: weights.0. 'W': bits = 3 is not possible; give 16, 8, 4, 2",
    HEAD + "[[weights]]\nmatch = 'W'\nbits = 8\npalette = 4": "has both bits and palette",
    HEAD + "[[weights]]\nmatch = 'W'\nblock = [1, 4]\nbits = 4": "block is not used without density",
    HEAD + "[[weights]]\nmatch = 'W'\ndensity = nan": "no number",
    HEAD + "[[weights]]\nmatch = 'W'\ndensity = 0.5\nblock = [4]": "is no block",
    HEAD + "[[weights]]\nmatch = 'W'\ndensity = 0.5\nby = 'taylor'": "is not known; known are magnitude, activity",
    HEAD + "precision = 'w8'\n[[weights]]\nmatch = 'W'\nbits = 4": "bits is not used with precision 'w8'",
    HEAD + "[[weights]]\nmatch = 'a'\nbits = 8\n[[weights]]\nmatch = 'b'\nbit = 8": "line 7: weights.1..bit is not",
    HEAD + "[[states]]\nmatch = 's'\nbits = 4": "line 4: states.0. 's': bits = 4 is not possible",
    HEAD + "[[nested]]\nmatch = 's'\nwidths = [0.5]": "do not rise to 1",
    HEAD + "[tuning]\nepochs = -1": "line 3: tuning: epochs = -1 is out of range; give 0 to",
    HEAD + "[[units]]\nmatch = 's'\nkeep = 0.5\n[[states]]\nmatch = 's'\nbits = 33": "line 7: states.0. 's': bits = 33",
    HEAD + "[[states]]\nmatch = 's'\nbits = 8\n[[states]]\nmatch = 's'\nbits = 33": "line 7: states.1. 's': bits = 33",
    HEAD + "[[weights]]\nmatch = 'W'\ngroup = 0": "line 4: weights.0. 'W': group = 0 is not possible",
    HEAD + "[[weights]]\nmatch = 'W'\nrank = 0": "line 4: weights.0. 'W': rank = 0 is not possible",
    HEAD + "[[units]]\nmatch = 'h'\nkeep = " + 400 * "9": "line 4: units.0..keep = 9+... is no number",
    HEAD + "[[units]]\nmatch = 'h'\nkeep = " + 5000 * "9": "is no TOML: .*digits",
    HEAD
    + "[[weights]]\nmatch = 'W'\nbits = 8\nby = 'activity'": "line 5: weights.0. 'W': by is not used without density",
    HEAD + "[[units]]\nmatch = 'h'\ndrop = [1]\nby = 'taylor'": "line 5: units.0. 'h': by is not used with drop",
    HEAD
    + "[[weights]]\nmatch = 'W'\nbits = 2\nlevels = 1": "line 5: weights.0. 'W': levels = 1 is not used with bits = 2",
    HEAD
    + "[[weights]]\nmatch = 'W'\nbits = 4\nlevels = 100": "levels = 100 is more than the 7 of 4 bits; give at most 7",
    HEAD + "[tuning]\nhard = 0\nsoft = 0": "line 3: tuning: hard, soft and traces are 0: there is nothing to learn",
    HEAD + "[tuning]\nseed = 2147483648": "line 3: tuning.seed = 2147483648 is no whole number",
    HEAD + "[tuning]\nrates = 1": "line 3: tuning.rates is not a known key",
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_told_in_a_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=WRONG[text]) as error:
        read_recipe(file)
    assert str(error.value).startswith(f"{file}")
    assert "\n" not in str(error.value).strip()


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no text"):
        read_recipe(tmp_path / "binary.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(UsageError, match="at most"):
        read_recipe(tmp_path / "large.toml")


@given(st.text("ab[].*", max_size=8), st.text("ab[].", max_size=8))
def test_a_pattern_has_one_wildcard(pattern: str, name: str) -> None:
    """Against the definition: the name is the pattern, or a * stands for some of its first characters."""

    def means(pattern: str, name: str) -> bool:
        if not pattern:
            return not name
        if pattern[0] == "*":
            return any(means(pattern[1:], name[k:]) for k in range(len(name) + 1))
        return name[:1] == pattern[0] and means(pattern[1:], name[1:])

    assert fits(pattern, name) == means(pattern, name)
    assert fits(name, name)


def test_what_a_stored_recipe_says_without_effect_is_left_out() -> None:
    """An earlier version let it pass; what it made can still be made again."""
    said = {"schema_version": 1, "units": [{"match": "h", "drop": [1], "by": "taylor"}]}
    said["weights"] = [
        {"match": "W", "bits": 4, "levels": 100, "by": "activity"},
        {"match": "V", "bits": 2, "levels": 1},
    ]
    with pytest.raises(UsageError):
        from_data(said)
    weights = (WeightRule("W", bits=4, levels=7), WeightRule("V", bits=2))
    assert from_data(said, stored=True) == Compression(units=(UnitRule("h", drop=(1,)),), weights=weights)


@pytest.mark.parametrize("file", sorted((ROOT / "examples" / "har" / "compress").glob("*.toml")), ids=lambda p: p.stem)
def test_the_recipes_that_come_with_it_are_read(file: Path) -> None:
    assert read_recipe(file).tuning.epochs


def test_a_pattern_that_fits_nothing_lists_the_names() -> None:
    assert fitting("W_*", ["W_h", "e_h", "W_m"], "matrices") == ["W_h", "W_m"]
    with pytest.raises(UsageError, match="fits none of the matrices; the matrices are\n  - W_h\n  - e_h"):
        fitting("W_x", ["W_h", "e_h"], "matrices")
