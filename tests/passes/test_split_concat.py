"""Concatenations before linears disappear; before and expected in text form, and what keeps its concatenation."""

from __future__ import annotations

import numpy as np
import pytest
from cases import check, read

from edgekit.ir import to_text
from edgekit.passes.split_concat import MAX_PARTS, split_concat

JOINED = """
    graph g
    const %w float32[1,3] = [1.0, 2.0, 3.0]
    const %c float32[1] = [4.0]
    entry step
      in %a float32[2]
      in %b float32[1]
      %ab float32[3] = concat %a %b {"axis": 0}  # cat
      %i float32[1] = linear %ab %w %c  # fc
      %y float32[1] = neg %i
      out %y
"""


def test_each_part_meets_its_own_columns():
    check(
        split_concat,
        JOINED,
        """
        graph g
        const %c float32[1] = [4.0]
        const %w.from0 float32[1,2] = [1.0, 2.0]
        const %w.from2 float32[1,1] = [3.0]
        entry step
          in %a float32[2]
          in %b float32[1]
          %a.linear float32[1] = linear %a %w.from0 %c  # fc
          %b.linear float32[1] = linear %b %w.from2 %a.linear  # fc
          %y float32[1] = neg %b.linear
          out %y
        """,
    )


def test_rows_and_constants_are_parts_too_constants_come_first_and_shared_weights_stay_shared():
    check(
        split_concat,
        """
        graph g
        const %w float32[1,3] = [1.0, 2.0, 3.0]
        const %one float32[2,1] = [1.0, 1.0]
        entry step
          in %a float32[2,1]
          in %b float32[2,1]
          %ab float32[2,3] = concat %a %one %b {"axis": 1}
          %y float32[2,1] = linear %ab %w
          %i float32[2,1] = linear %ab %w %y
          %z float32[2,1] = neg %i
          out %z
        """,
        """
        graph g
        const %one float32[2,1] = [1.0, 1.0]
        const %w.from1 float32[1,1] = [2.0]
        const %w.from0 float32[1,1] = [1.0]
        const %w.from2 float32[1,1] = [3.0]
        entry step
          in %a float32[2,1]
          in %b float32[2,1]
          %one.linear float32[2,1] = linear %one %w.from1
          %a.linear float32[2,1] = linear %a %w.from0 %one.linear
          %b.linear float32[2,1] = linear %b %w.from2 %a.linear
          %one.linear.1 float32[2,1] = linear %one %w.from1 %b.linear
          %a.linear.1 float32[2,1] = linear %a %w.from0 %one.linear.1
          %b.linear.1 float32[2,1] = linear %b %w.from2 %a.linear.1
          %z float32[2,1] = neg %b.linear.1
          out %z
        """,
    )


MANY = range(MAX_PARTS + 1)
STAYS = {
    "it is read out": JOINED.replace("out %y", "out %y %i"),
    "it leaves": JOINED.replace("out %y", "out %y %ab"),
    "it becomes a state": JOINED.replace("entry", "state %s float32[3] reset zero\n    entry").replace(
        "out %y", "update %s %ab\n      out %y %s"
    ),
    "something else reads it": JOINED.replace("out %y", "%n float32[3] = neg %ab\n      out %y %n"),
    "it is an addend": """
        graph g
        const %w float32[3,1] = [1.0, 2.0, 3.0]
        entry step
          in %a float32[2]
          in %b float32[1]
          %ab float32[3] = concat %a %b {"axis": 0}
          %y float32[3] = linear %b %w %ab
          out %y
    """,
    "its weights change": """
        graph g
        state %w float32[1,3] keep zero
        entry step
          in %a float32[2]
          in %b float32[1]
          %ab float32[3] = concat %a %b {"axis": 0}
          %y float32[1] = linear %ab %w
          out %y
    """,
    "it joins rows": """
        graph g
        const %w float32[1,2] = [1.0, 2.0]
        entry step
          in %a float32[1,2]
          in %b float32[1,2]
          %ab float32[2,2] = concat %a %b {"axis": 0}
          %y float32[2,1] = linear %ab %w
          out %y
    """,
    "it has too many parts": "\n".join(
        [
            "graph g",
            f"const %w float32[1,{len(MANY)}]",
            "entry step",
            *(f"in %x{i} float32[1]" for i in MANY),
            f'%all float32[{len(MANY)}] = concat {" ".join(f"%x{i}" for i in MANY)} {{"axis": 0}}',
            "%y float32[1] = linear %all %w",
            "out %y",
        ]
    ),
}


@pytest.mark.parametrize("text", STAYS.values(), ids=STAYS)
def test_a_concatenation_that_something_else_needs_stays(text):
    before = read(text, {"w": np.ones((1, len(MANY)))} if "%x8" in text else None)
    assert to_text(split_concat(before)) == to_text(before)
