"""Values of a step as affine forms: what a state becomes, case by case of the comparisons that decide it.

A membrane is a·v + Σ b·x + c, with other numbers after a spike. However a front end wrote that down, the numbers are
found by following the ops with one outcome of each comparison after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.ir import SPIKE, Graph, Op

Real = npt.NDArray[np.float64]
COMPARISONS: Mapping[str, int] = {"gt": 1, "ge": 1, "lt": -1, "le": -1}
"""The sign of x - y where the comparison x, y fires."""
STRICT = ("gt", "lt")
LOGIC = ("logical_and", "logical_or", "logical_not")
ELEMENTWISE = ("add", "sub", "mul", "div", "neg", "cast", "where", *LOGIC, *COMPARISONS)
MAX_CASES = 16
OWN_SUM = "|sum"
"""What a value W x is called beside the sum W x + addend that its op gives: no tensor of a graph has such a name."""


class NotAffine(Exception):  # noqa: N818  (control flow: the value is described in another way, or refused)
    """Why a value is no affine form."""


class _Undecided(Exception):  # noqa: N818
    def __init__(self, atom: str) -> None:
        super().__init__(atom)
        self.atom = atom


@dataclass(frozen=True, eq=False)
class Form:
    """Σ factor · value + offset, element by element."""

    terms: Mapping[str, Real]
    offset: Real

    def scaled(self, factor: Real) -> Form:
        """factor · form."""
        return Form({name: factor * f for name, f in self.terms.items()}, factor * self.offset)

    def plus(self, other: Form) -> Form:
        """The sum of two forms; what cancels is gone."""
        terms = dict(self.terms)
        for name, factor in other.terms.items():
            terms[name] = terms[name] + factor if name in terms else factor
        return Form({n: f for n, f in terms.items() if np.any(f)}, self.offset + other.offset)

    def minus(self, other: Form) -> Form:
        """The difference of two forms."""
        return self.plus(other.scaled(np.asarray(-1.0)))


@dataclass(frozen=True, eq=False)
class Case:
    """What a value is under one outcome of each comparison.

    `gaps` are the x - y of those, signed so that they fire above 0.
    """

    fired: Mapping[str, bool]
    gaps: Mapping[str, Form]
    form: Form


class Forms:
    """The forms of the values of a step."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made: dict[str, Op] = {name: op for op in graph.entries["step"].ops for name in op.outputs}
        updates = graph.entries["step"].updates.values()
        self.kept = frozenset(updates) | {self.core(value) for value in updates}  # what other neurons give, perhaps

    def core(self, value: str) -> str:
        """A value without the zeros that are added to it or taken from it."""
        op = self.made.get(value)
        while op is not None and op.kind in ("add", "sub") and self._is_zero(op.inputs[1]):
            value = op.inputs[0]
            op = self.made.get(value)
        return value

    def _is_zero(self, value: str) -> bool:
        op, data = self.made.get(value), self.data(value)
        if data is not None:
            return not data.any()
        if op is None:
            return False
        if op.kind == "where":
            return all(self._is_zero(name) for name in op.inputs[1:])
        return op.kind == "mul" and any(self._is_zero(name) for name in op.inputs)

    def data(self, name: str) -> Real | None:
        """A constant in float64."""
        data = self.graph.tensor(name).data
        return None if data is None else data.astype(np.float64)

    def reach(self, state: str) -> set[str]:
        """All values of the step that depend on a state."""
        found = {state}
        for op in self.graph.entries["step"].ops:
            if found.intersection(op.inputs):
                found.update(op.outputs)
        return found

    def cases(self, value: str, state: str) -> list[Case]:
        """Every case of a value, where values beside the state are taken as they are.

        Raises NotAffine when it is no form of the state, or of more comparisons than a neuron makes.
        """
        return _Cases(self, state).all(value)

    def gap(self, atom: str, state: str, fired: Mapping[str, bool]) -> Form:
        """x - y of a comparison in one case, signed so that it fires above 0; NotAffine where it has several forms."""
        try:
            return _Cases(self, state).gap(atom, fired)
        except _Undecided as more:
            raise NotAffine(f"hangs on comparison {more.atom}") from None


class _Cases:
    def __init__(self, forms: Forms, state: str) -> None:
        self.forms, self.state, self.reached = forms, state, forms.reach(state)
        update = forms.graph.entries["step"].updates.get(state, state)
        self.own = {update, forms.core(update)}

    def all(self, value: str) -> list[Case]:
        found: list[Case] = []
        open_: list[dict[str, bool]] = [{}]
        while open_:
            fired = open_.pop()
            try:
                form = self.form(value, fired)
                found.append(Case(fired, {atom: self.gap(atom, fired) for atom in fired}, form))
            except _Undecided as more:
                open_ += [{**fired, more.atom: True}, {**fired, more.atom: False}]
            if len(found) + len(open_) > MAX_CASES:
                raise NotAffine("hangs on more comparisons than a neuron makes")
        return found

    def gap(self, atom: str, fired: Mapping[str, bool]) -> Form:
        op = self.forms.made[atom]
        sign = COMPARISONS.get(op.kind)
        if sign is None:
            raise NotAffine(f"compares by {op.kind}")
        x, y = (self.form(name, fired) for name in op.inputs)
        return x.minus(y).scaled(np.asarray(float(sign)))

    def form(self, value: str, fired: Mapping[str, bool]) -> Form:
        """The form of a float value: of itself, where it is no sum of others."""
        data = self.forms.data(value)
        if data is not None:
            return Form({}, data)
        op = self.forms.made.get(value)
        row = _ROWS.get(op.kind) if op is not None and not self._is_other(value) else None
        if op is None or row is None:
            return Form({value: np.ones(())}, np.zeros(()))
        try:
            return row(self, op, fired)
        except NotAffine:  # it drives the sum as the value that it is
            return Form({value: np.ones(())}, np.zeros(()))

    def _is_other(self, value: str) -> bool:
        """Whether a value is not taken apart: the state itself, and what other neurons give."""
        if value == self.state:
            return True
        op = self.forms.made.get(value)
        return value in self.forms.kept - self.own and (value not in self.reached or op is None or op.kind != "cast")

    def decided(self, spike: str, fired: Mapping[str, bool]) -> bool | None:
        """Whether a spike fired in this case; None for one that the state has no part in."""
        if spike not in self.reached:
            return None
        if spike in fired:
            return fired[spike]
        op = self.forms.made.get(spike)
        if op is None:
            raise NotAffine("reads its own spikes as a state")
        if op.kind in LOGIC:
            sides = [self.decided(name, fired) for name in op.inputs]
            known = [side for side in sides if side is not None]
            if len(known) < len(sides):
                raise NotAffine(f"mixes its spikes with others by {op.kind}")
            return not known[0] if op.kind == "logical_not" else (all if op.kind == "logical_and" else any)(known)
        if op.kind == "cast":
            inner = self.forms.made.get(op.inputs[0])
            if inner is not None and inner.kind == "cast":
                return self.decided(inner.inputs[0], fired)
        if op.kind not in COMPARISONS:
            raise NotAffine(f"goes through {op.kind}")
        raise _Undecided(spike)


Row = Callable[[_Cases, Op, Mapping[str, bool]], Form]


def _sum(sign: float) -> Row:
    def row(cases: _Cases, op: Op, fired: Mapping[str, bool]) -> Form:
        x, y = (cases.form(name, fired) for name in op.inputs)
        return x.plus(y.scaled(np.asarray(sign)))

    return row


def _neg(cases: _Cases, op: Op, fired: Mapping[str, bool]) -> Form:
    return cases.form(op.inputs[0], fired).scaled(np.asarray(-1.0))


def _mul(cases: _Cases, op: Op, fired: Mapping[str, bool]) -> Form:
    x, y = (cases.form(name, fired) for name in op.inputs)
    if x.terms and y.terms:
        raise NotAffine("multiplies two values")
    return y.scaled(x.offset) if not x.terms else x.scaled(y.offset)


def _div(cases: _Cases, op: Op, fired: Mapping[str, bool]) -> Form:
    x, y = (cases.form(name, fired) for name in op.inputs)
    if y.terms or not np.all(y.offset):
        raise NotAffine("divides by a value")
    return x.scaled(1.0 / y.offset)


def _cast(cases: _Cases, op: Op, fired: Mapping[str, bool]) -> Form:
    source = op.inputs[0]
    if cases.forms.graph.tensor(source).dtype is not SPIKE:
        raise NotAffine("turns a number into a spike")
    outcome = cases.decided(source, fired)
    if outcome is None:
        return Form({source: np.ones(())}, np.zeros(()))
    return Form({}, np.asarray(float(outcome)))


def _where(cases: _Cases, op: Op, fired: Mapping[str, bool]) -> Form:
    outcome = cases.decided(op.inputs[0], fired)
    if outcome is not None:
        return cases.form(op.inputs[1 if outcome else 2], fired)
    on, off = (cases.forms.data(name) for name in op.inputs[1:])
    if on is None or off is None:
        raise NotAffine("chooses by the spikes of another neuron")
    return Form({op.inputs[0]: on - off}, off)


def _linear(cases: _Cases, op: Op, fired: Mapping[str, bool]) -> Form:
    """W x + addend: the addend is part of the sum, W x is a value of its own, called by the op's result and OWN_SUM."""
    if len(op.inputs) != 3 or cases.forms.data(op.inputs[2]) is not None or op.inputs[0] in cases.reached:
        raise NotAffine("goes through linear")
    return cases.form(op.inputs[2], fired).plus(Form({f"{op.outputs[0]}{OWN_SUM}": np.ones(())}, np.zeros(())))


_ROWS: dict[str, Row] = {
    "add": _sum(1.0),
    "sub": _sum(-1.0),
    "neg": _neg,
    "mul": _mul,
    "div": _div,
    "cast": _cast,
    "where": _where,
    "linear": _linear,
}


def same(x: Any, y: Any) -> bool:
    """Whether two parameters are the same up to the rounding of float32."""
    return bool(np.allclose(x, y, rtol=2e-6, atol=1e-9))
