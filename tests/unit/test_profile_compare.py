"""Two profiles side by side: ratios where both figures came about alike, and what a reader must know before them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profile_samples import sample

from edgekit.errors import DataError
from edgekit.profile.compare import Comparison, Row, compare_profiles, read_profile
from edgekit.profile.figures import SCHEMA_VERSION, figures, memory_rows
from edgekit.profile.grades import DERIVED, EMULATED, ESTIMATED, MEASURED, UNAVAILABLE


def row(comparison: Comparison, group: str, name: str) -> Row:
    (found,) = (each for each in comparison.rows if (each.group, each.name) == (group, name))
    return found


def different(comparison: Comparison) -> dict[str, tuple[str, str]]:
    return {each.what: (each.a, each.b) for each in comparison.different}


def test_a_profile_beside_itself_differs_in_nothing():
    found = compare_profiles(sample(), sample())
    assert found.different == ()
    known = [each for each in found.rows if each.a is not None and each.a > 0]
    assert len(known) > 60
    assert {each.ratio for each in known} == {1.0}
    assert row(found, "time", "one step a call: median").note == "the windows of both overlap: not told apart"
    assert row(found, "time", "one step a call: p99").note == ""


def test_ratios_are_b_over_a_in_the_same_unit():
    a, b = sample(), sample()
    timing = b["timings"][0]
    timing["median_us"], timing["windows_us"] = timing["median_us"] / 2, [us / 2 for us in timing["windows_us"]]
    b["memory"]["flash"] = a["memory"]["flash"] * 3
    b["energy"]["joules_per_step"] = 6e-6
    found = compare_profiles(a, b)
    median = row(found, "time", "one step a call: median")
    assert median.ratio == pytest.approx(0.5)
    assert median.note == ""
    assert median.a == pytest.approx(a["timings"][0]["median_us"] / 1e6)
    assert (median.unit, median.grade_a, median.texts[2]) == ("s", MEASURED, "0.50×")
    assert row(found, "memory", "flash").ratio == 3
    assert row(found, "memory", "flash").texts == ("20.4 kB", "61.2 kB", "3.00×")
    assert row(found, "energy", "a step, idle too").texts == ("12 µJ", "6 µJ", "0.50×")
    assert row(found, "ops", "W_h: time").ratio == 1
    assert row(found, "spike rates", "spk_h").a == 0.09


def test_there_is_no_ratio_of_unlike_grades_or_of_what_one_has_not():
    a, b = sample(), sample()
    b["memory"] |= {"stack": None, "stack_grade": UNAVAILABLE, "ram": b["memory"]["struct"]}
    b["energy"]["grade"] = ESTIMATED
    del b["timings"][1]
    b["paced"]["misses"], a["paced"]["misses"] = 3, 0
    b["operations"]["activation_sparsity"] = None
    found = compare_profiles(a, b)
    ram = row(found, "memory", "RAM")  # with the stack in a, without in b
    assert (ram.grade_a, ram.grade_b, ram.ratio) == (EMULATED, DERIVED, None)
    assert ram.note == "emulated and derived: no ratio of unlike grades"
    assert row(found, "memory", "stack").note == "only a has it"
    assert row(found, "energy", "a step, idle too").note == "measured and estimated: no ratio of unlike grades"
    many = row(found, "time", "many steps a call: median")
    assert (many.b, many.grade_b, many.note) == (None, UNAVAILABLE, "only a has it")
    assert row(found, "paced", "deadlines missed at 20 Hz").note == "no ratio to what is not above 0"
    assert row(found, "operations", "activation sparsity").texts == ("0.88", "", "")
    assert row(found, "estimates", "energy per step").note == "neither has it"


def test_what_only_the_second_has_goes_to_its_group():
    a, b = sample(), sample()
    del a["timings"][1]
    found = compare_profiles(a, b)
    groups = [each.group for each in found.rows]
    assert groups == sorted(groups, key=groups.index)
    assert row(found, "time", "many steps a call: median").note == "only b has it"


def test_other_conditions_are_told():
    a, b = sample(), sample()
    b |= {
        "place": "pi@other",
        "target": "raspberrypi5",
        "stimulus": "other.npz",
        "engine": "native (aarch64)",
        "steps": 64,
    }
    b["host"] |= {"processor": "Cortex-A76", "load_average": 3.5}
    b["conditions"]["before"] |= {"governors": {"policy0": "ondemand"}, "quota_cpus": 0.5}
    assert different(compare_profiles(a, b)) == {
        "target": ("raspberrypi4", "raspberrypi5"),
        "engine": ("native (aarch64, trusted)", "native (aarch64)"),
        "place": ("pi@board", "pi@other"),
        "stimulus": ("windows.npz", "other.npz"),
        "steps": ("128", "64"),
        "host: processor": ("Cortex-A72", "Cortex-A76"),
        "governors": ("policy0 performance", "policy0 ondemand"),
        "quota cpus": ("not told", "0.5"),
        "load, others were busy": ("0.08", "3.5"),
    }
    b["host"] = b["conditions"] = None
    found = different(compare_profiles(a, b))
    assert found["host"] == ("Cortex-A72", "not told")
    assert found["conditions"] == ("told", "not told")
    assert not [what for what in found if what.startswith("host: ")]


def test_the_document_of_a_comparison_is_plain_json():
    found = compare_profiles(sample(), sample(1), ("a.json", "b.json"))
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (document["a"], document["b"]) == ("a.json", "b.json")
    assert len(document["figures"]) == len(found.rows)
    assert set(document["figures"][0]) == {
        *("group", "name", "unit", "a", "b", "grade_a", "grade_b", "ratio", "note"),
    }


def test_what_is_not_finite_is_not_known():
    a, b = sample(), sample()
    a["timings"][0]["median_us"], b["memory"]["flash"] = float("nan"), float("inf")
    found = compare_profiles(a, b)
    assert row(found, "time", "one step a call: median").note == "only b has it"
    assert row(found, "memory", "flash").note == "only a has it"
    json.dumps(found.to_dict(), allow_nan=False)


def test_figures_of_one_name_keep_apart():
    document = sample()
    document["timings"][2]["name"] = document["timings"][0]["name"]
    for op in document["breakdown"]["ops"]:
        op["layer"] = "same"
    names = [(each.group, each.name) for each in figures(document)]
    assert len(names) == len(set(names))
    assert ("ops", "same: time (3)") in names
    assert ("time", "one step a call (2): median") in names


def test_parts_that_were_not_profiled_have_no_figures():
    document = sample()
    for part in ("timings", "paced", "counts", "breakdown", "energy", "operations", "activity", "error", "estimates"):
        document[part] = None
    assert {each.group for each in figures(document)} == {"memory"}
    assert [each.value for each in figures(document)] == [nbytes for _, nbytes, _, _ in memory_rows(document["memory"])]
    document |= {"memory": None, "file_bytes": 700}
    (file,) = figures(document)
    assert (file.value, file.unit, file.grade) == (700, "B", MEASURED)


@pytest.mark.parametrize(
    ("document", "cause"),
    [
        ([], "holds no object"),
        ({}, "it lacks schema_version, artifact"),
        ({"schema_version": 2, "error": "no such file"}, "it lacks artifact"),
        (sample() | {"schema_version": 1}, f"schema version 1, this edgekit compares those of {SCHEMA_VERSION}"),
        (sample() | {"schema_version": "2"}, "schema version '2'"),
        (sample() | {"timings": [{"name": "x"}]}, "damaged profile"),
        (sample() | {"timings": 3}, "damaged profile"),
        (sample() | {"timings": [sample()["timings"][0] | {"histogram": {"edges_us": [1], "counts": [1]}}]}, "1 bins"),
        (
            sample() | {"timings": [sample()["timings"][0] | {"histogram": {"edges_us": [0, 1], "counts": [1]}}]},
            "above 0",
        ),
        (sample() | {"memory": {"flash": "much"}}, "damaged profile"),
        (sample() | {"host": ["x"]}, "damaged profile"),
        (sample() | {"conditions": {"before": 7}}, "damaged profile"),
    ],
)
def test_what_is_no_profile_is_refused(document, cause):
    for pair in ((sample(), document), (document, sample())):
        with pytest.raises(DataError, match="one") as error:
            compare_profiles(*pair, tuple("one.json" if each is document else "good.json" for each in pair))
        assert cause in str(error.value)
        assert error.value.remedy


def test_a_profile_is_read_from_its_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(sample()))
    assert read_profile(path) == sample()
    for text, cause in (("{", "is no JSON file"), ("[" * 100_000, "is no JSON file"), ("[]", "is no profile")):
        path.write_text(text)
        with pytest.raises(DataError, match=cause) as error:
            read_profile(path)
        assert error.value.thing == str(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no JSON file"):
        read_profile(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_profile(tmp_path / "none.json")


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-12, 1e12), st.floats(1e-12, 1e12))
def test_the_two_ratios_are_each_others_inverse(x, y):
    a, b = (sample() | {"counts": None, "activity": None} for _ in range(2))
    a["timings"][0]["median_us"], b["timings"][0]["median_us"] = x, y
    forth, back = compare_profiles(a, b), compare_profiles(b, a)
    name = "one step a call: median"
    assert math.isclose(row(forth, "time", name).ratio * row(back, "time", name).ratio, 1.0)


def test_steps_at_another_rate_have_figures_of_their_own():
    a, b = sample(), sample()
    b["paced"]["rate_hz"] = 50.0
    found = compare_profiles(a, b)
    assert row(found, "paced", "step at 20 Hz: p99").note == "only a has it"
    assert row(found, "paced", "step at 50 Hz: p99").note == "only b has it"
    assert different(found)["paced"] == ("20 Hz", "50 Hz")


def test_misses_are_compared_as_a_share_of_the_deadlines():
    a, b = sample(), sample()
    a["paced"] |= {"misses": 6, "deadlines": 600}
    b["paced"] |= {"misses": 6, "deadlines": 1200}
    assert row(compare_profiles(a, b), "paced", "deadlines missed at 20 Hz").ratio == pytest.approx(0.5)


def test_energy_of_another_sensor_is_told():
    a, b = sample(), sample()
    b["energy"]["sensor"] = "another meter"
    assert different(compare_profiles(a, b))["energy by"] == (a["energy"]["sensor"], "another meter")
    b["energy"] = None
    assert different(compare_profiles(a, b))["energy by"] == (a["energy"]["sensor"], "not told")
