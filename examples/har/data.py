"""For a benchmark that was started before the data moved to `edgekit.demo.har`."""

from edgekit.demo.har.data import load_windows

__all__ = ["load_windows"]
