"""What LOWER does: moved states, flushed states, broadcasts, fusion, legalisation, forms; before and expected."""

from __future__ import annotations

import numpy as np
import pytest
from cases import check, read

from edgekit.compress.quantize import quantize_weights_int8
from edgekit.errors import ModelError, UnsupportedError
from edgekit.ir import Graph, GraphBuilder, to_text
from edgekit.passes.activity import measure_activity
from edgekit.passes.broadcast import materialise_broadcasts
from edgekit.passes.choose_forms import choose_forms
from edgekit.passes.flush import flush_states
from edgekit.passes.fuse import fuse_elementwise
from edgekit.passes.legalize import legalize
from edgekit.passes.normalise import prepend_normalisation
from edgekit.passes.state_moves import copy_moved_states


def test_states_that_swap_are_copied_first():
    check(
        copy_moved_states,
        """
        graph g
        state %a float32[2] reset zero
        state %b float32[2,1] reset zero
        entry step
          in %x float32[2]
          %c float32[2,1] = reshape %a {"shape": [2, 1]}
          %y float32[2] = add %x %a
          update %a %y
          update %b %c
          out %y
        """,
        """
        graph g
        state %a float32[2] reset zero
        state %b float32[2,1] reset zero
        entry step
          in %x float32[2]
          %step.b.moved float32[2] = expand %a {"shape": [2]}
          %step.b.moved.view float32[2,1] = reshape %step.b.moved {"shape": [2, 1]}
          %c float32[2,1] = reshape %a {"shape": [2, 1]}
          %y float32[2] = add %x %a
          update %a %y
          update %b %step.b.moved.view
          out %y
        """,
    )


def test_a_state_that_stays_needs_no_copy():
    text = """
        graph g
        state %a float32[2] reset zero
        entry step
          in %x float32[2]
          %y float32[2] = add %x %a
          update %a %a
          out %y
        """
    check(copy_moved_states, text, text)


def test_computed_float_states_are_flushed_and_spikes_are_not():
    check(
        flush_states,
        """
        graph g
        state %u float32[2] reset zero
        state %v float32[2] reset zero
        state %s spike[2] reset zero
        entry step
          in %x float32[2]
          %n float32[2] = add %u %x
          %f spike[2] = gt %n %x
          update %u %n
          update %v %x
          update %s %f
          out %n
        """,
        """
        graph g
        state %u float32[2] reset zero
        state %v float32[2] reset zero
        state %s spike[2] reset zero
        entry step
          in %x float32[2]
          %n float32[2] = add %u %x
          %step.u.next float32[2] = flush %n
          %f spike[2] = gt %n %x
          update %u %step.u.next
          update %v %x
          update %s %f
          out %n
        """,
    )


def test_broadcasts_of_values_are_made_visible_and_those_of_constants_are_not():
    check(
        materialise_broadcasts,
        """
        graph g
        const %c float32[2] = [1.0, 2.0]
        entry step
          in %x float32[2]
          in %z float32[3,2]
          %a float32[3,2] = mul %z %c
          %y float32[3,2] = add %a %x
          out %y
        """,
        """
        graph g
        const %c float32[2] = [1.0, 2.0]
        entry step
          in %x float32[2]
          in %z float32[3,2]
          %a float32[3,2] = mul %z %c
          %x.expand float32[3,2] = expand %x {"shape": [3, 2]}
          %a.add float32[3,2] = add %a %x.expand
          out %a.add
        """,
    )


def test_a_neuron_becomes_one_loop():
    check(
        fuse_elementwise,
        """
        graph g
        const %beta float32[] = [0.5]
        const %thr float32[] = [1.0]
        state %u float32[2] reset zero
        entry step
          in %i float32[2]
          %decayed float32[2] = mul %u %beta  # lif
          %n float32[2] = add %decayed %i  # lif
          %s spike[2] = gt %n %thr  # lif
          update %u %n
          out %s
        """,
        """
        graph g
        const %beta float32[] = [0.5]
        const %thr float32[] = [1.0]
        state %u float32[2] reset zero
        entry step
          in %i float32[2]
          %n float32[2], %s spike[2] = fused %u %beta %i %thr {"body": [["mul", [0, 1], []], ["add", [4, 2], []], \
["gt", [5, 3], []]], "results": [5, 6]}  # lif
          update %u %n
          out %s
        """,
    )


def test_a_chain_is_not_fused_across_something_that_needs_its_middle():
    check(
        fuse_elementwise,
        """
        graph g
        const %w float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        entry step
          in %x float32[2]
          %a float32[2] = neg %x
          %b float32[2] = linear %a %w
          %c float32[2] = add %a %b
          out %c
        """,
        """
        graph g
        const %w float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        entry step
          in %x float32[2]
          %a float32[2] = fused %x {"body": [["neg", [0], []]], "results": [1]}
          %b float32[2] = linear %a %w
          %c float32[2] = fused %a %b {"body": [["add", [0, 1], []]], "results": [2]}
          out %c
        """,
    )


def test_ops_that_nothing_reads_do_not_stop_the_fusion():
    graph = fuse_elementwise(
        read("""
        graph g
        entry step
          in %x float32[2]
          %dead float32[2] = neg %x
          %deader float32[2] = abs %dead
          out %x
        """)
    )
    assert graph.entries["step"].ops == ()


MEMORY = """
    graph g
    const %A float32[2,2] = [1.0, 2.0, 3.0, 4.0]
    const %B float32[2,1] = [5.0, 6.0]
    entry step
      in %m float32[3,2]
      in %u float32[3,1]
      %y float32[3,2] = memory_update %m %A %u %B  # cell.memory
      %z float32[3] = amax %y {"axis": 1}  # cell.peak
      %n float32[3] = neg %z
      out %n
"""


def test_what_a_backend_lacks_is_decomposed():
    check(
        lambda graph: legalize(graph, {"linear", "amax", "neg"}, "toy"),
        MEMORY,
        """
        graph g
        const %A float32[2,2] = [1.0, 2.0, 3.0, 4.0]
        const %B float32[2,1] = [5.0, 6.0]
        entry step
          in %m float32[3,2]
          in %u float32[3,1]
          %u.linear float32[3,2] = linear %u %B  # cell.memory
          %m.linear float32[3,2] = linear %m %A %u.linear  # cell.memory
          %z float32[3] = amax %m.linear {"axis": 1}  # cell.peak
          %n float32[3] = neg %z
          out %n
        """,
    )


def test_what_cannot_be_decomposed_is_refused_all_at_once():
    with pytest.raises(UnsupportedError, match="the toy backend has no kernel for 2 ops") as caught:
        legalize(read(MEMORY), {"linear"}, "toy")
    assert caught.value.items == ("amax in entry step (from cell.peak)", "neg in entry step (from the graph)")


@pytest.mark.parametrize(("rate", "form"), [(None, "event"), (0.05, "event"), (0.9, "event"), (0.95, "dense")])
def test_the_form_follows_the_measured_activity(rate, form):
    graph = read("""
        graph g
        const %w float32[1,2] = [1.0, 2.0]
        const %zero float32[] = [0.0]
        entry step
          in %x float32[2]
          %s spike[2] = gt %x %zero
          %y float32[1] = linear %s %w
          %z float32[1] = linear %x %w
          out %y %z
        """)
    spiking, real = (
        op for op in choose_forms(graph, {} if rate is None else {"s": rate}).entries["step"].ops if op.kind == "linear"
    )
    assert spiking.attrs["form"] == form
    assert "form" not in real.attrs


def one_linear(w: np.ndarray, *, spikes: bool = False, precision: str = "fp32") -> Graph:
    b = GraphBuilder("g")
    x = b.input("x", (w.shape[1],))
    x = b.op("gt", x, b.const("zero", 0.0), out="s") if spikes else x
    b.output(b.op("linear", x, b.const("w", w)))
    return quantize_weights_int8(b.build()) if precision == "w8" else b.build()


def form(graph: Graph, **activity: float) -> str:
    (linear,) = (op for op in choose_forms(graph, activity).entries["step"].ops if op.kind == "linear")
    return str(linear.attrs.get("form", "auto"))


def scattered(share: float, shape: tuple[int, int] = (64, 512)) -> np.ndarray:
    """Weights of which a share is not zero, wherever they fall."""
    rng = np.random.default_rng(0)
    return (rng.normal(size=shape) * (rng.random(shape) < share)).astype(np.float32)


@pytest.mark.parametrize("precision", ["fp32", "w8"])
def test_weights_that_are_mostly_zero_are_stored_sparse(precision):
    assert form(one_linear(scattered(0.02), precision=precision)) == "sparse"
    assert form(one_linear(scattered(0.02), spikes=True, precision=precision), s=0.1) == "sparse"
    assert form(one_linear(scattered(0.6), precision=precision)) == "auto"
    assert form(one_linear(scattered(0.6), spikes=True, precision=precision), s=0.1) == "event"


def test_inputs_that_are_seldom_there_make_the_sparse_form_pay_earlier():
    graph = one_linear(scattered(0.2))
    assert form(graph, x=0.02) == "sparse"
    assert form(graph, x=1.0) == "auto"


def test_blocks_are_sparse_at_any_density_that_leaves_most_inputs_out():
    """Four branches of neighbouring inputs: a quarter of the weights, met run by run."""
    assert form(one_linear(np.kron(np.eye(4), np.ones((1, 64)))), x=1.0) == "sparse"


def test_an_index_of_an_output_must_fit_sixteen_bits():
    w = np.zeros((2**16 + 1, 2), np.float32)
    w[0, 0] = 1
    assert form(one_linear(w)) == "auto"


def test_activity_of_real_inputs_is_measured_where_it_matters_and_where_they_are_typical():
    graph = one_linear(scattered(0.02))
    x = np.zeros((1, 4, 512), np.float32)
    x[:, :2, :256] = 1
    assert measure_activity(graph, {"x": x}, typical=True) == {"x": 0.25}
    assert measure_activity(graph, {"x": x}) == {}
    assert measure_activity(one_linear(scattered(0.9)), {"x": x}, typical=True) == {}


NORMALISE = """
    graph g
    const %w float32[1,4] = [1.0, 2.0, 3.0, 4.0]
    entry step
      in %x float32[4]
      %y float32[1] = linear %x %w
      out %y
"""


def test_normalisation_moves_into_the_program_channels_repeated():
    graph = prepend_normalisation(read(NORMALISE), "x", (1.0, 2.0), (0.5, 4.0))
    assert to_text(graph).splitlines()[2:] == [
        "const %x.offset float32[4] = [1.0, 2.0, 1.0, 2.0]",
        "const %x.scale float32[4] = [0.5, 4.0, 0.5, 4.0]",
        "entry step",
        "  in %x float32[4]",
        "  %step.x.centred float32[4] = sub %x %x.offset  # io",
        "  %step.x.normalised float32[4] = mul %step.x.centred %x.scale  # io",
        "  %y float32[1] = linear %step.x.normalised %w",
        "  out %y",
    ]


@pytest.mark.parametrize(("offset", "scale"), [((), ()), ((1.0,), (1.0, 2.0)), ((1.0,) * 3, (1.0,) * 3)])
def test_normalisation_that_does_not_fit_is_refused(offset, scale):
    with pytest.raises(ModelError, match="one offset and one scale per channel"):
        prepend_normalisation(read(NORMALISE), "x", offset, scale)
