"""The model card beside a checkpoint: one set of facts, as .json for programs and .md for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

JSON_ONLY = ("recipe", "io")


def write_card(checkpoint: Path, facts: dict[str, Any]) -> None:
    """Write `<checkpoint>.json` and `<checkpoint>.md` (suffix replaced) from `facts`, whose keys are the headings."""
    checkpoint.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    rows = [f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in facts.items() if key not in JSON_ONLY]
    synthetic = facts["data"].startswith("synthetic")
    warning = (
        "The data are **synthetic**: no figure here says anything about real activities."
        if synthetic
        else "Trained on real data that the repository does not ship; **data licence unverified**."
    )
    lines = [f"# {checkpoint.stem}", "", warning, "", "| | |", "|---|---|", *rows]
    lines += [
        "",
        "Recipe, normalisation and class names are in the .json file; the checkpoint holds the latter two.",
        "",
    ]
    checkpoint.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
