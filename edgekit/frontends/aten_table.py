"""The whole lowering table: every module of rows is loaded here."""

from edgekit.frontends import aten, aten_movement, aten_spatial

ROWS = {**aten.ROWS}
"""The row of each ATen operator, by name."""

__all__ = ["ROWS", "aten_movement", "aten_spatial"]
