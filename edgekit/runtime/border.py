"""What goes into a program and comes out of it: raw numbers checked and stored, outputs as real numbers again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError, UsageError
from edgekit.runtime.codec import Codec
from edgekit.runtime.facts import Facts
from edgekit.runtime.streams import Array


def to_float32(thing: str, array: Array) -> Array:
    """Numbers as float32; DataError where a finite one is too large for that."""
    with np.errstate(over="ignore"):
        made = array.astype(np.float32, copy=False)
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        over = np.isinf(made) & np.isfinite(array)
        if over.any():
            first = np.unravel_index(int(np.argmax(over)), array.shape)
            most = float(np.finfo(np.float32).max)
            cause = f"holds {array[first]:.3g} at {[int(n) for n in first]}, more than float32 can ({most:.3g})"
            raise DataError(thing, cause, "scale it down")
    return np.asarray(made)


class Border:
    """The inputs and outputs of one program, raw outside and as its steps take them inside.

    `codec` is there for an integer program; `nonfinite` counts the values given to it that were NaN or Inf.
    """

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.names = list(facts.inputs)
        self.shapes = list(facts.inputs.values())
        graph = facts.graph
        self.codec = Codec(graph) if graph is not None and graph.is_integer else None
        self.nonfinite = 0

    def numbers(self, name: str, value: npt.ArrayLike) -> Array:
        """An array of float32; DataError for what is none."""
        try:
            array = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise DataError(f"input {name!r}", f"is not an array of numbers: {error}") from error
        if array.dtype.kind not in "fiub":
            raise DataError(f"input {name!r}", f"holds {array.dtype} values, not numbers")
        if self.codec is not None:  # a number beyond float32 is one beyond the range: both end there
            with np.errstate(over="ignore"):
                return array.astype(np.float32, copy=False)
        return to_float32(f"input {name!r}", array)

    def checked(self, name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
        """An array of float32 of a shape; DataError for another one."""
        array = self.numbers(name, value)
        if array.shape != shape:
            raise DataError(f"input {name!r}", f"has shape {array.shape}, one step takes {shape}")
        return array

    def arrange(self, x: npt.ArrayLike) -> Array:
        """The first input in the program's layout: windows [N, length, channels] of a program that eats flattened
        windows become [N, length · channels]; everything else stays as it is.
        """
        array, shape = self.numbers(self.names[0], x), self.shapes[0]
        window = self.facts.io.get("window")
        if window and window["layout"] == "flattened" and len(shape) == 1:
            channels = shape[0] // window["length"]
            if array.ndim >= 2 and array.shape[-2:] == (window["length"], channels):
                return array.reshape(*array.shape[:-2], shape[0])
        return array

    def stored(self, arrays: Sequence[Array], stored: bool = False) -> list[Array]:
        """What the step of an integer program takes: raw values quantised, stored ones checked."""
        if self.codec is None:
            if stored:
                raise UsageError("stored=True", f"program {self.facts.name!r} takes raw values alone", "leave it out")
            return list(arrays)
        if stored:
            return [self.codec.check_stored(n, a) for n, a in zip(self.names, arrays, strict=True)]
        self.nonfinite += sum(int(a.size - np.count_nonzero(np.isfinite(a))) for a in arrays)
        return self.codec.quantize(arrays)

    def results(self, outputs: list[Array], stored: bool = False) -> Any:
        """The outputs of a step in real numbers, or as they are stored: an array, or a tuple of several."""
        if self.codec is not None and not stored:
            outputs = self.codec.dequantize(outputs)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
