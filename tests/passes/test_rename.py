"""Outputs keep their names, whatever a pass makes of what they were."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases import read

from edgekit.errors import GraphError
from edgekit.ir import OPS, Graph, to_text
from edgekit.passes.legalize import legalize
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.passes.rename import renamed, with_output_names
from edgekit.reference import Interpreter

X = np.array([[-1.0, 2.0]], np.float32)
CASES = {
    "made by another op": """
        graph g
        entry step
          in %x float32[2]
          %a float32[2] = relu %x
          %y float32[2] = reshape %a {"shape": [2]}
          %z float32[2] = neg %a
          out %y %z
    """,
    "a state and an input that pass through": """
        graph g
        state %s float32[2] reset zero
        entry step
          in %x float32[2]
          %old float32[2] = reshape %s {"shape": [2]}
          %same float32[2] = reshape %x {"shape": [2]}
          %new float32[2] = add %x %s
          update %s %new
          out %old %same
    """,
    "a spike state that is let out as it was": """
        graph g
        state %s float32[2] reset zero
        entry step
          in %x float32[2]
          %f spike[2] = gt %x %s
          %n float32[2] = cast %f {"to": "float32"}
          update %s %n
          out %s
    """,
    "a state that another one stands for": """
        graph g
        state %t float32[2] reset zero
        state %s float32[2] reset zero
        entry step
          in %x float32[2]
          %new float32[2] = add %x %t
          update %t %new
          update %s %new
          out %s %t
    """,
    "a constant": """
        graph g
        const %c float32[] = [2.0]
        entry step
          in %x float32[2]
          %y float32[] = neg %c
          %z float32[2] = mul %x %y
          out %y %z
    """,
    "two outputs of one value": """
        graph g
        entry step
          in %x float32[2]
          %a float32[2] = relu %x
          %y float32[2] = reshape %a {"shape": [2]}
          %z float32[2] = reshape %a {"shape": [2]}
          out %y %z
    """,
    "one that is its own first, then another's view": """
        graph g
        entry step
          in %x float32[2]
          %y float32[2] = relu %x
          %z float32[2] = reshape %y {"shape": [2]}
          out %z %y
    """,
    "one output twice": """
        graph g
        entry step
          in %x float32[2]
          %y float32[2] = reshape %x {"shape": [2]}
          %a float32[2] = relu %x
          %z float32[2] = reshape %a {"shape": [2]}
          out %y %z %y %z
    """,
}


def _results(graph: Graph) -> list[np.ndarray]:
    """The outputs of three steps, in order."""
    engine, found = Interpreter(graph), []
    state = engine.initial_state()
    for _ in range(3):
        outputs, state = engine.execute({"x": X}, state)
        found += [np.asarray(outputs[n], np.float32) for n in graph.entries["step"].outputs]
    return found


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
def test_every_pipeline_keeps_names_and_values_of_outputs(text: str) -> None:
    before = read(text)
    optimised = run_passes(before, OPTIMISE)
    for after in (optimised, run_passes(optimised, LOWER)):
        assert after.entries["step"].outputs == before.entries["step"].outputs
        for one, other in zip(_results(before), _results(after), strict=True):
            np.testing.assert_array_equal(one, other)


def _outputs(*names: str) -> Callable[[Graph], Graph]:
    """A pass that lets other values out."""

    def apply(graph: Graph) -> Graph:
        step = graph.entries["step"]
        return graph.with_entries(type(step)(step.name, step.inputs, names, step.ops, step.updates))

    return apply


def test_who_made_an_output_takes_over_its_name() -> None:
    like = read(CASES["made by another op"])
    after = with_output_names(read(CASES["made by another op"].replace("%y", "%w").replace("%z", "%v")), like)
    assert to_text(after) == to_text(like)


def test_an_output_that_is_decomposed_keeps_its_name() -> None:
    """The memory of an LMU that is let out: the update becomes two linears."""
    graph = read(
        """
        graph g
        const %a float32[2,2] = [0.5, 0.0, 0.25, 0.5]
        const %b float32[2,1] = [1.0, 2.0]
        state %m float32[1,2] reset zero
        entry step
          in %u float32[1,1]
          %y float32[1,2] = memory_update %m %a %u %b
          update %m %y
          out %y
        """
    )
    made = legalize(graph, OPS.keys() - {"memory_update"}, "small")
    assert [(op.kind, op.outputs) for _, op in made.ops()] == [("linear", ("u.linear",)), ("linear", ("y",))]
    assert made.entries["step"].outputs == ("y",)
    assert dict(made.entries["step"].updates) == {"m": "y"}


def test_a_graph_that_has_the_names_is_left_alone() -> None:
    graph = read(CASES["made by another op"])
    assert with_output_names(graph, graph) is graph


def test_a_name_that_another_value_has_is_refused() -> None:
    graph = read(CASES["two outputs of one value"])
    with pytest.raises(GraphError, match=r"output 'y'.*became 'a' in a pass"):
        run_passes(graph, [_outputs("a", "z")])


def test_renamed_reaches_every_place_of_a_name() -> None:
    before = read(CASES["a state and an input that pass through"])
    after = renamed(before, lambda name: f"{name}.1")
    assert set(after.tensors) == {f"{n}.1" for n in before.tensors}
    assert after.states[0].tensor == "s.1"
    assert dict(after.entries["step"].updates) == {"s.1": "new.1"}
    assert to_text(renamed(after, lambda name: name.removesuffix(".1"))) == to_text(before)
