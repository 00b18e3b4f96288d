"""The op table: serialiser, verifier, documentation and test matrix are derived from it."""

from types import MappingProxyType

from edgekit.ir.ops.contract import CONTRACT
from edgekit.ir.ops.elementwise import ELEMENTWISE, SCALAR_OPS, body_lines, fused_types
from edgekit.ir.ops.integer import INTEGER
from edgekit.ir.ops.movement import MOVEMENT
from edgekit.ir.ops.plastic import PLASTIC
from edgekit.ir.ops.spatial import SPATIAL
from edgekit.ir.ops.spec import Attr, Cost, Decomposer, OpSpec, broadcast

OPS = MappingProxyType({**ELEMENTWISE, **CONTRACT, **INTEGER, **MOVEMENT, **SPATIAL, **PLASTIC})

__all__ = ["OPS", "SCALAR_OPS", "Attr", "Cost", "Decomposer", "OpSpec", "body_lines", "broadcast", "fused_types"]
