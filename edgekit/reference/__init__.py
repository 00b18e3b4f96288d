"""The numpy reference interpreter: the specification that every backend is held against."""

from edgekit.reference.blob import BLOB_VERSION, BlobLayout, StateRow, pack_states, unpack_states, with_first_values
from edgekit.reference.compare import largest_error, random_inputs
from edgekit.reference.growth import Growth, growing_states
from edgekit.reference.interpreter import Interpreter, Values, stored_integers
from edgekit.reference.ties import Tie, near_ties, outcomes

__all__ = [
    "BLOB_VERSION",
    "BlobLayout",
    "Growth",
    "Interpreter",
    "StateRow",
    "Tie",
    "Values",
    "growing_states",
    "largest_error",
    "near_ties",
    "outcomes",
    "pack_states",
    "random_inputs",
    "stored_integers",
    "unpack_states",
    "with_first_values",
]
