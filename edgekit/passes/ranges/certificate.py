"""What a proof says, in plain values: the section `ranges` of a manifest.

Bounds are in stored integers, and in real units where the scale of a tensor is known: real = scale · (stored - zero).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgekit.errors import UnsupportedError
from edgekit.ir import Graph, Op, Tensor
from edgekit.passes.ranges.values import Array, Interval, Overflow, Ranges, StateProof

SUMS = ("linear", "memory_update", "sum", "cumsum")
MOST_SUMS = 64  # accumulators that are listed: those with the fewest bits to spare
MOST_SATURATIONS = 256


def certificate(ranges: Ranges, graph: Graph) -> dict[str, Any]:
    """The proof of an integer program as JSON values; UnsupportedError lists every op that might wrap around."""
    if ranges.overflows:
        raise UnsupportedError(
            f"graph {graph.name!r}",
            "may overflow: these results are not proven to fit, and wrap around where they do not",
            "let the op saturate, or give it a wider accumulator",
            [f"{f.kind} -> {f.tensor}: {f.lo:.0f} to {f.hi:.0f} in {f.dtype}" for f in ranges.overflows],
        )
    sums = [_sum(op, graph, ranges) for op in graph.entries["step"].ops if op.kind in SUMS]
    sums.sort(key=lambda row: (row["of_bits"] - row["bits"], -row["of_bits"]))
    return {
        "inputs": [_bounds(graph.tensors[n], ranges.values[n]) for n in graph.entries["step"].inputs],
        "states": [_state(graph.tensors[s.tensor], ranges.states[s.tensor]) for s in graph.states],
        "accumulators": sums[:MOST_SUMS],
        "saturates": _faults(ranges.saturations)[:MOST_SATURATIONS],
        "wraps": [],
        "from_any_state": ranges.from_any_state,
    }


def bits_of(lo: float, hi: float) -> int:
    """The fewest bits of a two's complement integer that holds `lo` to `hi`."""
    return 1 + max(int(hi).bit_length(), (-int(lo) - 1).bit_length() if lo < 0 else 0)


def _sum(op: Op, graph: Graph, ranges: Ranges) -> dict[str, Any]:
    return {"op": op.kind, **_bounds(graph.tensors[op.outputs[0]], ranges.values[op.outputs[0]])}


def _bounds(tensor: Tensor, bounds: Interval) -> dict[str, Any]:
    """The outermost bounds over all elements; a tensor without elements is zero."""
    lo, hi = (int(side.max()) if tensor.size else 0 for side in (-bounds.lo, bounds.hi))
    used = 1 if tensor.dtype.bits == 1 else bits_of(-lo, hi)
    return {
        "tensor": tensor.name,
        "dtype": str(tensor.dtype),
        "lo": -lo,
        "hi": hi,
        "bits": used,
        "of_bits": tensor.dtype.bits,
    }


def _state(tensor: Tensor, proof: StateProof) -> dict[str, Any]:
    found = {**_bounds(tensor, Interval(proof.lo, proof.hi)), "shape": list(tensor.shape)}
    found |= {"method": proof.method, "note": proof.note}
    scale = _scale(tensor)
    if scale is not None:
        zero = _along(tensor, tensor.quant.zero_point) if tensor.quant is not None else np.zeros(())
        lo, hi = scale * (proof.lo - zero), scale * (proof.hi - zero)
        found |= {"scale": _ends(scale), "real_lo": float(lo.min(initial=0)), "real_hi": float(hi.max(initial=0))}
    residue = proof.residue
    if residue is not None:  # a whole number within the state's bounds
        residue = np.minimum(np.floor(residue), Interval(proof.lo, proof.hi).largest())
    for name, error in (("rounding", proof.rounding), ("residue", residue)):
        if error is not None:
            found[name] = float(error.max(initial=0))
            if scale is not None:
                found[f"real_{name}"] = float((scale * error).max(initial=0))
    return found


def _scale(tensor: Tensor) -> Array | None:
    """The scale of each element; None where it is not known, or where the element is a spike."""
    return None if tensor.quant is None else _along(tensor, tensor.quant.scale)


def _along(tensor: Tensor, values: Array) -> Array:
    quant = tensor.quant
    if quant is None or quant.axis is None:
        return np.asarray(values, np.float64).reshape(())
    shape = [1] * len(tensor.shape)
    shape[quant.axis] = -1
    return np.asarray(values, np.float64).reshape(shape)


def _ends(scale: Array) -> list[float]:
    return [float(scale.min()), float(scale.max())]


def _faults(faults: Iterable[Overflow]) -> list[dict[str, Any]]:
    return [{"op": f.kind, "tensor": f.tensor, "dtype": f.dtype, "lo": int(f.lo), "hi": int(f.hi)} for f in faults]


def contradictions(claimed: Mapping[str, Any], proven: Mapping[str, Any]) -> list[str]:
    """What a certificate claims and another proof of the same graph does not bear out.

    Bounds may differ by a millionth of the range and one LSB: other libraries round the same proof differently.
    """
    faults = []
    for part in ("inputs", "states", "accumulators"):
        rows = {row["tensor"]: row for row in claimed[part]}
        for row in proven[part]:
            claim = rows.pop(row["tensor"], None)
            slack = 1 + 1e-6 * 2.0 ** row["of_bits"]
            if claim is None:
                faults.append(f"{row['tensor']} is not among its {part}")
            elif claim["dtype"] != row["dtype"] or claim["lo"] > row["lo"] + slack or claim["hi"] < row["hi"] - slack:
                faults.append(
                    f"{row['tensor']} may be {row['lo']:,} to {row['hi']:,} in {row['dtype']}, "
                    f"not {claim['lo']:,} to {claim['hi']:,} in {claim['dtype']}"
                )
        faults += [f"{name} is none of the program's {part}" for name in rows]
    if claimed["from_any_state"] and not proven["from_any_state"]:
        faults.append("a state that was restored may make a value wrap around")
    listed = {row["tensor"] for row in claimed["saturates"]}
    faults += [f"{row['tensor']} may saturate" for row in proven["saturates"] if row["tensor"] not in listed]
    return faults
