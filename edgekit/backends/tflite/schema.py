"""The flatbuffer schema of TFLite, imported when it is needed, and which builtins edgekit writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from edgekit.errors import ToolchainError

REMEDY = "pip install 'edgekit[tflite]'"
IDENTIFIER = b"TFL3"
VERSION = 3
ABSENT = -1  # the tensor of an optional input that is left out


@dataclass(frozen=True)
class Builtin:
    """An operator of TFLite: its number, the table of its options (none: "") and the number of that table."""

    number: int
    options: str = ""
    union: int = 0


# what edgekit writes, and reads back; a test holds it against the generated schema
BUILTINS = MappingProxyType(
    {
        "ABS": Builtin(101, "AbsOptions", 78),
        "ADD": Builtin(0, "AddOptions", 11),
        "ASSIGN_VARIABLE": Builtin(144, "AssignVariableOptions", 113),
        "BROADCAST_TO": Builtin(130, "BroadcastToOptions", 104),
        "CALL_ONCE": Builtin(129, "CallOnceOptions", 103),
        "CAST": Builtin(53, "CastOptions", 37),
        "CONCATENATION": Builtin(2, "ConcatenationOptions", 10),
        "CONV_2D": Builtin(3, "Conv2DOptions", 1),
        "COS": Builtin(108, "CosOptions", 84),
        "CUMSUM": Builtin(128, "CumsumOptions", 102),
        "DEPTHWISE_CONV_2D": Builtin(4, "DepthwiseConv2DOptions", 2),
        "DEQUANTIZE": Builtin(6, "DequantizeOptions", 38),
        "DIV": Builtin(42, "DivOptions", 29),
        "EQUAL": Builtin(71, "EqualOptions", 53),
        "EXP": Builtin(47, "ExpOptions", 33),
        "FLOOR": Builtin(8),
        "FULLY_CONNECTED": Builtin(9, "FullyConnectedOptions", 8),
        "GATHER": Builtin(36, "GatherOptions", 23),
        "GREATER": Builtin(61, "GreaterOptions", 44),
        "GREATER_EQUAL": Builtin(62, "GreaterEqualOptions", 45),
        "LESS": Builtin(58, "LessOptions", 41),
        "LESS_EQUAL": Builtin(63, "LessEqualOptions", 46),
        "LOG": Builtin(73),
        "LOGICAL_AND": Builtin(86, "LogicalAndOptions", 62),
        "LOGICAL_NOT": Builtin(87, "LogicalNotOptions", 63),
        "LOGICAL_OR": Builtin(84, "LogicalOrOptions", 60),
        "LOGISTIC": Builtin(14),
        "MAXIMUM": Builtin(55, "MaximumMinimumOptions", 39),
        "MINIMUM": Builtin(57, "MaximumMinimumOptions", 39),
        "MUL": Builtin(18, "MulOptions", 21),
        "NEG": Builtin(59, "NegOptions", 42),
        "NOT_EQUAL": Builtin(72, "NotEqualOptions", 54),
        "PAD": Builtin(34, "PadOptions", 22),
        "PADV2": Builtin(60, "PadV2Options", 43),
        "QUANTIZE": Builtin(114, "QuantizeOptions", 89),
        "READ_VARIABLE": Builtin(143, "ReadVariableOptions", 112),
        "REDUCE_MAX": Builtin(82, "ReducerOptions", 27),
        "RELU": Builtin(19),
        "RESHAPE": Builtin(22, "ReshapeOptions", 17),
        "SELECT_V2": Builtin(123, "SelectV2Options", 98),
        "SIN": Builtin(66),
        "SQRT": Builtin(75),
        "STRIDED_SLICE": Builtin(45, "StridedSliceOptions", 32),
        "SUB": Builtin(41, "SubOptions", 28),
        "SUM": Builtin(74, "ReducerOptions", 27),
        "TANH": Builtin(28),
        "TRANSPOSE": Builtin(39, "TransposeOptions", 26),
        "VAR_HANDLE": Builtin(142, "VarHandleOptions", 111),
    }
)
# The first version of an operator that takes float32, int8, int16; 1 for all where it is not listed.
VERSIONS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "ADD": (1, 2, 3),
        "BROADCAST_TO": (2, 3, 3),
        "CONCATENATION": (1, 2, 3),
        "CONV_2D": (1, 3, 1),
        "DEPTHWISE_CONV_2D": (2, 3, 2),
        "DEQUANTIZE": (1, 2, 3),
        "FULLY_CONNECTED": (5, 5, 7),
        "GATHER": (1, 2, 4),
        "LOGISTIC": (1, 2, 3),
        "MAXIMUM": (1, 2, 4),
        "MINIMUM": (1, 2, 4),
        "MUL": (1, 2, 4),
        "PAD": (1, 2, 3),
        "PADV2": (1, 2, 3),
        "RELU": (1, 2, 3),
        "STRIDED_SLICE": (1, 2, 1),
        "SUB": (1, 2, 5),
        "TANH": (1, 2, 3),
        "TRANSPOSE": (1, 2, 5),
    }
)


def version_of(builtin: str, source: str, to: str) -> int:
    """The version that an operator needs whose first input and output have these types."""
    if builtin == "CAST":
        return 3 if "INT8" in (source, to) else 1
    if builtin == "QUANTIZE":
        return 2 if to == "INT16" else 1
    widths = {"INT8": 1, "INT16": 2}
    return VERSIONS.get(builtin, (1, 1, 1))[widths.get(source, 0)]


def schema() -> Any:
    """The generated schema module; ToolchainError when the extra is not installed."""
    return _imported("ai_edge_litert.schema_py_generated")


def flatbuffers() -> Any:
    """The flatbuffers package; ToolchainError when the extra is not installed."""
    return _imported("flatbuffers")


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("_", "-")
        raise ToolchainError("TFLite", f"needs {package}, which cannot be imported ({error})", REMEDY) from error
