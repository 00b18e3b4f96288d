"""Entropy-coded weights: any integers come back, near the entropy, in any artifact; what is malformed is refused."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np
import pytest
from artifact_samples import manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit.artifact import Artifact, pack_artifact, read_artifact
from edgekit.artifact.entropy import MAX_SYMBOLS, Coded, coded
from edgekit.artifact.rans import TOTAL, Form, Model, encode, normalised
from edgekit.artifact.tensors import dump_tensors, load_tensors
from edgekit.artifact.weights import CODING, SUFFIX, dump_weights, load_weights
from edgekit.errors import ArtifactError
from edgekit.ir import FLOAT32, INT8, GraphBuilder
from edgekit.runtime.selftest import make_selftest

RANDOM = np.random.default_rng(9)
NORMAL = np.clip(np.round(RANDOM.normal(0, 11, (100, 1000))), -127, 127).astype(np.int8)
SPARSE = (NORMAL * (RANDOM.random(NORMAL.shape) < 0.05)).astype(np.int8)

symbols = st.one_of(
    arrays.arrays(np.uint8, st.integers(1, 300)),
    arrays.arrays(np.uint8, st.integers(1, 600), elements=st.sampled_from([0, 0, 0, 1, 128, 255])),
)
integers = st.one_of(
    arrays.arrays(dtype, arrays.array_shapes(max_dims=3, max_side=12), elements=st.integers(-9, 9))
    for dtype in (np.int8, np.int16, np.int32)
)


def entropy(values: np.ndarray) -> float:
    """Bytes that no code of single values goes below."""
    share = np.unique(values, return_counts=True)[1] / values.size
    return float(-(share * np.log2(share)).sum() * values.size / 8)


@settings(max_examples=60, deadline=None)
@given(symbols, st.sampled_from([(1,), (2,), (4, 8), (1, 2)]), st.booleans())
def test_any_bytes_come_back(data: np.ndarray, planes: tuple[int, ...], nibbles: bool) -> None:
    made = coded(data, planes, nibbles=nibbles)
    assert made is not None
    block = made.to_bytes()
    assert np.array_equal(Coded.from_bytes(block, data.size).decoded(), data)
    assert np.array_equal(made.decoded(), data)


@settings(max_examples=60, deadline=None)
@given(arrays.arrays(np.int64, 256, elements=st.integers(0, 2**40)), st.integers(0, 256))
def test_frequencies_add_up_and_keep_what_occurs(counts: np.ndarray, silent: int) -> None:
    counts[:silent] = 0
    made = normalised(counts)
    assert made.sum() == TOTAL
    assert not made[counts > 0].min(initial=1) < 1
    assert not counts.any() or not made[counts == 0].any()


def test_a_block_is_as_short_as_its_entropy_and_runs_of_zeros_cost_little() -> None:
    plain = coded(NORMAL.view(np.uint8).reshape(-1))
    sparse = coded(SPARSE.view(np.uint8).reshape(-1))
    assert plain is not None
    assert sparse is not None
    assert entropy(NORMAL) < len(plain.to_bytes()) < 1.01 * entropy(NORMAL)
    assert len(sparse.to_bytes()) < 1.03 * entropy(SPARSE)
    runs = np.repeat(SPARSE[:, :100], 10, axis=1) * (np.arange(1000) < 100).astype(np.int8)
    found = coded(runs.view(np.uint8).reshape(-1))
    assert found is not None
    assert found.model.form.zeros
    assert len(found.to_bytes()) < 0.9 * entropy(runs)
    mixed = np.where(np.arange(100)[:, None] % 5, NORMAL, NORMAL // 8)  # rows of small weights among others
    rows = coded(mixed.view(np.uint8).reshape(-1))
    assert rows is not None
    assert rows.model.form.span
    assert len(rows.to_bytes()) < 0.97 * entropy(mixed)
    wide = np.round(RANDOM.normal(0, 3000, 20_000)).astype(np.int16)
    halves = coded(wide.view(np.uint8), (2,))
    assert halves is not None
    assert len(halves.to_bytes()) < 2.15 * wide.size * np.log2(3000 * 4.13) / 16  # of its distribution


def test_a_hundred_thousand_weights_take_less_than_a_second() -> None:
    began = time.process_time()
    member, is_coded = dump_weights({"w": NORMAL})
    assert is_coded
    assert np.array_equal(load_weights(member)["w"], NORMAL)
    assert time.process_time() - began < 1


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=5), integers, max_size=3)
)
def test_any_arrays_come_back_as_they_were_and_the_same_way_each_time(tensors: dict[str, np.ndarray]) -> None:
    member, is_coded = dump_weights(tensors)
    found = load_weights(member)
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)
    assert is_coded == any(name.endswith(SUFFIX) for name in load_tensors(member))
    assert dump_weights(dict(reversed(tensors.items())))[0] == member


def test_only_what_gets_smaller_is_coded() -> None:
    noise = RANDOM.integers(-128, 128, 5000).astype(np.int8)
    tensors = {"noise": noise, "floats": NORMAL.astype(np.float32), "few": NORMAL[0, :50], "w": NORMAL}
    names = load_tensors(dump_weights(tensors)[0]).keys()
    assert names == {"noise", "floats", "few", "w" + SUFFIX}
    called_so = {"w" + SUFFIX: NORMAL}
    member, is_coded = dump_weights(called_so)
    assert not is_coded
    assert np.array_equal(load_weights(member)["w" + SUFFIX], NORMAL)


BLOCK = load_tensors(dump_weights({"w": SPARSE[:4]})[0])["w" + SUFFIX].tobytes()


def refused(block: bytes, match: str = "") -> None:
    member = dump_tensors({"w" + SUFFIX: np.frombuffer(block, np.uint8)}, CODING)
    with pytest.raises(ArtifactError, match=match):
        load_weights(member)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 8 * len(BLOCK) - 1))
def test_a_flipped_bit_never_gives_the_same_weights_nor_anything_but_a_refusal(bit: int) -> None:
    broken = bytearray(BLOCK)
    broken[bit // 8] ^= 1 << bit % 8
    member = dump_tensors({"w" + SUFFIX: np.frombuffer(bytes(broken), np.uint8)}, CODING)
    try:
        found = load_weights(member)["w"]
    except ArtifactError:
        return
    assert found.dtype != np.int8 or not np.array_equal(found, SPARSE[:4])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(block: bytes) -> None:
    with contextlib.suppress(ArtifactError):
        Coded.from_bytes(block, 40).decoded()


def test_malformed_blocks_are_refused() -> None:
    refused(BLOCK[:-1], "half a word")
    refused(BLOCK[:-2], "cut short")
    refused(BLOCK + b"\0\0", "does not end")
    refused(BLOCK[:5], "no array has")
    refused(b"", "no coded array")
    refused(b"f" + BLOCK[1:], "no array has")
    refused(b"b\xff" + BLOCK[2:], "no array has")
    refused(b"b\1" + b"\xff" * 4 + BLOCK[10:], "cap")
    refused(b"b\1" + (MAX_SYMBOLS + 1).to_bytes(4, "little") + BLOCK[10:], "symbols")
    refused(b"b\1" + bytes(4) + BLOCK[10:], "symbols")
    refused(b"b\1" + (4000).to_bytes(4, "little"), "cut short")
    head = BLOCK[:10]
    refused(head + (5 << 4).to_bytes(4, "little"), "spans")
    refused(head + (7 << 7 | 3 << 15).to_bytes(4, "little"), "before it")
    refused(head + (3 << 7 | 7 << 15 | 9 << 23).to_bytes(4, "little"), "order 9")
    refused(head + (3 << 7 | 7 << 15 | 4095 << 27 | 2**43 - 2**39).to_bytes(8, "little"), "add up")
    refused(head + b"\0" * 41, "cut short")
    refused(head + b"\0\0\x80" + b"\0" * 41, "after its tables")


def test_tables_count_as_what_reading_them_takes() -> None:
    """A short array with tables of every context is small in a file, and would take long: many are refused at once."""
    form = Form(planes=8, zeros=True, span=16)
    only = np.zeros(256, np.int64)
    only[form.zero] = TOTAL
    model = Model(form, np.zeros(4, np.uint8), (only,) * form.contexts)
    short = Coded(64, model, encode(np.full(64, form.zero, np.uint8), model))
    block = np.frombuffer(b"b\1" + (64).to_bytes(4, "little") + short.to_bytes(), np.uint8)
    few = {f"{at}{SUFFIX}": block for at in range(20)}
    assert not any(array.any() for array in load_weights(dump_tensors(few, CODING)).values())
    many = dump_tensors({f"{at}{SUFFIX}": block for at in range(2000)}, CODING)
    began = time.process_time()
    with pytest.raises(ArtifactError, match="cap"):
        load_weights(many)
    assert time.process_time() - began < 20


def test_a_member_with_a_tensor_twice_or_an_unknown_coding_is_refused() -> None:
    both = {"w": NORMAL[:1], "w" + SUFFIX: np.frombuffer(BLOCK, np.uint8)}
    with pytest.raises(ArtifactError, match="twice"):
        load_weights(dump_tensors(both, CODING))
    with pytest.raises(ArtifactError, match="not known"):
        load_weights(dump_tensors({"w": NORMAL}, {"coding": "zip"}))
    with pytest.raises(ArtifactError, match="no coded array"):
        load_weights(dump_tensors({"w" + SUFFIX: NORMAL}, CODING))


def built(weights: np.ndarray, **more: Any) -> Artifact:
    """An artifact of one product, whose manifest says no more than it has to."""
    b = GraphBuilder("tiny")
    dtype, sums = (INT8, {"accumulate": "int32"}) if weights.dtype == np.int8 else (FLOAT32, {})
    b.output(b.op("linear", b.input("x", weights.shape[1:], dtype), b.const("w", weights, dtype), **sums))
    graph = b.build()
    ports = {name: {"shape": list(t.shape), "dtype": t.dtype.name} for name, t in graph.tensors.items()}
    step = graph.entries["step"]
    io = {side: [{"name": n, **ports[n]} for n in getattr(step, side)] for side in ("inputs", "outputs")}
    told = manifest(
        graph_sha256=graph.hash(),
        entries={"step": {"inputs": list(step.inputs), "outputs": list(step.outputs)}},
        io=io,
        **more,
    )
    stream = {n: np.zeros((1, 3, *graph.tensors[n].shape), graph.port_dtype(n)) for n in step.inputs}
    return Artifact.build(told, graph, make_selftest(graph, stream), {"native/libek_tiny.so": b"\x7fELF"})


def test_files_that_old_readers_understand_stay_at_version_1() -> None:
    coded_file, plain = built(NORMAL), built(NORMAL.astype(np.float32))
    assert coded_file.manifest["schema_version"] == 2
    assert coded_file.manifest["sizes"]["weights_coded_bytes"] < NORMAL.size
    assert plain.manifest["schema_version"] == 1
    assert "weights_coded_bytes" not in plain.manifest["sizes"]
    recipe = {"recipe": {"schema_version": 1, "precision": "fp32"}, "original_sha256": "0" * 64}
    assert built(NORMAL.astype(np.float32), compression=recipe).manifest["schema_version"] == 2
    for of_flash in ("coded_bytes", "decoded_bytes"):  # of a program whose constants are coded in flash
        sizes = {**plain.manifest["sizes"], of_flash: 300}
        assert built(NORMAL.astype(np.float32), sizes=sizes).manifest["schema_version"] == 2


def test_a_file_of_version_1_has_no_coded_weights() -> None:
    artifact = built(NORMAL)
    told = {key: value for key, value in artifact.manifest.items() if key != "members"} | {"schema_version": 1}
    packed = pack_artifact(told, artifact.file.members)
    with pytest.raises(ArtifactError, match="no coded weights"):
        Artifact(read_artifact(packed), packed).graph  # noqa: B018  (read on first use)


def test_the_form_is_what_the_page_says() -> None:
    """A decoder of a few lines, from docs/ARTIFACT.md alone."""
    (block,) = load_tensors(dump_weights({"w": NORMAL[:9]})[0]).values()
    raw = block.tobytes()
    rank = raw[1]
    bits = int.from_bytes(raw[2 + 4 * rank :], "little")
    assert bits & 127 == 0  # whole bytes, no tables of their own after zeros, one plane, one class
    low, high, order, value = bits >> 7 & 255, bits >> 15 & 255, bits >> 23 & 15, (bits >> 27 & 4095) + 1
    at, table = 39, [value]
    for _ in range(low + 1, high):
        zeros = 0
        while not bits >> at & 1:
            at, zeros = at + 1, zeros + 1
        number = ((1 << zeros | bits >> at + 1 & (1 << zeros) - 1) - 1 << order) + (
            bits >> at + 1 + zeros & (1 << order) - 1
        )
        at += 1 + zeros + order
        value += -(number + 1) // 2 if number % 2 else number // 2
        table.append(value)
    table.append(4096 - sum(table))
    words = np.frombuffer(raw[2 + 4 * rank + -(-at // 8) :], "<u2").tolist()
    state, left, found = words[0] << 16 | words[1], words[2:], []
    for _ in range(9000):
        slot, symbol, start = state % 4096, 0, 0
        while start + table[symbol] <= slot:
            start, symbol = start + table[symbol], symbol + 1
        state = table[symbol] * (state // 4096) + slot - start
        if state < 65536:
            state = state << 16 | left.pop(0)
        found.append(symbol + low - 128)
    assert found == NORMAL[:9].reshape(-1).tolist()
    assert (state, left) == (65536, [])
