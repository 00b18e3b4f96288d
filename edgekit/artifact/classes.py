"""Spans of symbols in two classes, so that each is coded with the frequencies of its like."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgekit.artifact.rans import Bytes, Form

LEAST = 2048  # symbols: fewer do not pay for tables of two classes
ROUNDS = 6
STARTS = (0.5, 0.9)  # shares of the spans, those of the smallest symbols, that class 0 begins with
PRIOR = 0.4  # of a symbol that a class has not seen


def classes_of(symbols: Bytes, form: Form) -> Bytes:
    """The class of each span of a form: from large and small symbols apart, each span goes where it costs less.

    The cost of a symbol s in context c of class k is -log2 p(s | c, k), p from the spans that k had before.
    """
    size, begins = 1 << form.bits, np.arange(0, symbols.size, form.span)
    common = replace(form, span=0).context(symbols, symbols[:0]).astype(np.int64) * size + symbols
    heights = np.add.reduceat(np.abs(symbols.astype(np.int64) - form.zero), begins)
    heights = heights / np.diff(np.append(begins, symbols.size))
    found, least = np.zeros(begins.size, np.uint8), np.inf
    for share in STARTS:
        classes, total = (heights > np.quantile(heights, share)).astype(np.uint8), 0.0
        for _ in range(ROUNDS):
            costs = np.stack([_costs(common, np.repeat(classes == k, form.span), begins, size) for k in (0, 1)])
            classes, total = costs.argmin(axis=0).astype(np.uint8), float(costs.min(axis=0).sum())
        if total < least:
            found, least = classes, total
    return found


def _costs(common: np.ndarray, mine: np.ndarray, begins: np.ndarray, size: int) -> np.ndarray:
    """Bits of each span with the frequencies of those symbols that are `mine`."""
    length = (int(common.max()) // size + 1) * size
    counts = np.bincount(common[mine[: common.size]], minlength=length).reshape(-1, size) + PRIOR
    bits = -np.log2(counts / counts.sum(axis=1, keepdims=True)).reshape(-1)
    return np.asarray(np.add.reduceat(bits[common], begins))
