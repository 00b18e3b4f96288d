"""Constant folding and the folding of constant scales into linears, before and expected in text form."""

from __future__ import annotations

from textwrap import dedent

import numpy as np
import pytest
from cases import check, read

from edgekit.ir import from_text, to_text
from edgekit.passes.fold import fold_constants
from edgekit.passes.fold_affine import fold_affine

FOLD = {
    "decay factors and clamped betas": (
        """
        graph g
        const %beta float32[] = [1.5]
        const %low float32[] = [0.0]
        const %high float32[] = [1.0]
        entry step
          in %x float32[2]
          %a float32[] = maximum %beta %low
          %b float32[] = minimum %a %high
          %y float32[2] = mul %x %b
          out %y
        """,
        """
        graph g
        const %b.folded float32[] = [1.0]
        entry step
          in %x float32[2]
          %y float32[2] = mul %x %b.folded
          out %y
        """,
    ),
    "views of constants": (
        """
        graph g
        const %w float32[2,1] = [1.0, 2.0]
        entry step
          in %x float32[2]
          %t float32[1,2] = transpose %w {"perm": [1, 0]}
          %y float32[1] = linear %x %t
          out %y
        """,
        """
        graph g
        const %t.folded float32[1,2] = [1.0, 2.0]
        entry step
          in %x float32[2]
          %y float32[1] = linear %x %t.folded
          out %y
        """,
    ),
    "a comparison of constants is a constant spike": (
        """
        graph g
        const %a float32[2] = [1.0, -1.0]
        const %zero float32[] = [0.0]
        entry step
          in %x float32[2]
          %s spike[2] = gt %a %zero
          %y float32[2] = where %s %x %zero
          out %y
        """,
        """
        graph g
        const %zero float32[] = [0.0]
        const %s.folded spike[2] = [true, false]
        entry step
          in %x float32[2]
          %y float32[2] = where %s.folded %x %zero
          out %y
        """,
    ),
    "outputs and updates that are constant": (
        """
        graph g
        const %a float32[1] = [2.0]
        state %u float32[1] reset zero
        entry step
          in %x float32[1]
          %n float32[1] = neg %a
          %y float32[1] = add %x %u
          update %u %n
          out %y %n
        """,
        """
        graph g
        const %n.folded float32[1] = [-2.0]
        state %u float32[1] reset zero
        entry step
          in %x float32[1]
          %y float32[1] = add %x %u
          update %u %n.folded
          out %y %n.folded
        """,
    ),
}


STAYS = """
graph g
const %zero float32[] = [0.0]
entry step
  in %x float32[2]
  %never float32[] = reciprocal %zero
  %y spike[2] = gt %x %never
  out %y
"""


def test_fold_constants_leaves_what_would_not_be_a_number():
    check(fold_constants, STAYS, STAYS)


@pytest.mark.parametrize(("before", "expected"), FOLD.values(), ids=FOLD)
def test_fold_constants(before, expected):
    check(fold_constants, before, expected)


HEAD = """
graph g
const %w float32[2,2] = [1.0, 2.0, 3.0, 4.0]
"""
AFFINE = {
    "scale": (
        """
        const %k float32[2] = [2.0, 0.5]
        entry step
          in %x float32[2]
          %i float32[2] = linear %x %w
          %y float32[2] = mul %i %k
          out %y
        """,
        """
        graph g
        const %w.folded float32[2,2] = [2.0, 4.0, 1.5, 2.0]
        const %w.bias float32[2] = [0.0, 0.0]
        entry step
          in %x float32[2]
          %x.linear float32[2] = linear %x %w.folded %w.bias
          out %x.linear
        """,
    ),
    "a batch norm: subtract the mean, divide by the spread, scale, shift": (
        """
        const %b float32[2] = [1.0, 1.0]
        const %mean float32[2] = [3.0, 5.0]
        const %spread float32[2] = [2.0, 4.0]
        const %gamma float32[2] = [1.0, 2.0]
        const %beta float32[2] = [0.5, 0.25]
        entry step
          in %x float32[2]
          %i float32[2] = linear %x %w %b
          %c float32[2] = sub %i %mean
          %d float32[2] = div %c %spread
          %e float32[2] = mul %gamma %d
          %y float32[2] = add %e %beta
          out %y
        """,
        """
        graph g
        const %w.folded.folded float32[2,2] = [0.5, 1.0, 1.5, 2.0]
        const %w.folded.folded.bias float32[2] = [-0.5, -1.75]
        entry step
          in %x float32[2]
          %x.linear.3 float32[2] = linear %x %w.folded.folded %w.folded.folded.bias
          out %x.linear.3
        """,
    ),
    "one scale for all channels of a matrix of rows": (
        """
        const %k float32[] = [2.0]
        entry step
          in %x float32[3,2]
          %i float32[3,2] = linear %x %w
          %y float32[3,2] = mul %k %i
          out %y
        """,
        """
        graph g
        const %w.folded float32[2,2] = [2.0, 4.0, 6.0, 8.0]
        const %w.bias float32[2] = [0.0, 0.0]
        entry step
          in %x float32[3,2]
          %x.linear float32[3,2] = linear %x %w.folded %w.bias
          out %x.linear
        """,
    ),
    "scale and shift of the channels of a convolution": (
        """
        const %k float32[2,1,2] = [1.0, 2.0, 3.0, 4.0]
        const %scale float32[2,1] = [2.0, 0.5]
        const %view float32[2,1] = [1.0, -1.0]
        entry step
          in %x float32[1,4]
          %i float32[2,2] = conv %x %k {"stride": [2], "dilation": [1]}
          %j float32[2,2] = mul %scale %i
          %y float32[2,2] = sub %j %view
          out %y
        """,
        """
        graph g
        const %k.folded float32[2,1,2] = [2.0, 4.0, 1.5, 2.0]
        const %k.folded.bias float32[2] = [-1.0, 1.0]
        entry step
          in %x float32[1,4]
          %x.conv.1 float32[2,2] = conv %x %k.folded %k.folded.bias {"stride": [2], "dilation": [1]}
          out %x.conv.1
        """,
    ),
}
KEPT = {
    "a scale per place of a convolution, not per channel": """
        const %k float32[2,1,2] = [1.0, 2.0, 3.0, 4.0]
        const %scale float32[2] = [2.0, 0.5]
        entry step
          in %x float32[1,4]
          in %z float32[2]
          %i float32[2,2] = conv %x %k {"stride": [2], "dilation": [1]}
          %y float32[2,2] = mul %i %scale
          %h float32[2] = linear %z %w
          out %y %h
    """,
    "a linear that something else reads too": """
        const %k float32[2] = [2.0, 0.5]
        entry step
          in %x float32[2]
          %i float32[2] = linear %x %w
          %y float32[2] = mul %i %k
          out %y %i
    """,
    "a scale per row, not per channel": """
        const %k float32[2,1] = [2.0, 0.5]
        entry step
          in %x float32[2,2]
          %i float32[2,2] = linear %x %w
          %y float32[2,2] = mul %i %k
          out %y
    """,
    "a scale that is not constant": """
        entry step
          in %x float32[2]
          %i float32[2] = linear %x %w
          %y float32[2] = mul %i %x
          out %y
    """,
    "a constant divided by a linear, and minus one": """
        const %k float32[2] = [2.0, 0.5]
        entry step
          in %x float32[2]
          %i float32[2] = linear %x %w
          %j float32[2] = linear %x %w
          %a float32[2] = div %k %i
          %b float32[2] = sub %k %j
          out %a %b
    """,
    "a division by zero, a scale beyond float32": """
        const %zero float32[2] = [1.0, 0.0]
        const %huge float32[] = [1.7014118346046923e+38]
        entry step
          in %x float32[2]
          %i float32[2] = linear %x %w
          %j float32[2] = linear %x %w
          %a float32[2] = div %i %zero
          %b float32[2] = mul %j %huge
          out %a %b
    """,
    "a scale that broadcasts the result": """
        const %k float32[2,2] = [2.0, 0.5, 1.0, 1.0]
        entry step
          in %x float32[2]
          %i float32[2] = linear %x %w
          %y float32[2,2] = mul %i %k
          out %y
    """,
}


def body(text: str) -> str:
    return HEAD + dedent(text).strip()


@pytest.mark.parametrize(("before", "expected"), AFFINE.values(), ids=AFFINE)
def test_fold_affine(before, expected):
    check(fold_affine, body(before), expected)


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_fold_affine_leaves(text):
    check(fold_affine, body(text), body(text))


def test_fold_affine_leaves_quantised_weights():
    text = """
    graph g
    const %w int8[2,2] quant {"axis": 0, "qmin": -127, "qmax": 127} = [1, 2, 3, 4]
    const %k float32[] = [2.0]
    entry step
      in %x float32[2]
      %i float32[2] = linear %x %w
      %y float32[2] = mul %i %k
      out %y
    """
    scales = {"w:scale": np.ones(2, np.float32), "w:zero_point": np.zeros(2, np.int32)}
    graph = from_text(dedent(text).strip(), scales)
    assert to_text(fold_affine(graph)) == to_text(graph)


def test_the_folded_weights_are_computed_in_double_precision():
    rng = np.random.default_rng(0)
    w, k = rng.normal(size=(3, 5)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    text = """
    graph g
    const %w float32[3,5]
    const %k float32[3]
    entry step
      in %x float32[5]
      %i float32[3] = linear %x %w
      %y float32[3] = div %i %k
      out %y
    """
    folded = fold_affine(read(text, {"w": w, "k": k}))
    (name,) = (n for n, t in folded.consts.items() if t.shape == (3, 5))
    expected = (w.astype(np.float64) * (1 / k.astype(np.float64))[:, None]).astype(np.float32)
    np.testing.assert_array_equal(folded.tensors[name].data, expected)
