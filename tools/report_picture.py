"""Photographs the page of `edgekit profile --html`: docs/images/report.png, of the HAR L2MU in int8 on this computer.

python -m tools.report_picture [-o docs/images/report.png]     # a minute; wants chromium and ../shared
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUT = ROOT / "docs" / "images" / "report.png"
MODEL = str(ROOT / "examples" / "har" / "checkpoints" / "l2mu_B.pt")
WINDOW, STEPS = "1280,1500", "8000"
DRAWN_MS = 15_000  # of the page's own time: charts are drawn by then


def main() -> int:
    """Convert, profile, photograph; 2 where chromium is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=OUT)
    output = parser.parse_args().output.resolve()
    browser = shutil.which("chromium")
    if browser is None:
        print("error: chromium: is not installed; apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        artifact, page, calib, windows = "l2mu.edge", "report.html", "calib.npz", "test.npz"
        export = (sys.executable, "-m", "examples.har.export", "--split", "B")
        edgekit = str(Path(sys.executable).with_name("edgekit"))
        given = ("--input", windows, "--steps", STEPS, "--reference", MODEL)
        for command in (
            (*export, "--side", "validation", "-o", calib),
            (*export, "--side", "test", "-o", windows),
            (
                edgekit,
                "convert",
                MODEL,
                "--target",
                "host",
                "--precision",
                "int8",
                "--calib",
                calib,
                "-o",
                artifact,
            ),
            (edgekit, "profile", artifact, *given, "--html", page),
            (
                *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--window-size={WINDOW}", f"--virtual-time-budget={DRAWN_MS}", f"--user-data-dir={folder}/browser"),
                *(f"--screenshot={output}", (Path(folder) / page).as_uri()),
            ),
        ):
            subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
