"""Every case of the corpus in every format; `python -m tools.corpus` writes the table of it into docs/."""

from __future__ import annotations

import pytest

from corpus.cases import CASES, SOME, imported
from corpus.compare import ENGINES, compare


def test_the_corpus_is_large_enough():
    assert len(CASES) >= 40


@pytest.mark.drawn(3)
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LSTM with projections")  # torch's own, of which kernel it takes
@pytest.mark.parametrize("name", SOME)
def test_every_format_computes_what_the_module_computes(name):
    model = imported(name)
    for kind in ENGINES:
        compare(name, model, kind)
