"""The numpy reference interpreter: the specification that every backend is held against."""

from edgekit.reference.blob import BLOB_VERSION, pack_states, unpack_states, with_first_values
from edgekit.reference.growth import Growth, growing_states
from edgekit.reference.interpreter import Interpreter, Values, stored_integers

__all__ = [
    "BLOB_VERSION",
    "Growth",
    "Interpreter",
    "Values",
    "growing_states",
    "pack_states",
    "stored_integers",
    "unpack_states",
    "with_first_values",
]
