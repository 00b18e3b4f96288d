"""The path of a stranger: every command of README and the quick start, as written, in a fresh clone.

python -m tools.docs.stranger [--skip COMMAND]… [--keep FOLDER]

Nothing of this checkout's environment, caches, trust list or data is seen there: variables of Python and of edgekit are
taken away, and a virtual environment is left. `--skip "make test"` leaves a command out, which is said at the end. It
takes as long as those commands do, and loads what they install.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tools.docs.execute import ROOT, execute

PAGES = ("README.md", "docs/QUICKSTART.md")
HERE = re.compile(r"EDGEKIT_.*|PYTHON.*|VIRTUAL_ENV.*")  # variables that say something about this checkout
ADDRESS = "git clone"  # a page's own first command: this clone has been made already


def main() -> int:
    """Clone, and run page after page; 1 when a command fails or prints something else than its page says."""
    parser = argparse.ArgumentParser(prog="python -m tools.docs.stranger", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--skip", action="append", default=[], help="a command to leave out, as it begins")
    parser.add_argument("--keep", type=Path, help="work in this new folder, and leave it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.keep or Path(folder)
        return _walk(place / "edgekit", tuple(options.skip))


def unknown(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that somebody has who knows nothing of this checkout, and of no virtual environment."""
    active = [environment.get("VIRTUAL_ENV"), sys.prefix if sys.prefix != sys.base_prefix else None]
    programs = {str(Path(folder) / "bin") for folder in active if folder}
    path = [entry for entry in environment.get("PATH", os.defpath).split(os.pathsep) if entry not in programs]
    left = {name: value for name, value in environment.items() if not HERE.fullmatch(name)}
    return {**left, "PATH": os.pathsep.join(path)}


def _walk(clone: Path, skip: tuple[str, ...]) -> int:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    outside = unknown(os.environ)
    os.environ.clear()
    os.environ.update(outside)
    own = {name: str(clone.parent / name.lower()) for name in ("EDGEKIT_HOME", "EDGEKIT_CACHE", "EDGEKIT_SHARED")}
    skipped: list[str] = []

    def watched(command: str) -> str | None:
        if command.startswith((ADDRESS, *skip)):
            skipped.append(command)
            return None
        print(f"{time.strftime('%H:%M:%S')} $ {command}", flush=True)
        return command

    for page in PAGES:
        if faults := execute(clone / page, clone, watched, clone / ".venv" / "bin", **own):
            print("\n".join(faults))
            return 1
    print(f"{time.strftime('%H:%M:%S')} every command ran" + (f", but for {', '.join(skipped)}" if skipped else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
