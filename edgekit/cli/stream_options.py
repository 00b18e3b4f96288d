"""The options of `edgekit run` that go with --stream alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.errors import UsageError

if TYPE_CHECKING:
    from edgekit.streaming import Options

StreamOption = Annotated[
    bool, typer.Option("--stream", help="Read a sensor's samples as they come, and print a decision for each window.")
]
FormatOption = Annotated[
    str | None, typer.Option("--format", help="With --stream: auto, json or csv.  [default: auto]")
]
RateOption = Annotated[
    float | None,
    typer.Option(
        "--rate", help="With --stream: at how many Hz samples come.  [default: as their times say, else the program's]"
    ),
]
TimeUnitOption = Annotated[
    str | None,
    typer.Option("--time-unit", help="With --stream: that of the samples' times, s, ms, us or ns.  [default: s]"),
]
StampOption = Annotated[
    bool, typer.Option("--stamp", help="With --stream: the time of a sample is that of its arrival.")
]
WindowOption = Annotated[
    int | None, typer.Option("--window", help="With --stream: steps of a window, of a program that does not say it.")
]
StrideOption = Annotated[
    int | None,
    typer.Option("--stride", help="With --stream: steps from one window to the next.  [default: the program's]"),
]
MaxGapOption = Annotated[
    float | None,
    typer.Option("--max-gap", help="With --stream: seconds of silence that are bridged.  [default: 4 steps]"),
]
SmoothOption = Annotated[
    int | None, typer.Option("--smooth", help="With --stream: windows whose probabilities are averaged.  [default: 1]")
]
HysteresisOption = Annotated[
    int | None,
    typer.Option("--hysteresis", help="With --stream: times in a row that a new class has to win.  [default: 1]"),
]
MinConfidenceOption = Annotated[
    float | None,
    typer.Option("--min-confidence", help="With --stream: no class is shown below this probability.  [default: 0]"),
]


@dataclass(frozen=True)
class StreamChoices:
    """The options that go with --stream alone, None or False where they were not given."""

    form: str | None
    rate: float | None
    time_unit: str | None
    stamp: bool
    window: int | None
    stride: int | None
    max_gap: float | None
    smooth: int | None
    hysteresis: int | None
    min_confidence: float | None

    def check_unused(self) -> None:
        """UsageError when one was given."""
        for name, value in vars(self).items():
            if value is not None and value is not False:
                option = "--" + ("format" if name == "form" else name.replace("_", "-"))
                raise UsageError(option, "goes with --stream alone", "give that too, or leave it out")

    def options(self) -> Options:
        """What of it the front door has to know."""
        from edgekit.streaming import Options

        return Options(
            source_rate=self.rate,
            window=self.window,
            stride=self.stride,
            max_gap=self.max_gap,
            smooth=1 if self.smooth is None else self.smooth,
            hysteresis=1 if self.hysteresis is None else self.hysteresis,
            min_confidence=self.min_confidence or 0.0,
        )
