"""Tables of `edgekit profile` for people."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from edgekit.cli.output import table
from edgekit.profile.figures import memory_rows
from edgekit.profile.grades import MEASURED, UNAVAILABLE
from edgekit.profile.host import BUSY
from edgekit.profile.numbers import number, quantity

if TYPE_CHECKING:
    from edgekit.profile.breakdown import Breakdown
    from edgekit.profile.compare import Comparison
    from edgekit.profile.conditions import Conditions
    from edgekit.profile.counts import StepCounts
    from edgekit.profile.paced import Paced
    from edgekit.profile.power import EnergyResult
    from edgekit.profile.report import Profile
    from edgekit.profile.spread import Spread

WIDTH = 100  # of what is printed
SHARES = ("lists", "states", "arena", "decoded")


def print_profile(console: Console, found: Profile, *, verbose: bool, html: Path | None) -> None:
    """The whole profile: what was measured, where and how, then each kind of figure."""
    console.print(f"{found.artifact}: {found.precision} for {found.target}", style="bold")
    console.print(f"engine: {found.engine}" if found.counts and not found.timings else f"{found.place}: {found.engine}")
    part = "" if found.steps == found.available else f" of {found.available:,} (more with --steps N)"
    console.print(f"input: {found.stimulus}, {found.steps:,} steps{part}")
    if found.selftest_steps is not None:
        off = f"off by at most {found.selftest_error:.1e}" if found.selftest_error else "exactly the expected values"
        console.print(f"self-test there: {found.selftest_steps} steps, {off}")
    if found.host:
        load = found.host.load_average
        busy = " (others were busy)" if load > BUSY else ""
        console.print(f"{found.host.processor}, {found.host.system}, warm, load {load:.1f}{busy}")
    if found.conditions:
        for line in _conditions(*found.conditions):
            console.print(line)
    if found.copied:
        console.print(f"copied to the board and removed again: {'; '.join(found.copied)}")
    if found.counts:
        _print_counts(console, found.counts, verbose=verbose)
    for rows in (
        _timing_table(found),
        _paced_table(found.paced),
        _op_table(found.breakdown),
        _memory_table(found),
        _operations_table(found),
        _energy_table(found.energy),
        _estimate_table(found),
    ):
        if rows is not None and rows.row_count:
            console.print()
            console.print(rows)
    for note in dict.fromkeys((*_remarks(found), *found.notes)):
        console.print(_folded(note))
    if verbose and found.places:
        console.print()
        console.print(_place_table(found))
    if html is not None:
        console.print(f"\nwith pictures: {html}")


def print_comparison(console: Console, comparison: Comparison, *, html: Path | None) -> None:
    """Two profiles side by side, the figures that both have first in each group."""
    console.print(f"a: {comparison.names[0]}\nb: {comparison.names[1]}")
    if comparison.different:
        rows = table("not the same", "a", "b")
        for each in comparison.different:
            rows.add_row(each.what, each.a, each.b)
        console.print()
        console.print(rows)
    rows = table("figure", "", "a", "b", "b / a", "grades", "", right=(2, 3, 4))
    group = ""
    for row in comparison.rows:
        grades = row.grade_a if row.grade_a == row.grade_b else f"{row.grade_a or 'none'} / {row.grade_b or 'none'}"
        rows.add_row("" if row.group == group else row.group, row.name, *row.texts, grades, row.note)
        group = row.group
    console.print()
    console.print(rows)
    if html is not None:
        console.print(f"\nwith pictures: {html}")


def _conditions(before: Conditions, after: Conditions) -> list[str]:
    """What the system told of clocks and heat, in one line where it told anything."""
    told = []
    if before.model:
        told.append(before.model)
    if before.governors:
        told.append(f"governor {', '.join(sorted(set(before.governors.values())))}")
    if before.frequencies_khz:
        now, most = max(before.frequencies_khz.values()), max(before.most_khz.values(), default=0)
        told.append(f"{now / 1e6:.2f} GHz" + (f" of {most / 1e6:.2f}" if most else ""))
    if before.temperatures_c:
        names = before.temperatures_c.keys() & after.temperatures_c.keys()
        hottest = max(names, key=lambda name: after.temperatures_c[name], default="")
        if hottest:
            told.append(f"{hottest} {before.temperatures_c[hottest]:.0f} °C → {after.temperatures_c[hottest]:.0f} °C")
    if before.quota_cpus is not None:
        told.append(f"limited to {before.quota_cpus:g} cores")
    told += [f"warned of {warning}" for warning in after.warnings]
    return ["conditions: " + ("; ".join(told) if told else "the system tells no clock, no temperature, no throttling")]


def _remarks(found: Profile) -> list[str]:
    """What has to be known to read the figures."""
    remarks = [f"{t.name}: {t.how}" for t in found.timings]
    if any(t.steps_each > 1 for t in found.timings):
        remarks.append("readings of N × M: N readings of the clock, each over M steps and counted as their mean")
    if found.timings:
        remarks.append("all steps that are timed are one stream: windows follow one another and nothing is reset")
    if found.clock:
        remarks.append(f"one reading of the clock takes {found.clock.ns:.0f} ns ({found.clock.how})")
    if found.breakdown:
        b = found.breakdown
        remarks.append(
            f"time of each op, on {b.engine}: counters make a step {b.overhead:.0%} longer, "
            f"{1e3 * b.counting:.0f} ns for each op, taken off again; "
            f"{b.counter}, which goes on by {1e3 * b.resolution:.0f} ns"
        )
    for estimate in found.estimates:
        assumed = (f"assumed: {text}" for text in estimate.assumptions)
        remarks += [f"{estimate.name}: {estimate.formula}", *estimate.sources, *assumed]
    if found.energy:
        remarks += [f"{found.energy.sensor}: {text}" for text in (*found.energy.faults, *found.energy.notes)]
        if found.energy.misses and found.energy.faults:  # else it is a note
            remarks.append(f"{found.energy.sensor} does not see {found.energy.misses}")
    if found.error:
        remarks.append(
            f"error against {found.error['against']} over {found.error['windows']} windows: at most "
            f"{number(max(found.error['max_abs']))}, at the last step {number(found.error['rms'][-1])} r.m.s."
        )
    return remarks


def _folded(note: str) -> str:
    return fill(note, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _print_counts(console: Console, counts: StepCounts, *, verbose: bool) -> None:
    whole = counts.to_dict()
    rows = table("instructions", "min", "median", "max", "mean", "grade", right=(1, 2, 3, 4))
    for what, spread in (("a step", whole["a_step"]), (f"a window, {len(counts.windows)} whole", whole["a_window"])):
        if spread:
            rows.add_row(what, *(f"{spread[key]:,.0f}" for key in ("min", "median", "max", "mean")), whole["grade"])
    for entry, once in counts.border.items():
        rows.add_row(f"{entry}, one call", "", f"{once:,}", "", "", whole["grade"])
    if counts.update is not None and counts.window > 1:
        rows.add_row(f"learning from {counts.window} steps", "", f"{counts.update:,}", "", "", whole["grade"])
    console.print()
    console.print(rows)
    rows = table("op", "kernel", "from", "mean", "share", "most", right=(3, 4, 5))
    for op in counts.ops:
        share = f"{op.instructions / counts.total:.1%}"
        rows.add_row(op.op.split("_")[0], op.kernel, op.layer, f"{op.instructions:,.0f}", share, f"{op.most:,}")
    rows.add_row("calls", "", "", f"{counts.calls:,.0f}", f"{counts.calls / counts.total:.1%}", "")
    console.print()
    console.print(rows)
    if verbose:
        rows = table("function, without those it calls", "mean", "share", right=(1, 2))
        for name, instructions in counts.functions.items():
            rows.add_row(name, f"{instructions:,.0f}", f"{instructions / counts.total:.1%}")
        console.print()
        console.print(rows)


def _timing_table(found: Profile) -> Table:
    columns = "µs per step", "median", "min", "p90", "p95", "p99", "max", "mean", "std", "readings", "grade"
    rows = table(*columns, right=tuple(range(1, 10)))
    for t in found.timings:
        s = t.spread
        cells = (t.median_us, s.min, s.p90, s.p95, s.p99, s.max, s.mean, s.std)
        readings = f"{s.n:,}" if t.steps_each == 1 else f"{s.n:,} × {t.steps_each}"
        rows.add_row(t.name, *(_us(us) for us in cells), readings, t.grade)
    return rows


def _paced_table(paced: Paced | None) -> Table | None:
    if paced is None:
        return None
    rows = table(
        f"at {paced.rate_hz:g} Hz, µs", "p50", "min", "p90", "p95", "p99", "max", "n", "grade", right=tuple(range(1, 8))
    )

    def row(name: str, s: Spread) -> None:
        rows.add_row(name, *(_us(us) for us in (s.p50, s.min, s.p90, s.p95, s.p99, s.max)), f"{s.n:,}", paced.grade)

    row("begun after its deadline", paced.late)
    row("step", paced.step)
    rows.add_row("deadlines missed", f"{paced.misses:,} of {paced.deadlines:,}", *[""] * 6, paced.grade)
    return rows


def _op_table(breakdown: Breakdown | None) -> Table | None:
    if breakdown is None:
        return None
    rows = table("op", "kernel", "from", "µs", "share", "nine of ten", "grade", right=(3, 4, 5))
    for op in breakdown.ops:
        between = f"{op.low:.3f} – {op.high:.3f}"
        name = op.op.split("_")[0]
        rows.add_row(name, op.kernel, op.layer, f"{op.microseconds:.3f}", f"{op.share:.0%}", between, breakdown.grade)
    rows.add_row("calls and checks", "", "", f"{breakdown.rest:.3f}", "", "", breakdown.grade)
    return rows


def _memory_table(found: Profile) -> Table:
    rows = table("memory", "bytes", "grade", "what", right=(1,))
    if found.memory is None:
        rows.add_row("file", f"{found.file_bytes or 0:,}", MEASURED, "weights and graph, as they are on disk")
        rows.add_row("RAM", "", UNAVAILABLE, "what the runtime takes")
        rows.add_row("instructions", "", UNAVAILABLE, "counted for artifacts alone, in the emulator")
        return rows
    indents = {"code": 1, "constants": 1, "struct": 1, "stack": 1, **dict.fromkeys(SHARES, 2)}
    for name, nbytes, grade, what in memory_rows(found.memory.to_dict()):
        rows.add_row("  " * indents.get(name, 0) + name, "" if nbytes is None else f"{nbytes:,}", grade, what)
    if found.places:
        rows.add_row("  needed at once", f"{found.places.peak:,}", found.places.grade, "most of the struct, at any op")
    return rows


def _place_table(found: Profile) -> Table:
    rows = table("in the struct", "kind", "bytes", "at", "from op", "to op", right=(2, 3, 4, 5))
    for place in found.places.places if found.places else ():
        rows.add_row(place.name, place.kind, f"{place.bytes:,}", f"{place.offset:,}", str(place.first), str(place.last))
    return rows


def _operations_table(found: Profile) -> Table | None:
    operations = found.operations
    if operations is None:
        return None
    rows = table("operations (NeuroBench)", "a step", "a window", "grade", right=(1, 2))
    for name in ("dense", "effective_macs", "effective_acs", "membrane_updates"):
        value = float(getattr(operations, name))
        window = number(value * operations.window) if operations.window else ""
        rows.add_row(name.replace("_", " "), number(value), window, operations.grade)
    rows.add_row("connection sparsity", f"{operations.connection_sparsity:.1%}", "", operations.grade)
    if operations.activation_sparsity is not None:
        rows.add_row("activation sparsity", f"{operations.activation_sparsity:.1%}", "", operations.grade)
    rows.add_row("footprint", f"{operations.footprint_bytes:,} B", "", operations.grade)
    if operations.original_bytes is not None:
        rows.add_row("footprint of the original", f"{operations.original_bytes:,} B", "", operations.grade)
    for population in found.activity.populations if found.activity else ():
        share = f"{population.rate:.1%}"
        rows.add_row(f"fire: {population.name}, {population.size}", share, "", operations.grade)
    return rows


def _energy_table(energy: EnergyResult | None) -> Table | None:
    if energy is None:
        return None
    rows = table("energy", "", "grade", "what", right=(1,))
    rows.add_row("verdict", energy.verdict, energy.grade, f"{energy.sensor}, which sees {energy.sees}")
    if energy.watts is not None and energy.seconds is not None:
        rows.add_row("power", quantity(energy.watts, "W"), energy.grade, f"mean over {energy.seconds:.1f} s of the run")
    if energy.idle_watts is not None:
        rows.add_row("power, idle", quantity(energy.idle_watts, "W"), energy.grade, "before and after")
    if energy.joules is not None:
        rows.add_row("run", quantity(energy.joules, "J"), energy.grade, f"{energy.steps or 0:,} steps")
    for name, value, interval in (
        ("a step", energy.joules_per_step, energy.ci95),
        ("a step, less idle", energy.net_joules_per_step, energy.net_ci95),
    ):
        if value is not None:
            between = f"95 %: {quantity(interval[0], 'J')} – {quantity(interval[1], 'J')}" if interval else ""
            rows.add_row(name, quantity(value, "J"), energy.grade, between)
    if energy.minimum_detectable_joules is not None:
        least = quantity(energy.minimum_detectable_joules, "J")
        rows.add_row("least to be told", least, energy.grade, "net energy of a run that differs from nothing")
    if energy.rate_hz is not None:
        step = "" if energy.resolution is None else f", steps of {quantity(energy.resolution, energy.unit)}"
        rows.add_row("readings", f"{energy.rate_hz:.1f} a second", energy.grade, f"of the sensor{step}")
    return rows


def _estimate_table(found: Profile) -> Table:
    rows = table("estimate", "", "from – to", "grade", right=(1,))
    for e in found.estimates:
        between = "" if e.low is None or e.high is None else f"{quantity(e.low, e.unit)} – {quantity(e.high, e.unit)}"
        rows.add_row(e.name, "" if e.value is None else quantity(e.value, e.unit), between, e.grade)
    return rows


def _us(value: float) -> str:
    """Three digits at least, down to a nanosecond: a step may take less than 100 of them."""
    return f"{value:.3f}" if value < 10 else f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
