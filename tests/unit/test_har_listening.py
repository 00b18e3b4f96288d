"""The watch's classifier with statistics beside it: the same answers, the same statistics, in floats and integers."""

from __future__ import annotations

import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

torch = pytest.importorskip("torch")

import edgekit  # noqa: E402
from edgekit.demo.har.listening import ENERGY, LEAST, STATISTICS, Listening  # noqa: E402
from edgekit.demo.har.synthetic import generate  # noqa: E402
from edgekit.learn import Learning, basis_of  # noqa: E402
from edgekit.models import load  # noqa: E402
from examples.har.classifier import Classifier  # noqa: E402

SAMPLES = generate(seed=3, subjects=6, windows_per_class=6)


@cache
def classifier():
    torch.set_num_threads(1)
    return load(REPOSITORY / "examples/har/checkpoints/elm_synthetic.pt").eval()


@cache
def found():
    """What the read-out is given, and scores, of all samples."""
    given, scores = Listening(classifier()).eval().signals(torch.from_numpy(SAMPLES.x))
    return given.numpy(), scores.numpy()


def test_the_scores_are_those_of_the_classifier():
    with torch.no_grad():
        wanted = Classifier(classifier())(torch.from_numpy(SAMPLES.x)).numpy()
    np.testing.assert_allclose(found()[1], wanted, atol=2e-5)
    assert (found()[1].argmax(1) == wanted.argmax(1)).all()


def test_the_statistics_are_what_the_docstring_says():
    given, raw = classifier().io["input"], SAMPLES.x.astype(np.float64)
    x = (raw - np.array(given["offset"])) * np.array(given["scale"])
    q = np.stack([(raw[..., :3] ** 2).sum(-1) / ENERGY, (raw[..., 3:] ** 2).sum(-1)], -1)

    def bands(signal, times):
        chain = [signal]
        for tau in times:
            slow, low = np.zeros_like(signal), np.zeros_like(signal[:, 0])
            for t in range(signal.shape[1]):
                low = np.exp(-1 / tau) * low + (1 - np.exp(-1 / tau)) * signal[:, t]
                slow[:, t] = low
            chain.append(slow)
        return [np.abs(a - b).mean(1) for a, b in pairwise(chain)]

    b, c = np.hstack(bands(x, (0.5, 1.5, 5.0))), np.hstack(bands(q, (1.5, 5.0)))
    v = np.hstack([x.mean(1), np.log(np.hstack([b, q.mean(1), c]) + LEAST)])
    np.testing.assert_allclose(found()[0][:, -STATISTICS:], v, atol=2e-5)


@pytest.mark.parametrize(("precision", "least"), [("fp32", 1.0), ("int8", 0.95)])
def test_with_nothing_learned_it_decides_as_the_classifier(precision, least):
    given, scores = found()
    used = np.arange(given.shape[1]) >= given.shape[1] - STATISTICS
    basis = basis_of(given, SAMPLES.y, 7, SAMPLES.subject, used=used)
    model = Listening(classifier()).eval()
    made = edgekit.convert(
        model,
        torch.zeros(1, 6),
        name="watch",
        precision=precision,
        calib=None if precision == "fp32" else SAMPLES.x,
        learn=Learning("prototypes", rows=2, window=40, basis=basis),
        io=model.io,
    )
    session = edgekit.load(made)
    assert np.mean(session.decide(session.run(SAMPLES.x)) == scores.argmax(1)) >= least
