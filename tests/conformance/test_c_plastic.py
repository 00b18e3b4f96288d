"""Weights that change: integer kernels against plain integers on every compiler and core, and floats in their place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
from c_runs import Native
from integer_engines import EMULATED, HOST, emitted, every, opened
from integer_equality import check, reference_of
from integer_oracle import Value, evaluate
from integer_streams import edges, whole_numbers
from plastic_calls import Call, Kernels, kernels

from edgekit.ir import INT16, INT32, SPIKE, DType, Graph, GraphBuilder
from edgekit.ir.ops.plastic import WIDEST_SHIFT, WIDEST_UPDATE
from edgekit.passes.pipelines import LOWER, run_passes
from edgekit.passes.plan_memory import plan_memory
from edgekit.runtime.streams import ReferenceStream
from edgekit.target import load_target
from tools.plastic_counts import per_weight, program, running

SECOND = ("M4 qemu", "M33 qemu", "M4 gcc", "M55 gcc", "clang")  # other compilers and emulators of what is there
ENGINES = [e for e in (*HOST, *EMULATED) if "EDGEKIT_SWEEPS" in os.environ or e not in SECOND]
WIDTHS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 24, 31, 32, 33, 40, 47, 64)
HEIGHTS = (1, 2, 3, 4, 5, 8, 9, 16, 17)
EVERY = 1 if "EDGEKIT_SWEEPS" in os.environ else 3  # a third of the sizes has every width and height too
BEYOND = (65, 66, 127, 128, 130, 193, 260)  # widths of more than the running sums of b that are made at once


def wanted(kind: str, attrs: dict[str, object], *operands: np.ndarray | None) -> np.ndarray:
    """The result by plain integers."""
    values = [Value(v.shape, v.dtype.name, tuple(v.reshape(-1).tolist())) for v in operands if v is not None]
    (y,) = evaluate(kind, attrs, values)
    return np.array(y.data, y.dtype).reshape(y.shape)


def numbers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return whole_numbers(rng, shape, INT16)


class Case:
    """Operands of one size, and every kernel that takes them."""

    def __init__(self, rng: np.random.Generator, rows: int, height: int, width: int) -> None:
        self.rng, self.size, self.lead = rng, (rows, height, width), (rows,)
        self.w, self.tall, self.wide = (
            numbers(rng, height, width),
            numbers(rng, rows, height),
            numbers(rng, rows, width),
        )

    def ends(self, low: bool) -> None:
        """All of the weights at one end of the range, all else at both, so that sums are as large as can be."""
        self.w[:] = -(2**15) if low else 2**15 - 1
        self.tall[:] = self.rng.choice([-(2**15), 2**15 - 1])
        self.wide[:] = self.rng.choice([-(2**15), 2**15 - 1])

    def hold(self, run: Kernels, shift: int, what: str) -> None:
        self.products(run, shift, what)
        self.back(run, shift, what)
        if shift <= WIDEST_UPDATE:
            self.update(run, shift, what)

    def products(self, run: Kernels, shift: int, what: str) -> None:
        c = whole_numbers(self.rng, self.w.shape[:1], INT32)
        for to, addend in product((INT16, INT32), (None, c)):
            y = np.zeros((*self.lead, self.w.shape[0]), to.numpy)
            call = Call(f"call_matvec_{to.bits}", (addend, self.w, self.wide), (*self.size, shift), y)
            attrs = {"shift": shift, "to": to.name}
            same(run.run(call), wanted("matvec", attrs, self.wide, self.w, addend), f"matvec {to} {what} {shift}")

    def back(self, run: Kernels, shift: int, what: str) -> None:
        for to in (INT16, INT32):
            y = np.zeros((*self.lead, self.w.shape[1]), to.numpy)
            call = Call(f"call_matvec_t_{to.bits}", (self.w, self.tall), (*self.size, shift), y)
            attrs = {"shift": shift, "to": to.name}
            same(run.run(call), wanted("matvec_t", attrs, self.tall, self.w), f"matvec_t {to} {what} {shift}")

    def update(self, run: Kernels, shift: int, what: str) -> None:
        expected = wanted("outer_add", {"shift": shift}, self.w, self.tall, self.wide)
        for where, y in (("in its place", 0), ("beside it", np.full_like(self.w, 77))):
            call = Call("call_outer_add_16", (self.w, self.tall, self.wide), (*self.size, shift), y)
            same(run.run(call), expected, f"outer_add {what} {shift}, {where}")


def same(got: np.ndarray, expected: np.ndarray, what: str) -> None:
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected, err_msg=what)


@pytest.fixture(params=ENGINES)
def run(request: pytest.FixtureRequest) -> Iterator[Kernels]:
    with kernels(request.param) as found:
        yield found


@pytest.mark.drawn(4)
def test_every_size(run: Kernels) -> None:
    rng = np.random.default_rng(1)
    for at, (height, width) in list(enumerate(product(HEIGHTS, WIDTHS)))[::EVERY]:
        case = Case(rng, 1 + 2 * (at % 5 == 0), height, width)
        case.hold(run, int(rng.integers(12, 24)), f"{case.size}")
    for at, width in enumerate(BEYOND):
        Case(rng, 1 + 2 * (at % 4 == 0), 3, width).hold(run, 11 + 2 * at, f"{width} columns")


@pytest.mark.drawn(4)
def test_every_shift(run: Kernels) -> None:
    rng = np.random.default_rng(2)
    for shift in range(WIDEST_SHIFT + 1):
        for rows, height, width in ((1, 5, 18), (2, 4, 7)):
            Case(rng, rows, height, width).hold(run, shift, f"{rows} rows")


@pytest.mark.drawn(4)
def test_sums_at_both_ends_of_the_range(run: Kernels) -> None:
    """Of 2^30 each, many times: beyond 32 bits, and halves and ends that saturate."""
    rng = np.random.default_rng(3)
    for low, (rows, height, width) in product((True, False), ((1, 3, 40), (1, 40, 3), (1, 40, 20), (3, 17, 21))):
        for shift in (0, 1, 15, 16, 17, 30, 46):
            case = Case(rng, rows, height, width)
            case.ends(low)
            case.hold(run, shift, f"{low} {rows}x{height}x{width}")


@pytest.mark.drawn(2)
def test_halves_are_rounded_up(run: Kernels) -> None:
    """Sums of which the part that is lost is a half, just more, or just less, of either sign."""
    for shift in (1, 7, 15, 16, 17, 20, 29):
        half = 1 << (shift - 1)
        for near, sign in product((-1, 0, 1), (1, -1)):
            total = sign * ((5 * 2**shift if shift < 25 else 0) + half) + near
            high = min(2**14, 1 << max(0, (abs(total)).bit_length() - 14))
            a, rest = divmod(total, high)
            case = Case(np.random.default_rng(0), 1, 2, 2)
            case.w[:], case.wide[:] = [[a, rest], [rest, a]], [[high, 1]]
            case.products(run, shift, f"{total}")
            case.w[:], case.tall[:] = [[a, rest], [rest, a]], [[high, 1]]
            case.back(run, shift, f"{total}")
            case.w[:] = 0
            for factor in (1, 2, 4, 8, 16):
                if total % factor == 0 and abs(total // factor) < 2**15:
                    case.tall[:], case.wide[:] = factor, total // factor
                    case.update(run, shift, f"{total}")


@pytest.mark.drawn(2)
def test_rows_that_are_zero(run: Kernels) -> None:
    """At the beginning, at the end, in the middle, every other one, and all of them."""
    rng = np.random.default_rng(5)
    for height, width in ((16, 24), (17, 9), (33, 32)):
        for zero in ([0], [-1], range(height // 2), range(3, height), range(0, height, 2), range(5, 12), range(height)):
            case = Case(rng, 1, height, width)
            case.tall[:] = edges(rng, case.tall.shape, INT16) | 1
            case.tall[0, list(zero)] = 0
            case.hold(run, 17, f"{height}x{width} {zero}")


@pytest.mark.drawn(2)
def test_small_changes_by_large_sums(run: Kernels) -> None:
    """Sums of b up to 2^23, which leave room for few bits of a only."""
    rng = np.random.default_rng(6)
    for (height, width), shift, bits in product(((3, 66), (4, 260)), (0, 1, 4, 9), (0, 1, 5, 8, 12)):
        case = Case(rng, 1, height, width)
        case.tall[:] = rng.integers(-(2**bits), 2**bits, case.tall.shape)
        case.wide[:] = rng.choice([-(2**15), 2**15 - 1]) if bits % 2 else rng.integers(2**14, 2**15, case.wide.shape)
        case.update(run, shift, f"{height}x{width}, a of {bits} bits")


# --- whole programs --------------------------------------------------------------------------------------------------


def learner(height: int, width: int, rows: int, x: DType = INT16) -> Graph:
    """A step that learns: products either way, of rows or of spikes, and updates in the place of a state.

    States lie before and behind the weights; what is written beside them shows.
    """
    rng, b = np.random.default_rng(height * width), GraphBuilder(f"learner_{height}_{width}_{rows}_{x}")
    lead = (rows,) if rows else ()
    wide = b.input("wide", (*lead, width), x)
    tall = b.input("tall", (*lead, height), INT16)
    before = b.state("before", numbers(rng, 16), INT16)
    w = b.state("w", numbers(rng, height, width), INT16, reset="keep")
    after = b.state("after", numbers(rng, 16), INT16)
    c = b.const("c", whole_numbers(rng, (height,), INT32), INT32)
    y = b.op("matvec", wide, w, c, shift=15, to="int16")
    back = b.op("matvec_t", y, w, shift=16, to="int16")
    new = b.op("outer_add", w, tall, back, shift=17)
    again = b.op("matvec", wide, new, shift=9, to="int32")
    new = b.op("outer_add", new, y, back, shift=13)
    b.update(w, new)
    b.output(y, back, again, b.op("matvec_t", tall, new, shift=3, to="int32"), before, after)
    return run_passes(b.build(), LOWER)


SHAPES = [(1, 1, 0), (1, 40, 0), (40, 1, 0), (3, 7, 1), (16, 64, 0), (9, 33, 3), (24, 30, 0), (7, 16, 2)]


def programs() -> list[Graph]:
    return [learner(*shape, x) for shape in SHAPES for x in (INT16, SPIKE)]


@pytest.mark.drawn(4)
@pytest.mark.parametrize("engine", ENGINES)
def test_programs_that_learn_are_byte_equal(engine: str) -> None:
    if not every()[engine].there:
        pytest.skip(f"what {engine} needs is not installed")
    graphs = programs()
    with opened(every()[engine], graphs) as stream:
        for at, graph in enumerate(graphs):
            check(stream(graph), reference_of(graph, at, 26), f"{graph.name} on {engine}")


@pytest.mark.parametrize("target", [None, "smartwatch-m4", "smartwatch-m55", "raspberrypi4"])
def test_which_kernels_run(target: str | None) -> None:
    for graph in programs():
        spikes = graph.name.endswith("spike")
        first, third = ("matvec_spike_16", "matvec_spike_32") if spikes else ("matvec_16_16", "matvec_16_32")
        expected = [first, "matvec_t_16", "outer_add_16", third, "outer_add_16", "matvec_t_32"]
        found = emitted(graph, load_target(target) if target else None).kernels
        assert [k.kernel for k in found if k.kind in ("matvec", "matvec_t", "outer_add")] == expected


def test_both_updates_are_in_the_place_of_the_weights() -> None:
    for graph in programs():
        plan = plan_memory(graph)
        made = [op.outputs[0] for op in graph.entries["step"].ops if op.kind == "outer_add"]
        assert [plan.buffers["step"][name] for name in made] == [plan.states["w"]] * 2


# --- what it costs ---------------------------------------------------------------------------------------------------

MOST = {  # instructions for each weight on a Cortex-M33: where all of the vector is at work, and where a quarter is
    ("matvec", (64, 64)): (1.30, 1.30),
    ("matvec", (128, 240)): (1.05, 1.05),
    ("matvec_t", (64, 64)): (1.82, 0.62),
    ("matvec_t", (128, 240)): (1.77, 0.52),
    ("outer_add", (64, 64)): (4.45, 1.35),
    ("outer_add", (128, 240)): (4.40, 1.30),
}


@pytest.mark.parametrize(("kind", "size"), MOST)
def test_instructions_for_each_weight(kind: str, size: tuple[int, int]) -> None:
    if not EMULATED["M33"].there:
        pytest.skip("what M33 needs is not installed")
    found = per_weight(kind, INT16, size, "smartwatch-m33", None)
    assert all(n <= most for n, most in zip(found, MOST[kind, size], strict=True)), found


@pytest.mark.parametrize(("width", "words"), [(16, True), (17, False)])
def test_rows_of_whole_words_have_kernels_of_their_own(width: int, words: bool) -> None:
    names = {"matvec": "ek_rows_of_words_16", "matvec_t": "ek_columns_of_words_16", "outer_add": "ek_change_words"}
    for kind, name in names.items():
        graph = program(kind, INT16, 6, width)
        with running(graph, "smartwatch-m33", None) as stream:
            given = [np.ones(n, graph.port_dtype(v)) for v, n in (("a", 6), ("b", width))]
            assert (name in stream.measure("step", given)[1].by_symbol) == words, kind


# --- floats ----------------------------------------------------------------------------------------------------------


def real_learner(height: int, width: int) -> Graph:
    """An update in the place of a state, of rows that learn and rows that do not, by what is not always finite."""
    b = GraphBuilder(f"real_{height}_{width}")
    tall, wide = b.input("tall", (height,)), b.input("wide", (width,))
    w = b.state("w", np.random.default_rng(width).integers(-9, 10, (height, width)), reset="keep")
    b.output(b.op("matvec_t", tall, w), b.op("linear", wide, w))
    b.update(w, b.op("outer_add", w, tall, b.op("mul", wide, wide)))
    graph = run_passes(b.build(), LOWER)
    plan = plan_memory(graph)
    made = next(op.outputs[0] for op in graph.entries["step"].ops if op.kind == "outer_add")
    assert plan.buffers["step"][made] == plan.states["w"]
    return graph


@pytest.mark.drawn(2)
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [("zig", ()), *(pytest.param("gcc", flags, marks=pytest.mark.slow) for flags in ((), ("-DEK_FORCE_PORTABLE",)))],
)
def test_updates_of_floats_in_place(compiler: str, flags: tuple[str, ...]) -> None:
    """Whole numbers, of which every sum is exact: the very values of the reference, and its NaN where there is one."""
    for height, width in ((1, 1), (5, 7), (8, 16), (9, 37), (16, 70)):
        graph = real_learner(height, width)
        program, reference = Native(graph, compiler, flags), ReferenceStream(graph)
        rng = np.random.default_rng(height)
        for t in range(9):
            tall = rng.integers(-5, 6, height).astype(np.float32)
            tall[rng.random(height) < (0.0, 0.5, 1.0)[t % 3]] = 0
            wide = rng.integers(-5, 6, width).astype(np.float32)
            if t == 7:
                wide[-1] = 3e38  # its square is infinite, and not a number times zero
            code, got = program.entry("step", tall, wide)
            assert code == 0
            with np.errstate(all="ignore"):
                expected = reference.call("step", [tall, wide])
            for a, e in zip(got, expected, strict=True):
                np.testing.assert_array_equal(a, e, err_msg=f"{height}x{width}, step {t}")
