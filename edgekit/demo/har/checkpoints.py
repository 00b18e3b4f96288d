"""Where the shipped activity models are: in the package of an installed wheel, in the examples of a checkout."""

from __future__ import annotations

from pathlib import Path

import edgekit

FAMILIES = ("mlp", "l2mu", "lmu", "elm")


def checkpoint(name: str) -> Path:
    """The file of a shipped checkpoint: `<family>_B`, trained on the smartwatch recordings, or `<family>_synthetic`."""
    package = Path(edgekit.__file__).parent
    installed = package / "_har"
    return (installed if installed.is_dir() else package.parent / "examples" / "har" / "checkpoints") / f"{name}.pt"
