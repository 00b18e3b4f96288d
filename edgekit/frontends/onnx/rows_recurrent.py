"""Rows of LSTM, GRU and RNN over a constant number of steps, unrolled; in a streaming model that is one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from edgekit.frontends import formulas as f
from edgekit.frontends.emitter import Emitter, Known, Live, Operand, Refuse
from edgekit.frontends.onnx.lowering import Lowering, Node, Row
from edgekit.frontends.onnx.rows_elementwise import hard_sigmoid, softsign, thresholded_relu

MAX_UNROLL = 256
"""Most steps that a sequence inside of a model may have; a longer one should be exported as its step."""

Function = Callable[[Operand], Live]
_DEFAULT_ALPHA = {
    "LeakyRelu": 0.01,
    "HardSigmoid": 0.2,
    "ThresholdedRelu": 1.0,
    "Elu": 1.0,
    "ScaledTanh": 1.0,
    "Affine": 1.0,
}
_DEFAULT_BETA = {"HardSigmoid": 0.5, "ScaledTanh": 1.0, "Affine": 0.0}


def _function(e: Emitter, name: str, alpha: float | None, beta: float | None) -> Function:
    """An activation of a recurrent operator by its name, in any case."""
    names = {n.lower(): n for n in (*_DEFAULT_ALPHA, "Relu", "Tanh", "Sigmoid", "Softsign", "Softplus")}
    kind = names.get(name.lower())
    if kind is None:
        raise Refuse(f"has an unknown activation {name!r}", f"it knows {', '.join(sorted(names.values()))}")
    a = _DEFAULT_ALPHA.get(kind, 0.0) if alpha is None else float(alpha)
    b = _DEFAULT_BETA.get(kind, 0.0) if beta is None else float(beta)
    table: dict[str, Function] = {
        "Relu": lambda x: e.emit("relu", x),
        "Tanh": lambda x: e.emit("tanh", x),
        "Sigmoid": lambda x: e.emit("sigmoid", x),
        "Affine": lambda x: e.emit("add", e.emit("mul", x, a), b),
        "LeakyRelu": lambda x: f.leaky_relu(e, x, a),
        "ThresholdedRelu": lambda x: thresholded_relu(e, x, a),
        "ScaledTanh": lambda x: e.emit("mul", e.emit("tanh", e.emit("mul", x, b)), a),
        "HardSigmoid": lambda x: hard_sigmoid(e, x, a, b),
        "Elu": lambda x: f.elu(e, x, alpha=a),
        "Softsign": lambda x: softsign(e, x),
        "Softplus": lambda x: f.softplus(e, x),
    }
    return table[kind]


@dataclass(frozen=True)
class _Weights:
    """One direction: W [gates · H, I], R [gates · H, H], the biases of both, peepholes, and the activations."""

    w: Operand
    r: Operand
    wb: Operand | None
    rb: Operand | None
    peep: Operand | None
    functions: tuple[Function, ...]
    late_reset: bool  # of a GRU: the reset gate acts on the product and not on the state


Cell = Callable[[Emitter, _Weights, Live, list[Live]], list[Live]]


def _row(e: Emitter, value: Operand, at: int) -> Operand:
    """One entry along axis 0, without that axis."""
    shape = e.shape(value)
    known = e.known(value)
    if known is not None:
        return Known(known.array[at], f"{known.hint}.{at}" if shape[0] > 1 else known.hint)
    one = value if shape[0] == 1 else e.emit("slice", e.live(value), axis=0, start=at, stop=at + 1)
    return e.reshape(one, shape[1:])


def _part(e: Emitter, value: Operand, start: int, stop: int) -> Operand:
    """A range of the last axis."""
    known = e.known(value)
    if known is not None:
        return Known(known.array[..., start:stop], known.hint)
    if (start, stop) == (0, e.shape(value)[-1]):
        return value
    return e.emit("slice", e.live(value), axis=len(e.shape(value)) - 1, start=start, stop=stop)


def _rows(e: Emitter, value: Operand, start: int, stop: int) -> Operand:
    """A range of axis 0."""
    known = e.known(value)
    if known is not None:
        return Known(known.array[start:stop], known.hint)
    return e.emit("slice", e.live(value), axis=0, start=start, stop=stop)


def _total(e: Emitter, a: Operand | None, b: Operand | None) -> Operand | None:
    if a is None or b is None:
        return b if a is None else a
    ka, kb = e.known(a), e.known(b)
    if ka is not None and kb is not None:
        return Known(ka.array + kb.array, ka.hint)
    return f.apply(e, "add", a, b)


def _driven(e: Emitter, h: Live, r: Operand, addend: Live) -> Live:
    """R h + addend."""
    return e.emit("linear", h, e.real(r), addend)


def _lstm(e: Emitter, weights: _Weights, x: Live, state: list[Live]) -> list[Live]:
    h, c = state
    size = e.shape(h)[-1]
    act, squash, out = weights.functions
    total = _driven(e, h, weights.r, x)
    i, o, g_f, g_c = (e.live(_part(e, total, at * size, (at + 1) * size)) for at in range(4))
    if weights.peep is not None:
        i = f.apply(e, "add", i, f.apply(e, "mul", _part(e, weights.peep, 0, size), c))
        g_f = f.apply(e, "add", g_f, f.apply(e, "mul", _part(e, weights.peep, 2 * size, 3 * size), c))
    new = e.emit("add", e.emit("mul", act(g_f), c), e.emit("mul", act(i), squash(g_c)))
    if weights.peep is not None:
        o = f.apply(e, "add", o, f.apply(e, "mul", _part(e, weights.peep, size, 2 * size), new))
    return [e.emit("mul", act(o), out(new)), new]


def _gru(e: Emitter, weights: _Weights, x: Live, state: list[Live]) -> list[Live]:
    (h,) = state
    size = e.shape(h)[-1]
    act, squash = weights.functions
    both = _driven(e, h, _rows(e, weights.r, 0, 2 * size), e.live(_part(e, x, 0, 2 * size)))
    z, r = (act(_part(e, both, at * size, (at + 1) * size)) for at in range(2))
    own, inner = e.live(_part(e, x, 2 * size, 3 * size)), _rows(e, weights.r, 2 * size, 3 * size)
    bias = None if weights.rb is None else _part(e, weights.rb, 2 * size, 3 * size)
    if weights.late_reset:
        candidate = squash(e.emit("add", own, e.emit("mul", r, f.linear(e, h, inner, bias))))
    else:
        candidate = squash(_driven(e, e.emit("mul", r, h), inner, own))
    return [e.emit("add", e.emit("mul", e.emit("sub", 1.0, z), candidate), e.emit("mul", z, h))]


def _rnn(e: Emitter, weights: _Weights, x: Live, state: list[Live]) -> list[Live]:
    return [weights.functions[0](_driven(e, state[0], weights.r, x))]


def recurrent(cell: Cell, defaults: tuple[str, ...], states: int) -> Row:
    """X [T, N, I] (or [N, T, I] in layout 1) through a cell, forwards, backwards, or both."""

    def row(lowering: Lowering, node: Node) -> list[Operand]:
        lowering.floats_only(node)
        e, x = lowering.e, lowering.e.real(lowering.operand(node, 0))
        swapped = bool(node.attr("layout", 0))
        x = e.transpose(x, (1, 0, 2)) if swapped else x
        steps, batch, _ = e.shape(x)
        _check(lowering, node, steps)
        direction = node.attr("direction", "forward")
        orders = {"forward": [1], "reverse": [-1], "bidirectional": [1, -1]}.get(direction)
        if orders is None:
            raise Refuse(f"has the direction {direction!r}", "use forward, reverse or bidirectional")
        results = []
        for at, order in enumerate(orders):
            weights = _weights(lowering, node, at, defaults, len(orders))
            first = [_initial(lowering, node, 5 + k, at, batch) for k in range(states)]
            if steps == 1 and all(_is_constant(lowering, node, 5 + k) for k in range(states)):
                lowering.note(
                    f"{node.op} {node.name or node.outputs[-1]} starts from zeros in every step: it remembers nothing; "
                    "export it with its state as input and output"
                )
            driven = f.linear(e, x, weights.w, _bias(e, weights))
            results.append(_unrolled(e, partial(cell, e, weights), driven, first, order))
        return _joined(e, node, results, swapped)

    return row


def _check(lowering: Lowering, node: Node, steps: int) -> None:
    if node.attr("clip"):
        raise Refuse("clips inside of its cell", "export without clip")
    if node.attr("input_forget", 0):
        raise Refuse("couples input and forget gate", "export without input_forget")
    lengths = lowering.ints(node, 4, "sequence_lens")
    if lengths is not None and any(n != steps for n in lengths):
        raise Refuse(f"stops after {sorted(set(lengths))} of {steps} steps", "feed whole sequences")
    if steps > MAX_UNROLL:
        raise Refuse(
            f"runs over {steps} steps; at most {MAX_UNROLL} are unrolled",
            "export the step, with its state as input and output",
        )


def _initial(lowering: Lowering, node: Node, at: int, direction: int, batch: int) -> Live:
    e, value = lowering.e, lowering.optional(node, at)
    hidden = int(lowering.shape(lowering.operand(node, 2))[-1])
    if value is None:
        return e.live(Known(np.zeros((batch, hidden), np.float32), "const.zeros"))
    value = e.transpose(value, (1, 0, 2)) if node.attr("layout", 0) else value
    return e.live(e.real(_row(e, value, direction)))


def _is_constant(lowering: Lowering, node: Node, at: int) -> bool:
    value = lowering.optional(node, at)
    return value is None or lowering.e.known(value) is not None


def _weights(lowering: Lowering, node: Node, at: int, defaults: tuple[str, ...], directions: int) -> _Weights:
    e = lowering.e
    w, r = (_row(e, e.real(lowering.operand(node, port)), at) for port in (1, 2))
    biases, peep = lowering.optional(node, 3), lowering.optional(node, 7) if node.op == "LSTM" else None
    wb = rb = None
    if biases is not None:
        bias = e.real(_row(e, biases, at))
        half = e.shape(bias)[0] // 2
        wb, rb = _part(e, bias, 0, half), _part(e, bias, half, 2 * half)
    names = [str(n) for n in node.attr("activations") or defaults * directions]
    alphas, betas = list(node.attr("activation_alpha") or ()), list(node.attr("activation_beta") or ())
    if len(names) != len(defaults) * directions:
        raise Refuse(f"has {len(names)} activations", f"it needs {len(defaults) * directions}")
    functions = []
    for place, name in enumerate(names):
        # the lists hold values only for the activations that have a parameter, in order
        takes = [n for n in names[:place] if _takes(n, _DEFAULT_ALPHA)]
        alpha = alphas[len(takes)] if _takes(name, _DEFAULT_ALPHA) and len(takes) < len(alphas) else None
        taken = [n for n in names[:place] if _takes(n, _DEFAULT_BETA)]
        beta = betas[len(taken)] if _takes(name, _DEFAULT_BETA) and len(taken) < len(betas) else None
        functions.append(_function(e, name, alpha, beta))
    mine = functions[at * len(defaults) : (at + 1) * len(defaults)]
    peepholes = None if peep is None else e.real(_row(e, peep, at))
    late = node.op == "GRU" and bool(node.attr("linear_before_reset", 0))
    return _Weights(w, r, wb, rb, peepholes, tuple(mine), late)


def _takes(name: str, table: dict[str, float]) -> bool:
    return name.lower() in {n.lower() for n in table}


def _bias(e: Emitter, weights: _Weights) -> Operand | None:
    """The bias of the input's product: both biases, but that of the candidate stays inside a reset that follows."""
    if weights.rb is None or not weights.late_reset:
        return _total(e, weights.wb, weights.rb)
    outer = e.shape(weights.rb)[0] * 2 // 3
    gates = (
        _total(e, _part(e, weights.wb, 0, outer), _part(e, weights.rb, 0, outer)) if weights.wb is not None else None
    )
    candidate = None if weights.wb is None else _part(e, weights.wb, outer, outer * 3 // 2)
    if gates is None or candidate is None:
        return None
    known = [e.known(v) for v in (gates, candidate)]
    if all(k is not None for k in known):
        return Known(np.concatenate([k.array for k in known if k is not None]), known[0].hint if known[0] else "bias")
    return e.emit("concat", gates, candidate, axis=0)


def _unrolled(
    e: Emitter, cell: Callable[[Live, list[Live]], list[Live]], driven: Live, first: list[Live], order: int
) -> tuple[list[Live], list[Live]]:
    """(h of every step in the order of time, last states) from the products of the inputs with W."""
    steps, state = e.shape(driven)[0], first
    found: dict[int, Live] = {}
    for t in range(steps)[::order]:
        state = cell(e.live(_row(e, driven, t)), state)
        found[t] = state[0]
    return [found[t] for t in range(steps)], state


def _joined(e: Emitter, node: Node, results: list[tuple[list[Live], list[Live]]], swapped: bool) -> list[Operand]:
    """Y [T, D, N, H] and the last states [D, N, H], in layout 1 [N, T, D, H] and [N, D, H]."""

    def stacked(values: list[Live]) -> Operand:
        parts = [e.reshape(v, (1, *e.shape(v))) for v in values]
        return parts[0] if len(parts) == 1 else e.emit("concat", *parts, axis=0)

    last = [stacked([states[k] for _, states in results]) for k in range(len(results[0][1]))]
    last = [e.transpose(v, (1, 0, 2)) for v in last] if swapped else last
    if not node.wants(0):
        return [0.0, *last]
    y = stacked([e.live(stacked([h[t] for h, _ in results])) for t in range(len(results[0][0]))])
    return [e.transpose(y, (2, 0, 1, 3)) if swapped else y, *last]


ROWS: dict[str, Row] = {
    "LSTM": recurrent(_lstm, ("Sigmoid", "Tanh", "Tanh"), 2),
    "GRU": recurrent(_gru, ("Sigmoid", "Tanh"), 1),
    "RNN": recurrent(_rnn, ("Tanh",), 1),
}
