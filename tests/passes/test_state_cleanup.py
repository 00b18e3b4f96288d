"""State clean-up, before and expected in text form."""

from __future__ import annotations

import numpy as np
import pytest

from edgekit.ir import from_text, to_text
from edgekit.passes.state_cleanup import clean_states

CASES = {
    "a state that nothing reads before it is written": (
        """
        graph g
        state %mem float32[2] reset zero
        state %reset float32[2] reset zero
        entry step
          in %x float32[2]
          %r float32[2] = neg %mem
          %y float32[2] = add %x %r
          update %mem %y
          update %reset %r
          out %y
        """,
        """
        graph g
        state %mem float32[2] reset zero
        entry step
          in %x float32[2]
          %r float32[2] = neg %mem
          %y float32[2] = add %x %r
          update %mem %y
          out %y
        """,
    ),
    "a state that only feeds itself, and one that only feeds that": (
        """
        graph g
        state %count float32[2] reset zero
        state %total float32[2] reset zero
        entry step
          in %x float32[2]
          %a float32[2] = add %count %x
          %b float32[2] = add %total %count
          %y float32[2] = neg %x
          update %count %a
          update %total %b
          out %y
        """,
        """
        graph g
        entry step
          in %x float32[2]
          %y float32[2] = neg %x
          out %y
        """,
    ),
    "a state that never changes becomes a constant": (
        """
        graph g
        state %gain float32[2] reset zero
        entry step
          in %x float32[2]
          %y float32[2] = mul %x %gain
          update %gain %gain
          out %y
        """,
        """
        graph g
        const %gain float32[2] = [0.0, 0.0]
        entry step
          in %x float32[2]
          %y float32[2] = mul %x %gain
          out %y
        """,
    ),
    "one tensor under two names becomes one state": (
        """
        graph g
        state %a float32[2] reset zero
        state %b float32[2] reset zero
        entry step
          in %x float32[2]
          %s float32[2] = sub %a %b
          %y float32[2] = add %x %s
          update %a %y
          update %b %y
          out %y
        """,
        """
        graph g
        state %a float32[2] reset zero
        entry step
          in %x float32[2]
          %s float32[2] = sub %a %a
          %y float32[2] = add %x %s
          update %a %y
          out %y
        """,
    ),
    "equal updates under different reset policies stay two states": (
        """
        graph g
        state %a float32[2] reset zero
        state %b float32[2] keep zero
        entry step
          in %x float32[2]
          %s float32[2] = sub %a %b
          %y float32[2] = add %x %s
          update %a %y
          update %b %y
          out %y
        """,
        None,
    ),
    "a plastic weight that only learn changes stays": (
        """
        graph g
        state %w float32[1,2] keep zero
        entry step
          in %x float32[2]
          %y float32[1] = linear %x %w
          out %y
        entry learn
          in %u float32[2]
          %v float32[1,2] = reshape %u {"shape": [1, 2]}
          %next float32[1,2] = add %w %v
          update %w %next
          out %next
        """,
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_before_and_expected(case: str) -> None:
    before, expected = CASES[case]
    cleaned = clean_states(from_text(before))
    assert to_text(cleaned) == to_text(from_text(expected or before))


def test_a_state_written_with_its_first_value_becomes_a_constant() -> None:
    text = """
        graph g
        const %one float32[2] = [1.0, 1.0]
        state %s float32[2] reset data
        entry step
          in %x float32[2]
          %y float32[2] = mul %x %s
          update %s %one
          out %y
        """
    cleaned = clean_states(from_text(text, {"s:init": np.ones(2, np.float32)}))
    assert not cleaned.states
    np.testing.assert_array_equal(cleaned.tensors["s"].data, [1.0, 1.0])


def test_a_state_written_with_another_constant_stays() -> None:
    text = """
        graph g
        const %one float32[2] = [1.0, 1.0]
        state %s float32[2] reset zero
        entry step
          in %x float32[2]
          %y float32[2] = mul %x %s
          update %s %one
          out %y
        """
    assert [s.tensor for s in clean_states(from_text(text)).states] == ["s"]
