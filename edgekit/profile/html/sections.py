"""The sections of a profile's page in order; what a document does not have becomes a gap in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edgekit.profile.html.behaviour import activity_section, error_section, operations_section
from edgekit.profile.html.costs import instructions_section, latency_section, ops_section, paced_section
from edgekit.profile.html.parts import Gap, Section
from edgekit.profile.html.resources import conditions_section, energy_section, estimates_section, memory_section

SECTIONS: tuple[Callable[[Mapping[str, Any]], Section | Gap], ...] = (
    latency_section,
    paced_section,
    ops_section,
    instructions_section,
    memory_section,
    energy_section,
    activity_section,
    operations_section,
    error_section,
    estimates_section,
    conditions_section,
)


def sections(document: Mapping[str, Any]) -> tuple[tuple[Section, ...], tuple[Gap, ...]]:
    """Every section that the document has data for, in order, and the gaps of the others."""
    made = [make(document) for make in SECTIONS]
    found = tuple(part for part in made if isinstance(part, Section))
    return found, tuple(part for part in made if isinstance(part, Gap))
