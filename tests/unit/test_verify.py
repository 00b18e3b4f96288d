"""Verification: it passes what is right, and says no to a wrong model, a wrong engine and a wrong shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgekit
from edgekit.convert import original_of
from edgekit.errors import DataError, StateError
from edgekit.frontends import import_module
from edgekit.models import ELM, L2MU, LMU, MLP
from edgekit.verify import VerifyReport, verify_artifact
from edgekit.verify.layers import BORDER, window_errors
from edgekit.verify.margins import first_divergence, states_of
from tests.converted import edgekit_main


def small_l2mu(seed: int) -> L2MU:
    torch.manual_seed(seed)
    model = L2MU(inputs=6, hidden=12, memory=5, order=4, outputs=3, theta=10.0)
    model.io = {"decision": "sum"}
    return model.eval()


@pytest.fixture(scope="module")
def windows() -> np.ndarray:
    return np.random.default_rng(0).normal(scale=2, size=(20, 30, 6)).astype(np.float32)


@pytest.mark.parametrize("precision", ["fp32", "w8"])
def test_the_right_model_passes(precision: str, windows: np.ndarray) -> None:
    model = small_l2mu(0)
    artifact = edgekit.convert(model, precision=precision, name="net")
    original = original_of(import_module(model, None, name="net"))
    report = verify_artifact(edgekit.load(artifact), original, windows)
    assert report.passed
    assert {layer.name for layer in report.layers} >= {"state u.membrane", "state m.spikes"}
    if precision == "fp32":
        assert report.windows_differing == 0


def test_another_model_never_passes_for_a_w8_artifact(windows: np.ndarray) -> None:
    artifact = edgekit.convert(small_l2mu(0), precision="w8", name="net")
    other = original_of(import_module(small_l2mu(1), None, name="net"))
    with pytest.raises(DataError, match="is it the model"):
        verify_artifact(edgekit.load(artifact), other, windows)


@pytest.mark.parametrize("learn", [None, "delta"])
def test_a_w8_mlp_is_known_again_with_and_without_a_plastic_read_out(learn: str | None) -> None:
    x = np.random.default_rng(2).normal(size=(20, 12)).astype(np.float32)
    model = MLP([12, 24, 6]).eval()
    artifact = edgekit.convert(model, precision="w8", learn=learn, name="net")
    assert verify_artifact(edgekit.load(artifact), original_of(import_module(model, None, name="net")), x).passed
    other = original_of(import_module(MLP([12, 24, 6]), None, name="net"))
    with pytest.raises(DataError, match="is it the model"):
        verify_artifact(edgekit.load(artifact), other, x)


def test_another_model_fails_for_an_fp32_artifact(windows: np.ndarray) -> None:
    artifact = edgekit.convert(small_l2mu(0), name="net")
    other = original_of(import_module(small_l2mu(1), None, name="net"))
    assert not verify_artifact(edgekit.load(artifact), other, windows).passed


def test_a_reference_of_another_shape_is_refused_before_it_runs(windows: np.ndarray) -> None:
    artifact = edgekit.convert(small_l2mu(0), name="net")
    other = original_of(import_module(MLP([7, 4, 3]), None, name="net"))
    with pytest.raises(DataError, match="has inputs"):
        verify_artifact(edgekit.load(artifact), other, windows)


def test_a_divergence_is_found_where_it_was_made(windows: np.ndarray) -> None:
    model = small_l2mu(0)
    session = edgekit.load(edgekit.convert(model, name="net"))
    original = original_of(import_module(model, None, name="net"))
    before, after = original.states(windows[0]), states_of(session, windows[0])
    assert first_divergence(original.graph, windows[0], before, after) is None
    wrong = after[7]["h.membrane"].copy()
    wrong[3] = 100.0 if wrong[3] < 1 else -100.0  # a spike that is not there, or one that is lost
    after[7]["h.membrane"] = wrong
    found = first_divergence(original.graph, windows[0], before, after)
    assert found is not None
    assert found[0] == 7


def test_a_model_named_like_a_kernel_converts() -> None:
    artifact = edgekit.convert(MLP([4, 3]), name="copy_f32")
    assert edgekit.load(artifact).run(np.ones((2, 4), np.float32)).shape == (2, 3)


def test_samples_start_afresh_even_when_this_session_overflowed() -> None:
    session = edgekit.load(edgekit.convert(small_l2mu(0), name="net"))
    session.run(np.full((5, 6), 3e38, np.float32))
    calm = session.run(np.zeros((1, 5, 6), np.float32))
    np.testing.assert_array_equal(calm, edgekit.load(session.artifact).run(np.zeros((1, 5, 6), np.float32)))
    with pytest.raises(StateError, match="NaN or Inf"):
        session.restore_state(session.save_state())


@pytest.mark.parametrize("wrong", [np.ones(6, complex), np.array(["1"] * 6)])
def test_values_that_are_no_numbers_are_refused(wrong: np.ndarray) -> None:
    session = edgekit.load(edgekit.convert(small_l2mu(0), name="net"))
    with pytest.raises(DataError, match="not numbers"):
        session.step(wrong)


@pytest.mark.parametrize("wrong", [np.zeros(3), np.zeros((0, 3)), np.zeros((4, 2)), np.full((4, 3), np.nan)])
def test_decide_refuses_what_is_not_outputs(wrong: np.ndarray) -> None:
    session = edgekit.load(edgekit.convert(small_l2mu(0), name="net"))
    with pytest.raises(DataError, match="decide"):
        session.decide(wrong)


def test_emulated_runs_of_any_length_share_their_memory() -> None:
    session = edgekit.load(edgekit.convert(small_l2mu(0), target="raspberrypi4", name="net"), engine="emulator")
    x = np.random.default_rng(1).normal(size=(1, 700, 6)).astype(np.float32)
    whole = session.run(x)
    end = session.engine_stream._machine._heap_end  # type: ignore[attr-defined]
    for steps in (300, 301, 512, 700):
        np.testing.assert_array_equal(session.run(x[:, :steps]), whole[:, :steps])
    assert session.engine_stream._machine._heap_end == end  # type: ignore[attr-defined]


def test_cli_options_that_would_do_nothing_are_refused(tmp_path: Path) -> None:
    edgekit.save(MLP([4, 3]), tmp_path / "m.pt")
    done = edgekit_main("convert", str(tmp_path / "m.pt"), "--learning-rate", "5", "-o", str(tmp_path / "m.edge"))
    assert done.returncode == 2
    assert "--learning-rate" in done.stderr
    assert not (tmp_path / "m.edge").exists()


def test_a_file_of_no_arrays_is_refused_without_advice_to_unpickle_it(tmp_path: Path) -> None:
    edgekit.convert(MLP([4, 3]), name="m").save(tmp_path / "m.edge")
    (tmp_path / "x.npy").write_text("root:x:0:0\n")
    done = edgekit_main("run", str(tmp_path / "m.edge"), "-i", str(tmp_path / "x.npy"))
    assert done.returncode == 2
    assert "pickle=" not in done.stderr
    assert "unsafely" not in done.stderr


def test_labels_outside_the_classes_are_refused(tmp_path: Path) -> None:
    edgekit.convert(MLP([4, 3]), name="m").save(tmp_path / "m.edge")
    np.savez(tmp_path / "xy.npz", x=np.zeros((2, 4), np.float32), y=np.array([0, 99]))
    done = edgekit_main("run", str(tmp_path / "m.edge"), "-i", str(tmp_path / "xy.npz"), "--json")
    assert done.returncode == 2
    assert "labels from 0 to 99" in json.loads(done.stdout)["error"]


def branch_elm() -> ELM:
    """A neuron whose synapses share a filter time within a branch: the program has filters of branches instead."""
    torch.manual_seed(0)
    sizes = {"inputs": 24, "outputs": 3, "memory": 6, "branches": 4, "synapses": 6, "routing": "neuronio"}
    return ELM(**sizes, version="v1").eval()


def verified(model: Any, x: np.ndarray, **options: Any) -> VerifyReport:
    session = edgekit.load(edgekit.convert(model, name="net", **options))
    return verify_artifact(session, original_of(import_module(model, None, name="net")), x)


@pytest.mark.parametrize("precision", ["fp32", "w8"])
def test_isolated_errors_are_unavailable_where_the_program_has_states_of_its_own(precision: str) -> None:
    x = np.random.default_rng(1).normal(size=(4, 20, 24)).astype(np.float32)
    report = verified(branch_elm(), x, precision=precision)
    assert report.passed
    assert report.unmatched_states == ("s.sum",)
    assert {layer.isolated for layer in report.layers} == {None}
    assert {"state m", "y"} <= {layer.name for layer in report.layers}


@pytest.mark.parametrize("learn", [None, "delta"])
def test_isolated_errors_are_those_of_one_step(windows: np.ndarray, learn: str | None) -> None:
    report = verified(small_l2mu(0), windows, precision="w8", learn=learn)
    assert report.unmatched_states == ()
    layers = {layer.name: layer for layer in report.layers}
    assert all(layer.isolated is not None for layer in report.layers)
    assert layers["state h.membrane"].isolated < layers["state h.membrane"].worst


@pytest.mark.drawn(2)
@pytest.mark.parametrize("family", [LMU, ELM])
@pytest.mark.parametrize("precision", ["fp32", "w8"])
def test_layers_are_named_once_and_end_with_the_output(family: Any, precision: str) -> None:
    model = family(
        inputs=6, outputs=3, memory=10, **({"hidden": 16, "order": 4, "theta": 9.0} if family is LMU else {})
    )
    report = verified(model.eval(), np.ones((3, 12, 6), np.float32), precision=precision)
    names = [layer.name for layer in report.layers]
    assert len(names) == len(set(names))
    assert names[-1] == "y"
    assert {f"state {s}" for s in ("mh" if family is LMU else "bm")} <= set(names)
    updates = original_of(import_module(model, None, name="net")).graph.entries["step"].updates
    assert not set(names) & set(updates.values())  # a next state is shown as the state
    assert any(layer.source for layer in report.layers)


class Leak(torch.nn.Module):
    """s' = `a` s + x: overflows where `a` is above 1."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = a
        self.register_buffer("s", torch.zeros(1, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.s = self.a * self.s + x
        return self.s


def test_what_is_not_finite_never_passes() -> None:
    example, x = torch.zeros(1, 2), np.ones((2, 100, 2), np.float32)
    grows, fades = (original_of(import_module(Leak(a), example, name="net")) for a in (3.0, 0.5))
    session = edgekit.load(edgekit.convert(Leak(3.0), example, name="net"))
    with pytest.raises(DataError, match="NaN or Inf in window 0, step 81"):
        verify_artifact(session, grows, x)
    assert verify_artifact(session, grows, x[:, :70]).passed
    report = verify_artifact(session, fades, x)
    assert not report.passed
    assert report.worst_output_error == np.inf
    assert report.windows_differing == 2
    assert report.layers[-1].worst == np.inf


def test_json_of_a_verification_has_nothing_but_numbers_and_null(tmp_path: Path) -> None:
    (tmp_path / "leaks.py").write_text(
        "import torch\nfrom tests.unit.test_verify import Leak\ndef fades():\n    return Leak(0.5), torch.zeros(1, 2)\n"
    )
    edge = edgekit.convert(Leak(3.0), torch.zeros(1, 2), name="net").save(tmp_path / "m.edge")
    torch.save(Leak(0.5).state_dict(), tmp_path / "m.pt")
    np.save(tmp_path / "x.npy", np.ones((2, 100, 2), np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        asked = "--reference", tmp_path / "m.pt", "--factory", "leaks:fades", "--data", tmp_path / "x.npy"
        answer = edgekit_main("verify", edge, *asked, "--json")
        table = edgekit_main("verify", edge, *asked).stdout

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(answer.stdout, parse_constant=refuse)
    assert answer.returncode == 1
    assert document["worst_output_error"] is None
    assert "worst output error of the program inf" in table


def test_the_table_of_layers_fits_a_hundred_columns(tmp_path: Path) -> None:
    edgekit.save(branch_elm(), tmp_path / "elm.pt")
    edge = edgekit.convert(branch_elm(), name="elm", precision="w8").save(tmp_path / "elm.edge")
    answer = edgekit_main("verify", edge, "--reference", tmp_path / "elm.pt")
    lines = answer.stdout.splitlines()
    rows = [
        line.rstrip() for line in lines[1 : 1 + next(i for i, line in enumerate(lines) if "isolated errors" in line)]
    ]
    assert max(map(len, rows)) <= 100
    assert "n/a" in answer.stdout
    assert "isolated errors are not available: the original has no state like s.sum" in answer.stdout


def test_the_border_of_a_padded_pool_is_excused_in_integer_layers_alone() -> None:
    torch.manual_seed(0)
    nn = torch.nn
    pool = nn.MaxPool1d(3, stride=1, padding=1)
    model = nn.Sequential(nn.Unflatten(1, (1, 6)), pool, nn.Flatten(), nn.Linear(6, 3)).eval()
    x = np.random.default_rng(0).normal(size=(32, 6)).astype(np.float32)
    artifact = edgekit.convert(model, torch.zeros(1, 6), precision="int8", calib=x)
    original = original_of(import_module(model, torch.zeros(1, 6), name="net"))
    layers = verify_artifact(edgekit.load(artifact), original, x).layers
    assert any("pad" in layer.name for layer in layers)
    assert max(layer.worst for layer in layers) < 1e-2
    border = np.full((1, 2), BORDER, np.float32)
    assert window_errors(border, np.zeros((1, 2), np.float32)) == 1  # an output is judged, whatever its value
    assert window_errors(border, np.full((1, 2), np.nan, np.float32)) == np.inf
