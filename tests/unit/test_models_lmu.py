"""LMU: equations, discretisation, gradients, and the layouts of its checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from edgekit import models  # noqa: E402
from edgekit.errors import ModelError  # noqa: E402
from edgekit.models.legendre import discretise, state_space  # noqa: E402

SIZES = {"inputs": 3, "hidden": 5, "memory": 4, "order": 6, "theta": 12.0}
F = {"tanh": np.tanh, "relu": lambda value: np.maximum(value, 0), "identity": lambda value: value}


def lmu(**changes: Any) -> Any:
    """An LMU whose every weight is drawn, those that start at zero too."""
    torch.manual_seed(5)
    model = models.LMU(**{**SIZES, **changes}).eval()
    with torch.no_grad():
        model.e_m.weight.uniform_(-0.05, 0.05)
        if model.W_x.bias is not None:
            model.W_x.bias.uniform_(-0.3, 0.3)
    return model


@pytest.mark.parametrize("activation", F)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("outputs", [0, 2])
@pytest.mark.parametrize("discretisation", ["zoh", "euler"])
def test_lmu_follows_the_published_equations(activation: str, bias: bool, outputs: int, discretisation: str) -> None:
    """In float64: the encoders see the last memory and hidden state, the hidden state sees the new memory."""
    model = lmu(activation=activation, bias=bias, outputs=outputs, discretisation=discretisation, theta=40.0)
    w = {key: value.double().numpy() for key, value in model.state_dict().items()}
    x = np.random.default_rng(2).normal(size=(30, SIZES["inputs"])).astype(np.float32)
    m, h = np.zeros((SIZES["memory"], SIZES["order"])), np.zeros(SIZES["hidden"])
    expected: dict[str, list[Any]] = {"m": [], "h": [], "y": []}
    for x_t in x:
        u = w["e_x.weight"] @ x_t + w["e_h.weight"] @ h + w["e_m.weight"] @ m.ravel()
        m = np.stack([w["A.weight"] @ m[i] + w["B.weight"][:, 0] * u[i] for i in range(len(m))])
        drive = w["W_x.weight"] @ x_t + w["W_h.weight"] @ h + w["W_m.weight"] @ m.ravel() + w.get("W_x.bias", 0.0)
        h = F[activation](drive)
        y = w["output_transformation.weight"] @ h + w["output_transformation.bias"] if outputs else h
        for name, value in {"m": m, "h": h, "y": y}.items():
            expected[name].append(value)
    with torch.no_grad():
        trace = model.trace(torch.from_numpy(x)[None])
    for name, values in expected.items():
        np.testing.assert_allclose(trace[name][0].numpy(), np.array(values), rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("readout", ["last", "mean"])
@pytest.mark.parametrize("outputs", [0, 2])
def test_step_sequence_and_trace_agree(readout: str, outputs: int) -> None:
    model = lmu(outputs=outputs, readout=readout)
    x = torch.randn(4, 30, SIZES["inputs"])
    with torch.no_grad():
        state, ys = model.init_state(4), []
        for x_t in x.unbind(1):
            before = {name: value.clone() for name, value in state.items()}
            y, after = model.step(x_t, state)
            assert all(torch.equal(state[name], before[name]) for name in state)
            ys.append(y)
            state = after
        stepped, trace, sequence = torch.stack(ys, 1), model.trace(x), model(x)
    assert tuple(state) == model.names == ("m", "h")
    assert torch.equal(stepped, trace["y"])
    assert all(torch.equal(state[name], trace[name][:, -1]) for name in model.names)
    torch.testing.assert_close(sequence, stepped, rtol=0, atol=1e-5)
    assert model.decision == readout
    expected = stepped[:, -1] if readout == "last" else stepped.mean(1)
    assert torch.equal(model.decide(stepped), expected.argmax(-1))


@given(st.integers(1, 24), st.floats(2.0, 200.0))
@settings(max_examples=40, deadline=None)
def test_one_zoh_step_is_two_half_steps(order: int, theta: float) -> None:
    """A constant input for one step of window theta and for two steps of window 2 theta leave the same memory."""
    memory = torch.linspace(-1, 1, order, dtype=torch.float64)[:, None]
    whole, half = ([part.double() for part in discretise(order, window)] for window in (theta, 2 * theta))
    expected = whole[0] @ memory + whole[1]
    reached = half[0] @ (half[0] @ memory + half[1]) + half[1]
    # float32 matrices: their entries are of the order of 1 and there are `order` of them in a row
    torch.testing.assert_close(reached, expected, rtol=1e-5, atol=1e-6 * order * float(expected.abs().max()))


@given(st.integers(1, 64), st.floats(1.0, 4000.0))
@settings(max_examples=40, deadline=None)
def test_an_euler_step_is_the_identity_and_a_slope(order: int, theta: float) -> None:
    a, b = discretise(order, theta, "euler")
    slope, drive = state_space(order)
    assert torch.equal(a, (torch.eye(order, dtype=torch.float64) + slope / theta).float())
    assert torch.equal(b, (drive / theta).float())


def test_the_memory_holds_the_delayed_input() -> None:
    """What the delay network is for: sum over i of m_i is u(t - theta), for a slow input."""
    theta, steps = 50, 400
    model = models.LMU(inputs=1, hidden=1, memory=1, order=12, theta=float(theta))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name[:2] in ("e_", "W_"):
                parameter.fill_(float(name == "e_x.weight"))
    u = torch.sin(torch.arange(steps) * (2 * torch.pi / 120))
    with torch.no_grad():
        memory = model.trace(u[None, :, None])["m"][0, :, 0]
    settled = slice(2 * theta, None)
    torch.testing.assert_close(memory.sum(1)[settled], u.roll(theta)[settled], rtol=0, atol=0.05)


def test_lmu_learns_a_tiny_task() -> None:
    """Which of two inputs was on at the first step: the loss falls, and all but the memory matrices learn."""
    model = lmu(outputs=2, bias=True).train()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    labels = torch.arange(16) % 2
    x = 0.1 * torch.randn(16, 8, SIZES["inputs"])
    x[torch.arange(16), 0, labels] += 1.0
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(model.scores(model(x)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    assert still == ["A.weight", "B.weight"]


def bare(weights: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The layout without modules around the matrices."""
    return {f"{prefix}{key.removesuffix('.weight')}": value for key, value in weights.items()}


@pytest.mark.parametrize("prefix", ["", "lmu_cell.", "model.lmu.cell."])
@pytest.mark.parametrize("modules", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_cells_are_recognised_in_both_layouts(prefix: str, modules: bool, bias: bool) -> None:
    model = lmu(bias=bias and modules)
    weights = model.state_dict()
    found, assumed = models.from_checkpoint({prefix + k: v for k, v in (weights if modules else bare(weights)).items()})
    x = torch.randn(2, 20, SIZES["inputs"])
    assert torch.equal(found(x), model(x))
    assert assumed == {"activation": "tanh", "readout": "last"}
    assert found.config == {**model.config, "theta": None}


def test_a_read_out_is_the_cells_own_or_the_one_other_linear_layer() -> None:
    x = torch.randn(2, 20, SIZES["inputs"])
    model = lmu(outputs=7, readout="mean")
    own, assumed = models.from_checkpoint({f"lmu_cell.{k}": v for k, v in model.state_dict().items()})
    assert torch.equal(own(x), model(x))
    assert assumed == {"activation": "tanh", "readout": "mean"}

    cell = {key: value for key, value in model.state_dict().items() if not key.startswith("output")}
    head = {"h.weight": model.output_transformation.weight.detach()}
    other, assumed = models.from_checkpoint({**bare(cell, "lmu.cell."), **head}, {"readout": "last"})
    assert assumed == {"activation": "tanh", "read-out layer": "h"}
    assert (other.decision, other.config["outputs"]) == ("last", 7)
    torch.testing.assert_close(other(x) + model.output_transformation.bias, model(x))
    with pytest.raises(ModelError, match=r"(?s)not used: h.weight.*not used: tail.weight"):
        models.from_checkpoint({**bare(cell), **head, "tail.weight": torch.ones(2, 5)})


def test_a_user_tells_what_the_weights_do_not() -> None:
    told = {"activation": "relu", "theta": 12.0, "discretisation": "euler", "readout": "mean", "dropout": 0.2}
    model, assumed = models.from_checkpoint(lmu().state_dict(), told)
    assert assumed == {}
    assert {key: model.config[key] for key in told} == told


WEIGHTS = lmu(outputs=2).state_dict()


@pytest.mark.parametrize(
    ("weights", "config", "words"),
    [
        ({k: v for k, v in WEIGHTS.items() if k not in ("A.weight", "W_m.weight")}, {}, ["missing: A.weight"]),
        ({k: v for k, v in WEIGHTS.items() if k not in ("B.weight", "W_m.weight")}, {}, ["B.weight", "W_m.weight"]),
        (WEIGHTS | {"W_m.weight": torch.ones(5, 9)}, {}, ["W_m.weight is [5, 9], expected [5, 24]"]),
        (WEIGHTS | {"A.weight": torch.ones(6)}, {}, ["not a matrix: A.weight"]),
        (WEIGHTS | {"theta_inv": torch.tensor(0.1)}, {}, ["not used: theta_inv"]),
        (WEIGHTS | {"B.weight": torch.full((6, 1), torch.inf)}, {}, ["B.weight", "Inf"]),
        (WEIGHTS, {"order": 7}, ["order: config says 7, the weights say 6"]),
        (WEIGHTS, {"theta": 0}, ["theta"]),
        (WEIGHTS, {"neuron": "leaky"}, ["'neuron'", "known keys"]),
        ({f"{p}.{k}": v for p in "ab" for k, v in bare(WEIGHTS).items()}, {}, ["2 LMU cells", "a.", "b."]),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(weights: Any, config: Any, words: list[str]) -> None:
    with pytest.raises(ModelError) as caught:
        models.from_checkpoint(weights, config)
    assert all(word in str(caught.value) for word in words), str(caught.value)
