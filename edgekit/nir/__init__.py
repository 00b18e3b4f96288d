"""The NIR format without torch and without the IR: files and graphs, checked nodes, the order of a step, a simulation.

`frontends/nir` lowers what is read here, `backends/nir` writes it; NIR is the Neuromorphic Intermediate Representation.
"""

from edgekit.nir.conventions import CHOICES, MEANING, Conventions
from edgekit.nir.memory import from_memory
from edgekit.nir.nodes import SPIKING, STATEFUL, Node
from edgekit.nir.program import Program, make_program
from edgekit.nir.raw import RawNode
from edgekit.nir.read import read_nir
from edgekit.nir.simulate import Simulation

__all__ = [
    "CHOICES",
    "MEANING",
    "SPIKING",
    "STATEFUL",
    "Conventions",
    "Node",
    "Program",
    "RawNode",
    "Simulation",
    "from_memory",
    "make_program",
    "read_nir",
]
