"""Neurons beside a layer that learn the principal subspace, or the principal components, of what it is given.

Oja, A simplified neuron model as a principal component analyzer, 1982, and Neural networks, principal components, and
subspaces, 1989; Sanger, Optimal unsupervised learning in a single-layer linear feedforward neural network, 1989.
"""

from __future__ import annotations

import numpy as np

from edgekit.ir.dtypes import SPIKE
from edgekit.learn.arithmetic import Arithmetic, Num, energy
from edgekit.learn.lateral import MOST_WEIGHT, orthogonal_rows
from edgekit.learn.plastic import Plastic
from edgekit.learn.settings import SANGER, Learning
from edgekit.learn.window import Window


def add_oja(a: Arithmetic, plastic: Plastic, asked: Learning) -> None:
    """Write the entry `learn`, which takes nothing and gives the novelty |x - Hᵀ H x|² / |x|², as it was before.

    x is the mean presynaptic signal of the layer over the window, y = H x, and with the rows of H [K, N]
    oja: H += rate · (y xᵀ - y yᵀ H), whose rows come to span the principal subspace,
    sanger: H += rate · (y xᵀ - LT[y yᵀ] H) with the lower triangle LT, whose rows become the principal components.
    Both need rate · |x|² well below 1. The novelty is that of the layer that comes last. Integers keep H in steps of
    2^-14, and a row as a whole changes as it should to half of one: what rounding leaves is carried along it.
    """
    window = Window(a, asked.window)
    if plastic.stateful:
        window.gather([layer.given for layer in plastic.layers], plastic.output, asked.trace)
    banks = {layer.given: _bank(a, layer.name, layer.size[1], asked, at) for at, layer in enumerate(plastic.layers)}
    a.draft.open("learn")
    found = [_extract(a, h, window.mean(given), asked) for given, h in banks.items()]
    window.clear()
    a.draft.output(a.told(found[-1]))


def _extract(a: Arithmetic, bank: Num, x: Num, asked: Learning) -> Num:
    """Let a bank learn from x; returns the novelty, as it was before."""
    h, x = bank, a.narrow(x)
    found: list[Num] = []
    for _ in range(asked.iterations):
        y = a.product(h, x, x.bound * np.sqrt(_size(a, x)))
        rest = a.sub(x, a.back(h, y, 2 * x.bound), 2 * x.bound)
        found = found or [novelty(a, x, rest)]
        h = _ordered(a, h, x, y, asked) if asked.rule == SANGER else a.learned(h, y, rest, asked.subspace_rate)
    a.update(bank, h)
    return found[0]


def novelty(a: Arithmetic, x: Num, rest: Num) -> Num:
    """How much of a signal its subspace leaves unexplained, [1]: |rest|² / |x|²."""
    bound = _size(a, x) * x.bound**2
    return a.ratio(energy(a, rest, bound), energy(a, a.narrow(x), bound))


def _bank(a: Arithmetic, name: str, size: int, asked: Learning, seed: int) -> Num:
    return a.matrix(f"{name}.lateral", orthogonal_rows(asked.subspace, size, seed=seed), MOST_WEIGHT)


def _ordered(a: Arithmetic, h: Num, x: Num, y: Num, asked: Learning) -> Num:
    """H after one step of Sanger's rule: row i learns y_i (x - Σ_j≤i y_j H_j)."""
    rows = _size(a, y)
    upto = a.draft.const("upto", np.tri(rows, dtype=bool), SPIKE)
    own = a.draft.const("own", np.eye(rows, dtype=bool), SPIKE)
    explained = a.back(h, a.chosen(upto, y), 2 * x.bound)
    rest = a.sub(x, explained, 2 * x.bound)
    return a.learned(h, a.chosen(own, y), rest, asked.subspace_rate)


def _size(a: Arithmetic, x: Num) -> int:
    return a.draft.tensor(x.name).size
