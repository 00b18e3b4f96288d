"""Modules as strangers write them: where they keep state, how they pass it, what they look up and what they unroll."""

from __future__ import annotations

import collections
import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgekit.errors import UnsupportedError, UsageError
from edgekit.frontends import Imported, import_module

X = torch.randn(2, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def states_of(imported: Imported) -> list[str]:
    return [s.tensor for s in imported.graph.states]


@dataclasses.dataclass
class Charge:
    v: Tensor
    i: Tensor


class InDataclass(nn.Module):
    """Its state is a dataclass, an attribute or passed."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.held = nn.Linear(6, 4), None

    def _next(self, x: Tensor, state: Any) -> tuple[Tensor, Charge]:
        state = state or Charge(torch.zeros(len(x), 4), torch.zeros(len(x), 4))
        i = 0.8 * state.i + self.fc(x)
        v = 0.9 * state.v + i
        spikes = (v > 1).float()
        return spikes, Charge(v * (1 - spikes), i)


class HeldDataclass(InDataclass):
    def forward(self, x: Tensor) -> Tensor:
        spikes, self.held = self._next(x, self.held)
        return spikes


class PassedDataclass(InDataclass):
    def forward(self, x: Tensor, state: Any = None) -> Any:
        return self._next(x, state)


class Window(nn.Module):
    """The last four inputs in a deque."""

    def __init__(self) -> None:
        super().__init__()
        self.last = collections.deque([torch.zeros(1, 6) for _ in range(4)], maxlen=4)
        self.fc = nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.last.append(x)
        return self.fc(torch.cat(list(self.last), 1))


class InList(nn.Module):
    """Two cells whose states are in a list that starts empty."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList([nn.GRUCell(6, 6) for _ in range(2)])
        self.hidden: list[Any] = [None, None]

    def forward(self, x: Tensor) -> Tensor:
        for at, cell in enumerate(self.cells):
            x = self.hidden[at] = cell(x, self.hidden[at])
        return x


class PassedList(InList):
    def forward(self, x: Tensor, hidden: list[Tensor]) -> Any:  # type: ignore[override]
        new = []
        for cell, h in zip(self.cells, hidden, strict=True):
            x = cell(x, h)
            new.append(x)
        return x, new


class InMemories(nn.Module):
    """In the manner of SpikingJelly: a float in a dict until the first step, behind a property."""

    def __init__(self, rest: float) -> None:
        super().__init__()
        self._memories: dict[str, Any] = {"v": rest}
        self.rest = rest

    def forward(self, x: Tensor) -> Tensor:
        v = self._memories["v"]
        v = torch.full_like(x, v) if isinstance(v, float) else v
        v = v + (x - (v - self.rest)) / 2
        spikes = (v >= 0.3).float()
        self._memories["v"] = self.rest * spikes + (1 - spikes) * v
        return spikes


class OnlyState(nn.Module):
    """A cell that gives its next state and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(6, 5)

    def forward(self, x: Tensor, state: Any = None) -> Any:
        return self.cell(x, state)


class AnyNumber(OnlyState):
    def forward(self, x: Tensor, *state: Tensor) -> Any:  # type: ignore[override]
        h, c = self.cell(x, state or None)
        return 2 * h, h, c


class Required(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 5)

    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x, hidden)
        return h.relu(), h


class Masked(nn.Module):
    """An optional second input that is no state, though what comes back has its shape."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return torch.tanh(x) if mask is None else torch.tanh(x) * mask


class Pointer(nn.Module):
    """A ring buffer with a pointer that goes round."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.fc = how, nn.Linear(24, 2)
        self.register_buffer("ring", torch.zeros(1, 4, 6))
        self.register_buffer("at", torch.zeros(1, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "one-hot":
            self.ring = torch.where(functional.one_hot(self.at, 4).bool()[..., None], x[:, None], self.ring)
        else:
            self.ring[:, self.at] = x[:, None]
        newest = self.ring[:, self.at].squeeze(1)
        self.at = (self.at + 1) % 4
        return self.fc(self.ring.flatten(1)) + newest[:, :2]


ZEROS = torch.zeros(2, 5)
FOUND: dict[str, tuple[nn.Module, Any, list[str]]] = {
    "dataclass, held": (HeldDataclass(), X, ["held.v", "held.i"]),
    "dataclass, passed": (PassedDataclass(), X, ["v", "i"]),
    "deque": (Window(), X[:1], ["last.1", "last.2", "last.3"]),
    "list, held": (InList(), X, ["hidden.0", "hidden.1"]),
    "list, passed": (PassedList(), (X, [torch.zeros(2, 6), torch.zeros(2, 6)]), ["hidden0", "hidden1"]),
    "memories": (
        nn.Sequential(nn.Linear(6, 8), InMemories(0.0), InMemories(0.1)),
        X,
        ["_1._memories.v", "_2._memories.v"],
    ),
    "only state": (OnlyState(), X, ["state0", "state1"]),
    "only state, given": (OnlyState(), (X, (ZEROS, ZEROS)), ["state0", "state1"]),
    "any number of states": (AnyNumber(), X, ["state0", "state1"]),
    "any number of states, given": (AnyNumber(), (X, ZEROS, ZEROS), ["state0", "state1"]),
    "required state": (Required(), (X, ZEROS), ["hidden"]),
    "pointer, one-hot": (Pointer("one-hot"), X[:1], ["ring", "at"]),
    "pointer, index": (Pointer("index"), X[:1], ["ring", "at"]),
    "mask": (Masked(), X, []),
}


@pytest.mark.parametrize("case", FOUND)
def test_state_is_found_wherever_it_is(case: str) -> None:
    module, example, states = FOUND[case]
    imported = import_module(module, example, name="m")
    assert sorted(states_of(imported)) == sorted(states)
    assert imported.report.worst_error < 1e-5
    assert imported.report.spikes_differing == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, when it loads its compiler
def test_what_torch_compile_wraps_is_taken_out() -> None:
    compiled = torch.compile(nn.Sequential(nn.Linear(6, 3), nn.ReLU()))
    assert len(import_module(compiled, X, name="m").graph.entries["step"].ops) == 2  # type: ignore[arg-type]


def test_a_missing_state_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"does not fit forward\(x, hidden\).*'hidden'; give all arguments as a tuple"):
        import_module(Required(), X, name="m")


# --- what is looked up -----------------------------------------------------------------------------------------------


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(10, 4), nn.Linear(4, 3)

    def forward(self, token: Tensor) -> Tensor:
        return self.out(self.table(token).sum(1))


def test_whole_numbers_look_up_rows() -> None:
    imported = import_module(Tokens(), torch.tensor([[0, 9, 4], [3, 3, 1]]), name="tokens")
    assert imported.report.worst_error < 1e-6
    kinds = [op.kind for _, op in imported.graph.ops()]
    assert kinds[kinds.index("lt") + 1] == "linear"  # one neuron fires for each token, and its column is added


class LookedUp(nn.Module):
    """Indices computed at run time, in every form."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        at = x[:, :2].abs().clamp(max=1.9).long()
        table = torch.arange(12.0).reshape(3, 4)
        return {
            "rows": table[at],
            "gather": torch.gather(x, 1, at),
            "gather_rows": torch.gather(x.reshape(-1, 2, 3), 1, at[:, None, :1].expand(-1, 1, 3)),
        }


def test_indices_computed_at_run_time() -> None:
    assert import_module(LookedUp(), 2 * X, name="m").report.worst_error < 1e-6


def test_a_quantisation_aware_model_rounds_as_torch_does() -> None:
    class Rounded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            scales, zeros = torch.full((4,), 0.01), torch.zeros(4, dtype=torch.int32)
            w = torch.fake_quantize_per_channel_affine(self.fc.weight, scales, zeros, 0, -128, 127)
            y = functional.linear(torch.fake_quantize_per_tensor_affine(x, 0.05, 3, -128, 127), w, self.fc.bias)
            return torch.fake_quantize_per_tensor_affine(y, 0.1, 0, -128, 127)

    imported = import_module(Rounded(), X, name="m")
    assert imported.report.worst_error < 1e-5
    assert "round" in {op.kind for _, op in imported.graph.ops()}


@pytest.mark.parametrize("norm", ["parametrized", "by hook"])
def test_weight_norm_is_computed_once(norm: str) -> None:
    linear = nn.Linear(6, 4)
    if norm == "parametrized":
        module = nn.utils.parametrizations.weight_norm(linear)
    else:
        with pytest.warns(FutureWarning):
            module = nn.utils.weight_norm(linear)
    imported = import_module(nn.Sequential(module, nn.ReLU()), X, name="m")
    assert [op.kind for _, op in imported.graph.ops()] == ["linear", "relu"]


def test_attention_is_plain_products() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    imported = import_module(module, torch.randn(2, 5, 8), name="m")
    assert imported.report.worst_error < 1e-5


# --- sequences -------------------------------------------------------------------------------------------------------


class Unrolled(nn.Module):
    """The whole loop over time in one call."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.cell = steps, nn.GRUCell(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(len(x), 4)
        for _ in range(self.steps):
            h = self.cell(x, h)
        return h


class OverTime(nn.Module):
    """A sequence with the time in front."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.shape[1], 4)
        for part in x:
            h = self.cell(part, h)
        return h[None]


def test_a_loop_over_time_is_unrolled_and_said_to_be() -> None:
    imported = import_module(Unrolled(12), X, name="m")
    assert any("cell runs 12 times in one call" in note and "convert one step" in note for note in imported.notes)


@pytest.mark.slow
def test_a_long_loop_is_refused_with_the_layer_that_runs() -> None:
    with pytest.raises(UnsupportedError, match="convert the step, not the sequence") as caught:
        import_module(Unrolled(1200), X, name="m")
    assert any(item.startswith("cell runs ") for item in caught.value.items)


def test_a_sequence_with_the_time_in_front_is_asked_for_one_step() -> None:
    with pytest.raises(UnsupportedError, match="if the first axis of the example is time, give the input of one"):
        import_module(OverTime(), torch.randn(7, 2, 6), name="m")


def test_state_that_is_written_and_never_read_is_said_to_be() -> None:
    snn = pytest.importorskip("snntorch")
    imported = import_module(snn.SLSTM(6, 8, threshold=0.1, init_hidden=True), X, name="m")  # resets at every step
    assert not imported.graph.states
    assert any("no output depends on what was there" in note for note in imported.notes)


# --- complex numbers -------------------------------------------------------------------------------------------------


class Spectral(nn.Module):
    """A diagonal state-space step in complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.polar(torch.rand(4) * 0.9, torch.rand(4) * 3))
        self.b = nn.Parameter(torch.randn(6, 4, dtype=torch.complex64))
        self.c = nn.Parameter(torch.randn(4, 3, dtype=torch.complex64))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = torch.zeros(len(x), 4, dtype=torch.complex64) if state is None else state
        state = self.a * state + x.to(torch.complex64) @ self.b
        power = (state * state.conj()).real.sum(1, keepdim=True)
        return (state @ self.c).real / (1 + state.abs().sum(1, keepdim=True)) + power.sqrt() * 0.1, state


def test_complex_states_are_pairs_of_real_ones() -> None:
    imported = import_module(Spectral(), X, name="m")
    assert states_of(imported) == ["state.real", "state.imag"]
    assert imported.report.worst_error < 1e-5


def test_complex_double_parameters_become_single_with_a_note() -> None:
    module = Spectral()
    module.c = nn.Parameter(module.c.detach().to(torch.complex128))
    imported = import_module(module, X, name="m")
    assert "complex128 weights are converted as float32" in imported.notes
    assert module.c.dtype is torch.complex128


def test_a_complex_output_is_asked_for_as_real() -> None:
    class Bare(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.polar(x.abs(), x)

    with pytest.raises(UnsupportedError, match="1 operation") as caught:
        import_module(Bare(), X, name="m")
    assert caught.value.items == ("output y: is complex; return torch.view_as_real of it",)


def test_initial_values_of_each_kind_reach_the_graph() -> None:
    module, example, _ = FOUND["memories"]
    imported = import_module(module, example, name="m")
    first = {s.tensor: s.init for s in imported.graph.states}
    np.testing.assert_array_equal(first["_2._memories.v"], np.full(8, 0.1, np.float32))


@pytest.mark.drawn(2)
@pytest.mark.slow
def test_a_thousand_operators_are_imported_in_seconds_and_converted_in_little_memory(tmp_path: Path) -> None:
    code = f"""
import resource, sys, time
import torch
from torch import nn
import edgekit
from edgekit.frontends import import_module

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(32), nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))

torch.manual_seed(0)
net = nn.Sequential(*[Block() for _ in range(60)])
started = time.process_time()
imported = import_module(net, torch.randn(2, 32), name="net")
seconds = time.process_time() - started
operators = len(imported.graph.entries["step"].ops)
edgekit.convert(net, torch.randn(2, 32)).save({str(tmp_path / "net.edge")!r})
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1e6
print(f"{{operators}} operators imported in {{seconds:.1f}} s of CPU, converted in at most {{peak:.2f}} GB")
assert operators > 1000 and seconds < 20 and peak < 2
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    print(done.stdout)


# --- what is kept elsewhere ------------------------------------------------------------------------------------------


class Ring:
    """A helper that is no module, with the tensor that it keeps."""

    def __init__(self) -> None:
        self.held = torch.zeros(1, 4, 6)

    def push(self, x: Tensor) -> Tensor:
        self.held = torch.cat([self.held[:, 1:].expand(len(x), -1, -1), x[:, None]], 1)
        return self.held


class Helped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ring, self.fc = Ring(), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.ring.push(x).flatten(1))


class ByNumber(nn.Module):
    """States in a dict whose keys are no names."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[Any, Any] = {0: None, (1, 2): None}

    def forward(self, x: Tensor) -> Tensor:
        for key, state in self.held.items():
            x = 0.5 * x + (0 if state is None else 0.4 * state)
            self.held[key] = x
        return x


class SameTensor(nn.Module):
    """A list of one tensor, four times."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.fc = [torch.zeros(1, 6)] * 4, nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.last = [*self.last[1:], x]
        return self.fc(torch.cat(self.last, 1))


class StateFirst(Required):
    def forward(self, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        y, h = super().forward(x, hidden)
        return h, y[:, :2]


class ByKeyword(Required):
    def forward(self, x: Tensor, *, state: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x, torch.zeros(len(x), 5) if state is None else state)


class Clocked(nn.Module):
    """A pointer of no dimension, as a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tick", torch.tensor(0))
        self.register_buffer("ring", torch.zeros(1, 3, 6))

    def forward(self, x: Tensor) -> Tensor:
        rows = torch.arange(len(x))
        self.ring = self.ring.index_put((rows, self.tick.reshape(1)), x)
        self.tick = (self.tick + 1) % 3
        return self.ring[rows, self.tick.reshape(1)] + self.tick


class Indexed(Clocked):
    """The same, written and read by plain indexing."""

    def forward(self, x: Tensor) -> Tensor:
        self.ring[:, self.tick] = x
        self.tick = (self.tick + 1) % 3
        return self.ring[:, self.tick] + self.tick


class Switched(nn.Module):
    """A tick that matters only after many steps."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("tick", torch.tensor(0))

    def forward(self, x: Tensor) -> Tensor:
        self.tick = self.tick + 1
        return torch.where(self.tick < 500, x, -x)


class FromBelow(nn.Module):
    """A running maximum that starts at minus infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("most", torch.full((1, 6), -torch.inf))

    def forward(self, x: Tensor) -> Tensor:
        self.most = torch.maximum(self.most, x)
        return self.most


ELSEWHERE: dict[str, tuple[nn.Module, Any, list[str]]] = {
    "helper": (Helped(), X, ["ring.held"]),
    "numbers as keys": (ByNumber(), X, ["held.0", "held._1__2_"]),
    "same tensor": (SameTensor(), X[:1], ["last.1", "last.2", "last.3"]),
    "state first": (StateFirst(), (X, ZEROS), ["hidden"]),
    "by keyword": (ByKeyword(), X, ["state"]),
    "pointer of no dimension": (Clocked(), X[:1], ["tick", "ring"]),
    "pointer in an index": (Indexed(), X[:1], ["tick", "ring"]),
    "a tick that matters late": (Switched(), X, ["tick"]),
    "from minus infinity": (FromBelow(), X, ["most"]),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_state_in_odd_places_is_found(case: str) -> None:
    module, example, states = ELSEWHERE[case]
    imported = import_module(module, example, name="m")
    assert sorted(states_of(imported)) == sorted(states)
    assert imported.report.worst_error < 1e-5


class Late(nn.Module):
    """Counts in Python, and changes its mind long after any replay."""

    steps = 0

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where, self.count, self.box = where, 0, Charge(torch.zeros(1), torch.zeros(1))
        self.box.n = 0  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        if self.where == "attribute":
            self.count += 1
        elif self.where == "helper":
            self.box.n += 1  # type: ignore[attr-defined]
        else:
            type(self).steps += 1
        late = max(self.count, self.box.n, self.steps if self.where == "class" else 0)  # type: ignore[attr-defined]
        return x if late <= 500 else -x


@pytest.mark.parametrize("where", ["attribute", "class"])
def test_a_counter_in_python_that_matters_late_is_refused(where: str) -> None:
    with pytest.raises(UnsupportedError, match="keeps state in Python, which a graph cannot see") as caught:
        import_module(Late(where), X, name="m")
    assert any(("count" if where == "attribute" else "Late.steps") in item for item in caught.value.items)


class Escapes(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if np.abs(x.numpy()).max() < 60 else -x


def test_a_value_that_leaves_through_numpy_is_seen() -> None:
    with pytest.raises(UnsupportedError) as caught:
        import_module(Escapes(), X, name="m")
    assert "torch.Tensor.numpy" in caught.value.items[0]
    assert "takes the value of a tensor into Python" in caught.value.items[0]


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(x, 0.5, training=True)


def test_random_numbers_are_named_with_their_line() -> None:
    with pytest.raises(UnsupportedError, match="different results for the same inputs") as caught:
        import_module(Noisy(), X, name="m")
    assert any("draws random numbers" in item and "test_frontend_wild.py:" in item for item in caught.value.items)


class Bytes(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: Any = None

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.zeros(x.shape, dtype=torch.uint8) if self.seen is None else self.seen
        self.seen = seen + (x > 0).to(torch.uint8)
        return self.seen.float()


def test_narrow_integers_that_would_wrap_around_are_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        import_module(Bytes(), X, name="m")
    assert "computes in uint8, which wraps around; compute in float32 or int64" in caught.value.items[0]


def test_memory_that_torch_leaves_as_it_is_does_not_enter_a_program() -> None:
    torch.manual_seed(0)
    net = nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")
    hashes = set()
    for _ in range(6):
        torch.full((4, 2, 12, 12), 7.0)  # memory that the next allocation may get
        hashes.add(import_module(net, torch.randn(1, 2, 6, 6), name="m").graph.hash())
    assert len(hashes) == 1


@pytest.mark.filterwarnings("ignore:Inhibition")  # snnTorch's own
def test_spikes_that_inhibit_one_another() -> None:
    snn = pytest.importorskip("snntorch")
    net = nn.Sequential(nn.Linear(6, 8), snn.Leaky(0.9, threshold=0.2, inhibition=True, init_hidden=True))
    imported = import_module(net, X[:1], name="m")
    assert states_of(imported) == ["_1.mem"]
    assert imported.report.worst_error < 1e-6
