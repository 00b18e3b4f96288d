"""A profile's page: who it is, its figures in large type, its sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgekit.profile.figures import memory_rows
from edgekit.profile.grades import EMULATED, MEASURED
from edgekit.profile.host import BUSY
from edgekit.profile.html.page import Page
from edgekit.profile.html.parts import Tile, finite
from edgekit.profile.html.sections import sections
from edgekit.profile.numbers import number, quantity

Document = Mapping[str, Any]


def profile_page(profile: Document) -> Page:
    """The parts of a profile's page."""
    document = finite(profile)
    found, gaps = sections(document)
    steps, available = document["steps"], document["available"]
    part = "" if steps == available else f" of {available:,}"
    facts = (
        ("Target", document["target"]),
        ("Precision", document["precision"]),
        ("Engine", document["engine"]),
        ("Input", f"{document['stimulus']}, {steps:,} steps{part}"),
        *(("Place", place) for place in (document.get("place"),) if place),
        *(("Self-test", _selftest(document)) for tested in (document.get("selftest_steps"),) if tested),
        *_facts_of_host(document.get("host") or {}),
    )
    return Page(
        kind="Profile",
        title=str(document["artifact"]).replace("\\", "/").rsplit("/", 1)[-1],
        lead=f"What one step of this program costs, {document['precision']} for {document['target']}.",
        sections=found,
        tiles=tuple(_tiles(document)),
        facts=tuple((name, str(value)) for name, value in facts),
        gaps=gaps,
        warned="Said while it was profiled:",
        warnings=tuple(str(note) for note in document.get("notes") or ()),
    )


def _selftest(document: Document) -> str:
    error = document.get("selftest_error")
    off = {None: "", 0: ", exactly the expected values"}.get(error, f", off by at most {number(error, 2)}")
    return f"{document['selftest_steps']:,} steps{off}"


def _facts_of_host(host: Document) -> Iterator[tuple[str, str]]:
    if host:
        yield "Device", f"{host['processor']}, {host['cores']} cores, {host['system']}"
        busy = " (others were busy)" if host["load_average"] > BUSY else ""
        yield "Load", f"{number(host['load_average'], 2)}{busy}"


def _tiles(document: Document) -> Iterator[Tile]:
    for timing in (document.get("timings") or ())[:1]:
        if us := timing.get("spread_us"):
            note, typical = f"median, p99 {quantity(us['p99'] / 1e6, 's')}", timing.get("median_us", us["p50"])
            yield Tile("Time per step", quantity(typical / 1e6, "s"), str(timing.get("grade", MEASURED)), note)
    if counts := document.get("counts"):
        step = counts["a_step"]
        note = f"{number(step['min'])} to {number(step['max'])}"
        yield Tile("Instructions per step", number(round(step["mean"])), str(counts.get("grade", EMULATED)), note)
    if memory := document.get("memory"):
        for name, nbytes, grade, what in memory_rows(memory):
            if name in ("flash", "RAM") and nbytes is not None:
                yield Tile(
                    name[:1].upper() + name[1:], quantity(nbytes, "B"), grade, what.removeprefix("what is loaded: ")
                )
    elif document.get("file_bytes") is not None:
        yield Tile("File", quantity(document["file_bytes"], "B"), MEASURED)
    energy = document.get("energy") or {}
    if energy.get("joules_per_step") is not None:
        yield Tile("Energy per step", quantity(energy["joules_per_step"], "J"), str(energy["grade"]), "idle too")
    for estimate in document.get("estimates") or ():
        timed = bool(document.get("timings")) and estimate["unit"] == "s"
        if estimate.get("value") is not None and not timed:
            name, unit = str(estimate["name"]), str(estimate["unit"])
            low, high = estimate.get("low"), estimate.get("high")
            note = "" if low is None or high is None else f"{quantity(low, unit)} to {quantity(high, unit)}"
            yield Tile(name[:1].upper() + name[1:], quantity(estimate["value"], unit), str(estimate["grade"]), note)
