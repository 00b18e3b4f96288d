"""Where the rounding of an integer program comes from, layer by layer, and which narrow integers are to blame."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgekit.ir import OPS, SPIKE, Graph, Op, Tensor
from edgekit.reference import Values

Array = npt.NDArray[Any]

COMPARES = ("gt", "ge", "lt", "le")
WEIGHTS, OPERANDS = 16, 16  # bits that weights and operands can be widened to
LITTLE = 0.02  # of what the worst layer adds: not worth a word
_STORED = re.compile(r"\.int(4|8|16)(\.\d+)?$")  # what quantisation puts behind the name of weights
_OPERAND = re.compile(r"/operand\d*$")  # … and of a value that is converted for a matrix


def reals(tensor: Tensor, values: Array) -> Array:
    """The reals of values [N, *shape]: those of stored integers by their scale."""
    if tensor.quant is None or not tensor.dtype.is_integer:
        return values
    return np.stack([tensor.quant.dequantize(one) for one in values.reshape(-1, *tensor.shape)])


def stored(tensor: Tensor, exact: Array) -> Array:
    """Reals [N, *shape] as a tensor holds them: spikes, stored integers by its scale, or as they are."""
    if tensor.dtype is SPIKE:
        return np.asarray(exact != 0)
    if tensor.quant is None:
        return exact
    return np.stack([tensor.quant.quantize(one) for one in exact]).astype(tensor.dtype.numpy)


class OwnNoise:
    """What every layer adds on its own: each is given exact values, rounded once, of all layers before it.

    `layers` maps a value of the program to the tensor whose scale says which reals it stands for.
    """

    def __init__(self, program: Graph, layers: Mapping[str, Tensor]) -> None:
        self.program, self.layers = program, layers
        self._consts = {n: t.data[None] for n, t in program.tensors.items() if t.data is not None}
        self._added = {name: np.zeros(2) for name in layers}  # squares of errors, and of the values

    def see(self, inputs: Mapping[str, Array], states: Mapping[str, Array], exact: Mapping[str, Array]) -> None:
        """One step of N streams, from the exact states, as the program holds them, and the exact value of each layer.

        A comparison sees the membrane that the layer has made itself: whether that fires is what its rounding changes.
        """
        given: Values = {**self._consts, **states, **inputs}
        own: Values = {}
        for op in self.program.entries["step"].ops:
            known = own if op.kind in COMPARES else {}
            arguments = [known.get(n, given[n]) for n in op.inputs]
            results = OPS[op.kind].evaluate(arguments, op.attrs, [self.program.tensors[n] for n in op.inputs])
            for name, result in zip(op.outputs, results, strict=True):
                given[name] = result
                if name in self.layers:
                    tensor, wide = self.layers[name], np.asarray(exact[name], np.float64)
                    wide = wide.reshape(-1, *tensor.shape)
                    off = wide - reals(tensor, np.broadcast_to(result, (len(wide), *result.shape[1:])))
                    self._added[name] += np.sum(off**2), np.sum(wide**2)
                    own[name], given[name] = result, stored(tensor, wide)

    def of(self, name: str) -> float | None:
        """The root mean square of what a layer added, over that of its value; of spikes, √(changed / fired)."""
        added, power = self._added[name]
        return float(np.sqrt(added / power)) if power > 0 else None


def remedies(program: Graph, value: str, layers: Mapping[str, Tensor]) -> tuple[str, ...]:
    """What can be held wider so that a layer of an integer program adds less rounding, as NAME=BITS."""
    step, tensors = program.entries["step"], program.tensors
    made = {name: op for op in step.ops for name in op.outputs}
    known = {*program.state_names, *step.inputs, *layers}
    found: dict[str, None] = {}
    todo, seen = [value], set[str]()
    while todo:
        name = todo.pop()
        op = made.get(name)
        if op is None or name in seen:
            continue
        seen.add(name)
        if op.kind == "linear":
            x, w = op.inputs[:2]
            if tensors[w].dtype.bits < WEIGHTS:
                found[f"{_STORED.sub('', w)}={WEIGHTS}"] = None
            if tensors[x].dtype.is_integer and tensors[x].dtype.bits < OPERANDS and not _is_exact(tensors[x]):
                shown = _shown(made, x)
                held = next((state for state, value in step.updates.items() if shown in (state, value)), shown)
                found[f"{_OPERAND.sub('', held)}={OPERANDS}"] = None
        compared = op.inputs if op.kind in COMPARES else ()
        todo += [n for n in op.inputs if n in compared or n not in known]
        if tensors[name].dtype is SPIKE:
            todo += op.outputs  # the membrane, made beside its spikes
    for state, updated in step.updates.items():
        bits = tensors[state].dtype.bits
        if (updated in seen or updated == value) and tensors[state].dtype.is_integer and bits < 32:
            found[f"{state}={2 * bits}"] = None
    return tuple(found)


def _shown(made: Mapping[str, Op], name: str) -> str:
    """The value that a chain of reshapes shows."""
    while name in made and made[name].kind == "reshape":
        name = made[name].inputs[0]
    return name


def _is_exact(tensor: Tensor) -> bool:
    """Whether a value is whole numbers as they are."""
    return tensor.quant is not None and bool((tensor.quant.scale == 1).all())


class Noisy(Protocol):
    """A layer, its dtype, what it adds on its own, and what would make that less."""

    name: str
    kind: str
    noise: float | None
    widen: tuple[str, ...]


def noisiest(layers: Iterable[Noisy], outputs: Container[str] = (), most: int = 3) -> list[str]:
    """The layers and states that add most of their own and can be held wider, the worst first, in words.

    What an output adds goes nowhere else: outputs come last.
    """
    said: list[str] = []
    taken: set[str] = set()
    able = sorted((layer for layer in layers if layer.noise and layer.widen), key=lambda layer: -(layer.noise or 0.0))
    least = LITTLE * (able[0].noise or 0.0) if able else 0.0
    for layer in sorted(able, key=lambda layer: layer.name in outputs):
        if layer.noise and layer.noise >= least and set(layer.widen) - taken and len(said) < most:
            taken.update(layer.widen)
            effect = f"rounding of {layer.noise:.2%} of its own size"
            if layer.kind == SPIKE.name:
                effect = f"rounding changes {layer.noise**2:.2%} of its spikes"
            options = " ".join(f"--widen {option}" for option in layer.widen)
            said.append(f"{layer.name} ({layer.kind}): {effect} in each step; {options}")
    return said
