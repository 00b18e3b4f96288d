"""States of a graph as NIR neurons: leaky or not, with a threshold or not, and how they are reset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgekit.backends.nir.forms import COMPARISONS, STRICT, Case, Form, Forms, NotAffine, Real, same

LATE = "subtracts the threshold a step after the spike; NIR resets in the step of the spike"
SET = "is set to a value a step after the spike whatever drives it then; NIR resets in the step of the spike"
TWICE = "does not subtract again while it stays above its threshold; NIR fires and subtracts in every such step"
AT = "fires at its threshold; NIR fires above it"


@dataclass(frozen=True, eq=False)
class Neuron:
    """v = a·v + Σ b·x + c, a spike where v > threshold, and what v becomes then.

    `before` and `now` are values of the step that are the neuron's output of the previous step and of this one.
    `inexact` says in what NIR's neuron differs from it.
    """

    state: str
    decay: Real
    drives: Mapping[str, Real]
    offset: Real
    now: frozenset[str]
    before: frozenset[str]
    threshold: Real | None = None
    reset: Real | None = None
    subtracts: bool = False
    inexact: tuple[str, ...] = field(default=())


def recognise(forms: Forms, state: str, update: str) -> Neuron | None:
    """The neuron that a state is the membrane of; None where the state is no membrane at all.

    Raises NotAffine where it is one that NIR has no node for.
    """
    if update not in forms.reach(state):
        return None
    try:
        cases = forms.cases(update, state)
    except NotAffine:
        if _compares(forms, state):
            raise
        return None  # a linear memory, say
    quiet = next(c for c in cases if not any(c.fired.values()))
    if state not in quiet.form.terms and not _compares(forms, state):
        return None
    atoms = {a for c in cases for a in c.fired}
    compared = {a: {n for c in cases if a in c.gaps for n in c.gaps[a].terms} for a in atoms}
    delayed = {a for a in atoms if compared[a] <= {state}}
    if len(delayed) > 1 or len(atoms - delayed) > 1:
        raise NotAffine("compares its membrane with more than one threshold")
    late, at_once = next(iter(delayed), None), next(iter(atoms - delayed), None)
    if at_once is not None:
        return _at_once(forms, state, cases, at_once, late)
    if late is None:  # what compares it, if anything, is a Threshold behind it
        return Neuron(
            state, *_parts(state, quiet.form), now=frozenset({update, forms.core(update)}), before=frozenset({state})
        )
    at_once = _spike(forms, state, quiet, late)
    if at_once is None:
        raise NotAffine("is reset by a threshold that it does not fire at")
    return _late(forms, state, cases, at_once, late)


def _compares(forms: Forms, state: str) -> list[str]:
    """The comparisons of a step that hang on a state by affine ops alone."""
    found = []
    for name in forms.reach(state):
        op = forms.made.get(name)
        if op is not None and op.kind in COMPARISONS and _is_own(forms, name, state):
            found.append(name)
    return sorted(found)


def _is_own(forms: Forms, atom: str, state: str) -> bool:
    try:
        return any(state in c.form.terms for name in forms.made[atom].inputs for c in forms.cases(name, state))
    except NotAffine:
        return False


def _parts(state: str, form: Form) -> tuple[Real, dict[str, Real], Real]:
    """(decay, drives, offset) of the membrane of a quiet step."""
    drives = {name: factor for name, factor in form.terms.items() if name != state}
    return np.asarray(form.terms.get(state, np.zeros(()))), drives, np.asarray(form.offset)


def _spike(forms: Forms, state: str, quiet: Case, late: str) -> str | None:
    """The comparison that makes the spikes of a membrane that its own update does not compare."""
    for atom in _compares(forms, state):
        if atom != late and _threshold(forms, state, quiet, atom) is not None:
            return atom
    return None


def _threshold(forms: Forms, state: str, quiet: Case, atom: str) -> Real | None:
    """The threshold at which a comparison fires for the membrane of a quiet step; None if it compares anything else."""
    others = {name: fired for name, fired in quiet.fired.items() if name != atom}
    try:
        gap = forms.gap(atom, state, others)
    except NotAffine:
        return None
    factors = [gap.terms[n] / f for n, f in quiet.form.terms.items() if n in gap.terms and np.all(f)]
    if not factors or set(gap.terms) != set(quiet.form.terms):
        return None
    scale = factors[0]
    if not all(same(f, scale) for f in factors) or np.any(scale <= 0):
        return None
    return np.asarray(quiet.form.offset - gap.offset / scale)


def _strictness(forms: Forms, *atoms: str | None) -> tuple[str, ...]:
    return (AT,) if any(a is not None and forms.made[a].kind not in STRICT for a in atoms) else ()


def _pick(cases: list[Case], wanted: Mapping[str, bool]) -> Case:
    """The case of some outcomes, in which no other comparison fired."""
    for case in cases:
        if all(case.fired.get(a, False) is f for a, f in wanted.items()) and all(
            not f for a, f in case.fired.items() if a not in wanted
        ):
            return case
    raise NotAffine("is reset in a way that NIR has no word for")


def _at_once(forms: Forms, state: str, cases: list[Case], spike: str, late: str | None) -> Neuron:
    """A membrane that is reset in the step of its spike."""
    quiet, fired = _pick(cases, {}), _pick(cases, {spike: True})
    base = _parts(state, quiet.form)
    threshold = _threshold(forms, state, quiet, spike)
    if threshold is None:
        raise NotAffine("compares something else than its membrane with a constant")
    inexact = _strictness(forms, spike)
    if not fired.form.terms:
        reset = fired.form.offset
        if late is not None and np.any(reset > threshold):
            raise NotAffine("is reset above its threshold")
        return Neuron(state, *base, frozenset({spike}), frozenset(), threshold, reset, inexact=inexact)
    lost = quiet.form.minus(fired.form)
    if lost.terms or not same(lost.offset, threshold):
        raise NotAffine("is neither reset to a value nor by its threshold")
    if late is not None:
        inexact = (*inexact, TWICE)
    return Neuron(state, *base, frozenset({spike}), frozenset(), threshold, subtracts=True, inexact=inexact)


def _late(forms: Forms, state: str, cases: list[Case], spike: str, late: str) -> Neuron:
    """A membrane that is kept as it was when it fired, and reset in the step after."""
    quiet = _pick(cases, {})
    base = _parts(state, quiet.form)
    threshold = _threshold(forms, state, quiet, spike)
    if threshold is None:
        raise NotAffine("compares something else than its membrane with a constant")
    decay, _, offset = base
    gap = quiet.gaps[late]
    if not same(-gap.offset / gap.terms.get(state, np.ones(())), threshold):
        raise NotAffine("is reset by another threshold than the one it fires at")
    after = _pick(cases, {late: True})
    inexact = _strictness(forms, spike, late)
    lost = quiet.form.minus(after.form)
    if state not in after.form.terms and not set(lost.terms) - {state}:
        change = after.form.offset - offset
        if np.any((decay == 0) & (change != 0)):
            raise NotAffine("is reset in a way that NIR has no word for")
        reset = change / np.where(decay == 0, 1.0, decay)
        return Neuron(state, *base, frozenset({spike}), frozenset({late}), threshold, reset, inexact=inexact)
    if not after.form.terms:
        return Neuron(
            state, *base, frozenset({spike}), frozenset({late}), threshold, after.form.offset, inexact=(*inexact, SET)
        )
    if lost.terms:
        raise NotAffine("is neither reset to a value nor by its threshold")
    if not same(lost.offset, decay * threshold):
        inexact = (*inexact, LATE)
    return Neuron(state, *base, frozenset({spike}), frozenset({late}), threshold, subtracts=True, inexact=inexact)
