"""The packages of the peers: present or refused with the extra that brings them, and quiet while they work."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from edgekit.errors import ToolchainError


def require(package: str, extra: str = "bench") -> None:
    """ToolchainError that names the extra when `package` is not installed."""
    if importlib.util.find_spec(package) is None:
        raise ToolchainError(f"package {package}", "is not installed", f'pip install "edgekit[{extra}]"')


@contextmanager
def hushed() -> Iterator[None]:
    """Keep a package's deprecation warnings and log lines off the user's screen; errors still come through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
