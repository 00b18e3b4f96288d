"""Lateral neurons, projected layers and spiking neurons of `edgekit.learn.torch`, against plain autograd or numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from edgekit.errors import ModelError, UsageError
from edgekit.learn.torch import (
    AccuracyMatrix,
    DsrNeuron,
    DsrSettings,
    Lateral,
    LateralSettings,
    Layer,
    SpikingMLP,
    SurrogateNeuron,
    SurrogateSettings,
    growing_subspaces,
)
from edgekit.learn.torch.train import descend


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed))


# Lateral neurons


def test_rows_learn_the_directions_of_greatest_variance() -> None:
    basis = torch.linalg.qr(random(20, 20))[0]
    spread = torch.tensor([3.0, 2.5, 2.0, *[0.1] * 17])
    lateral = Lateral(20, LateralSettings(rate=0.02))
    lateral.grow(3, Generator().manual_seed(1))
    for seed in range(200):
        lateral.learn(random(32, 20, seed=seed) * spread @ basis)
    inside = lateral.rows @ basis[:3].T @ basis[:3]
    assert float((lateral.rows - inside).norm()) < 0.1
    assert float((lateral.rows @ lateral.rows.T - torch.eye(3)).abs().max()) < 0.1


def test_old_rows_and_their_momenta_never_change_and_protect() -> None:
    lateral = Lateral(12, LateralSettings(rate=0.05))
    lateral.grow(3, Generator().manual_seed(1))
    for seed in range(20):
        lateral.learn(random(16, 12, seed=seed))
    lateral.merge()
    old, momenta = lateral.rows.clone(), lateral.momenta.clone()
    lateral.grow(2, Generator().manual_seed(2))
    lateral.learn(random(16, 12, seed=99))
    assert torch.equal(lateral.rows[:3], old)
    assert torch.equal(lateral.momenta[:3], momenta)
    assert float(lateral.momenta[3:].abs().min()) > 0
    x = random(5, 12, seed=7)
    assert torch.allclose(lateral.residual(x), x - (x @ old.T) @ old, atol=1e-6)


def test_new_rows_are_orthonormal_among_themselves() -> None:
    lateral = Lateral(30)
    lateral.grow(8, Generator().manual_seed(3))
    assert torch.allclose(lateral.rows @ lateral.rows.T, torch.eye(8), atol=1e-5)
    lateral.merge()
    lateral.grow(4, Generator().manual_seed(4))
    assert torch.allclose(lateral.rows[8:] @ lateral.rows[8:].T, torch.eye(4), atol=1e-5)
    assert float((lateral.rows[8:] @ lateral.rows[:8].T).abs().max()) > 0.01


def test_spiking_neurons_round_half_to_even_and_saturate() -> None:
    lateral = Lateral(1, LateralSettings(spike_steps=40))
    y = lateral.answers(torch.tensor([[0.25], [0.75], [1.3], [-100.0], [21.0]]), torch.ones(1, 1))
    assert y.flatten().tolist() == [0.0, 1.0, 1.5, -20.0, 20.0]


def test_a_change_is_clipped() -> None:
    lateral = Lateral(2, LateralSettings(rate=1.0, momentum=None, iterations=1))
    lateral.grow(1)
    lateral.rows[:] = torch.tensor([[1.0, 0.0]])
    lateral.learn(torch.tensor([[100.0, 100.0]]))
    assert lateral.rows.tolist() == [[1.0, 10.0]]


def test_rows_cannot_be_added_twice_to_one_task() -> None:
    lateral = Lateral(4)
    lateral.grow(1)
    with pytest.raises(UsageError, match="the last task's rows are still new; merge them first"):
        lateral.grow(1)


@pytest.mark.parametrize(
    "wrong", [{"rate": -1.0}, {"momentum": math.nan}, {"iterations": 0}, {"spike_steps": 0}, {"scale": 0.0}]
)
def test_wrong_lateral_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ModelError, match=f"lateral {next(iter(wrong))}"):
        LateralSettings(**wrong)  # type: ignore[arg-type]


# Layers


def test_the_signal_and_the_error_pass_unprojected() -> None:
    lateral = Lateral(6)
    lateral.grow(2, Generator().manual_seed(1))
    lateral.merge()
    layer, x = Layer(lateral, 3, Generator().manual_seed(2)), random(4, 6).requires_grad_()
    y, grad = layer(x, lateral.residual(x.detach())), random(4, 3, seed=5)
    grad_x, grad_w = torch.autograd.grad(y, [x, layer.weight], grad)
    assert torch.equal(y, x @ layer.weight.T)
    assert torch.equal(grad_x, grad @ layer.weight)
    assert torch.allclose(grad_w, grad.T @ lateral.residual(x.detach()))
    assert float((grad_w @ lateral.rows.T).abs().max()) < 1e-6  # old inputs see no change


def test_a_trace_summed_over_time_gives_the_gradient_of_all_steps() -> None:
    layer, x = Layer(Lateral(6), 3, Generator().manual_seed(2)), random(5, 4, 6).requires_grad_()
    grad = random(4, 3, seed=5).expand(5, 4, 3)
    expected = torch.autograd.grad(layer(x, x.detach()), [x, layer.weight], grad)
    got = torch.autograd.grad(layer(x, x.detach().sum(0)), [x, layer.weight], grad)
    for one, other in zip(got, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


# DSR neurons


def test_dsr_thresholds_stay_above_their_bound() -> None:
    neuron = DsrNeuron(DsrSettings(threshold=0.3, bound=0.1))
    neuron.threshold.data.fill_(-5.0)
    neuron(torch.ones(20, 1, 1))
    assert neuron.threshold.item() == pytest.approx(0.1)


def test_dsr_gradients_follow_their_equations_on_both_sides_of_saturation() -> None:
    settings = DsrSettings(steps=7, tau=0.8, dt=0.1, threshold=0.4, alpha=0.5)
    neuron = DsrNeuron(settings)
    current = (random(7, 3, 5) * 3 + random(1, 3, 5, seed=4) * 4).requires_grad_()
    upstream = random(7, 3, 5, seed=9)
    grad, grad_threshold = torch.autograd.grad(neuron(current), [current, neuron.threshold], upstream)
    w = np.exp(-0.1 * (7 - np.arange(1, 8)) / 0.8)
    rate = np.tensordot(w, current.detach().numpy(), 1) / w.sum()
    mean = np.tensordot(w, upstream.numpy(), 1) / w.sum() * 7
    top = 0.4 / 0.1 * 0.8
    assert (rate > top).any()
    assert ((rate > 0) & (rate < top)).any()
    for step in grad:
        assert np.allclose(step, mean * ((rate > 0) & (rate < top)) / 0.8 / 7, atol=1e-5)
    assert float(grad_threshold) == pytest.approx(0.1 * mean[rate > top].sum(), abs=1e-4)


@pytest.mark.parametrize(
    "neuron",
    [
        DsrNeuron(DsrSettings(steps=6)),
        SurrogateNeuron(SurrogateSettings(), through_time=True),
        SurrogateNeuron(SurrogateSettings(), through_time=False),
    ],
)
def test_a_constant_current_is_that_current_at_every_step(neuron: torch.nn.Module) -> None:
    once = (random(1, 3, 8) * 3).requires_grad_()
    always = once.detach().repeat(6, 1, 1).requires_grad_()
    upstream = random(6, 3, 8, seed=1)
    assert torch.equal(neuron(once), neuron(always))
    (short,) = torch.autograd.grad(neuron(once), once, upstream)
    (long,) = torch.autograd.grad(neuron(always), always, upstream)
    assert torch.allclose(short, long.sum(0, keepdim=True), atol=1e-6)


# Neurons with a surrogate gradient


@pytest.mark.parametrize("through_time", [True, False])
def test_surrogate_gradients_are_those_of_autograd_through_a_sigmoid(through_time: bool) -> None:
    settings = SurrogateSettings(steps=5, tau=3.0, slope=2.5)
    current, upstream = random(5, 2, 7).requires_grad_(), random(5, 2, 7, seed=3)
    spikes = SurrogateNeuron(settings, through_time=through_time)(current)
    membrane, soft = torch.zeros(2, 7), []
    for t in range(5):
        membrane = settings.decay * (membrane if through_time else membrane.detach()) + current[t]
        smooth = torch.sigmoid(settings.slope * (membrane - 1))
        fired = (membrane.detach() >= 1).float()
        soft.append(smooth + (fired - smooth).detach())
        membrane = membrane - fired
    (expected,) = torch.autograd.grad(torch.stack(soft), current, upstream)
    (got,) = torch.autograd.grad(spikes, current, upstream)
    assert torch.equal(spikes, torch.stack(soft).round().detach())
    assert 0 < spikes.mean().item() < 1
    assert torch.allclose(got, expected, atol=1e-6)


# Networks


def lively(net: SpikingMLP) -> SpikingMLP:
    """The network with weights that make every layer fire."""
    for layer in net.layers:
        layer.weight.data *= 3
    return net


def stepwise_loss(net: SpikingMLP, x: Tensor, labels: Tensor) -> Tensor:
    """The loss of a surrogate variant, one step and one layer at a time, in plain autograd without projection."""
    decay = net.coding.settings.decay  # type: ignore[union-attr]
    online, hidden = net.variant == "ottt", list(net.layers)[:-1]
    voltages, kept = [torch.zeros(1)] * len(hidden), [torch.zeros(1)] * len(hidden)
    outputs = []
    for _ in range(net.coding.settings.steps):
        signal, trace = x, x
        for at, layer in enumerate(hidden):
            weighed = (signal @ layer.weight.detach().T + (through(trace, layer.weight))) if online else None
            current = weighed if weighed is not None else signal @ layer.weight.T
            voltage = decay * (voltages[at].detach() if online else voltages[at]) + current
            smooth = torch.sigmoid(4 * (voltage - 1))
            fired = (voltage.detach() >= 1).float()
            voltages[at] = voltage - fired
            signal = smooth + (fired - smooth).detach()
            kept[at] = decay * kept[at] + fired
            trace = kept[at]
        last = net.layers[-1].weight
        outputs.append(signal @ last.detach().T + through(trace, last) if online else signal @ last.T)
    if online:
        return sum(torch.nn.functional.cross_entropy(y, labels) for y in outputs) / len(outputs)  # type: ignore
    return torch.nn.functional.cross_entropy(torch.stack(outputs).mean(0), labels)


def through(trace: Tensor, weight: Tensor) -> Tensor:
    """Zero, with the gradient that W · trace has for W."""
    y = trace.detach() @ weight.T
    return y - y.detach()


@pytest.mark.parametrize("variant", ["ottt", "bptt"])
def test_gradients_of_a_window_are_those_of_its_steps(variant: str) -> None:
    net = lively(SpikingMLP((12, 16, 14, 4), variant, seed=3))
    x, labels = random(5, 12), torch.tensor([0, 1, 2, 3, 0])
    weights = [layer.weight for layer in net.layers]
    loss, _ = net.loss(x, labels)
    other = stepwise_loss(net, x, labels)
    assert loss.item() == pytest.approx(other.item(), abs=1e-6)
    for one, two in zip(torch.autograd.grad(loss, weights), torch.autograd.grad(other, weights), strict=True):
        assert float(one.abs().max()) > 1e-3
        assert torch.allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("spike_steps", [None, 40])
@pytest.mark.parametrize("variant", ["dsr", "ottt", "bptt"])
def test_a_protected_step_changes_no_answer_inside_the_old_subspace(variant: str, spike_steps: int | None) -> None:
    net = lively(SpikingMLP((12, 16, 14, 4), variant, lateral=LateralSettings(spike_steps=spike_steps), seed=3))
    net.begin_task((4, 4, 4), seed=1)
    net.end_task()
    net.begin_task((2, 2, 2), seed=2)
    before = [layer.weight.detach().clone() for layer in net.layers]
    rows = [lateral.rows.clone() for lateral in net.laterals]
    descend(net, random(5, 12) * 2, torch.tensor([0, 1, 2, 3, 0]), 0.5)
    for layer, weight, lateral, had in zip(net.layers, before, net.laterals, rows, strict=True):
        change = layer.weight.detach() - weight
        assert float(change.norm()) > 1e-3
        along = float((change @ lateral.rows[:4].T).norm())
        assert along < (1e-5 if spike_steps is None else 0.2) * float(change.norm())
        assert torch.equal(lateral.rows[:4], had[:4])
        assert not torch.equal(lateral.rows[4:], had[4:])


def test_thresholds_learn_in_the_first_task_only() -> None:
    net = SpikingMLP((12, 16, 4), "dsr", settings=DsrSettings(threshold=0.01), seed=3)
    x, labels = random(5, 12) * 20, torch.tensor([0, 1, 2, 3, 0])
    thresholds = [net.neurons[0].threshold.item()]
    for _ in range(2):
        descend(net, x, labels, 0.5)
        thresholds.append(net.neurons[0].threshold.item())
        net.end_task()
    assert thresholds[1] != thresholds[0]
    assert thresholds[2] == pytest.approx(thresholds[1])
    assert len(descend(net, x, labels, 0.1).gradients) == 2


def test_a_state_dict_carries_the_rows_and_which_are_old() -> None:
    net = SpikingMLP((12, 16, 4), seed=3)
    net.begin_task((3, 5), seed=1)
    net.end_task()
    net.begin_task((2, 2), seed=2)
    other = SpikingMLP((12, 16, 4), seed=4)
    other.load_state_dict(net.state_dict())
    assert [(len(lateral.rows), lateral.old) for lateral in other.laterals] == [(5, 3), (7, 5)]
    assert torch.equal(other.laterals[1].rows, net.laterals[1].rows)


def test_wrong_networks_are_refused() -> None:
    with pytest.raises(ModelError, match="spiking mlp variant: 'rate' is not one of its values"):
        SpikingMLP((4, 4, 2), "rate")
    with pytest.raises(ModelError, match="spiking mlp sizes: 2 is not an integer of at least 3"):
        SpikingMLP((4, 2))
    with pytest.raises(ModelError, match="number of lateral rates: 1 is not one of its values"):
        SpikingMLP((4, 4, 2), rates=(0.1,))
    with pytest.raises(UsageError, match="settings of variant 'ottt': are DsrSettings; give SurrogateSettings"):
        SpikingMLP((4, 4, 2), "ottt", settings=DsrSettings())
    with pytest.raises(UsageError, match="subspace sizes: 3 for 2 layers"):
        SpikingMLP((4, 4, 2)).begin_task((1, 1, 1))
    with pytest.raises(ModelError, match="surrogate tau"):
        SurrogateSettings(tau=0.5)
    with pytest.raises(ModelError, match="dsr steps"):
        DsrSettings(steps=0)


# Figures


def test_published_subspace_sizes() -> None:
    sizes = growing_subspaces(10)
    assert sizes[0] == (80, 200, 100)
    assert [rows[0] for rows in sizes[1:]] == [70, 70, 50, 50, 50, 30, 30, 30, 10]
    assert [sum(column) for column in zip(*sizes, strict=True)] == [470, 590, 490]


def test_figures_of_an_accuracy_matrix() -> None:
    matrix = AccuracyMatrix.of([[0.9], [0.95, 0.8], [0.7, 0.9, 0.6]])
    assert matrix.acc == pytest.approx((0.7 + 0.9 + 0.6) / 3)
    assert matrix.bwt == pytest.approx(((0.7 - 0.9) + (0.9 - 0.8)) / 2)
    assert matrix.forgetting == pytest.approx(((0.95 - 0.7) + 0) / 2)
    assert matrix.lines() == [" 90.00", " 95.00  80.00", " 70.00  90.00  60.00"]
    single = AccuracyMatrix.of([[0.5]])
    assert (single.acc, single.bwt, single.forgetting) == (0.5, 0.0, 0.0)
    with pytest.raises(UsageError, match="lengths 1, 2, 3"):
        AccuracyMatrix.of([[0.5], [0.5]])
