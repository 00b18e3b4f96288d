"""Local rewrites, the shared memory update and spike states, before and expected in text form."""

from __future__ import annotations

import pytest
from cases import check

from edgekit.passes.memory_update import share_memory_update
from edgekit.passes.simplify import simplify
from edgekit.passes.spike_states import narrow_spike_states

SIMPLIFY = {
    "views and arithmetic that change nothing": (
        """
        graph g
        const %one float32[2] = [1.0, 1.0]
        entry step
          in %x float32[2]
          %a float32[2] = reshape %x {"shape": [2]}
          %b float32[2] = transpose %a {"perm": [0]}
          %c float32[2] = expand %b {"shape": [2]}
          %d float32[2] = slice %c {"axis": 0, "start": 0, "stop": 2}
          %e float32[2] = concat %d {"axis": 0}
          %f float32[2] = mul %e %one
          %g float32[2] = div %f %one
          %y float32[2] = neg %g
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
    "a slice that only seems to keep everything": (
        """
        graph g
        entry step
          in %x float32[2,1]
          %a float32[1,2] = transpose %x {"perm": [1, 0]}
          %y float32[1,1] = slice %a {"axis": 1, "start": 1, "stop": 2}
          out %y
        """,
        """
        graph g
        entry step
          in %x float32[2,1]
          %a float32[1,2] = transpose %x {"perm": [1, 0]}
          %y float32[1,1] = slice %a {"axis": 1, "start": 1, "stop": 2}
          out %y
        """,
    ),
    "spikes that are padded, seen through windows, and convolved": (
        """
        graph g
        const %w float32[2,1,2] = [1.0, 2.0, 3.0, 4.0]
        entry step
          in %s spike[1,3]
          %x float32[1,3] = cast %s {"to": "float32"}
          %p float32[1,5] = pad %x {"before": [0, 1], "after": [0, 1]}
          %none float32[1,5] = pad %p {"before": [0, 0], "after": [0, 0], "value": -1.0}
          %y float32[2,4] = conv %none %w {"stride": [1], "dilation": [1]}
          %v float32[1,4,2] = windows %p {"size": [2], "stride": [1], "dilation": [1]}
          %z float32[1,4] = sum %v {"axis": 2}
          out %y %z
        """,
        """
        graph g
        const %w float32[2,1,2] = [1.0, 2.0, 3.0, 4.0]
        entry step
          in %s spike[1,3]
          %s.pad spike[1,5] = pad %s {"before": [0, 1], "after": [0, 1]}
          %s.pad.conv float32[2,4] = conv %s.pad %w {"stride": [1], "dilation": [1]}
          %s.pad.windows spike[1,4,2] = windows %s.pad {"size": [2], "stride": [1], "dilation": [1]}
          %s.pad.windows.cast float32[1,4,2] = cast %s.pad.windows {"to": "float32"}
          %z float32[1,4] = sum %s.pad.windows.cast {"axis": 2}
          out %s.pad.conv %z
        """,
    ),
    "a border that is no spike": (
        """
        graph g
        entry step
          in %s spike[3]
          %x float32[3] = cast %s {"to": "float32"}
          %p float32[4] = pad %x {"before": [0], "after": [1], "value": -1.0}
          out %p
        """,
        """
        graph g
        entry step
          in %s spike[3]
          %x float32[3] = cast %s {"to": "float32"}
          %p float32[4] = pad %x {"before": [0], "after": [1], "value": -1.0}
          out %p
        """,
    ),
    "a convolution that sees everything at once": (
        """
        graph g
        const %w float32[1,2,2] = [1.0, 2.0, 3.0, 4.0]
        const %b float32[1] = [5.0]
        entry step
          in %x float32[2,2]
          %y float32[1,1] = conv %x %w %b {"stride": [3], "dilation": [1]}
          out %y
        """,
        """
        graph g
        const %b float32[1] = [5.0]
        const %w.rows float32[1,4] = [1.0, 2.0, 3.0, 4.0]
        entry step
          in %x float32[2,2]
          %x.reshape float32[4] = reshape %x {"shape": [4]}
          %x.reshape.linear float32[1] = linear %x.reshape %w.rows %b
          %x.reshape.linear.reshape float32[1,1] = reshape %x.reshape.linear {"shape": [1, 1]}
          out %x.reshape.linear.reshape
        """,
    ),
    "views of views": (
        """
        graph g
        entry step
          in %x float32[6]
          %a float32[2,3] = reshape %x {"shape": [2, 3]}
          %b float32[3,2] = reshape %a {"shape": [3, 2]}
          %y float32[3,2] = neg %b
          out %y
        """,
        """
        graph g
        entry step
          in %x float32[6]
          %x.reshape float32[3,2] = reshape %x {"shape": [3, 2]}
          %y float32[3,2] = neg %x.reshape
          out %y
        """,
    ),
    "a spike reaches the linear through casts and views": (
        """
        graph g
        const %w float32[1,4] = [1.0, 2.0, 3.0, 4.0]
        const %zero float32[] = [0.0]
        entry step
          in %x float32[2,2]
          %s spike[2,2] = gt %x %zero
          %f float32[2,2] = cast %s {"to": "float32"}
          %r float32[4] = reshape %f {"shape": [4]}
          %y float32[1] = linear %r %w
          out %y
        """,
        """
        graph g
        const %w float32[1,4] = [1.0, 2.0, 3.0, 4.0]
        const %zero float32[] = [0.0]
        entry step
          in %x float32[2,2]
          %s spike[2,2] = gt %x %zero
          %s.reshape spike[4] = reshape %s {"shape": [4]}
          %s.reshape.linear float32[1] = linear %s.reshape %w
          out %s.reshape.linear
        """,
    ),
    "a spike times something is a choice": (
        """
        graph g
        const %thr float32[] = [0.5]
        entry step
          in %x float32[2]
          %s spike[2] = gt %x %thr
          %f float32[2] = cast %s {"to": "float32"}
          %y float32[2] = mul %f %thr
          out %y
        """,
        """
        graph g
        const %thr float32[] = [0.5]
        const %s.zero float32[] = [0.0]
        entry step
          in %x float32[2]
          %s spike[2] = gt %x %thr
          %s.where float32[2] = where %s %thr %s.zero
          out %s.where
        """,
    ),
    "asking a spike whether it fired": (
        """
        graph g
        const %zero float32[] = [0.0]
        const %one float32[] = [1.0]
        entry step
          in %x float32[2]
          %s spike[2] = gt %x %one
          %f float32[2] = cast %s {"to": "float32"}
          %t spike[2] = gt %f %zero
          %u spike[2] = cast %f {"to": "spike"}
          %v spike[2] = ne %f %zero
          %never spike[2] = gt %f %one
          out %t %u %v %never
        """,
        """
        graph g
        const %one float32[] = [1.0]
        entry step
          in %x float32[2]
          %s spike[2] = gt %x %one
          %f float32[2] = cast %s {"to": "float32"}
          %never spike[2] = gt %f %one
          out %s %s %s %never
        """,
    ),
    "a sum joins the linear that feeds it, the later one first": (
        """
        graph g
        const %v float32[1,2] = [1.0, 2.0]
        const %w float32[1,2] = [3.0, 4.0]
        const %b float32[1] = [0.5]
        entry step
          in %x float32[2]
          %i float32[1] = linear %x %v
          %j float32[1] = linear %x %w
          %k float32[1] = add %i %j
          %y float32[1] = add %k %b
          out %y
        """,
        """
        graph g
        const %v float32[1,2] = [1.0, 2.0]
        const %w float32[1,2] = [3.0, 4.0]
        const %b float32[1] = [0.5]
        entry step
          in %x float32[2]
          %i float32[1] = linear %x %v
          %x.linear float32[1] = linear %x %w %i
          %y float32[1] = add %x.linear %b
          out %y
        """,
    ),
    "two views meet below the view, where the linears that made them join": (
        """
        graph g
        const %v float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        const %w float32[2,2] = [5.0, 6.0, 7.0, 8.0]
        entry step
          in %x float32[2]
          %i float32[2] = linear %x %v
          %j float32[2] = linear %x %w
          %a float32[1,2] = reshape %i {"shape": [1, 2]}
          %b float32[1,2] = reshape %j {"shape": [1, 2]}
          %y float32[1,2] = add %a %b
          out %y
        """,
        """
        graph g
        const %v float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        const %w float32[2,2] = [5.0, 6.0, 7.0, 8.0]
        entry step
          in %x float32[2]
          %i float32[2] = linear %x %v
          %x.linear float32[2] = linear %x %w %i
          %i.add.reshape float32[1,2] = reshape %x.linear {"shape": [1, 2]}
          out %i.add.reshape
        """,
    ),
    "views of unlike values stay where they are": (
        """
        graph g
        entry step
          in %x float32[2]
          in %z float32[2,1]
          %a float32[1,2] = reshape %x {"shape": [1, 2]}
          %b float32[1,2] = reshape %z {"shape": [1, 2]}
          %y float32[1,2] = add %a %b
          out %y
        """,
        """
        graph g
        entry step
          in %x float32[2]
          in %z float32[2,1]
          %a float32[1,2] = reshape %x {"shape": [1, 2]}
          %b float32[1,2] = reshape %z {"shape": [1, 2]}
          %y float32[1,2] = add %a %b
          out %y
        """,
    ),
    "a column and a row are more than their elements": (
        """
        graph g
        const %w float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        entry step
          in %x float32[2]
          in %z float32[2]
          %a float32[2,1] = reshape %x {"shape": [2, 1]}
          %b float32[1,2] = reshape %z {"shape": [1, 2]}
          %s float32[2,2] = add %a %b
          %y float32[2,2] = linear %s %w
          out %y
        """,
        """
        graph g
        const %w float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        entry step
          in %x float32[2]
          in %z float32[2]
          %a float32[2,1] = reshape %x {"shape": [2, 1]}
          %b float32[1,2] = reshape %z {"shape": [1, 2]}
          %s float32[2,2] = add %a %b
          %y float32[2,2] = linear %s %w
          out %y
        """,
    ),
    "a product of single numbers": (
        """
        graph g
        const %c float32[] = [2.0]
        entry step
          in %x float32[2]
          %a float32[] = sum %x {"axis": 0}
          %y float32[] = mul %a %c
          out %y
        """,
        """
        graph g
        const %c float32[] = [2.0]
        entry step
          in %x float32[2]
          %a float32[] = sum %x {"axis": 0}
          %y float32[] = mul %a %c
          out %y
        """,
    ),
    "a connection without weights is none": (
        """
        graph g
        const %w float32[1,2] = [1.0, 2.0]
        const %zero float32[1,2] = [0.0, -0.0]
        entry step
          in %x float32[2]
          %i float32[1] = linear %x %w
          %j float32[1] = linear %x %zero %i
          %k float32[1] = linear %x %zero
          %y float32[1] = mul %j %k
          out %y
        """,
        """
        graph g
        const %w float32[1,2] = [1.0, 2.0]
        const %zero float32[1,2] = [0.0, -0.0]
        entry step
          in %x float32[2]
          %i float32[1] = linear %x %w
          %k float32[1] = linear %x %zero
          %y float32[1] = mul %i %k
          out %y
        """,
    ),
    "a sum over one element is a view": (
        """
        graph g
        entry step
          in %x float32[2,1]
          %a float32[2] = sum %x {"axis": 1}
          %y float32[2] = neg %a
          out %y
        """,
        """
        graph g
        entry step
          in %x float32[2,1]
          %x.reshape float32[2] = reshape %x {"shape": [2]}
          %y float32[2] = neg %x.reshape
          out %y
        """,
    ),
    "a column of drives times one input each is a linear": (
        """
        graph g
        const %b float32[3] = [1.0, 2.0, 3.0]
        entry step
          in %x float32[2,1]
          %y float32[2,3] = mul %x %b
          out %y
        """,
        """
        graph g
        const %b.column float32[3,1] = [1.0, 2.0, 3.0]
        entry step
          in %x float32[2,1]
          %x.linear float32[2,3] = linear %x %b.column
          out %x.linear
        """,
    ),
}

MEMORY = {
    "the shared memory update": (
        """
        graph g
        const %A float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        const %B float32[2,1] = [5.0, 6.0]
        entry step
          in %m float32[3,2]
          in %u float32[3,1]
          %i float32[3,2] = linear %u %B
          %y float32[3,2] = linear %m %A %i
          out %y
        """,
        """
        graph g
        const %A float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        const %B float32[2,1] = [5.0, 6.0]
        entry step
          in %m float32[3,2]
          in %u float32[3,1]
          %m.memory_update float32[3,2] = memory_update %m %A %u %B
          out %m.memory_update
        """,
    ),
    "written the other way round": (
        """
        graph g
        const %A float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        const %B float32[2,1] = [5.0, 6.0]
        entry step
          in %m float32[3,2]
          in %u float32[3,1]
          %i float32[3,2] = linear %m %A
          %y float32[3,2] = linear %u %B %i
          out %y
        """,
        """
        graph g
        const %A float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        const %B float32[2,1] = [5.0, 6.0]
        entry step
          in %m float32[3,2]
          in %u float32[3,1]
          %m.memory_update float32[3,2] = memory_update %m %A %u %B
          out %m.memory_update
        """,
    ),
}
NO_MEMORY = {
    "a vector has no channels": """
        graph g
        const %A float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        const %B float32[2,1] = [5.0, 6.0]
        entry step
          in %m float32[2]
          in %u float32[1]
          %i float32[2] = linear %u %B
          %y float32[2] = linear %m %A %i
          out %y
    """,
    "the inner sum has another reader": """
        graph g
        const %A float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        const %B float32[2,1] = [5.0, 6.0]
        entry step
          in %m float32[3,2]
          in %u float32[3,1]
          %i float32[3,2] = linear %u %B
          %y float32[3,2] = linear %m %A %i
          out %y %i
    """,
    "plastic weights are not shared constants": """
        graph g
        const %B float32[2,1] = [5.0, 6.0]
        state %A float32[2,2] keep zero
        entry step
          in %m float32[3,2]
          in %u float32[3,1]
          %i float32[3,2] = linear %u %B
          %y float32[3,2] = linear %m %A %i
          out %y
    """,
}

NARROW = {
    "a state that only ever holds spikes": (
        """
        graph g
        const %thr float32[] = [1.0]
        const %w float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        state %s float32[2] reset zero
        entry step
          in %x float32[2]
          %i float32[2] = linear %s %w %x
          %f spike[2] = gt %i %thr
          %n float32[2] = cast %f {"to": "float32"}
          update %s %n
          out %n
        """,
        """
        graph g
        const %thr float32[] = [1.0]
        const %w float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        state %s spike[2] reset zero
        entry step
          in %x float32[2]
          %step.s.float float32[2] = cast %s {"to": "float32"}
          %i float32[2] = linear %step.s.float %w %x
          %f spike[2] = gt %i %thr
          %n float32[2] = cast %f {"to": "float32"}
          update %s %f
          out %n
        """,
    ),
    "a state that is let out as it was": (
        """
        graph g
        const %thr float32[] = [1.0]
        state %s float32[2] keep zero
        entry step
          in %x float32[2]
          %f spike[2] = gt %x %thr
          %n float32[2] = cast %f {"to": "float32"}
          update %s %n
          out %s
        """,
        """
        graph g
        const %thr float32[] = [1.0]
        state %s spike[2] keep zero
        entry step
          in %x float32[2]
          %f spike[2] = gt %x %thr
          update %s %f
          out %s
        """,
    ),
}
WIDE = {
    "a trace is no spike": """
        graph g
        const %thr float32[] = [1.0]
        state %s float32[2] reset zero
        entry step
          in %x float32[2]
          %f spike[2] = gt %x %thr
          %n float32[2] = cast %f {"to": "float32"}
          %t float32[2] = add %s %n
          update %s %t
          out %n
    """,
    "one entry writes something else": """
        graph g
        const %thr float32[] = [1.0]
        state %s float32[2] reset zero
        entry step
          in %x float32[2]
          %f spike[2] = gt %x %thr
          %n float32[2] = cast %f {"to": "float32"}
          update %s %n
          out %s
        entry learn
          in %z float32[2]
          update %s %z
          out %s
    """,
}


@pytest.mark.parametrize(("before", "expected"), SIMPLIFY.values(), ids=SIMPLIFY)
def test_simplify(before, expected):
    check(simplify, before, expected)


@pytest.mark.parametrize(("before", "expected"), MEMORY.values(), ids=MEMORY)
def test_share_memory_update(before, expected):
    check(share_memory_update, before, expected)


@pytest.mark.parametrize("text", NO_MEMORY.values(), ids=NO_MEMORY)
def test_share_memory_update_leaves(text):
    check(share_memory_update, text, text)


@pytest.mark.parametrize(("before", "expected"), NARROW.values(), ids=NARROW)
def test_narrow_spike_states(before, expected):
    check(narrow_spike_states, before, expected)


@pytest.mark.parametrize("text", WIDE.values(), ids=WIDE)
def test_narrow_spike_states_leaves(text):
    check(narrow_spike_states, text, text)


def test_a_first_value_between_zero_and_one_stays_a_float():
    import numpy as np
    from cases import read

    before = NARROW["a state that is let out as it was"][0].replace("keep zero", "keep data")
    for init, dtype in (((0.5, 0.0), "float32"), ((1.0, 0.0), "spike")):
        graph = narrow_spike_states(read(before, {"s:init": init}))
        assert graph.tensors["s"].dtype.name == dtype
        np.testing.assert_array_equal(graph.states[0].init, init)
