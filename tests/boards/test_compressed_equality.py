"""Models in every compressed form on every core: what the reference computes, byte for byte, over real windows."""

from __future__ import annotations

import os

import pytest
from compressed_forms import FORMS, program
from integer_engines import every, opened
from integer_equality import check
from integer_families import FAMILIES

SECOND = ("M4 qemu", "M33 qemu", "M4 gcc", "M55 gcc", "clang")  # other compilers and emulators: make test-all
SWEEP = "EDGEKIT_SWEEPS" in os.environ


@pytest.mark.drawn(16)
@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("engine", [name for name in every() if SWEEP or name not in SECOND])
def test_every_compressed_form_is_byte_equal(engine: str, family: str, shared: object) -> None:
    pytest.importorskip("torch")
    if not every()[engine].there:
        pytest.skip(f"what {engine} needs is not installed")
    wanted = {form: program(family, form) for form in FORMS}
    with opened(every()[engine], [w.graph for w in wanted.values()]) as stream:
        for form, w in wanted.items():
            check(stream(w.graph), w, f"{family}, {form}, on {engine}")
