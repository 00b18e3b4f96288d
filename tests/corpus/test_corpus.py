"""Every case of the corpus in every format; `python -m tools.corpus` writes the table of it into docs/."""

from __future__ import annotations

import os

import pytest

from corpus.cases import CASES, imported
from corpus.compare import ENGINES, compare

SEED = int(os.environ.get("EDGEKIT_TEST_SEED", "0"))
SOME = list(CASES) if "EDGEKIT_SWEEPS" in os.environ else list(CASES)[SEED % 3 :: 3]
"""A third of the modules, in CI another one each day; `python -m tools.corpus` and `make test-all` take all of them."""


def test_the_corpus_is_large_enough():
    assert len(CASES) >= 40


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's own, of which kernel it takes
@pytest.mark.parametrize("name", SOME)
def test_every_format_computes_what_the_module_computes(name):
    model = imported(name)
    for kind in ENGINES:
        compare(name, model, kind)
