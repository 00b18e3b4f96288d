"""The op table: what each row infers is what it evaluates, whatever the operands."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgekit.errors import GraphError
from edgekit.ir import FLOAT32, INT4, INT8, INT16, INT32, OPS, SCALAR_OPS, SPIKE, GraphBuilder, QuantParams, Tensor
from edgekit.reference import Interpreter

BATCH = 3
INT8_W = Tensor(
    "w8", (4, 3), INT8, QuantParams(np.ones(4, np.float32) / 9, np.zeros(4, np.int32), 0, -127, 127),
    np.arange(12, dtype=np.int8).reshape(4, 3),
)  # fmt: skip


INT8_KERNEL = Tensor(
    "k8", (4, 2, 3), INT8, QuantParams(np.arange(1, 5, dtype=np.float32) / 9, np.zeros(4, np.int32), 0, -127, 127),
    (np.arange(24, dtype=np.int8) - 11).reshape(4, 2, 3),
)  # fmt: skip


def real(*shape):
    return Tensor("x", shape, FLOAT32)


def spikes(*shape):
    return Tensor("s", shape, SPIKE)


def const(*shape):
    return Tensor("c", shape, FLOAT32, data=np.random.default_rng(1).normal(size=shape).astype(np.float32))


def whole(dtype, *shape, name="i"):
    return Tensor(name, shape, dtype)


def whole_const(dtype, *shape, low=-7, high=8):
    data = np.random.default_rng(2).integers(low, high, size=shape)
    return Tensor("ic", shape, dtype, data=data.astype(dtype.numpy))


BODY = (
    ("add", (0, 1), ()),
    ("gt", (2, 0), ()),
    ("cast", (3,), (("to", "float32"),)),
    ("mul", (4, 1), ()),
)
# op -> operands and attributes; elementwise ops get theirs below
CASES = {
    "linear": [
        ([real(3), const(4, 3)], {}),
        ([real(2, 3), const(4, 3), real(2, 4)], {"form": "dense"}),
        ([spikes(2, 3), const(4, 3), const(4)], {"form": "event"}),
        ([spikes(3), INT8_W], {"form": "auto"}),
        ([real(3), real(4, 3), const()], {}),  # plastic weights
        ([real(3), const(4, 3), real(4)], {"form": "sparse"}),
        ([spikes(2, 3), INT8_W], {"form": "sparse"}),
        ([whole(INT8, 2, 3), whole_const(INT4, 4, 3)], {"accumulate": "int32"}),
        ([whole(INT16, 3), whole_const(INT8, 4, 3), whole(INT32, 4)], {"accumulate": "int32"}),
        ([spikes(3), whole_const(INT8, 4, 3), whole_const(INT16, 4)], {"accumulate": "int16"}),
        ([spikes(3), whole_const(INT16, 4, 3)], {"accumulate": "int32", "form": "event"}),
    ],
    "memory_update": [
        ([real(5, 2), const(2, 2), real(5, 3), const(2, 3)], {}),
        ([spikes(5, 2), const(2, 2), spikes(5, 1), const(2, 1)], {}),
        (
            [whole(INT16, 5, 2), whole_const(INT16, 2, 2), spikes(5, 3), whole_const(INT16, 2, 3)],
            {"accumulate": "int32"},
        ),
    ],
    "quantize": [
        ([real(2, 3), const(3), const(3)], {"to": "int8"}),
        ([real(4), const(), const()], {"to": "int16"}),
    ],
    "dequantize": [([whole(INT32, 2, 3), const(3)], {}), ([whole(INT8, 4), const()], {})],
    "lookup": [
        ([whole(INT8, 2, 3), whole_const(INT8, 256)], {}),
        ([whole(INT8, 5), whole_const(INT16, 256, low=-32768, high=32768)], {}),
        ([whole(INT16, 5), whole_const(INT16, 17, low=-32768, high=32768)], {}),
        ([whole(INT16, 3), whole_const(INT16, 4097, low=-32768, high=32768)], {}),
    ],
    "matvec": [
        ([whole(INT16, 3), whole(INT16, 4, 3)], {"to": "int32"}),
        ([whole(INT16, 2, 3), whole_const(INT16, 4, 3), whole(INT32, 4)], {"shift": 7, "to": "int16"}),
        ([spikes(2, 3), whole(INT16, 4, 3)], {"shift": 1, "to": "int16"}),
    ],
    "matvec_t": [
        ([real(4), real(4, 3)], {}),
        ([real(2, 4), const(4, 3)], {}),
        ([whole(INT16, 2, 4), whole(INT16, 4, 3)], {"shift": 18, "to": "int16"}),
    ],
    "distance": [
        ([real(3), real(4, 3)], {}),
        ([real(2, 3), const(4, 3)], {}),
        ([whole(INT16, 3), whole(INT16, 4, 3)], {}),
        ([whole(INT16, 2, 5, 3), whole_const(INT16, 4, 3)], {}),
    ],
    "outer_add": [
        ([real(4, 3), real(4), real(3)], {}),
        ([real(4, 3), real(2, 4), real(2, 3)], {}),
        ([whole(INT16, 4, 3), whole(INT16, 4), whole(INT16, 3)], {"shift": 16}),
        ([whole(INT16, 4, 3), whole(INT16, 5, 4), whole(INT16, 5, 3)], {"shift": 0}),
    ],
    "sum": [
        ([whole(INT8, 2, 3)], {"axis": 1}),
        ([real(2, 3)], {"axis": 0}),
        ([real(2, 3)], {"axis": 1, "keepdims": True}),
    ],
    "amax": [
        ([whole(INT16, 2, 3)], {"axis": 1}),
        ([spikes(2, 3)], {"axis": 0, "keepdims": True}),
        ([real(2, 3)], {"axis": 1}),
        ([real(1)], {"axis": 0, "keepdims": False}),
    ],
    "cumsum": [
        ([whole(INT32, 2, 3)], {"axis": 0, "exclusive": True}),
        ([real(2, 3)], {"axis": 1}),
        ([real(4)], {"axis": 0, "reverse": True}),
        ([real(3, 2)], {"axis": 0, "exclusive": True}),
        ([real(1)], {"axis": 0, "reverse": True, "exclusive": True}),
    ],
    "reshape": [([real(2, 3)], {"shape": (3, 2)}), ([spikes(4)], {"shape": (2, 1, 2)}), ([real()], {"shape": (1, 1)})],
    "transpose": [([real(2, 3, 4)], {"perm": (2, 0, 1)}), ([spikes(2, 3)], {"perm": (1, 0)})],
    "expand": [([real(1, 3)], {"shape": (4, 2, 3)}), ([spikes()], {"shape": (2,)}), ([real(3)], {"shape": (3,)})],
    "slice": [
        ([real(5, 2)], {"axis": 0, "start": 1, "stop": 5, "step": 3}),
        ([spikes(5)], {"axis": 0, "start": 0, "stop": 4}),
    ],
    "concat": [([real(2, 3), const(1, 3)], {"axis": 0}), ([spikes(2), spikes(3)], {"axis": 0})],
    "conv": [
        ([real(2, 7), const(4, 2, 3), const(4)], {"stride": (2,), "dilation": (1,)}),
        ([real(2, 7), INT8_KERNEL], {"stride": (1,), "dilation": (2,), "groups": 1}),
        ([spikes(4, 8), INT8_KERNEL, const(4)], {"stride": (3,), "dilation": (1,), "groups": 2}),
        ([real(3, 5, 6), const(6, 1, 2, 3), const(6)], {"stride": (1, 2), "dilation": (2, 1), "groups": 3}),
        ([spikes(1, 4, 4), const(2, 1, 4, 4)], {"stride": (1, 1), "dilation": (1, 1)}),
        ([real(2, 3, 4, 5), const(3, 2, 2, 1, 3)], {"stride": (1, 2, 1), "dilation": (1, 1, 2)}),
    ],
    "pad": [
        ([real(2, 3)], {"before": (0, 1), "after": (2, 0), "value": -1.5}),
        ([spikes(3)], {"before": (2,), "after": (1,)}),
        ([whole(INT8, 2, 1, 2)], {"before": (0, 0, 1), "after": (0, 0, 0), "value": -128}),
        ([real(4)], {"before": (0,), "after": (0,)}),
    ],
    "windows": [
        ([real(2, 6)], {"size": (3,), "stride": (2,), "dilation": (1,)}),
        ([spikes(2, 4, 5)], {"size": (2, 3), "stride": (1, 2), "dilation": (2, 1)}),
        ([whole(INT16, 3, 3, 3)], {"size": (2, 2, 2), "stride": (1, 1, 1), "dilation": (1, 1, 1)}),
    ],
    "gather": [([real(2, 3)], {"axis": 1, "indices": (2, 0, 0, 1)}), ([spikes(3)], {"axis": 0, "indices": (1,)})],
    "fused": [
        ([real(2, 3), const(3)], {"body": BODY, "results": (5, 3)}),
        ([real(4), const()], {"body": BODY, "results": (2,)}),
    ],
}
SHAPES = [[(2, 3)] * 3, [(2, 3), (3,), ()], [(), (2, 1), (1, 3)], [(1,), (4,), (4,)]]


def elementwise(kind):
    """Every combination of dtypes and shapes that the row accepts."""
    spec, found = SCALAR_OPS[kind], []
    attrs = [{}]
    if kind == "cast":
        attrs = [{"to": to} for to in ("float32", "spike", "int8", "int16", "int32")]
    elif kind == "rescale":
        attrs = [{"to": to, "shift": shift} for to, shift in (("int8", 0), ("int16", 15), ("int32", 31))]
    elif kind in ("add", "sub"):
        attrs = [{}, {"saturate": True}]
    for dtypes, shapes, given in itertools.product(
        itertools.product((FLOAT32, SPIKE, INT8, INT16, INT32), repeat=spec.arity[0]), SHAPES, attrs
    ):
        if shapes not in SHAPES[:2] and any(d.is_integer for d in dtypes):
            continue
        operands = [Tensor(f"v{i}", s, d) for i, (s, d) in enumerate(zip(shapes, dtypes, strict=False))]
        try:
            spec.check(operands, given)
        except GraphError:
            continue
        found.append((operands, given))
    return found


ALL = [(kind, *case) for kind in OPS for case in (elementwise(kind) if kind in SCALAR_OPS else CASES[kind])]


def operands(tensors, real_dtype=np.float32):
    rng = np.random.default_rng(0)
    arrays = []
    for t in tensors:
        values = rng.normal(size=(BATCH, *t.shape)) if t.data is None else t.data[None]
        if t.dtype.is_integer and t.data is None:
            values = rng.integers(*t.dtype.limits, endpoint=True, size=(BATCH, *t.shape))
        arrays.append(
            values > 0 if t.dtype is SPIKE else values.astype(real_dtype if t.dtype.is_float else t.dtype.numpy)
        )
    return arrays


def test_every_row_of_the_table_has_a_case():
    assert {kind for kind, _, _ in ALL} == set(OPS)


@pytest.mark.parametrize(("kind", "inputs", "attrs"), ALL, ids=[f"{k}-{i}" for i, (k, _, _) in enumerate(ALL)])
def test_inference_and_evaluation_agree(kind, inputs, attrs):
    spec = OPS[kind]
    typed = spec.check(inputs, attrs)
    assert spec.outputs in (None, len(typed))
    results = spec.evaluate(operands(inputs), attrs, inputs)
    assert len(results) == len(typed)
    for array, (shape, dtype) in zip(results, typed, strict=True):
        assert array.shape == (BATCH, *shape)
        assert array.dtype == dtype.numpy
    doubles = operands(inputs, np.float64)
    for single, double in zip(results, spec.evaluate(doubles, attrs, inputs), strict=True):
        if single.dtype == np.float32:
            widened = any(a.dtype == np.float64 for a in doubles) and kind not in ("cast", "fused", "dequantize")
            assert double.dtype == np.float64 or not widened
            np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-5)
        else:
            np.testing.assert_array_equal(single, double)
    if spec.cost is not None:
        cost = spec.cost(inputs, [Tensor("y", s, d) for s, d in typed], attrs)
        assert min(cost.macs, cost.acs, cost.bytes) >= 0
        assert cost.macs + cost.acs > 0


@pytest.mark.parametrize(("kind", "inputs", "attrs"), ALL, ids=[f"{k}-{i}" for i, (k, _, _) in enumerate(ALL)])
def test_streams_of_a_batch_do_not_mix(kind, inputs, attrs):
    arrays = operands(inputs)
    together = OPS[kind].evaluate(arrays, attrs, inputs)
    for n in range(BATCH):
        alone = OPS[kind].evaluate([a if a.shape[0] == 1 else a[n : n + 1] for a in arrays], attrs, inputs)
        for one, all_ in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], all_[n], rtol=1e-6, atol=1e-6)


def test_spike_inputs_cost_additions_only_and_real_ones_multiplications():
    dense = OPS["linear"].cost([real(3), const(4, 3)], [real(4)], {})
    event = OPS["linear"].cost([spikes(3), const(4, 3)], [real(4)], {})
    assert (dense.macs, dense.acs) == (12, 0)
    assert (event.macs, event.acs) == (0, 12)
    assert OPS["linear"].cost([real(3), INT8_W], [real(4)], {}).bytes == 12 + 12


def test_a_sparse_linear_costs_what_is_not_zero():
    w = Tensor("w", (2, 3), FLOAT32, data=np.array([[0, 2, 0], [0, 3, 4]], np.float32))
    cost = OPS["linear"].cost([real(3), w], [real(2)], {"form": "sparse"})
    assert (cost.macs, cost.acs) == (3, 0)
    assert cost.bytes == 3 * (4 + 2) + 4 * 4 + 12  # values, their rows, where columns start; the input
    assert OPS["linear"].cost([spikes(3), w], [real(2)], {"form": "sparse"}).acs == 3


def test_weights_that_change_cost_what_they_multiply():
    """Once for each row; additions alone of spikes."""
    w, y = whole(INT16, 4, 3), []
    assert OPS["matvec"].cost([whole(INT16, 2, 3), w], y, {}).macs == 24
    assert OPS["matvec"].cost([spikes(2, 3), w], y, {}).acs == 24
    assert OPS["matvec_t"].cost([real(4), real(4, 3)], y, {}).macs == 12
    assert OPS["outer_add"].cost([w, whole(INT16, 5, 4), whole(INT16, 5, 3)], y, {}).macs == 60


def test_an_update_moves_a_row_by_what_it_should_to_half_a_unit():
    """Up to every element, though each alone may move by less than half a unit; what saturates is lost."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(-90, 91, (1, 6)), rng.integers(-90, 91, (1, 50))
    tensors = [whole(INT16, 6, 50), whole(INT16, 6), whole(INT16, 50)]
    for shift in (0, 4, 12, 14, 20):
        given = [np.zeros((1, 6, 50), np.int16), a.astype(np.int16), b.astype(np.int16)]
        (y,) = OPS["outer_add"].evaluate(given, {"shift": shift}, tensors)
        off = np.cumsum(y[0], axis=1) - np.cumsum(a.T * b, axis=1) / 2**shift
        assert (off > -0.5).all()
        assert (off <= 0.5).all()
    given = [np.full((1, 6, 50), 32767, np.int16), a.astype(np.int16), np.full((1, 50), 90, np.int16)]
    (y,) = OPS["outer_add"].evaluate(given, {"shift": 0}, tensors)
    assert (y[0] == np.where(a.T >= 0, 32767, 32767 + 90 * a.T)).all()


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({}, [1, 3, 6, 10]),
        ({"exclusive": True}, [0, 1, 3, 6]),
        ({"reverse": True}, [10, 9, 7, 4]),
        ({"reverse": True, "exclusive": True}, [9, 7, 4, 0]),
    ],
    ids=str,
)
def test_running_sums_go_either_way_with_or_without_the_element(attrs, expected):
    x = np.array([[1, 2, 3, 4]], np.float32)
    (y,) = OPS["cumsum"].evaluate([x], {"axis": 0, **attrs}, [real(4)])
    np.testing.assert_array_equal(y, [expected])
    (columns,) = OPS["cumsum"].evaluate([x.reshape(1, 4, 1)], {"axis": 0, **attrs}, [real(4, 1)])
    np.testing.assert_array_equal(columns.reshape(-1), expected)


class Building:
    """A Decomposer over a builder."""

    def __init__(self, b):
        self.tensor, self.emit, self._b = b.tensor, b.op, b

    def const(self, stem, data, dtype=FLOAT32, quant=None):
        return self._b.const(self._b.fresh(stem), data, dtype, quant)


def test_a_decomposition_gives_the_same_values():
    for kind, spec in OPS.items():
        if spec.decompose is None:
            continue
        for inputs, attrs in CASES[kind]:
            if spec.group == "plastic" and inputs[0].dtype is INT16:
                continue  # integers have kernels: only reals are ever rewritten
            b = GraphBuilder("d")
            names = [
                b.const(f"c{i}", t.data, t.dtype, t.quant) if t.is_const else b.input(f"x{i}", t.shape, t.dtype)
                for i, t in enumerate(inputs)
            ]
            whole = b.op(kind, *names, **attrs)
            op = b._ops[-1]
            spec.decompose(op, Building(b))
            simpler = b._ops[-1].outputs[0]
            b.output(whole, simpler)
            given = {
                f"x{i}": a for i, (a, t) in enumerate(zip(operands(inputs), inputs, strict=True)) if not t.is_const
            }
            outputs, _ = Interpreter(b.build()).execute(given, {})
            np.testing.assert_allclose(outputs[whole], outputs[simpler], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "inputs", "attrs"),
    [
        ("linear", [real(3), const(4, 2)], {}),
        ("linear", [real(), const(4, 3)], {}),
        ("linear", [real(3), const(4, 3), real(3)], {}),
        ("linear", [real(3), const(4, 3), spikes(4)], {}),
        ("linear", [real(3), real(4, 3)], {"form": "sparse"}),
        ("linear", [spikes(1), const(2**16 + 1, 1)], {"form": "sparse"}),
        ("matvec", [real(3), real(4, 3)], {"to": "int16"}),  # products of reals are linear
        ("matvec", [whole(INT16, 3), whole(INT8, 4, 3)], {"to": "int16"}),
        ("matvec", [whole(INT8, 3), whole(INT16, 4, 3)], {"to": "int16"}),
        ("matvec", [whole(INT16, 4), whole(INT16, 4, 3)], {"to": "int16"}),
        ("matvec", [whole(INT16), whole(INT16, 4, 3)], {"to": "int16"}),
        ("matvec", [whole(INT16, 3), whole(INT16, 2, 4, 3)], {"to": "int16"}),
        ("matvec", [whole(INT16, 3), whole(INT16, 4, 3), whole(INT16, 4)], {"to": "int16"}),
        ("matvec", [whole(INT16, 3), whole(INT16, 4, 3), whole(INT32, 3)], {"to": "int16"}),
        ("matvec", [whole(INT16, 3), whole(INT16, 4, 3)], {}),
        ("matvec", [whole(INT16, 3), whole(INT16, 4, 3)], {"to": "int8"}),
        ("matvec", [whole(INT16, 3), whole(INT16, 4, 3)], {"to": "int16", "shift": -1}),
        ("matvec", [whole(INT16, 3), whole(INT16, 4, 3)], {"to": "int16", "shift": 47}),
        ("matvec_t", [real(3), real(4, 3)], {}),
        ("matvec_t", [real(4), real(4, 3)], {"to": "int16"}),
        ("matvec_t", [real(4), real(4, 3)], {"shift": 1}),
        ("matvec_t", [whole(INT16, 4), whole(INT16, 4, 3)], {"shift": 1}),
        ("matvec_t", [spikes(4), whole(INT16, 4, 3)], {"to": "int16"}),
        ("matvec_t", [whole(INT16, 4), real(4, 3)], {"to": "int16"}),
        ("outer_add", [real(4, 3), real(3), real(4)], {}),
        ("outer_add", [real(4, 3), real(2, 4), real(3, 3)], {}),
        ("outer_add", [real(4, 3), real(4), real(2, 3)], {}),
        ("outer_add", [real(4, 3), real(2, 2, 4), real(2, 2, 3)], {}),
        ("outer_add", [whole(INT16, 4, 3), whole(INT32, 4), whole(INT16, 3)], {}),
        ("outer_add", [whole(INT16, 4, 3), whole(INT16, 4), whole(INT16, 3)], {"shift": 31}),
        ("outer_add", [real(4, 3), real(4), real(3)], {"shift": 1}),
        ("cumsum", [spikes(3)], {"axis": 0}),
        ("cumsum", [real(3)], {"axis": 1}),
        ("memory_update", [real(5, 2), const(2, 2), real(4, 3), const(2, 3)], {}),
        ("memory_update", [real(5, 2), real(2, 2), real(5, 3), const(2, 3)], {}),
        ("sum", [spikes(3)], {"axis": 0}),
        ("sum", [real(3)], {"axis": 1}),
        ("sum", [real(3)], {"axis": -1}),
        ("reshape", [real(3)], {"shape": (2, 2)}),
        ("reshape", [real(3)], {"shape": (-1,)}),
        ("reshape", [real(4)], {"shape": (-2, -2)}),
        ("transpose", [real(2, 3)], {"perm": (0, 0)}),
        ("expand", [real(3)], {"shape": (2,)}),
        ("expand", [real(3)], {"shape": (2**63, 3)}),
        ("slice", [real(3)], {"axis": 0, "start": 2, "stop": 1}),
        ("slice", [real(3)], {"axis": 0, "start": 0, "stop": 4}),
        ("slice", [real(3)], {"axis": 0, "start": 0, "stop": 3, "step": 0}),
        ("concat", [real(2, 3), real(2, 2)], {"axis": 0}),
        ("concat", [real(2), spikes(2)], {"axis": 0}),
        ("gather", [real(3)], {"axis": 0, "indices": (3,)}),
        ("gather", [real(3)], {"axis": 0, "indices": (-1,)}),
        ("conv", [real(2, 7), const(4, 3, 3)], {"stride": (1,), "dilation": (1,)}),
        ("conv", [real(2, 7), real(4, 2, 3)], {"stride": (1,), "dilation": (1,)}),
        ("conv", [real(2, 7), const(4, 2, 3), const(3)], {"stride": (1,), "dilation": (1,)}),
        ("conv", [real(2, 7), const(4, 2, 3), real(4)], {"stride": (1,), "dilation": (1,)}),
        ("conv", [real(2, 7), const(4, 2, 8)], {"stride": (1,), "dilation": (1,)}),
        ("conv", [real(2, 7), const(4, 2, 3)], {"stride": (0,), "dilation": (1,)}),
        ("conv", [real(2, 7), const(4, 2, 3)], {"stride": (1, 1), "dilation": (1,)}),
        ("conv", [real(2, 7), const(4, 2, 3)], {"stride": (1,), "dilation": (2**62,)}),
        ("conv", [real(2, 7), const(3, 1, 3)], {"stride": (1,), "dilation": (1,), "groups": 2}),
        ("conv", [real(2, 7), const(4, 2, 3)], {"stride": (1,), "dilation": (1,), "groups": 0}),
        ("conv", [real(7), const(4, 7)], {"stride": (), "dilation": ()}),
        ("conv", [whole(INT8, 2, 7), const(4, 2, 3)], {"stride": (1,), "dilation": (1,)}),
        ("pad", [real(2, 3)], {"before": (0,), "after": (0,)}),
        ("pad", [real(3)], {"before": (-1,), "after": (0,)}),
        ("pad", [real(3)], {"before": (1,), "after": (0,), "value": 1e39}),
        ("pad", [spikes(3)], {"before": (1,), "after": (0,), "value": 1.0}),
        ("pad", [whole(INT8, 3)], {"before": (1,), "after": (0,), "value": 0.5}),
        ("pad", [whole(INT8, 3)], {"before": (1,), "after": (0,), "value": 128}),
        ("windows", [real(3)], {"size": (4,), "stride": (1,), "dilation": (1,)}),
        ("windows", [real(3)], {"size": (), "stride": (), "dilation": ()}),
        ("windows", [real(3)], {"size": (2, 2), "stride": (1, 1), "dilation": (1, 1)}),
        ("windows", [real(3)], {"size": (2,), "stride": (1,), "dilation": (0,)}),
        ("add", [real(2), real(3)], {}),
        ("add", [real(2), spikes(2)], {}),
        ("logical_and", [spikes(2), real(2)], {}),
        ("where", [real(2), real(2), real(2)], {}),
        ("cast", [real(2)], {"to": "int8"}),
        ("cast", [real(2)], {"to": "float32"}),
        ("fused", [real(2)], {"body": (("add", (0, 1), ()),), "results": (1,)}),
        ("fused", [real(2)], {"body": (("sum", (0,), ()),), "results": (1,)}),
        ("fused", [real(2)], {"body": (("neg", (0,), ()),), "results": (0,)}),
        ("fused", [real(2)], {"body": (("neg", (0,), ()),), "results": ()}),
        ("fused", [real(2)], {"body": ("neg",), "results": (1,)}),
        ("fused", [real(2), real(1)], {"body": (("add", (0, 1), ()),), "results": (2,)}),
    ],
)
def test_operands_that_do_not_fit_are_refused(kind, inputs, attrs):
    with pytest.raises(GraphError, match=f"op '{kind}'|op '(add|sum|neg)'"):
        OPS[kind].check(inputs, attrs)
