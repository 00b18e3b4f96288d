"""The computer that the timings belong to."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from edgekit._version import __version__
from edgekit.target import load_target

BUSY = 1.5  # load above which others had their part in a timing


@dataclass(frozen=True)
class Host:
    """What a reader needs to place a timing; `load_average` is that of the last minute: above BUSY others were."""

    processor: str
    arch: str
    simd: str
    cores: int | None
    system: str
    python: str
    edgekit: str
    load_average: float


def describe_host() -> Host:
    """Look at this computer now."""
    host = load_target("host")
    return Host(
        processor=_processor(),
        arch=host.arch,
        simd=host.simd,
        cores=host.cores,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        edgekit=__version__,
        load_average=os.getloadavg()[0],
    )


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else "unnamed"
