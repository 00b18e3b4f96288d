"""How a figure came about: what was not measured says so."""

from __future__ import annotations

MEASURED = "measured"  # by a clock or a meter, on the device itself
EMULATED = "emulated"  # exact, on an emulated core
DERIVED = "derived"  # computed from what the program is, without running it
ESTIMATED = "estimated"  # from a formula with sourced figures and stated assumptions
UNAVAILABLE = "unavailable"
