"""Files that some cases need: the shipped HAR checkpoints of a checkout, and released weights that only tests have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("EDGEKIT_SHARED", ROOT / ".." / "shared")).resolve()

RELEASED_ELM = SHARED / "golden" / "elm_v1_neuronio_num_memory_100.npz"
WISDM = SHARED / "data" / "wisdm_watch.npz"
RELEASED_CONFIG: Mapping[str, Any] = {"version": "v1", "memory_tau_min": 1.0, "memory_tau_max": 150.0}


def har_checkpoint(family: str) -> Path:
    """The checkpoint of a family that `examples.har.train --split B` wrote."""
    return ROOT / "examples" / "har" / "checkpoints" / f"{family}_B.pt"
