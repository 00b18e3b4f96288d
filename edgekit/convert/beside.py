"""What a target wants beside its library: the same step in formats that other runtimes read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.convert.options import Options
from edgekit.convert.progress import Progress
from edgekit.target import Target

if TYPE_CHECKING:
    from edgekit.convert.pipeline import Prepared


def members_beside(
    prepared: Prepared, target: Target, options: Options, progress: Progress
) -> tuple[dict[str, bytes], list[str]]:
    """The members `model.<format>` of an artifact, checked against the reference, and remarks on what they lack.

    A format without the precision that was asked for, without learning or without nested widths is left out, and a
    remark says so.
    """
    from edgekit.convert.exports import EXCHANGED, Wanted, exchanged  # here, since exports are made of conversions

    members: dict[str, bytes] = {}
    notes: list[str] = []
    for name in target.exports:
        why = f"has no precision {options.precision}" if options.precision not in EXCHANGED[name] else ""
        why = "holds a step alone, without learning" if options.learn is not None else why
        why = "has one width" if options.nested else why
        why = "cannot follow a recipe for integers" if options.compression and options.is_integer else why
        if why:
            notes.append(f"no model.{name} beside the libraries: {name} {why}")
            continue
        progress(f"write and check {name}")
        for made in exchanged(name, prepared, Wanted((name,)), options, notes):
            members[f"model.{made.format}"] = made.contents()
            notes.append(f"model.{made.format} checked: {made.check}")
    return members, notes
