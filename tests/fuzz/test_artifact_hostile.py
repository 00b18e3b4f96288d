"""Hostile artifacts: damaged ones, and forged ones whose digest was made right again. Each is refused in one line."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import artifact_samples as samples
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.artifact import read_artifact
from edgekit.errors import ArtifactError

SMALL = samples.packed()
LARGE = samples.packed(weights=60_000)


def refused(data: bytes, match: str | None = None) -> None:
    with pytest.raises(ArtifactError, match=match) as caught:
        read_artifact(data)
    assert "\n" not in str(caught.value).split("\n  - ")[0]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_truncated_at_every_kilobyte_and_near_the_end(data):
    for size in [*range(0, len(data), 1024), *range(len(data) - 200, len(data))]:
        refused(data[:size])


def test_every_byte_of_a_small_artifact_flipped():
    for at in range(len(SMALL)):
        refused(SMALL[:at] + bytes([SMALL[at] ^ 0xFF]) + SMALL[at + 1 :])


def test_two_thousand_random_bits_of_a_large_artifact_flipped(drawn_seed):
    rng = np.random.default_rng(drawn_seed)
    for at, bit in zip(rng.integers(len(LARGE), size=2000), rng.integers(8, size=2000), strict=True):
        refused(LARGE[:at] + bytes([LARGE[at] ^ (1 << bit)]) + LARGE[at + 1 :])


@pytest.mark.parametrize("bits", [0x01, 0x80, 0xFF])
def test_every_byte_flipped_under_a_valid_digest(bits):
    """Spare bits at the end of a deflate stream carry nothing; any other change must be noticed."""
    honest = read_artifact(SMALL)
    for at in range(len(SMALL) - samples.DIGEST_CHARS):
        try:
            read = read_artifact(samples.reseal(SMALL[:at] + bytes([SMALL[at] ^ bits]) + SMALL[at + 1 :]))
        except ArtifactError:
            continue
        assert read.manifest == honest.manifest
        assert read.members == honest.members


def test_bytes_before_and_after():
    body = SMALL[: -samples.DIGEST_CHARS]
    refused(b"#!/bin/sh\n" + SMALL)
    refused(SMALL + b"\n")
    refused(samples.seal(b"#!/bin/sh\n" + body), "end record")
    refused(samples.seal(body + b"\0" * 8), "end record")
    refused(samples.reseal(SMALL + b"\0" * 8), "end record")


def _directory(data: bytes) -> tuple[int, int, int]:
    """(start of the central directory, its size, start of the end record)"""
    end = len(data) - samples.DIGEST_CHARS - 22
    size, start = struct.unpack_from("<2I", data, end + 12)
    return start, size, end


def test_two_central_directories():
    start, size, end = _directory(SMALL)
    directory, record = SMALL[start:end], bytearray(SMALL[end : -samples.DIGEST_CHARS])
    refused(samples.seal(SMALL[:end] + directory + record), "end record")  # the record points at the first
    record[16:20] = struct.pack("<I", start + size)  # the record points at the second
    refused(samples.seal(SMALL[:end] + directory + record), "belong to no member")


def test_a_gap_between_members():
    start, _, end = _directory(SMALL)
    record = bytearray(SMALL[end : -samples.DIGEST_CHARS])
    record[16:20] = struct.pack("<I", start + 4)
    refused(samples.seal(SMALL[:start] + b"gap!" + SMALL[start:end] + bytes(record)), "belong to no member")


def test_more_entries_than_members():
    _, _, end = _directory(SMALL)
    record = bytearray(SMALL[end : -samples.DIGEST_CHARS])
    for count, message in ((10, "cut short"), (60_000, "end record")):
        record[8:12] = struct.pack("<2H", count, count)
        refused(samples.seal(SMALL[:end] + bytes(record)), message)


@pytest.mark.parametrize("name", ["../x", "c/../../x", "/x", "x", "c/x.py", "c/\0.c", "c/" + "x" * 300 + ".c", "c/ü.c"])
def test_names(name):
    refused(samples.forge([*samples.canonical(), (name, b"")]))


def test_order_and_duplicates():
    entries = samples.canonical()
    refused(samples.forge([entries[1], entries[0], *entries[2:]]), "canonical order")
    refused(samples.forge([*entries[:-2], entries[-1], entries[-2]]), "canonical order")
    refused(samples.forge([*entries, entries[-1]]), "duplicate")


@pytest.mark.parametrize(
    "form",
    [{"mode": 0o120777}, {"mode": 0o100755}, {"mode": 0o040755}, {"date": 1990}, {"extra": b"\x01\x00\x04\x00abcd"}],
    ids=["symlink", "executable", "directory", "time", "extra field"],
)
def test_attributes_times_and_extra_fields(form):
    refused(samples.forge(samples.canonical(), **form), "only form edgekit writes")


def _patched(data: bytes, name: bytes, field: int, value: bytes) -> bytes:
    """The same field of the local and the central header of member `name` overwritten; `field` counts from `flags`."""
    out = bytearray(data)
    for signature, flags, header in ((b"PK\3\4", 6, 30), (b"PK\1\2", 8, 46)):
        at = -1
        while True:
            at = out.index(signature, at + 1)
            if out[at + header : at + header + len(name)] == name:
                break
        out[at + flags + field : at + flags + field + len(value)] = value
    return samples.reseal(bytes(out))


FLAGS, METHOD, PACKED, SIZE = 0, 2, 12, 16


def test_encryption_and_other_methods():
    refused(_patched(SMALL, b"graph.json", FLAGS, b"\1\0"), "only form edgekit writes")
    refused(_patched(SMALL, b"graph.json", METHOD, struct.pack("<H", 12)), "not allowed")
    refused(_patched(SMALL, b"graph.json", SIZE, b"\xff" * 4), "more than the cap")


def _with_weights(body: bytes, declared: int, crc: int) -> bytes:
    """An artifact whose deflated weights are `body` and whose headers declare `declared` bytes."""
    entries = samples.canonical()
    at = next(i for i, (name, _) in enumerate(entries) if name == "weights.safetensors")
    entries[at] = ("weights.safetensors", body)
    data = samples.forge(entries)
    data = _patched(data, b"weights.safetensors", METHOD, struct.pack("<H", 8))
    data = _patched(data, b"weights.safetensors", 8, struct.pack("<I", crc))
    return _patched(data, b"weights.safetensors", SIZE, struct.pack("<I", declared))


def _deflated(data: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(data) + deflate.flush()


def test_zip_bomb_stops_at_the_declared_size():
    huge = bytes(100 << 20)
    honest = len(samples.members()["weights.safetensors"])
    bomb = _with_weights(_deflated(huge), honest, zlib.crc32(huge[:honest]))
    del huge
    tracemalloc.start()
    try:
        refused(bomb, "does not inflate to the size its header declares")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_a_size_that_the_manifest_does_not_know_is_never_inflated():
    huge = bytes(100 << 20)
    bomb = _with_weights(_deflated(huge), len(huge), zlib.crc32(huge))
    del huge
    tracemalloc.start()
    try:
        refused(bomb, "size differs from the one in the manifest")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_oversized_members():
    refused(_with_weights(b"\3\0", (256 << 20) + 1, 0), "more than the cap of 268,435,456")
    entries = samples.canonical()
    huge = [(f"model.{kind}", b"") for kind in ("onnx", "tflite", "nir")]
    data = samples.forge([*entries, *huge])
    for name, _ in huge:
        data = _patched(data, name.encode(), METHOD, struct.pack("<H", 8))
        data = _patched(data, name.encode(), SIZE, struct.pack("<I", 256 << 20))
    refused(data, "total over the cap")


def test_truncated_and_overlong_deflate_streams():
    honest = samples.members()["weights.safetensors"]
    body, crc = _deflated(honest), zlib.crc32(honest)
    assert read_artifact(_with_weights(body, len(honest), crc)).members["weights.safetensors"] == honest
    refused(_with_weights(body[:-1], len(honest), crc))
    refused(_with_weights(body + b"\0", len(honest), crc), "does not inflate")
    refused(_with_weights(b"\xff" + body, len(honest), crc))
    refused(_with_weights(body, len(honest), crc ^ 1), "CRC-32")


@pytest.mark.parametrize("version", [0, 3, 999, "1", True, None, 1.0])
def test_unknown_schema_version(version):
    refused(samples.rewrite_manifest(lambda d: d.update(schema_version=version)), "schema version .* is unknown")


def test_manifest_that_disagrees_with_the_members():
    def other_hash(document):
        document["members"]["c/ek_tiny.c"]["sha256"] = "0" * 64

    refused(samples.rewrite_manifest(other_hash), "SHA-256 differs")
    refused(samples.rewrite_manifest(lambda d: d["members"]["graph.json"].update(bytes=1)), "size differs")
    refused(samples.rewrite_manifest(lambda d: d["members"].pop("graph.json")), "does not list the members")
    refused(samples.rewrite_manifest(lambda d: d.pop("members")), "does not list the members")
    refused(samples.rewrite_manifest(lambda d: d["members"].update({"c/x.c": {}})), "does not list the members")
    refused(samples.rewrite_manifest(lambda d: d["members"].update({"graph.json": 3})), "size differs")


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"null", b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000])
def test_manifest_that_is_no_object(text):
    refused(samples.forge([("manifest.json", text), *samples.canonical()[1:]]), r"manifest\.json")


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(samples.manifest())), _JSON)
def test_any_value_in_any_field_is_accepted_or_refused_but_never_crashes(field, value):
    data = samples.rewrite_manifest(lambda d: d.update({field: value}))
    try:
        read_artifact(data)
    except ArtifactError:
        return


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(samples.manifest()["io"])), _JSON)
def test_any_value_in_any_field_of_io_never_crashes(field, value):
    data = samples.rewrite_manifest(lambda d: d["io"].update({field: value}))
    try:
        read_artifact(data)
    except ArtifactError:
        return
