"""Which inputs and outputs are states: said by the caller or by the file, else told by name, else by order."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from edgekit.errors import UnsupportedError, UsageError
from edgekit.frontends.onnx.ports import UNKNOWN, Port

NO_STATES = "none"
"""What says that a model has no states, in place of pairs."""
REMEDY = "say which pairs are states: --state input:output for each, or --state none"
_WEAK = frozenset({"in", "input", "inputs", "out", "output", "outputs"})
"""Marks that a signal may bear as well as a state."""
_MARKS = {
    "input": _WEAK | {"prev", "previous", "old", "past", "init", "initial", "cur", "current"},
    "output": _WEAK | {"next", "new", "present", "updated", "nxt", "last", "final"},
}
_ENDS = {"input": ("0", "t", "tm1"), "output": ("n", "t", "t1")}
_SHORT = {"input": re.compile(r"(?P<stem>[a-z])x"), "output": re.compile(r"(?P<stem>[a-z])[yn]")}  # hx and hy, hn
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_STATE_WORDS = re.compile(
    r"(h|c|hc|mem|syn)|(h|c|mem|syn|spk)[_.]?\d+|.*(state|hidden|cell|cache|buf|memory|membrane|carry|past|prev|hx|cx|h0|c0).*",
    re.IGNORECASE,
)
_SIGNALS = frozenset(
    {
        *("x", "y", "u", "data", "audio", "signal", "feature", "features", "feat", "frame", "frames", "noisy", "mix"),
        *("wav", "waveform", "spec", "mag", "mel", "speech", "enh", "logits", "image", "img", "sample", "samples"),
    }
)
"""What a signal is called: x_in and x_out are no state, x and x_next are."""


@dataclass(frozen=True)
class Pair:
    """A state: the input that takes it, the output that gives its next value, and how that was found."""

    input: str
    output: str
    how: str


def find_pairs(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    said: Sequence[str] | None,
    told: Sequence[Pair] | None,
    cells: Sequence[Pair] = (),
    *,
    driven: Set[str] = frozenset(),
) -> list[Pair]:
    """The states of a model; `said` are the caller's `in:out`, `told` what the file itself says, `cells` its operators.

    `driven` are inputs that enter the arithmetic of a recurrent cell as its state does.

    Raises UsageError for pairs that do not fit, UnsupportedError where several pairings are possible.
    """
    if said is not None:
        return _said(inputs, outputs, said)
    if told is not None:
        return _checked(list(told), inputs, outputs)
    pairs = _by_name(inputs, outputs)
    taken = {p.input for p in pairs} | {p.output for p in pairs}
    pairs += [p for p in cells if p.input not in taken and p.output not in taken]
    taken = {p.input for p in pairs} | {p.output for p in pairs}
    rest_in = [p for p in inputs if p.name not in taken]
    rest_out = [p for p in outputs if p.name not in taken]
    pairs += _by_order(rest_in, rest_out, alone=not pairs)
    if pairs and len(pairs) in (len(inputs), len(outputs)):  # a step has a signal: what is not named like a state
        likely = [p for p in pairs if _STATE_WORDS.fullmatch(p.input)]
        pairs = likely if 0 < len(likely) < len(pairs) else pairs
    if pairs and len(pairs) == len(inputs):
        raise UnsupportedError(
            "states", "every input looks like a state", REMEDY, [f"{p.input}:{p.output} ({p.how})" for p in pairs]
        )
    return pairs or _by_shape(inputs, outputs, driven)


def alike(a: Port, b: Port) -> bool:
    """Whether an input can take what an output gives."""
    return a.shape == b.shape and a.elem == b.elem


def lookalikes(inputs: Sequence[Port], outputs: Sequence[Port], pairs: Sequence[Pair]) -> list[str]:
    """Inputs beyond the first that were not paired although an output has their shape and dtype: for a note."""
    taken = {p.input for p in pairs} | {p.output for p in pairs}
    free = [p for p in outputs if p.name not in taken]
    rest = [p for p in inputs if p.name not in taken][1:]
    return [f"{i.name}:{o.name}" for i in rest for o in free if alike(i, o)]


def _said(inputs: Sequence[Port], outputs: Sequence[Port], said: Sequence[str]) -> list[Pair]:
    names_in, names_out = {p.name for p in inputs}, {p.name for p in outputs}
    pairs, faults = [], []
    for text in said:
        # names may hold colons themselves: the split that gives two known names is meant
        cuts = [(text[:at], text[at + 1 :]) for at, mark in enumerate(text) if mark == ":"]
        fitting = [(a, b) for a, b in cuts if a in names_in and b in names_out]
        if len(fitting) != 1:
            faults.append(f"{text!r} is not input:output of this model")
        else:
            pairs.append(Pair(*fitting[0], "said"))
    if faults:
        raise UsageError(
            "states",
            "do not fit the model",
            f"inputs: {', '.join(sorted(names_in))}; outputs: {', '.join(sorted(names_out))}",
            faults,
        )
    return _checked(pairs, inputs, outputs)


def _checked(pairs: list[Pair], inputs: Sequence[Port], outputs: Sequence[Port]) -> list[Pair]:
    ins, outs = {p.name: p for p in inputs}, {p.name: p for p in outputs}
    faults = [
        f"{p.input}:{p.output} names what the model does not have"
        for p in pairs
        if p.input not in ins or p.output not in outs
    ]
    for pair in pairs:
        a, b = ins.get(pair.input), outs.get(pair.output)
        if a is not None and b is not None and b.shape != UNKNOWN and not alike(a, b):
            faults.append(f"{pair.input} has shape {a.shape}, {pair.output} {b.shape}; a state keeps shape and dtype")
    for side in ("input", "output"):
        names = [getattr(p, side) for p in pairs]
        faults += [f"{side} {n!r} is in two pairs" for n in sorted({n for n in names if names.count(n) > 1})]
    if faults:
        raise UsageError("states", "do not fit the model", "a state is one input and one output of equal shape", faults)
    return pairs


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORDS.findall(name))


def _stems(name: str, side: str) -> dict[tuple[str, ...], bool]:
    """What is left of a name without its marks, and whether these say that it is a state and not just a side."""
    words, found = _words(name), dict[tuple[str, ...], bool]()
    marked = [at for at, word in enumerate(words) if word in _MARKS[side]]
    for gone in (marked, marked[:1], marked[-1:]):  # a mark may be a name too: last_out
        if gone:
            bare = tuple(w for at, w in enumerate(words) if at not in gone)
            found[bare] = any(words[at] not in _WEAK for at in gone)
    if words and words[-1] in _ENDS[side]:
        found[words[:-1]] = True
    if words and (match := _SHORT[side].fullmatch(words[-1])) is not None:
        found[(*words[:-1], match["stem"])] = True
    return found


def _share(a: str, b: str) -> bool:
    """Whether an input and an output are one name but for marks, at least one of which is there."""
    left, right = _stems(a, "input"), _stems(b, "output")
    common = [(stem, left[stem] or right[stem]) for stem in left.keys() & right.keys()]
    common += [(words, side[words]) for words, side in ((_words(a), right), (_words(b), left)) if words in side]
    return any(
        any(w.isalpha() for w in stem) and (strong or not set(stem) <= _SIGNALS) for stem, strong in common if stem
    )


def _by_name(inputs: Sequence[Port], outputs: Sequence[Port]) -> list[Pair]:
    """Pairs of one stem, where one side at least is marked, and both have one shape and dtype."""
    candidates = [(i, o) for i in inputs for o in outputs if alike(i, o) and _share(i.name, o.name)]
    if len(candidates) == 1 and _only_signal(candidates[0], inputs, outputs):
        return []
    clashes = [
        (i, o)
        for i, o in candidates
        if sum(a is i for a, _ in candidates) > 1 or sum(b is o for _, b in candidates) > 1
    ]
    if clashes:
        raise UnsupportedError(
            "states", "several inputs and outputs could be paired", REMEDY, [f"{i.name}:{o.name}" for i, o in clashes]
        )
    return [Pair(i.name, o.name, "by name") for i, o in candidates]


def _by_shape(inputs: Sequence[Port], outputs: Sequence[Port], driven: Set[str]) -> list[Pair]:
    """The one pair of equal shapes, if it is a cell's; UnsupportedError where an input may well be a state.

    It may by its name, by a cell's arithmetic, or by its place behind a signal that no such output could follow,
    unless it is called like a signal.
    """
    if len(inputs) < 2:
        return []
    fits = [(i, o) for i in inputs for o in outputs if alike(i, o)]
    behind = [
        (i, o)
        for i, o in fits
        if i is not inputs[0] and not alike(inputs[0], o) and not set(_words(i.name)) <= _SIGNALS
    ]
    placed = {i.name for i, _ in behind} if len({i.name for i, _ in behind}) <= len({o.name for _, o in behind}) else ()
    likely = [(i, o) for i, o in fits if i.name in driven or i.name in placed or _STATE_WORDS.fullmatch(i.name)]
    if not likely:
        return []
    if len(fits) == 1 and likely[0][0].name in driven:
        return [Pair(likely[0][0].name, likely[0][1].name, "by the arithmetic of its cell")]
    raise UnsupportedError(
        "states",
        "inputs that have the shape of an output could be states",
        REMEDY,
        [f"{i.name}:{o.name}" for i, o in likely],
    )


def _only_signal(pair: tuple[Port, Port], inputs: Sequence[Port], outputs: Sequence[Port]) -> bool:
    """x_in and x_out of a model that has nothing else, or nothing else on one side, are its signal and no state."""
    return (len(inputs) == 1 or len(outputs) == 1) and not _STATE_WORDS.fullmatch(pair[0].name)


def _alphabetic(port: Port) -> set[str]:
    return {w for w in _words(port.name) if w.isalpha()}


def _by_order(inputs: Sequence[Port], outputs: Sequence[Port], *, alone: bool) -> list[Pair]:
    """The last inputs, all named like states, and as many last outputs of the same shapes and dtypes in order."""
    count = 0
    for port in reversed(inputs):
        if not _STATE_WORDS.fullmatch(port.name):
            break
        count += 1
    if count == 0:
        return []
    tail_in, tail_out = inputs[-count:], outputs[-count:]
    fitting = {p.name: [o.name for o in outputs if alike(p, o)] for p in tail_in}
    if not any(fitting.values()):
        return []
    signals = inputs[:-count]
    # what leaves may be the next states alone, if nothing else that comes in could be followed by them
    bare = bool(signals) and not any(alike(p, o) for p in signals for o in tail_out)
    spare = len(outputs) > count or not alone or bare
    if len(tail_out) == count and spare and all(map(alike, tail_in, tail_out)):
        others = [o for o in outputs[:-count] if any(alike(p, o) for p in tail_in)]
        named = all(_STATE_WORDS.fullmatch(o.name) for o in tail_out)
        crossed = any(
            _alphabetic(i) & _alphabetic(o) and not _alphabetic(i) & _alphabetic(own)
            for i, own in zip(tail_in, tail_out, strict=True)
            for o in tail_out
        )  # named in another order than they stand
        if not crossed and (not others or (named and not any(_STATE_WORDS.fullmatch(o.name) for o in others))):
            return [Pair(i.name, o.name, "by order") for i, o in zip(tail_in, tail_out, strict=True)]
    items = [f"{i}:{o}" for i, found in fitting.items() for o in found]
    raise UnsupportedError("states", "inputs look like states, but their outputs cannot be told", REMEDY, items)
