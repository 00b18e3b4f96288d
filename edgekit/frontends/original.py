"""The model before the import, as the replay and `verify` run it: streams side by side, in numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from edgekit.frontends.imported import Imported

Array = npt.NDArray[Any]

CHUNK = 512  # windows side by side


class Streams(Protocol):
    """Independent streams of a model, side by side."""

    def step(self, inputs: Sequence[Array]) -> list[Array]:
        """One step: inputs [N, *shape] in the order of the graph, outputs [N, *shape]."""

    def states(self) -> Mapping[str, Array]:
        """States before the next step, [N, *shape] by the names of the graph."""


class Original(Protocol):
    """A model that can be run step by step beside its graph."""

    @property
    def thing(self) -> str:
        """The model as error messages name it."""

    @property
    def batch(self) -> int:
        """How many streams the replay runs side by side."""

    @property
    def most(self) -> int:
        """How many streams can run side by side at all."""

    def draw(self, batch: int, random: np.random.Generator) -> list[Array] | None:
        """Random inputs [N, *shape] where not any number will do; None where it will."""

    def start(self, batch: int, *, native: bool = False) -> Streams:
        """Fresh streams from reset; `native` asks for the untouched model, which may only know its own batch."""


def original_states(imported: Imported, window: Array) -> list[dict[str, Array]]:
    """States of the original model after each step of one normalised window [T, *shape], by name, from reset."""
    streams, history = imported.original.start(1), []
    for x in np.ascontiguousarray(window, dtype=np.float32):
        streams.step([x[None]])
        history.append({n: np.array(s[0]) for n, s in streams.states().items()})
    return history


def run_original(imported: Imported, x: Array) -> npt.NDArray[np.float32]:
    """Step outputs [N, T, *out] of the original model itself over normalised windows x [N, T, *shape], from reset."""
    size, parts = min(CHUNK, imported.original.most), []
    for start in range(0, len(x), size):
        chunk = np.ascontiguousarray(x[start : start + size], dtype=np.float32)
        streams = imported.original.start(len(chunk))
        outputs = [streams.step([chunk[:, t]])[0] for t in range(chunk.shape[1])]
        parts.append(np.stack(outputs, axis=1).astype(np.float32))
    return np.concatenate(parts)
