"""The intermediate representation: dtypes, tensors, states, the op table, graphs, their verifier and text form."""

from edgekit.ir.build import GraphBuilder, printable
from edgekit.ir.document import from_document, to_document
from edgekit.ir.dtypes import DTYPES, FLOAT16, FLOAT32, INT4, INT8, INT16, INT32, SPIKE, DType
from edgekit.ir.graph import Entry, Graph, Op, State, Tensor
from edgekit.ir.ops import OPS, SCALAR_OPS, Cost, OpSpec
from edgekit.ir.plan import Buffer, Plan
from edgekit.ir.quant import QuantParams
from edgekit.ir.text import from_text, to_text
from edgekit.ir.verify import verify

__all__ = [
    "DTYPES",
    "FLOAT16",
    "FLOAT32",
    "INT4",
    "INT8",
    "INT16",
    "INT32",
    "OPS",
    "SCALAR_OPS",
    "SPIKE",
    "Buffer",
    "Cost",
    "DType",
    "Entry",
    "Graph",
    "GraphBuilder",
    "Op",
    "OpSpec",
    "Plan",
    "QuantParams",
    "State",
    "Tensor",
    "from_document",
    "from_text",
    "printable",
    "to_document",
    "to_text",
    "verify",
]
