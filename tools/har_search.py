"""Searches the HAR L2MU for a program within 16 kB of weights that loses at most a point: three seeds on two cores.

python -m tools.har_search [--seeds 0,1,2] [--trials 120] [-o FOLDER]     # an hour; wants ../shared
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "examples" / "har" / "checkpoints" / "l2mu_B.pt"
SIDES = ("train", "validation", "test")
WEIGHTS, DROP, GOAL_S = "16kB", 1.0, 20 * 60
EPOCHS, JOBS = 6, 2


def main() -> int:
    """Search once for each seed and print what was found; 1 where a seed misses the goal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--trials", type=int, default=120, help="of a search, before the trainings")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "out" / "har_search")
    options = parser.parse_args()
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for side in SIDES:
        export = ("-m", "examples.har.export", "--split", "B", "--side", side)
        run(sys.executable, *export, "-o", str(folder / f"{side}.npz"))
    found = [search(folder, int(seed), options.trials) for seed in options.seeds.split(",")]
    for answer in found:
        show(answer)
    reached = [answer for answer in found if answer["reached"]]
    drops = [answer["evaluation"]["drop"] for answer in found if answer["evaluation"]]
    if drops:
        print(f"\nmean of {len(drops)} seeds: {mean(drops):.2f} points lost on the test windows, each judged once")
    print(
        f"{len(reached)} of {len(found)} seeds found a point within {WEIGHTS} and {DROP:g} points in {GOAL_S // 60} min"
    )
    return 0 if len(reached) == len(found) else 1


def search(folder: Path, seed: int, trials: int) -> dict[str, Any]:
    """One search from nothing, with the time that it took: on the clock, and of the processors."""
    stem = folder / f"l2mu_seed{seed}"
    stem.with_suffix(".search").unlink(missing_ok=True)
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = run(
        *(str(Path(sys.executable).with_name("edgekit")), "search", str(MODEL), "--target", "smartwatch"),
        *("--max-weights", WEIGHTS, "--max-drop", str(DROP), "--seed", str(seed), "--jobs", str(JOBS)),
        *("--calib", str(folder / "train.npz"), "--valid", str(folder / "validation.npz")),
        *("--eval", str(folder / "test.npz"), "--trials", str(trials), "--tune", str(EPOCHS)),
        *("--html", str(stem.with_suffix(".html")), "-o", str(stem.with_suffix(".edge")), "--json"),
        may_fail=True,
    )
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    answer: dict[str, Any] = json.loads(done)
    answer["clock_s"] = seconds
    answer["processor_s"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    answer["reached"] = bool(answer["kept"]) and seconds <= GOAL_S
    stem.with_suffix(".json").write_text(json.dumps(answer, indent=1))
    return answer


def show(answer: dict[str, Any]) -> None:
    """What one search found, in words."""
    search, judged, best = answer["search"], answer["judged"], answer["chosen"]
    print(
        f"\nseed {search['seed']}: {search['trials']} trials on {search['workers']}, {answer['clock_s']:.0f} s on the "
        f"clock, {answer['processor_s']:.0f} s of processor; original {judged['original']:.2f} % of validation windows"
    )
    for trial in answer["frontier"]:
        if trial["drop"] <= DROP + 1:
            print(
                f"  {trial['weights']:6,} B of weights, {trial['flash']:6,} B of flash, "
                f"{trial['instructions']:6,.0f} instructions: {trial['drop']:5.2f} ± {trial['error']:.2f} points lost"
            )
    if best is None:
        print("  missed:", "; ".join(answer["reasons"]))
        return
    print(f"  chosen: {best['weights']:,} B of weights, {best['drop']:.2f} points lost on validation: {best['words']}")
    held = answer["evaluation"]
    print(f"  test, judged once: {held['drop']:.2f} ± {held['error']:.2f} points lost, accuracy {held['score']:.2f} %")
    print("  reached" if answer["reached"] else f"  missed: {'; '.join(answer['reasons']) or 'took too long'}")


def run(*arguments: str, may_fail: bool = False) -> str:
    """The output of a command; exits where it fails."""
    done = subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in ((0, 1) if may_fail else (0,)):
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
