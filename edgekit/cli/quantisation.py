"""How an integer program came about, in lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RULES = ("units", "weights", "states", "nested")


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


def recipe_lines(manifest: Mapping[str, Any]) -> list[str]:
    """What the section `compression` of a manifest says; nothing for a program made without a recipe."""
    found = manifest.get("compression")
    if not found:
        return []
    rules = [f"{len(found['recipe'][key])} of {key}" for key in RULES if found["recipe"].get(key)]
    lines = [f"recipe: {manifest['precision']}" + (f", rules {', '.join(rules)}" if rules else "")]
    lines += [f"taken out of {name}: {len(gone)} units" for name, gone in found.get("dropped", {}).items()]
    lines += [f"left of {name}: {100 * left:.3g} % of the weights" for name, left in found.get("density", {}).items()]
    return lines
