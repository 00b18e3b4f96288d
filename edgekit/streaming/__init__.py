"""The streaming front door: samples of a sensor as they come, made into windows, and a decision for each.

Needs numpy alone, and runs wherever a session does.
"""

from edgekit.streaming.counters import Counters
from edgekit.streaming.decisions import Decision
from edgekit.streaming.door import FrontDoor
from edgekit.streaming.events import Event
from edgekit.streaming.options import Options
from edgekit.streaming.parse import Parser
from edgekit.streaming.sample import Sample
from edgekit.streaming.samples import Samples, open_samples
from edgekit.streaming.sources import Source, comes_live, open_source
from edgekit.streaming.windows import WindowPlan, window_plan

__all__ = [
    "Counters",
    "Decision",
    "Event",
    "FrontDoor",
    "Options",
    "Parser",
    "Sample",
    "Samples",
    "Source",
    "WindowPlan",
    "comes_live",
    "open_samples",
    "open_source",
    "window_plan",
]
