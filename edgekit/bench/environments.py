"""Where the environments of peers lie, and why one is not there."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from edgekit.bench import files
from edgekit.bench.peers import Peer

COMPLETE = "complete"  # the mark that tools/bench/setup leaves in an environment that it has finished


def environments_folder() -> Path:
    """$EDGEKIT_BENCH_ENVIRONMENTS, by default .cache/bench of the checkout."""
    return Path(os.environ.get("EDGEKIT_BENCH_ENVIRONMENTS", files.ROOT / ".cache" / "bench"))


def python_of(peer: Peer) -> Path:
    """The interpreter that runs a peer."""
    return environments_folder() / peer.environment / "bin" / "python" if peer.environment else Path(sys.executable)


def absent(peer: Peer) -> str:
    """Why a peer cannot run here; empty when it can."""
    if peer.environment:
        there = (environments_folder() / peer.environment / COMPLETE).is_file()
        remedy = f"tools/bench/setup {peer.environment} builds it"
        return "" if there else f"its environment is not at {environments_folder() / peer.environment}; {remedy}"
    missing = [package for package in peer.packages if find_spec(package) is None]
    return f'{missing[0]} is not installed; pip install "edgekit[bench]"' if missing else ""
