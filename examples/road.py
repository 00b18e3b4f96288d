"""The rest of the road, the same for every example: a trained model is converted, verified and profiled."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import edgekit
from edgekit.artifact import Artifact
from edgekit.cli.exits import answered, report
from edgekit.convert import PRECISIONS, Options, convert_imported, original_of
from edgekit.convert.exports import Wanted, check_wanted, export_imported
from edgekit.convert.pipeline import prepare
from edgekit.frontends import Imported
from edgekit.profile.report import Given, Profile, profile_emulated, profile_exported, profile_host
from edgekit.profile.timing import MeasurePlan
from edgekit.runtime import Session
from edgekit.target import load_target
from edgekit.verify import VerifyReport, verify_artifact

CALIBRATION = 256  # windows, from which integers are scaled and spike rates are read
COUNTED = 120  # steps
BRIEF = MeasurePlan(windows=3, seconds=0.05, warm_seconds=0.05)  # for a first look; `edgekit profile --strict` is more


def parser(
    about: str | None, target: str | None = "raspberrypi4", precision: str | None = "fp32", output: str = "FILE.edge"
) -> argparse.ArgumentParser:
    """The options that every example has; `about` is its docstring. Without a default there is no such choice."""
    first, *rest = (about or "").split("\n\n")
    options = argparse.ArgumentParser(
        description=first, epilog="\n\n".join(rest), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if target is not None:
        options.add_argument("--target", default=target, help=f"where it is to run; see `edgekit targets` ({target})")
    if precision is not None:
        options.add_argument("--precision", default=precision, choices=PRECISIONS, help=f"of the program ({precision})")
    options.add_argument("-o", "--output", type=Path, metavar=output, help="keep what is made here")
    return options


def travel(options: argparse.Namespace, imported: Imported, x: Any, y: Any = None, calib: Any = None) -> Session:
    """Convert a model, verify it on windows x [N, T, *shape] with labels y [N], and say what a step costs.

    `x` is in raw units (of a model without states [N, *shape]); `calib` are windows for scales and rates, those of `x`
    where it is not given. Returns a session of the program; SystemExit(1) when it does not pass.
    """
    calib = (x if calib is None else calib)[:CALIBRATION]
    done = convert_imported(imported, Options(options.target, options.precision, calib=calib))
    with tempfile.TemporaryDirectory() as folder:
        path = options.output or Path(folder) / f"{done.artifact.name}.{done.artifact.manifest['target']}.edge"
        done.artifact.save(path)
        print(f"converted  {path.name}: {path.stat().st_size:,} bytes, {options.precision}, self-test passed")
        emulated = load_target(options.target).emulated_core is not None
        session = edgekit.load(path, engine="emulator" if emulated else "auto")
        report = verify_artifact(session, original_of(imported), x, y)
    tell(report, session)
    profiled(done.artifact, x)
    if not report.passed:
        raise SystemExit(1)
    return session


def travel_with(wanted: Wanted, options: argparse.Namespace, imported: Imported, x: Any, y: Any = None) -> list[Path]:
    """The same for files that another runtime reads: made, checked, written, verified in that runtime and timed there.

    Returns the files, the step first; where `-o` names none they are called as the model, in the folder where you are.
    SystemExit(1) when the step does not pass.
    """
    asked = Options(precision=options.precision, calib=x[:CALIBRATION])
    check_wanted(wanted, asked)
    made = export_imported(prepare(imported, asked), wanted, asked)
    paths = wanted.paths(options.output, imported.graph.name)
    made.write(paths)
    for each in made.made:
        path = paths[each.format]
        print(f"converted  {path.name}: {each.size:,} bytes, {options.precision}; {each.check}")
    step = next(iter(paths.values()))
    session = edgekit.load(step)
    report = verify_artifact(session, original_of(imported), x, y)
    tell(report, session)
    found = profile_exported(step, Given("windows", x), steps=COUNTED, plan=BRIEF)
    print(f"profiled   {found.timings[0].median_us:.3g} µs a step from Python on this computer (measured)")
    if not report.passed:
        raise SystemExit(1)
    return list(paths.values())


def tell(report: VerifyReport, session: Session) -> None:
    """Print what a comparison with the original found."""
    decided = "" if report.agreement is None else f", decisions equal in {report.agreement:.2%}"
    windows = f"{report.windows} windows of {report.steps} steps" if session.stateful else f"{report.windows} samples"
    print(f"verified   {windows} on {session.engine}{decided}")
    if report.accuracy_before is not None and report.accuracy_after is not None:
        print(f"           accuracy: PyTorch {report.accuracy_before:.2%}, program {report.accuracy_after:.2%}")
    print(f"           {'passed' if report.passed else 'FAILED'}: {report.rule}")


def profiled(artifact: Artifact, x: Any) -> None:
    """Print what a step costs: counted on the target's emulated core, or timed where that is this computer."""
    given = Given("windows", np.asarray(x, np.float32))
    if load_target(str(artifact.manifest["target"])).emulated_core is None:
        found = profile_host(artifact, given, steps=COUNTED, plan=BRIEF)
        print(f"profiled   {found.timings[0].median_us:.3g} µs a step on this computer (measured)")
    else:
        found = profile_emulated(artifact, given, steps=COUNTED)
        assert found.counts is not None
        print(f"profiled   {found.counts.total:,.0f} instructions a step on {found.counts.core} (emulated)")
    _print_sizes(found)


def _print_sizes(found: Profile) -> None:
    memory = found.memory
    assert memory is not None
    stack = "without" if memory.stack is None else "with"
    print(f"           {memory.flash:,} bytes of flash, {memory.ram:,} of RAM {stack} stack")
    for estimate in found.estimates:
        if estimate.name == "energy per step":
            cost = "" if estimate.low is None else f"{1e6 * estimate.low:.2g} to {1e6 * (estimate.high or 0):.2g} µJ "
            print(f"           energy of a step: {cost}({estimate.grade})")


@contextmanager
def packages() -> Iterator[None]:
    """Import what an example needs; a package that is missing or broken, and Ctrl-C, end it in one line."""
    try:
        yield
    except (ImportError, OSError, KeyboardInterrupt) as error:
        raise SystemExit(report(error)) from None


def run(main: Callable[[], None]) -> None:
    """Call `main`; what a user can mend, Ctrl-C and a full disk end in one line, a reader that leaves in none."""

    def work() -> int:
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    if code := answered(work):
        raise SystemExit(code)
