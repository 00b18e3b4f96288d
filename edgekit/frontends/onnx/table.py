"""The one table of operators: op_type to the row that lowers it."""

from __future__ import annotations

from edgekit.frontends.onnx import (
    rows_control,
    rows_elementwise,
    rows_movement,
    rows_quantise,
    rows_recurrent,
    rows_reduce,
    rows_resize,
    rows_spatial,
)
from edgekit.frontends.onnx.lowering import Row

ROWS: dict[str, Row] = {
    **rows_control.ROWS,
    **rows_elementwise.ROWS,
    **rows_movement.ROWS,
    **rows_quantise.ROWS,
    **rows_recurrent.ROWS,
    **rows_reduce.ROWS,
    **rows_resize.ROWS,
    **rows_spatial.ROWS,
}
