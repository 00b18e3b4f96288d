"""Rounding in the loop is that of the integer program."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tuned_models import FAMILIES, step, windows

from edgekit.compress.integer import IntegerProgram
from edgekit.compress.matrices import matrices
from edgekit.compress.pinned import pinned
from edgekit.compress.recipes import recipe
from edgekit.compress.stored import Stored
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.reference import Interpreter
from edgekit.runtime.codec import Codec
from edgekit.tune.compressing import Rounding
from edgekit.tune.network import Change, GraphNetwork

PRECISIONS = ("int8", "int4", "int8s8")
ROUNDED_TWICE = ("add", "sub", "linear", "tanh")  # by the program, where parts of a sum have scales of their own


def rounded(family: str, precision: str) -> tuple[Rounding, GraphNetwork, IntegerProgram]:
    """A network on the grid of its program, so that its weights round to themselves."""
    wide = recipe(precision)
    small = wide.widened(weights=dict.fromkeys(matrices(step(family).graph), wide.weight_bits))
    made = Rounding(step(family), small, step(family).inputs(windows(64, 1).x))
    network = GraphNetwork(made.step.graph)
    program = made.apply(network)
    made = replace(made, recipe=pinned(small, program))
    tuned = GraphNetwork(network.tuned())
    return made, tuned, made.apply(tuned)


@pytest.mark.drawn(3)
@pytest.mark.parametrize("precision", ["int8", "int4"])  # int8s8: each element of a state has a scale of its own
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_on_the_grid_keep_their_integers(family: str, precision: str) -> None:
    _, network, program = rounded(family, precision)
    seen = 0
    for name, rule in program.rounded.items():
        if rule.largest > 127:  # A and B of a memory have 16 bits, and scales of their own
            continue
        held = next(n for n in program.graph.consts if n.startswith(f"{name}.int"))
        whole = np.asarray(network.graph.tensors[name].data, np.float64) / rule.unit
        assert np.abs(whole * rule.step - program.graph.consts[held].data).max() < 1e-3 * rule.step, name
        assert np.abs(whole).max() > rule.largest / 2
        seen += 1
    assert seen >= 2


def real(how: Stored | None, whole: np.ndarray) -> torch.Tensor:
    """What integers stand for; spikes stand for themselves."""
    reals = whole if how is None else (whole.astype(np.float64) - how.zero) * how.scale
    return torch.from_numpy(np.asarray(reals, np.float32))


@pytest.mark.drawn(3)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_rounded_step_gives_the_integers_of_the_program(family: str, precision: str) -> None:
    """What the network makes of the program's own values is the program's next value, all but next to a tie."""
    made, network, program = rounded(family, precision)
    graph, x = program.graph, made.step.inputs(windows(48, 3).x)
    (name,) = graph.entries["step"].inputs
    stored = Codec(run_passes(graph, LOWER)).quantize([x[name]])[0]
    run, entry = Interpreter(graph), graph.entries["step"]
    values = run.trace({name: stored[:, 0]}, run.initial_state(len(stored)))
    made_here = {n for op in made.step.graph.entries["step"].ops for n in op.outputs}
    held = {n: program.held[n] for n in made_here & network.values.keys() if program.held[n].name in values}
    state, far = run.initial_state(len(stored)), {n: [] for n in held}

    def compared(value: str, change: Change) -> Change:
        """Take note of what the network makes of a value, and go on with what the program has."""

        def see(own: torch.Tensor) -> torch.Tensor:
            how = held[value]
            wanted = values[how.name]
            whole = np.rint(change(own).detach().numpy().astype(np.float64) / how.scale) + how.zero
            far[value].append(np.abs(whole - wanted))
            return real(how, wanted)

        return see

    network.values = {n: compared(n, change) if n in held else change for n, change in network.values.items()}
    for t in range(stored.shape[1]):
        values = run.trace({name: stored[:, t]}, state)
        first = {n: real(program.held.get(n), s) for n, s in state.items()}
        network(made.step.normalised(torch.from_numpy(x[name][:, t : t + 1])), start=first)
        state = {s: np.broadcast_to(values[v], state[s].shape) for s, v in entry.updates.items()}
    assert len(held) >= 2
    for value, found in far.items():
        every = np.stack(found)
        assert every.max() <= (2 if "tanh" in value or precision == "int4" else 1), value
        kind = next(op.kind for op in made.step.graph.entries["step"].ops if value in op.outputs)
        assert kind in ROUNDED_TWICE or np.mean(every == 0) > 0.95, value
