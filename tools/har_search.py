"""Searches the HAR L2MU for a program within 16 kB of weights that loses at most a point: three seeds on two cores.

python -m tools.har_search [--seeds 0,1,2] [--write]     # a quarter of an hour on two idle cores; wants ../shared

With --write, docs/logs/har-search.txt and the table of docs/SEARCH.md are written too, and the page of the first seed
is photographed where chromium is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).parent.parent
MODEL = Path("examples") / "har" / "checkpoints" / "l2mu_B.pt"
OUT = Path("out") / "har_search"  # from ROOT: what is printed and drawn names no place of one machine
LOG, PAGE, PICTURE = (ROOT / "docs" / p for p in ("logs/har-search.txt", "SEARCH.md", "images/search.png"))
START, END = "<!-- har_search -->", "<!-- end -->"
SIDES = ("train", "validation", "test")
WEIGHTS, DROP, GOAL_S, JOBS = "16kB", 1.0, 20 * 60, 2
BUSY = JOBS + 1.0  # load average from which others had the cores as well
COLUMNS = (
    *("seed", "weights, B", "flash, B", "instructions, *emulated*", "points lost, validation"),
    *("points lost, test, judged once", "goal", "on the clock, two cores", "of processor"),
)
DRAWN_MS = 15_000  # of the page's own time: charts are drawn by then


def main() -> int:
    """Search once for each seed and print what was found; 1 where a seed misses the goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--trials", type=int, default=120, help="of each search, beside the single changes")
    parser.add_argument("--tune", type=int, default=6, help="epochs that the most promising trials are trained for")
    parser.add_argument("--write", action="store_true", help="the log, the table and the picture in docs/")
    options = parser.parse_args()
    (ROOT / OUT).mkdir(parents=True, exist_ok=True)
    for side in SIDES:
        export = (sys.executable, "-m", "examples.har.export", "--split", "B", "--side", side)
        run(*export, "-o", str(OUT / f"{side}.npz"))
    found = [search(int(seed), options.trials, options.tune) for seed in options.seeds.split(",")]
    lines = [line for answer in found for line in told(answer)] + summary(found)
    print("\n".join(lines))
    if options.write:
        command = f"python -m tools.har_search --seeds {options.seeds} --trials {options.trials} --tune {options.tune}"
        LOG.write_text("\n".join([command, *lines, ""]), encoding="utf-8")
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        page = "\n".join([before + START, *table(found, command), END + rest.partition(END)[2]])
        PAGE.write_text(page, encoding="utf-8")
        photograph(ROOT / OUT / f"seed{found[0]['search']['seed']}.html")
    return 0 if all(answer["reached"] for answer in found) else 1


def search(seed: int, trials: int, tune: int) -> dict[str, Any]:
    """One search from nothing, with the time that it took: on the clock, and of the processors."""
    stem = OUT / f"seed{seed}"
    (ROOT / stem).with_suffix(".search").unlink(missing_ok=True)
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(
        *(str(Path(sys.executable).with_name("edgekit")), "search", str(MODEL), "--target", "smartwatch"),
        *("--max-weights", WEIGHTS, "--max-drop", str(DROP), "--seed", str(seed), "--jobs", str(JOBS)),
        *("--calib", str(OUT / "train.npz"), "--valid", str(OUT / "validation.npz"), "--eval", str(OUT / "test.npz")),
        *("--trials", str(trials), "--tune", str(tune), "--json"),
        *("--html", str(stem.with_suffix(".html")), "-o", str(stem.with_suffix(".edge"))),
        may_fail=True,
    )
    answer: dict[str, Any] = json.loads(done)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer["clock_s"] = time.monotonic() - started
    answer["processor_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer["load"] = os.getloadavg()[2]
    answer["reached"] = bool(answer["kept"]) and answer["clock_s"] <= GOAL_S
    (ROOT / stem).with_suffix(".json").write_text(json.dumps(answer, indent=1), encoding="utf-8")
    return answer


def told(answer: dict[str, Any]) -> list[str]:
    """What one search found, line by line."""
    search, judged, best, held = (answer[key] for key in ("search", "judged", "chosen", "evaluation"))
    busy = f" (others had the cores too: load average {answer['load']:.1f})" if answer["load"] > BUSY else ""
    lines = [
        "",
        f"seed {search['seed']}: {search['fresh']} trials with those of single changes, on {search['workers']}: "
        f"{answer['clock_s']:.0f} s on the clock{busy}, {answer['processor_s']:.0f} s of processor, all measured",
        f"  the original decides {judged['original']:.2f} % of the {judged['windows']:,} validation windows right",
    ]
    near = [trial for trial in answer["frontier"] if trial["drop"] <= DROP + 1]
    lines += [
        f"  {trial['weights']:6,} B of weights, {trial['flash']:6,} B of flash, {trial['instructions']:6,.0f} "
        f"instructions (emulated): {trial['drop']:5.2f} ± {trial['error']:.2f} points lost"
        for trial in near
    ]
    if best is None:
        return [*lines, f"  missed: {'; '.join(answer['reasons'])}"]
    verdict = "reached" if answer["reached"] else f"missed: {'; '.join(answer['reasons']) or 'it took too long'}"
    return [
        *lines,
        f"  chosen: {best['weights']:,} B of weights, {best['drop']:.2f} points lost on validation: {best['words']}",
        f"  test, judged once: {held['drop']:.2f} ± {held['error']:.2f} points lost, {held['score']:.2f} % right",
        f"  {verdict}",
    ]


def summary(found: list[dict[str, Any]]) -> list[str]:
    """All seeds together."""
    drops = [answer["evaluation"]["drop"] for answer in found if answer["evaluation"]]
    reached = sum(answer["reached"] for answer in found)
    goal = f"a point within {WEIGHTS} of weights and {DROP:g} points in {GOAL_S // 60} minutes on the clock"
    means = [f"mean of {len(drops)} seeds: {mean(drops):.2f} points lost on the test windows"] if drops else []
    return ["", *means, f"{reached} of {len(found)} seeds found {goal}"]


def table(found: list[dict[str, Any]], command: str) -> list[str]:
    """The table of the page: a row for each seed."""
    rows = []
    for answer in found:
        best, held = answer["chosen"], answer["evaluation"]
        figures = ["none"] + [""] * 5
        if best is not None:
            figures = [f"{best[key]:,}" for key in ("weights", "flash")] + [f"{best['instructions']:,.0f}"]
            figures += [f"{each['drop']:.2f} ± {each['error']:.2f}" for each in (best, held)]
            figures += ["yes" if answer["reached"] else "missed"]
        times = [f"{answer['clock_s']:.0f} s", f"{answer['processor_s']:.0f} s"]
        rows.append(f"| {' | '.join([str(answer['search']['seed']), *figures, *times])} |")
    return [
        "![the page that `--html` writes](images/search.png)",
        "",
        f"The HAR L2MU, from plain int8 to at most {WEIGHTS} of weights and {DROP:g} point of accuracy, on the M33 of "
        f"a smartwatch (`{command}`; [log](logs/har-search.txt)):",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
        *rows,
        "",
        "Sizes, losses and times are *measured*. ± is the standard error. The goal has the clock at 20 minutes.",
    ]


def photograph(page: Path) -> None:
    """The picture of a page; says so where chromium is missing."""
    browser = shutil.which("chromium")
    if browser is None:
        print("no picture: chromium is not installed", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(
            *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--window-size=1280,1500", f"--virtual-time-budget={DRAWN_MS}", f"--user-data-dir={folder}"),
            *(f"--screenshot={PICTURE}", page.as_uri()),
        )


def run(*arguments: str, may_fail: bool = False) -> str:
    """The output of a command; exits where it fails."""
    done = subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in ((0, 1) if may_fail else (0,)):
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
