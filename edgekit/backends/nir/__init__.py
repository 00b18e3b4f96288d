"""NIR graphs as output: a step of spiking or leaky neurons leaves as a `nir.NIRGraph` for other tools and hardware."""

from edgekit.backends.nir.check import Difference
from edgekit.backends.nir.export import NirExport, export_nir

__all__ = ["Difference", "NirExport", "export_nir"]
