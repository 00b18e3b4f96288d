"""Distances between rows, in integers: the kernel against plain Python integers, on every compiler and core."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from integer_engines import EMULATED, HOST
from integer_oracle import Value, evaluate
from integer_streams import whole_numbers
from plastic_calls import Call, Kernels, kernels

from edgekit.ir import INT16

SECOND = ("M4 qemu", "M33 qemu", "M4 gcc", "M55 gcc", "clang")  # other compilers and emulators of what is there
ENGINES = [pytest.param(e, marks=[pytest.mark.slow] if e in SECOND else []) for e in (*HOST, *EMULATED)]
LOW, HIGH = INT16.limits


@pytest.fixture(params=ENGINES)
def run(request: pytest.FixtureRequest) -> Iterator[Kernels]:
    with kernels(request.param) as found:
        yield found


def hold(run: Kernels, x: np.ndarray, w: np.ndarray) -> None:
    """The kernel gives what integers without an end give."""
    values = [Value(v.shape, "int16", tuple(v.reshape(-1).tolist())) for v in (x, w)]
    (wanted,) = evaluate("distance", {}, values)
    y = np.zeros((len(x), len(w)), np.int32)
    got = run.run(Call("call_distance_16", (x, w), (len(x), *w.shape), y))
    np.testing.assert_array_equal(got, np.array(wanted.data).reshape(y.shape), err_msg=f"{x.shape} {w.shape}")


@pytest.mark.drawn(4)
def test_every_size(run: Kernels) -> None:
    rng = np.random.default_rng(1)
    for at, (height, width) in enumerate(product((1, 2, 5, 9), (1, 2, 3, 4, 5, 7, 8, 15, 16, 30, 33, 47))):
        rows = 1 + 2 * (at % 5 == 0)
        hold(run, whole_numbers(rng, (rows, width), INT16), whole_numbers(rng, (height, width), INT16))


@pytest.mark.drawn(6)
@pytest.mark.parametrize("width", [1, 6, 31, 4096])
def test_the_ends_of_the_range(run: Kernels, width: int) -> None:
    """As far apart as numbers can be, and one less, either way round."""
    ends = np.array([LOW, LOW + 1, -1, 0, 1, HIGH - 1, HIGH], np.int16)
    hold(run, np.tile(ends[:, None], width), np.tile(ends[::-1, None], width))
