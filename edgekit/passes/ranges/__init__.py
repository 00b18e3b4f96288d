"""Proven ranges: bounds of every value and state of a step that hold for all inputs and all times."""

from edgekit.passes.ranges.analysis import analyse
from edgekit.passes.ranges.certificate import certificate, contradictions
from edgekit.passes.ranges.values import Interval, Overflow, Ranges, StateProof

__all__ = ["Interval", "Overflow", "Ranges", "StateProof", "analyse", "certificate", "contradictions"]
