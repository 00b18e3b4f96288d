"""All cases of the corpus by name, and how each comes in."""

from __future__ import annotations

import os

import torch

from corpus import continuous, neuromorphic, spiking
from corpus.compare import imported_graph, imported_module
from edgekit.frontends import Imported

MODULES = {**spiking.CASES, **continuous.CASES}
CASES = (*MODULES, *neuromorphic.CASES)
FAMILIES = ("snntorch", "norse", "nir", "torch")


def imported(name: str) -> Imported:
    """A case through its front end."""
    if name in neuromorphic.CASES:
        make, options = neuromorphic.CASES[name]
        return imported_graph(name, make, options)
    build, shape = MODULES[name]
    example = continuous.EXAMPLES.get(name)
    x = 0.5 * torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    return imported_module(name, build, x if example is None else example())


def family(name: str) -> str:
    """Where a case comes from."""
    first = name.split(maxsplit=1)[0]
    return first if first in FAMILIES else "torch"


SEED = int(os.environ.get("EDGEKIT_TEST_SEED", "0"))
SOME = list(CASES) if "EDGEKIT_SWEEPS" in os.environ else list(CASES)[SEED % 6 :: 6]
"""A sixth of the modules, in CI another one each day; `python -m tools.corpus` and `make test-all` take all of them."""
