"""Every case of the corpus in every format; `python -m tools.corpus` writes the table of it into docs/."""

from __future__ import annotations

import pytest

from corpus import continuous, spiking
from corpus.compare import ENGINES, compare, imported_case

CASES = {**spiking.CASES, **continuous.CASES}


def test_the_corpus_is_large_enough():
    assert len(CASES) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_format_computes_what_the_module_computes(name):
    make, shape = CASES[name]
    imported = imported_case(name, make, shape, continuous.EXAMPLES.get(name))
    for kind in ENGINES:
        compare(name, imported, kind)
