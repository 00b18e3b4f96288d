"""The benchmark's page in a real browser, and a user's own model file as a case."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_bench import report_of

from edgekit.bench.given import given_case
from edgekit.bench.measure import TIMED
from edgekit.bench.stimuli import STEPS
from edgekit.errors import DataError, EdgekitError, UsageError
from edgekit.models import ELM, MLP, save

IO = {"input": {"offset": [1.0] * 4, "scale": [0.5] * 4, "window": 6}, "decision": "mean"}


def test_the_page_shows_every_figure_and_what_failed(tmp_path: Path) -> None:
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    from browser import chromium

    from edgekit.bench.page import write_html

    document = json.loads(json.dumps(report_of().to_dict()))
    path = tmp_path / "bench.html"
    assert write_html(document, path) == path.stat().st_size
    with chromium(tmp_path / "browser") as browser:
        for dark in (False, True):
            browser.open(path, dark=dark)
            drawn = browser.ask(
                """[...document.querySelectorAll("figure")].map(f => f.querySelectorAll("svg").length)"""
            )
            assert drawn == [1] * 2 * 3  # each of two models: one thread, two threads, the roofline
            assert browser.complaints() == []
            assert browser.requests() == [path.as_uri()]
        text = browser.ask("document.body.textContent")
    for said in (
        "FAILING, the worker: was ended by SIGSEGV",
        "SKIPPED: openvino",
        "MISSED: elm: times faster",
        "91.5 %",
    ):
        assert said in text
    assert "1,234 µs" in text or "1,235 µs" in text
    assert "left out: there is no file" in text


def test_a_users_model_is_a_case_over_the_users_data(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    save(ELM(inputs=4, outputs=3, memory=8, hidden=12).eval(), tmp_path / "my elm.pt", IO)
    x = np.random.default_rng(0).normal(size=(300, 6, 4)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(300) % 3)
    case = given_case(tmp_path / "my elm.pt", tmp_path / "x.npz", None)
    assert case.name == "my-elm"
    assert case.module.io is None
    assert case.stimulus.shape == (STEPS, 4)
    normalised = (x - 1) * np.float32(0.5)
    assert np.allclose(case.stimulus[:6], normalised[0])
    assert np.allclose(case.stimulus[6:12], normalised[4])  # 64 of 300, spread evenly
    assert case.calibrated_on.shape == (64, 6, 4)
    assert case.tests is not None
    assert (case.tests.x.shape, case.tests.decision) == ((200, 6, 4), "mean")
    assert np.allclose(case.tests.x[-1], normalised[-1])
    save(MLP([24, 8, 3]).eval(), tmp_path / "mlp.pt")
    np.save(tmp_path / "flat.npy", x.reshape(300, 24))
    flat = given_case(tmp_path / "mlp.pt", tmp_path / "flat.npy", None)
    assert (flat.stimulus.shape, flat.calibrated_on.shape, flat.tests) == ((STEPS, 24), (300, 1, 24), None)
    assert "white noise" in given_case(tmp_path / "mlp.pt", None, None).description


def test_a_file_that_is_no_model_or_no_data_is_refused_with_what_is_supported(tmp_path: Path) -> None:
    save(MLP([24, 8, 3]).eval(), tmp_path / "mlp.pt")
    with pytest.raises(UsageError, match=r"is a \.onnx file; the benchmark takes a file of edgekit\.save"):
        given_case(tmp_path / "model.onnx", None, None)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="is no JSON"):
        given_case(tmp_path / "mlp.pt", None, tmp_path / "config.json")
    np.save(tmp_path / "narrow.npy", np.zeros((5, 23), np.float32))
    with pytest.raises(DataError, match=r"give finite \[N, T, 24\]"):
        given_case(tmp_path / "mlp.pt", tmp_path / "narrow.npy", None)
    np.savez(tmp_path / "nothing.npz", z=np.zeros(3))
    with pytest.raises(DataError, match=r"is no \.npy array"):
        given_case(tmp_path / "mlp.pt", tmp_path / "nothing.npz", None)
    (tmp_path / "text.pt").write_text("no model", encoding="utf-8")
    with pytest.raises(EdgekitError):
        given_case(tmp_path / "text.pt", None, None)


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_the_verb_measures_a_users_model_and_answers_in_json_and_on_a_page(tmp_path: Path) -> None:
    pytest.importorskip("altair")
    save(MLP([24, 8, 3]).eval(), tmp_path / "mlp.pt")
    command = [
        Path(sys.executable).with_name("edgekit"),
        "bench",
        "mlp.pt",
        "--peers",
        "torch",
        "--threads",
        "1",
        "--quick",
    ]
    files = ["--json", "-o", "out.json", "--html", "out.html"]
    done = subprocess.run([*command, *files], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    (case,) = document["cases"]
    assert [p["precision"] for p in case["programs"]] == list(TIMED)
    assert {row["peer"] for row in case["rows"]} == {"edgekit", "torch"}
    assert (tmp_path / "out.html").stat().st_size > 100_000
