"""How an integer program came about, in lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def quantisation_lines(manifest: Mapping[str, Any]) -> list[str]:
    """What the section `quantisation` of a manifest says; nothing for a float program."""
    found = manifest.get("quantisation")
    if not found:
        return []
    source = "noise (--calib synthetic)" if found["calibration"] == "synthetic" else "windows"
    lines = [f"integers alone: recipe {found['recipe']}, {found['method']} over {found['windows']:,} {source}"]
    if found.get("agreement") is not None:
        lines.append(f"decisions as the original on {100 * found['agreement']:.2f} % of them")
    lines += [f"widened: {change}" for change in found.get("widened", [])]
    return lines
