"""A promise of the command line: its options, and what a search is to keep it with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.errors import UsageError
from edgekit.target import load_target

if TYPE_CHECKING:
    from edgekit.search.limits import Limits

FLASH_HELP = "Most bytes of flash for the program, code and constants, such as 24kB (1000 bytes), 16KiB or 24000."
MaxFlashOption = Annotated[str | None, typer.Option(metavar="SIZE", help=FLASH_HELP)]
MaxWeightsOption = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Most bytes of its constants alone: weights as stored, and tables.")
]
MaxDropOption = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="Points of accuracy that may be lost where windows have labels (y), else of agreement with the original.",
    ),
]
EvalOption = Annotated[
    Path | None,
    typer.Option("--eval", help="Windows that nothing else has seen: what was chosen is judged on them, once."),
]
ValidOption = Annotated[
    Path | None,
    typer.Option(help="Windows that trials are judged on. Default: a fifth of --calib, held out and then not used."),
]
JobsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Trials at once, each on a core of its own; 1, with --ray as many as the cluster has."),
]
UNITS: Mapping[str, int] = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "kib": 1024, "mib": 1024**2}
LARGEST = 2**63  # bytes: beyond what any file or memory can have
SIZE = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
TRIALS = 200  # where neither their number nor the time was given
SUFFIX = ".search"  # of the file that trials are kept in, beside the output


@dataclass(frozen=True)
class Asked:
    """What a promise is to be kept with: limits, windows, how long to search, and where to write."""

    target: str
    limits: Limits
    calib: Path
    valid: Path | None
    held_out: Path | None
    method: str
    compiler: str | None
    output: Path
    storage: Path
    html: Path | None = None
    trials: int | None = None
    minutes: float | None = None
    seed: int = 0
    jobs: int | None = None
    ray: str | None = None
    epochs: int = 0
    vary: tuple[str, ...] = ()
    margin: float = 1.0

    @property
    def target_name(self) -> str:
        """The target, by its own name where an alias was given."""
        return load_target(self.target).name


def bytes_of(option: str, text: str | None) -> int | None:
    """A size in bytes: 24kB is 24,000 of them, 16KiB 16,384; UsageError for what is no size above 0."""
    if text is None:
        return None
    found = SIZE.fullmatch(text.strip())
    factor = UNITS.get(found["unit"].lower()) if found else None
    count = 0 if found is None or factor is None else int(Decimal(found["number"]) * factor)
    if not 1 <= count < LARGEST:
        raise UsageError(f"{option} {text}", "is no size", "give bytes, or such as 24kB, 16KiB, 1.5MB")
    return count


def limits_of(
    drop: float | None,
    flash: str | None,
    weights: str | None,
    ram: str | None = None,
    instructions: float | None = None,
) -> Limits:
    """The promise that options make; UsageError for one that is out of range, or without a drop."""
    from edgekit.search.limits import Limits

    if drop is None:
        raise UsageError("--max-drop", "is missing: how many points may be lost?", "for example --max-drop 1")
    if not 0 <= drop <= 100:
        raise UsageError(f"--max-drop {drop:g}", "is no number of points", "give one from 0 to 100")
    if instructions is not None and not 0 < instructions < inf:
        raise UsageError(f"--max-instructions {instructions:g}", "is no number of instructions", "give one above 0")
    sizes = (("flash", flash), ("weights", weights), ("ram", ram))
    return Limits(drop, instructions=instructions, **{n: bytes_of(f"--max-{n}", text) for n, text in sizes})


def asked_of_convert(
    *,
    max_drop: float | None,
    max_flash: str | None,
    max_weights: str | None,
    valid: Path | None,
    held_out: Path | None,
    target: str,
    calib: str | None,
    method: str | None,
    compiler: str | None,
    output: Path | None,
    others: Mapping[str, object],
) -> Asked | None:
    """The promise that a conversion is asked to keep, None where it is asked for none.

    UsageError for `others`, options of a conversion that a search decides itself or cannot follow.
    """
    promised: dict[str, object] = {"--max-drop": max_drop, "--max-flash": max_flash, "--max-weights": max_weights}
    promised |= {"--valid": valid, "--eval": held_out}
    named = [option for option, value in promised.items() if value is not None]
    if not named:
        return None
    for option, value in others.items():
        if value is not None and value is not False and value != []:  # 0 is a value, too
            cause = f"does not go with {named[0]}: a search decides that, or has no use for it"
            raise UsageError(option, cause, "leave one of them out")
    if calib is None or calib == "synthetic":
        raise UsageError(named[0], "needs windows: scales and losses are measured on them", "--calib train.npz")
    assert output is not None  # the only format is edge
    return Asked(
        target=target,
        limits=limits_of(max_drop, max_flash, max_weights),
        calib=Path(calib),
        valid=valid,
        held_out=held_out,
        method=method or "min-max",
        compiler=compiler,
        output=output,
        storage=output.with_suffix(SUFFIX),
        trials=TRIALS,
    )
