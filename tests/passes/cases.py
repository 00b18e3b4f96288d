"""Before and expected in text form: what every test of one pass does with its cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import dedent
from typing import Any

import numpy as np

from edgekit.ir import Graph, from_text, to_text

Case = tuple[str, str]


def read(text: str, weights: Mapping[str, Any] | None = None) -> Graph:
    """A graph from indented text."""
    return from_text(dedent(text).strip() + "\n", {n: np.asarray(a, np.float32) for n, a in (weights or {}).items()})


def check(
    apply: Callable[[Graph], Graph], before: str, expected: str, weights: Mapping[str, Any] | None = None
) -> Graph:
    """The pass makes `expected` of `before`, and nothing of `expected`: what it has done is done."""
    graph = read(before, weights)
    untouched = to_text(graph)
    after = apply(graph)
    assert to_text(after) == dedent(expected).strip() + "\n"
    assert to_text(graph) == untouched
    assert to_text(apply(after)) == to_text(after)
    return after
