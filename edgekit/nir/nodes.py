"""The nodes of a NIR graph, checked: parameters as float64, sizes as ints, one table of the kinds and their fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgekit.nir.raw import RawNode

Real = npt.NDArray[np.float64]
LARGEST = float(np.finfo(np.float32).max)
MAX_SIZE = 2**20
"""Of strides, paddings, kernels, and lengths of axes."""
PADDINGS = ("same", "valid")
SPIKING = ("LIF", "IF", "CubaLIF")
STATEFUL = (*SPIKING, "LI", "I", "CubaLI")

# kind -> parameters (arrays of numbers); `?` marks what a file may leave out
PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "Input": (),
    "Output": (),
    "Affine": ("weight", "bias"),
    "Linear": ("weight",),
    "Scale": ("scale",),
    "Threshold": ("threshold",),
    "Delay": ("delay",),
    "Flatten": (),
    "Conv1d": ("weight", "bias?"),
    "Conv2d": ("weight", "bias?"),
    "SumPool2d": (),
    "AvgPool2d": (),
    "I": ("r",),
    "IF": ("r", "v_threshold", "v_reset?"),
    "LI": ("tau", "r", "v_leak"),
    "LIF": ("tau", "r", "v_leak", "v_threshold", "v_reset?"),
    "CubaLI": ("tau_syn", "tau_mem", "r", "v_leak", "w_in?"),
    "CubaLIF": ("tau_syn", "tau_mem", "r", "v_leak", "v_threshold", "v_reset?", "w_in?"),
}
# kind -> sizes: name, how many ints, what a file that leaves it out means (None: it may not)
SIZES: Mapping[str, tuple[tuple[str, int, int | None], ...]] = {
    "Conv1d": (("stride", 1, None), ("padding", 1, None), ("dilation", 1, None), ("groups", 1, None)),
    "Conv2d": (("stride", 2, None), ("padding", 2, None), ("dilation", 2, None), ("groups", 1, None)),
    "SumPool2d": (("kernel_size", 2, None), ("stride", 2, None), ("padding", 2, 0)),
    "AvgPool2d": (("kernel_size", 2, None), ("stride", 2, None), ("padding", 2, 0)),
    "Flatten": (("start_dim", 1, 1), ("end_dim", 1, -1)),
}
# kind -> a shape that the node may state
SHAPES = {
    "Input": "shape",
    "Output": "shape",
    "Flatten": "input_type",
    "Conv1d": "input_shape",
    "Conv2d": "input_shape",
}
POSITIVE = ("tau", "tau_syn", "tau_mem", "kernel_size", "stride", "dilation", "groups")
RANKS = {"Linear": (2, None), "Affine": (2, None), "Conv1d": (3, 3), "Conv2d": (4, 4)}


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names in a sentence, of many the first ones."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{rest}"


class Fault(Exception):  # noqa: N818  (collected, and reported all at once)
    """Why a node cannot be imported, and what to do."""


@dataclass(frozen=True, eq=False)
class Node:
    """A checked node. `sizes` holds tuples of ints, or `same`/`valid`; `stated` the shape that it says it takes."""

    name: str
    kind: str
    values: Mapping[str, Real] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, ...] | str] = field(default_factory=dict)
    stated: tuple[int, ...] | None = None

    def __getitem__(self, name: str) -> Real:
        return self.values[name]

    def ints(self, name: str) -> tuple[int, ...]:
        """A size as ints."""
        value = self.sizes[name]
        if isinstance(value, str):
            raise Fault(f"has {name} {value!r} where numbers are due")
        return value

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"


def check_node(name: str, raw: RawNode) -> Node:
    """The node, or a Fault with the first thing that is wrong with it."""
    kind = raw.kind
    if kind not in PARAMETERS:
        raise Fault(f"is no kind of NIR 1.0.8; the kinds are {', '.join(sorted((*PARAMETERS, 'NIRGraph')))}")
    wanted = {p.removesuffix("?"): not p.endswith("?") for p in PARAMETERS[kind]}
    sizes = {size: (count, default) for size, count, default in SIZES.get(kind, ())}
    shape_field = SHAPES.get(kind, "")
    unknown = sorted(set(raw.fields) - set(wanted) - set(sizes) - {shape_field})
    if unknown:
        raise Fault(f"has fields that {kind} does not have: {', '.join(unknown)}")
    values = {}
    for parameter, required in wanted.items():
        if raw.fields.get(parameter) is not None:
            values[parameter] = _numbers(parameter, raw.fields[parameter])
        elif required:
            raise Fault(f"lacks {parameter}")
    _check_values(kind, values)
    found = {size: _size(size, raw.fields.get(size), *rule) for size, rule in sizes.items()}
    stated = None
    if raw.fields.get(shape_field) is not None:
        stated = _integers(shape_field, raw.fields[shape_field], low=1)
    elif kind in ("Input", "Output"):
        raise Fault("lacks its shape; state it when writing the graph")
    return Node(name, kind, values, found, stated)


def _numbers(name: str, value: object) -> Real:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiub":
        what = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise Fault(f"has {name} of dtype {what}; real numbers are due")
    if value.size == 0:
        raise Fault(f"has no numbers in {name}")
    real = value.astype(np.float64)
    if not np.isfinite(real).all():
        raise Fault(f"has NaN or Inf in {name}")
    if np.abs(real).max() > LARGEST:
        raise Fault(f"has numbers in {name} that are larger than float32 holds")
    if name in POSITIVE and real.min() <= 0:
        raise Fault(f"has {name} {real.min():g}; it must be positive")
    return real


def _check_values(kind: str, values: Mapping[str, Real]) -> None:
    low, high = RANKS.get(kind, (0, None))
    if "weight" in values:
        rank = values["weight"].ndim
        if rank < low or (high is not None and rank > high):
            raise Fault(f"has weights of shape {values['weight'].shape}; {kind} has {low} axes of them")
    if kind == "Delay" and values["delay"].min() < 0:
        raise Fault(f"has a delay of {values['delay'].min():g} s; a delay cannot be negative")


def _integers(name: str, value: object, low: int) -> tuple[int, ...]:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.ndim > 1:
        raise Fault(f"has {name} {str(value)[:40]!r}; whole numbers are due")
    flat = value.astype(np.float64).reshape(-1)
    if not np.isfinite(flat).all() or (flat != np.floor(flat)).any():
        raise Fault(f"has {name} {flat[:4].tolist()}; whole numbers are due")
    if flat.size and (flat.min() < low or flat.max() > MAX_SIZE):
        raise Fault(f"has {name} {flat[:8].astype(np.int64).tolist()}; from {low} to {MAX_SIZE:,} is possible")
    return tuple(int(n) for n in flat)


def _size(name: str, value: object, count: int, default: int | None) -> tuple[int, ...] | str:
    """A size as `count` ints (one number stands for all axes), or the name of a padding."""
    if value is None:
        if default is None:
            raise Fault(f"lacks {name}")
        return (default,) * count
    if isinstance(value, str) and name == "padding":
        if value not in PADDINGS:
            raise Fault(f"has padding {value[:40]!r}; it is 'same', 'valid' or numbers")
        return value
    low = -MAX_SIZE if name in ("start_dim", "end_dim") else 1 if name in POSITIVE else 0
    found = _integers(name, value, low)
    if len(found) not in (1, count):
        raise Fault(f"has {len(found)} numbers in {name}; {count} are due")
    return found * count if len(found) == 1 else found


def parameter(node: Node, name: str, shape: tuple[int, ...]) -> Real:
    """A parameter as it meets values of a shape: of that shape, or of no axes where it is one number for all.

    Raises Fault where it is neither: a vector along one of several axes would be a guess.
    """
    value = node[name]
    if value.size == 1:
        return value.reshape(())
    if value.shape == shape:
        return value
    if _squeezed(value.shape) == _squeezed(shape):
        return value.reshape(shape)
    raise Fault(f"has {name} of shape {value.shape} for values of shape {shape}; give it the shape of the values")


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)
