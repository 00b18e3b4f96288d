"""All ops of this backend: a kind without a row is decomposed, or refused."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgekit.backends.onnx.contract import CONTRACT
from edgekit.backends.onnx.elementwise import ELEMENTWISE, Row
from edgekit.backends.onnx.movement import MOVEMENT

ROWS: Mapping[str, Row] = MappingProxyType({**ELEMENTWISE, **CONTRACT, **MOVEMENT})
SUPPORTED = frozenset(ROWS)
