"""A source opened and read: samples as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from edgekit.errors import UsageError
from edgekit.streaming.counters import Counters
from edgekit.streaming.parse import Parser
from edgekit.streaming.sample import Sample
from edgekit.streaming.sources import Source, open_source


@dataclass(frozen=True)
class Samples:
    """An open source and what its lines hold; `awaited` ends with it, with DataError if there was no sample, and is
    None each time nothing came for as long as the source was opened to wait, and for what is no sample of a live one.
    """

    source: Source
    parser: Parser
    awaited: Iterator[Sample | None]

    @property
    def samples(self) -> Iterator[Sample]:
        """All but the waiting."""
        return (sample for sample in self.awaited if sample is not None)

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns that a header named, and that are none of the program's channels."""
        return self.parser.rows.unused


@contextmanager
def open_samples(
    text: str,
    channels: Sequence[str],
    counters: Counters,
    *,
    form: str = "auto",
    time_unit: str | None = None,
    stamp: bool = False,
    tell: Callable[[str], None] | None = None,
    patience: float | None = None,
) -> Iterator[Samples]:
    """Open a source (see `open_source`) of samples for a program with these channels; see `Parser` for the rest.

    UsageError for `stamp` on a file, whose lines have no arrival.
    """
    parser = Parser(channels, counters, form=form, time_unit=time_unit, stamp=stamp, tell=tell)
    with open_source(text, patience=patience) as source:
        if stamp and not source.live:
            raise UsageError("--stamp", f"{source.name} is a file, whose lines are all there already", "leave it out")
        parser.endless = source.live
        yield Samples(source, parser, _samples(source, parser))


def _samples(source: Source, parser: Parser) -> Iterator[Sample | None]:
    for line in source.lines:
        sample = None if line is None else parser.parse(line)
        if sample is not None or source.live:
            yield sample
    parser.check_any(source.name)
