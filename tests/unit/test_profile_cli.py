"""`edgekit profile` as a user calls it: at a rate, with power, on a board, with a page, and two profiles side by side.

Sensors are trees of files that a process advances (power_trees.py); the board is a real sshd on loopback (sshd.py).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import power_trees as trees
import pytest
from converted import Answer, artifact, edgekit_main, module, stream
from sshd import Start, boards

import edgekit
from edgekit.profile import breakdown, powered
from edgekit.profile.power import LocalTree
from edgekit.profile.ssh import CONFIG
from edgekit.profile.timing import MeasurePlan

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same measurements, shorter."""
    monkeypatch.setattr(MeasurePlan.__init__, "__defaults__", (2, 0.05, 0.01, None, 0.6))
    monkeypatch.setattr(powered, "IDLE_S", 0.7)
    monkeypatch.setattr(breakdown, "TIMED_NS", 10**7)
    monkeypatch.setattr(breakdown, "WARM_NS", 10**6)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact("l2mu").save(tmp_path_factory.mktemp("edge") / "l2mu.edge")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with boards(tmp_path) as start:
        yield start


def document(answer: Answer) -> dict[str, Any]:
    assert answer.returncode == 0, answer.stderr
    return dict(json.loads(answer.stdout))


def test_steps_at_a_rate_stand_beside_those_back_to_back(edge):
    found = document(edgekit_main("profile", edge, "--paced", "100Hz", "--json"))
    paced = found["paced"]
    assert paced["rate_hz"] == 100
    assert paced["deadlines"] == 60
    assert paced["steps"] + paced["misses"] >= 60
    assert paced["grade"] == "measured"
    assert paced["step"]["p50"] > found["timings"][0]["median_us"], "caches and clocks go cold between deadlines"
    for rate in ("100", "100 hz", "0.1kHz"):
        again = document(edgekit_main("profile", edge, "--paced", rate, "--json", "--power", "none"))
        assert again["paced"]["rate_hz"] == 100
    shown = edgekit_main("profile", edge, "--paced", "100Hz").stdout
    assert "at 100 Hz, µs" in shown
    assert "deadlines missed" in shown


def test_strict_is_five_windows_of_ten_seconds(monkeypatch, edge):
    asked = []
    monkeypatch.setattr("edgekit.profile.report.profile_place", lambda *_, plan, **__: asked.append(plan) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        edgekit_main("profile", edge, "--strict", "--paced", "20Hz")
    assert (asked[0].windows, asked[0].seconds, asked[0].rate_hz) == (5, 10.0, 20.0)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("kind", ["rapl", "ina3221", "ina226"])
def test_energy_of_a_sensor_is_measured_with_its_interval(kind, edge, tmp_path):
    where = {
        "rapl": lambda: trees.rapl(tmp_path),
        "ina3221": lambda: trees.ina3221(tmp_path, 0, ("VDD_IN", "VDD_CPU", "VDD_SOC")),
        "ina226": lambda: trees.ina2xx(tmp_path, 0, "ina226"),
    }[kind]()
    plan = trees.plan(run=20.0, idle=0.1)
    with trees.Work(kind, where, plan):
        found = document(edgekit_main("profile", edge, "--paced", "50Hz", "--power", f"sysfs:{tmp_path}", "--json"))
    energy = found["energy"]
    assert energy["verdict"] in ("ok", "below resolution")
    assert energy["grade"] == "measured"
    assert energy["steps"] == found["paced"]["steps"]
    assert energy["watts"] == pytest.approx(plan.idle + plan.load, rel=0.25)
    assert [w["name"] for w in energy["windows"]] == ["idle before", "run", "idle after"]
    assert found["estimates"] == []


def test_a_sensor_that_stays_constant_gives_no_figure(edge, tmp_path):
    trees.ina3221(tmp_path, 0, ("VDD_IN", "VDD_CPU", "VDD_SOC"))
    answer = edgekit_main("profile", edge, "--power", f"sysfs:{tmp_path}", "--paced", "50Hz", "--json")
    energy = document(answer)["energy"]
    assert energy["verdict"] == "faulty"
    assert energy["grade"] == "unavailable"
    assert energy["joules"] is None
    assert energy["faults"]


def test_a_meter_is_read_from_its_file(edge, tmp_path):
    rows = "\n".join(f"{t * 0.01:.2f},{0.19 if t % 2 else 0.21},5.0" for t in range(400))
    (tmp_path / "meter.csv").write_text(f"time (s),current (A),voltage (V)\n{rows}\n")
    found = document(edgekit_main("profile", edge, "--power", f"csv:{tmp_path / 'meter.csv'},steps=100", "--json"))
    assert found["energy"]["watts"] == pytest.approx(1.0, rel=0.01)
    assert found["energy"]["joules"] == pytest.approx(3.99, rel=0.01)
    assert found["energy"]["joules_per_step"] == pytest.approx(0.0399, rel=0.01)
    shown = edgekit_main("profile", edge, "--power", f"csv:{tmp_path / 'meter.csv'},steps=100").stdout
    assert "39.9 mJ" in shown
    answer = edgekit_main("profile", edge, "--power", f"csv:{tmp_path / 'none.csv'}")
    assert answer.returncode == 2
    assert "none.csv" in answer.stderr.splitlines()[0]


def test_without_a_sensor_nothing_is_made_up(edge, tmp_path):
    (tmp_path / "sys").mkdir()
    answer = edgekit_main("profile", edge, "--power", f"sysfs:{tmp_path}")
    assert answer.returncode == 2
    assert "no such sensor was found" in answer.stderr.splitlines()[0]
    found = document(edgekit_main("profile", edge, "--power", "none", "--json"))
    assert found["energy"] is None


@pytest.mark.slow
def test_a_board_is_profiled_over_ssh(start, edge, monkeypatch, tmp_path):
    board = start()
    monkeypatch.setenv(CONFIG, str(board.config))
    found = document(edgekit_main("profile", edge, "--on", board.address, "--paced", "100Hz", "--json"))
    assert found["place"] == board.address
    assert found["selftest_steps"] > 0
    assert found["timings"][0]["grade"] == "measured"
    assert found["paced"]["steps"] > 0
    assert found["conditions"]["before"]["kernel"]
    assert any(note.startswith("no estimate of energy: ") for note in found["notes"]), "a host has no emulated core"
    assert any("measurer" in name for name in found["copied"])
    assert board.left() == []
    shown = edgekit_main("profile", edge, "--on", board.address)
    assert f"{board.address}: " in shown.stdout
    assert "copied to the board and removed again" in shown.stdout


@pytest.mark.slow
def test_power_of_a_board_is_read_on_the_board(start, edge, monkeypatch, tmp_path):
    board = start()
    monkeypatch.setenv(CONFIG, str(board.config))
    root = tmp_path / "its files"
    zone = trees.rapl(root)
    plan = trees.plan(run=20.0, idle=0.1)
    with trees.Work("rapl", zone, plan):
        answer = edgekit_main(
            "profile", edge, "--on", board.address, "--paced", "50Hz", "--power", f"sysfs:{root}", "--json"
        )
    energy = document(answer)["energy"]
    assert energy["verdict"] in ("ok", "below resolution"), energy["faults"]
    assert energy["watts"] == pytest.approx(plan.idle + plan.load, rel=0.25)


def test_a_board_that_cannot_run_the_program_says_so_in_one_line(start, monkeypatch, tmp_path):
    pytest.importorskip("unicorn")
    board = start({"uname": "echo aarch64"})
    monkeypatch.setenv(CONFIG, str(board.config))
    edge = artifact("l2mu", target="raspberrypi4").save(tmp_path / "pi.edge")
    answer = edgekit_main("profile", edge, "--on", board.address)
    assert answer.returncode == 2, "a board that only says that it is one"
    assert "\n" not in answer.stderr.strip().split("\n", 1)[0]
    assert board.left() == []


def test_the_error_of_an_integer_program_is_shown_step_by_step(tmp_path):
    model = tmp_path / "lmu.pt"
    edgekit.save(module("lmu"), model)
    converted = edgekit.convert(module("lmu"), precision="int8", calib="synthetic", name="lmu")
    edge = converted.save(tmp_path / "lmu.edge")
    np.save(tmp_path / "x.npy", stream(12))
    np.save(tmp_path / "windows.npy", np.stack([stream(12, seed) for seed in range(4)]))
    one, several = ("--input", tmp_path / "x.npy"), ("--input", tmp_path / "windows.npy", "--steps", "30")
    for flags, windows, steps in (((), 32, 50), (one, 1, 12), ((*one, "--steps", "5"), 1, 5), (several, 2, 12)):
        found = document(edgekit_main("profile", edge, "--reference", model, *flags, "--json"))
        error = found["error"]
        assert error["windows"] == windows
        assert len(error["steps"]) == len(error["max_abs"]) == len(error["rms"]) == steps
        assert 0 < max(error["max_abs"]) <= 1
        assert all(r <= m for r, m in zip(error["rms"], error["max_abs"], strict=True))


def test_a_page_is_written_whole_and_two_profiles_are_compared(edge, tmp_path):
    pytest.importorskip("altair")
    page = tmp_path / "page.html"
    files = []
    for name, flags in (("a", ()), ("b", ("--steps", "8"))):
        answer = edgekit_main("profile", edge, *flags, "--html", page, "--json")
        assert page.read_text("utf-8").startswith("<!doctype html>")
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(answer.stdout)
    both = document(edgekit_main("profile", "--compare", *files, "--html", page, "--json"))
    assert {row["name"] for row in both["figures"]} >= {"flash", "one step a call: median"}
    assert {each["what"] for each in both["different"]} >= {"steps"}
    shown = edgekit_main("profile", "--compare", *files).stdout
    assert "b / a" in shown
    assert "flash" in shown
    (tmp_path / "bad.json").write_text("{}")
    answer = edgekit_main("profile", "--compare", files[0], tmp_path / "bad.json")
    assert answer.returncode == 2
    assert "bad.json" in answer.stderr.splitlines()[0]


def refused(*arguments: object) -> str:
    answer = edgekit_main("profile", *arguments)
    assert answer.returncode == 2, answer.stderr
    return answer.stderr.splitlines()[0]


def test_what_cannot_end_well_is_refused_before_anything_is_measured(edge, monkeypatch, tmp_path):
    pytest.importorskip("altair")
    monkeypatch.setattr("edgekit.profile.report.profile_place", lambda *_, **__: pytest.fail("it was measured"))
    np.save(tmp_path / "x.npy", stream(4))
    np.save(tmp_path / "wide.npy", np.zeros((4, 7), np.float32))
    np.save(tmp_path / "nan.npy", np.full((4, 3), np.nan, np.float32))
    model, other = tmp_path / "model.pt", tmp_path / "mlp.pt"
    edgekit.save(module("l2mu"), model)
    edgekit.save(edgekit.models.MLP([7, 4]), other)
    assert "--config" in refused(edge, "--config", tmp_path / "none.json")
    assert "none.pt" in refused(edge, "--reference", tmp_path / "none.pt")
    assert "has inputs [(7,)], the program [(3,)]" in refused(edge, "--reference", other)
    assert "has shape" in refused(edge, "--reference", model, "--input", tmp_path / "wide.npy")
    np.save(tmp_path / "lone.npy", np.float32(1))
    assert "has shape" in refused(edge, "--reference", model, "--input", tmp_path / "lone.npy", "--steps", "2")
    assert "NaN or Inf" in refused(edge, "--reference", model, "--input", tmp_path / "nan.npy")
    assert "cannot be written" in refused(edge, "--html", "/proc/page.html")
    monkeypatch.undo()
    monkeypatch.setattr("edgekit.profile.report.Measurer", lambda *_: pytest.fail("it was measured"))
    assert "6,000,000 deadlines" in refused(edge, "--strict", "--paced", "100kHz")
    assert "cannot be kept" in refused(edge, "--paced", "0.0001Hz")
    for read in ((edge,), (edge, "--input", tmp_path / "x.npy"), (edge, "--reference", model)):
        assert "would be replaced" in refused(*read, "--html", read[-1])


def test_options_without_a_meaning_beside_compare_are_refused(tmp_path):
    for flag in ("--config", "--factory", "--input", "--reference"):
        assert flag in refused("--compare", tmp_path / "a.json", tmp_path / "b.json", flag, "x")
    a = tmp_path / "a.json"
    a.write_text("{}")
    assert "would be replaced" in refused("--compare", a, a, "--html", a)


class Several(torch.nn.Module):
    """Two outputs, and as many inputs as it is given."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.into = torch.nn.ModuleList(torch.nn.Linear(width, 8) for width in widths)
        self.a, self.b = torch.nn.Linear(8, 2), torch.nn.Linear(8, 4)

    def forward(self, *inputs):
        hidden = torch.tanh(sum(layer(x) for layer, x in zip(self.into, inputs, strict=True)))
        return self.a(hidden), self.b(hidden)


@pytest.mark.parametrize("widths", [(3,), (3, 5)])
def test_a_program_of_several_ports_is_profiled_and_its_error_refused_in_words(widths, tmp_path):
    pytest.importorskip("onnx")
    names = [f"in{at}" for at in range(len(widths))]
    model = tmp_path / "several.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            Several(*widths).eval(),
            tuple(torch.zeros(1, width) for width in widths),
            model,
            input_names=names,
            output_names=["p", "q"],
            dynamo=False,
        )
    edge = tmp_path / "several.edge"
    assert edgekit_main("convert", model, "--target", "host", "-o", edge).returncode == 0
    assert document(edgekit_main("profile", edge, "--power", "none", "--json"))["timings"]
    assert f"{len(widths)} inputs and 2 outputs" in refused(edge, "--reference", model)


def test_the_self_test_is_said_to_be_equal_only_where_it_was(edge, tmp_path):
    model = tmp_path / "mlp.edge"
    artifact("mlp").save(model)
    errors = []
    for path in (edge, model):
        error = document(edgekit_main("profile", path, "--power", "none", "--json"))["selftest_error"]
        said = f"off by at most {error:.1e}" if error else "exactly the expected values"
        assert f"steps, {said}\n" in edgekit_main("profile", path, "--power", "none").stdout
        errors.append(error)
    assert 0 < max(errors) < 1e-4, "floats are summed in another order than the reference's"


def test_that_there_is_no_sensor_is_said(edge, monkeypatch, tmp_path):
    monkeypatch.setattr("edgekit.profile.power.options.LocalTree", lambda *_: LocalTree(tmp_path))
    found = document(edgekit_main("profile", edge, "--json"))
    assert found["energy"] is None
    assert "energy is not known: no sensor of power was found" in found["notes"]
    trees.battery(tmp_path, status="Charging")
    found = document(edgekit_main("profile", edge, "--json"))
    assert any(note.startswith("battery BAT0: is charging") for note in found["notes"])
    assert document(edgekit_main("profile", edge, "--json", "--power", "none"))["notes"] == []


def test_a_reference_that_the_program_was_not_made_from_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    converted = edgekit.convert(module("lmu"), precision="int8", calib="synthetic", name="lmu")
    other = module("lmu")
    with torch.no_grad():
        next(iter(other.parameters())).add_(0.1)
    edgekit.save(other, tmp_path / "other.pt")
    answer = edgekit_main(
        "profile", converted.save(tmp_path / "lmu.edge"), "--reference", tmp_path / "other.pt", "--power", "none"
    )
    assert answer.returncode == 2
    assert "its weights are not those that the artifact was made from" in answer.stderr
