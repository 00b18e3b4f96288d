"""Power and energy as sensors and meters give them: found, sampled, integrated, and checked before believed."""

from __future__ import annotations

from edgekit.profile.power.energy import EnergyResult, Marks, energy_of
from edgekit.profile.power.find import Found, Refused, find_sensors
from edgekit.profile.power.meters import read_meter
from edgekit.profile.power.options import PowerOption, choose_sensor, parse_power_option
from edgekit.profile.power.sampling import PowerMeter
from edgekit.profile.power.sensors import LocalTree, Rail, Sensor, Source, Tree
from edgekit.profile.power.trace import Sample, Trace, trace_of

__all__ = [
    "EnergyResult",
    "Found",
    "LocalTree",
    "Marks",
    "PowerMeter",
    "PowerOption",
    "Rail",
    "Refused",
    "Sample",
    "Sensor",
    "Source",
    "Trace",
    "Tree",
    "choose_sensor",
    "energy_of",
    "find_sensors",
    "parse_power_option",
    "read_meter",
    "trace_of",
]
