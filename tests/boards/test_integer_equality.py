"""Integer programs on every emulated core, many in one image: random ones and the shipped models, byte for byte."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pytest
from integer_engines import EMULATED, every, opened
from integer_equality import batches, check, expected, label, reference_of, seeds
from integer_families import FAMILIES, family
from integer_streams import square_waves

SECOND = ("M4 qemu", "M33 qemu", "M4 gcc", "M55 gcc", "clang")  # other compilers and emulators: make test-all
SQUARE = 5  # programs that get full-scale square waves too


def first(engines: Iterable[str]) -> list[str]:
    return [name for name in engines if "EDGEKIT_SWEEPS" in os.environ or name not in SECOND]


@pytest.mark.drawn(3)
@pytest.mark.slow
@pytest.mark.parametrize("core", first(EMULATED))
def test_random_programs_are_byte_equal(core: str, drawn_seed: int) -> None:
    if not EMULATED[core].there:
        pytest.skip(f"what {core} needs is not installed")
    numbers = seeds(drawn_seed)
    print(f"programs {numbers[0]} to {numbers[-1]}")
    for batch in batches(numbers, EMULATED[core].at_once):
        with opened(EMULATED[core], [expected(n).graph for n in batch]) as stream:
            for n in batch:
                wanted = expected(n)
                check(stream(wanted.graph), wanted, label(n, core))
                if n < SQUARE:
                    square = reference_of(wanted.graph, n, 30, square_waves)
                    check(stream(wanted.graph), square, label(n, f"{core}, square waves"))


@pytest.mark.drawn(4)
@pytest.mark.parametrize("engine", first(every()))
def test_shipped_models_are_byte_equal_over_real_windows(engine: str, shared: Path) -> None:
    """240 steps of real windows, in one image: reference = this computer = every emulated core."""
    pytest.importorskip("torch")
    if not every()[engine].there:
        pytest.skip(f"what {engine} needs is not installed")
    wanted = {name: family(name) for name in FAMILIES}
    with opened(every()[engine], [w.graph for w in wanted.values()]) as stream:
        for name, w in wanted.items():
            assert len(w.inputs[0]) >= 200
            check(stream(w.graph), w, f"{name} on {engine}")
