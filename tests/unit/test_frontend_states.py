"""State discovery: which attributes and arguments are states, where they start, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgekit.errors import EdgekitError, ModelError, UnsupportedError, UsageError
from edgekit.frontends import Imported, import_module
from edgekit.reference import Interpreter

X = torch.randn(2, 5, generator=torch.Generator().manual_seed(3))


def states_of(imported: Imported) -> list[str]:
    return [s.tensor for s in imported.graph.states]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Lif(nn.Module):
    """A hand-written neuron whose membrane is a plain attribute that starts as None."""

    def __init__(self, rest: float = 0.0, threshold: float = 0.5) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 7)
        self.tau = nn.Parameter(torch.rand(7) + 1)
        self.rest, self.threshold = rest, threshold
        self.mem: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mem is None:
            self.mem = torch.full((x.shape[0], 7), self.rest)
        self.mem = self.mem * torch.exp(-1 / self.tau) + self.fc(x)
        spikes = (self.mem >= self.threshold).float()
        self.mem = self.mem * (1 - spikes) + self.rest * spikes
        return spikes


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 3)
        self.register_buffer("trace", torch.zeros(1, 3))

    def forward(self, x: Tensor) -> Tensor:
        self.trace.mul_(0.9).add_(self.fc(x))
        return torch.tanh(self.trace)


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 3)
        self.hidden: tuple[Tensor, dict[str, Tensor]] | None = None

    def forward(self, x: Tensor) -> Tensor:
        a, rest = self.hidden or (torch.zeros(x.shape[0], 3), {"slow": torch.zeros(x.shape[0], 3)})
        a = 0.5 * a + self.fc(x)
        self.hidden = (a, {"slow": 0.9 * rest["slow"] + a})
        return self.hidden[1]["slow"]


class Passed(nn.Module):
    """Takes and gives back its state, in the way `shape` says."""

    def __init__(self, shape: str) -> None:
        super().__init__()
        self.shape, self.fc = shape, nn.Linear(5, 3)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        if state is None:
            state = {"v": torch.zeros(x.shape[0], 3)} if self.shape == "dict" else torch.zeros(x.shape[0], 3)
        v = state["v"] if self.shape == "dict" else state
        v = 0.7 * v + self.fc(x)
        return torch.relu(v), {"v": v} if self.shape == "dict" else v


def test_plain_attribute_that_starts_as_none() -> None:
    imported = import_module(Lif(), X, name="lif")
    assert states_of(imported) == ["mem"]
    assert imported.report.spikes_fired > 0
    assert imported.report.spikes_differing == 0


def test_lazy_state_starts_where_the_module_puts_it() -> None:
    imported = import_module(Lif(rest=-0.25), X, name="lif")
    np.testing.assert_array_equal(imported.graph.states[0].init, np.full(7, -0.25, np.float32))
    assert "mem: starts at a non-zero value" in imported.notes


def test_a_membrane_that_silence_keeps_at_zero_is_a_state() -> None:
    module = Lif()
    nn.init.zeros_(module.fc.bias)
    assert states_of(import_module(module, torch.zeros(2, 5), name="lif")) == ["mem"]


def test_buffer_changed_in_place_with_a_fixed_batch_of_one() -> None:
    imported = import_module(InPlace(), X[:1], name="m")
    assert states_of(imported) == ["trace"]
    assert imported.report.batch == 1
    assert any("fixed batch" in note for note in imported.notes)


def test_tensors_inside_containers() -> None:
    assert states_of(import_module(Nested(), X, name="m")) == ["hidden.0", "hidden.1.slow"]


def test_stale_state_of_another_batch_is_not_the_first_value() -> None:
    module = nn.Sequential(nn.Linear(5, 4))
    snn = pytest.importorskip("snntorch")
    module.append(snn.Leaky(0.9, init_hidden=True))
    module(torch.ones(7, 5))  # leaves a membrane with a gradient history behind
    assert module[1].mem.requires_grad
    imported = import_module(module, X, name="m")
    assert not imported.graph.states[0].init.any()


def test_first_value_that_the_module_holds() -> None:
    module = Lif()
    module.mem = torch.full((1, 7), 0.125)
    imported = import_module(module, X, name="m")
    np.testing.assert_array_equal(imported.graph.states[0].init, np.full(7, 0.125, np.float32))


def test_rows_that_start_differently_are_refused() -> None:
    module = Lif()
    module.mem = torch.randn(2, 7)
    with pytest.raises(ModelError, match="starts differently for each sample"):
        import_module(module, X, name="m")


@pytest.mark.parametrize(("shape", "state"), [("tensor", "state"), ("dict", "v")])
def test_state_that_is_passed(shape: str, state: str) -> None:
    imported = import_module(Passed(shape), X, name="m")
    assert states_of(imported) == [state]
    assert imported.graph.entries["step"].outputs == ("y",)


def test_state_that_is_given_with_the_example_starts_there() -> None:
    imported = import_module(Passed("tensor"), (X, torch.full((2, 3), 0.5)), name="m")
    np.testing.assert_array_equal(imported.graph.states[0].init, np.full(3, 0.5, np.float32))


@pytest.mark.parametrize(
    ("cell", "states"),
    [(nn.LSTMCell, ["h", "c"]), (nn.GRUCell, ["h"]), (nn.RNNCell, ["h"])],
)
def test_torch_cells(cell: type[nn.Module], states: list[str]) -> None:
    imported = import_module(cell(5, 6), X, name="cell")
    assert states_of(imported) == states
    assert imported.report.worst_error < 1e-5


def test_several_inputs_keep_their_names() -> None:
    class Two(nn.Module):
        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            return left[:, :2] * right

    imported = import_module(Two(), (X, X[:, :2]), name="two")
    assert imported.graph.entries["step"].inputs == ("left", "right")


def test_another_method_can_be_the_step() -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("the sequence form")

        def advance(self, x: Tensor) -> Tensor:
            return torch.relu(x)

    assert import_module(Model(), X, name="m", method="advance").provenance["method"] == "advance"
    with pytest.raises(UsageError, match="no method 'walk'"):
        import_module(Model(), X, name="m", method="walk")
    with pytest.raises(ModelError, match="the sequence form"):
        import_module(Model(), X, name="m")


def test_the_module_is_left_as_it_was() -> None:
    module = nn.Sequential(Lif(), nn.Dropout(0.5)).train()
    lif = module[0]
    assert isinstance(lif, Lif)
    lif.mem = torch.zeros(2, 7)
    held, version = lif.mem, lif.mem._version
    import_module(module, X, name="m")
    assert lif.mem is held
    assert held._version == version
    assert module.training

    class Broken(Lif):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.svdvals(x * super().forward(x).sum())

    broken = Broken()
    with pytest.raises(EdgekitError):
        import_module(broken, X, name="m")
    assert broken.mem is None


class Resting(nn.Module):
    """Makes its state itself, at a rest above zero and with a threshold that starts elsewhere."""

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor] | None = None) -> Any:
        v, b = state or (torch.full_like(x, 0.25), torch.ones_like(x) * torch.arange(5.0))
        v = v + 0.1 * (0.25 - v + x)
        return (v > b).float(), (v, 0.9 * b)


def test_a_state_that_the_step_makes_for_itself_starts_there() -> None:
    imported = import_module(Resting(), X, name="m")
    first = {s.tensor: s.init for s in imported.graph.states}
    np.testing.assert_array_equal(first["state0"], np.full(5, 0.25, np.float32))
    np.testing.assert_array_equal(first["state1"], np.arange(5, dtype=np.float32))


class LayersFirst(nn.Module):
    """A recurrent layer inside: its states have the batch behind the layers, its input may have the time in front."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.rnn = nn.LSTM(5, 4, num_layers=2, batch_first=batch_first)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y, (h, c) = self.rnn(x, (h, c))
        return y, h, c


@pytest.mark.parametrize("batch_first", [True, False])
def test_states_whose_batch_axis_is_not_the_first(batch_first: bool) -> None:
    zeros = torch.zeros(2, 1, 4)
    imported = import_module(LayersFirst(batch_first), (torch.randn(1, 1, 5), zeros, zeros), name="m")
    assert {s.tensor: s.init.shape for s in imported.graph.states} == {"h": (2, 4), "c": (2, 4)}
    assert imported.graph.tensor("x").shape == (1, 5)
    assert imported.report.batch == 4


def test_a_whole_recurrent_layer_is_its_step() -> None:
    imported = import_module(nn.GRU(5, 3, num_layers=2), X, name="gru")
    assert states_of(imported) == ["h"]
    assert imported.graph.states[0].init.shape == (2, 3)
    with pytest.raises(UsageError, match="is a sequence of 7 steps; give the input of one time step"):
        import_module(nn.GRU(5, 3, batch_first=True), torch.zeros(2, 7, 5), name="gru")


class OneStream(nn.Module):
    """Keeps state without a batch axis."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(5)

    def forward(self, x: Tensor) -> Tensor:
        self.mean = 0.9 * self.mean + x[0]
        return x - self.mean


def test_a_module_for_a_single_stream_is_taken_as_it_is() -> None:
    imported = import_module(OneStream(), X[:1], name="m")
    assert states_of(imported) == ["mean"]
    assert imported.report.batch == 1
    assert "the module works for one stream at a time, and is replayed so" in imported.notes


def test_whole_numbers_are_states_too() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen: Any = None

        def forward(self, x: Tensor) -> Tensor:
            seen = torch.zeros(len(x), 5, dtype=torch.int64) if self.seen is None else self.seen
            self.seen = (seen + (x > 0)) % 7
            return self.seen / 2

    imported = import_module(Counting(), X, name="m")
    assert states_of(imported) == ["seen"]
    assert imported.report.worst_error == 0.0


class Refused:
    """Modules that cannot become a step, each with what its error says."""

    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen = torch.zeros(2, 0)

        def forward(self, x: Tensor) -> Tensor:
            self.seen = torch.cat([self.seen, x[:, :1]], 1)
            return self.seen.sum(1, keepdim=True)

    class Recording(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.record: list[Tensor] = []

        def forward(self, x: Tensor) -> Tensor:
            self.record.append(x)
            return x

    class Mixing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0)

    class Squeezing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1].squeeze().unsqueeze(-1)

    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 100 else -x

    class Learning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(5), requires_grad=False)

        def forward(self, x: Tensor) -> Tensor:
            self.weight.mul_(0.9)
            return x * self.weight

    class Unbatched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mean = torch.zeros(5)

        def forward(self, x: Tensor) -> Tensor:
            self.mean = 0.9 * self.mean + x[0]
            return x - self.mean

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = 0

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            return x * self.steps

    class CountingInNumpy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.steps = np.int64(0)

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            return x * int(self.steps)

    class Late(nn.Module):
        """Changes its mind after the few steps that discovery runs."""

        def __init__(self) -> None:
            super().__init__()
            self.steps = 0

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            return x if self.steps <= 8 else -x

    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + 0.1 * torch.rand_like(x)


@pytest.mark.parametrize(
    ("module", "error", "says"),
    [
        (Refused.Growing(), UnsupportedError, "grows from step to step"),
        (Refused.Recording(), UnsupportedError, "grows from step to step"),
        (Refused.Mixing(), UnsupportedError, "mixes the samples of a batch"),
        (Refused.Squeezing(), UnsupportedError, "batch"),
        (Refused.Branching(), UnsupportedError, "into Python, to branch on it"),
        (Refused.Learning(), UnsupportedError, "changes its own parameters"),
        (Refused.Unbatched(), UnsupportedError, "without a leading batch axis"),
        (Refused.Counting(), UnsupportedError, "keeps state in Python"),
        (Refused.CountingInNumpy(), UnsupportedError, "keeps state in Python"),
        (nn.LSTM(5, 3, bidirectional=True), UnsupportedError, "runs backwards too"),
        (Refused.Noisy(), UnsupportedError, "different results for the same inputs"),
        (Refused.Late(), UnsupportedError, r"keeps state in Python.*\n  - steps: \d, then \d"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_refused_with_a_reason(module: nn.Module, error: type[EdgekitError], says: str) -> None:
    with pytest.raises(error, match=says):
        import_module(module, X, name="m")


def test_a_state_that_comes_back_but_is_not_taken_again_is_no_input() -> None:
    class OnceOnly(nn.Module):
        def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
            if state.any():
                raise ValueError("only a fresh state")
            return x, state + x

    with pytest.raises(ModelError, match=r"its own state, state .*only a fresh state.*; let the step"):
        import_module(OnceOnly(), (X, torch.zeros_like(X)), name="m")


def test_a_counter_that_does_not_matter_is_left_out() -> None:
    class Counted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.tensor(0))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return torch.relu(x)

    imported = import_module(Counted(), X, name="m")
    assert not imported.graph.states
    assert any(note.startswith("calls: a counter") for note in imported.notes)


def test_float64_models_become_float32_with_a_note() -> None:
    module = nn.Sequential(nn.Linear(5, 3)).double()
    imported = import_module(module, X, name="m")
    assert "float64 weights are converted as float32" in imported.notes
    assert module[0].weight.dtype is torch.float64


@pytest.mark.parametrize("example", [torch.ones(5), 3.0, (), None])
def test_example_without_a_batch_axis(example: object) -> None:
    with pytest.raises(UsageError, match="example input"):
        import_module(nn.Linear(5, 3), example, name="m")


def test_passed_state_and_interpreter_agree_over_a_long_stream() -> None:
    module = Lif(rest=-0.1)
    imported = import_module(module, X, name="m")
    stream = torch.randn(3, 100, 5)
    with torch.no_grad():
        module.mem = None
        expected = torch.stack([module(stream[:, t]) for t in range(100)], 1)
    outputs, _ = Interpreter(imported.graph).run({"x": stream.numpy()})
    np.testing.assert_array_equal(outputs["y"], expected.numpy().astype(bool))


def test_a_state_that_stops_being_a_tensor_is_refused() -> None:
    class Vanishing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trace: Any = None
            self.steps = 0

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            self.trace = None if self.steps > 2 else x + 1
            return x

    with pytest.raises(ModelError, match="trace is not a tensor any more"):
        import_module(Vanishing(), X, name="m")


@pytest.mark.slow
def test_importing_a_model_does_not_load_the_compiler_of_torch() -> None:
    code = (
        "import sys\n"
        "from edgekit import models\n"
        "from edgekit.frontends import import_module\n"
        "import_module(models.L2MU(inputs=3, hidden=4, memory=2, order=2, outputs=2, theta=4.0), None, name='m')\n"
        "assert 'torch._dynamo' not in sys.modules, 'two seconds of import'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
