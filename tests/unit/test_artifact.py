"""The artifact: what is written is read back, always as the same bytes; the manifest's rules; whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import zipfile

import artifact_samples as samples
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgekit.artifact import (
    dump_tensors,
    load_tensors,
    pack_artifact,
    parse_json,
    read_artifact,
    validate_manifest,
    write_artifact,
)
from edgekit.errors import ArtifactError


def test_round_trip(tmp_path):
    path = tmp_path / "m.edge"
    written = write_artifact(path, samples.manifest(), samples.members())
    read = read_artifact(path)
    assert dict(read.members) == samples.members() == dict(written.members)
    assert read.manifest["target"] == "raspberrypi4"
    assert read.sha256 == written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert set(read.folder("c/")) == {"ek_tiny.c", "ek_tiny.h", "ek/linear.h", "ek/simd/neon.h"}


def test_same_input_gives_same_bytes_in_any_order():
    contents = samples.members()
    backwards = dict(reversed(list(contents.items())))
    assert pack_artifact(samples.manifest(), contents) == pack_artifact(samples.manifest(), backwards)


def test_any_zip_tool_can_open_it():
    with zipfile.ZipFile(io.BytesIO(samples.packed())) as file:
        assert file.testzip() is None
        assert file.namelist()[:4] == ["manifest.json", "graph.json", "weights.safetensors", "selftest.safetensors"]
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_standard_library_can_write_it():
    """The forger's unmodified output is accepted, so what its variants are refused for is what varies."""
    assert set(read_artifact(samples.forge(samples.canonical())).members) == set(samples.members())


def test_comment_is_digest_of_all_before():
    data = samples.packed()
    assert data[-64:].decode() == hashlib.sha256(data[:-64]).hexdigest()


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "c/../../x", "c/a.py", "notes.txt", "c\\x.c", "C/x.c", "c//x.c"]
)
def test_unknown_names_are_not_written(tmp_path, name):
    with pytest.raises(ArtifactError, match="not a name that an artifact may hold"):
        write_artifact(tmp_path / "m.edge", samples.manifest(), {**samples.members(), name: b""})
    assert list(tmp_path.iterdir()) == []


def test_required_members_are_required():
    contents = samples.members()
    del contents["weights.safetensors"]
    with pytest.raises(ArtifactError, match=r"weights\.safetensors missing"):
        pack_artifact(samples.manifest(), contents)


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "m.edge"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left"):
        write_artifact(path, samples.manifest(), samples.members())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_file(tmp_path):
    path = tmp_path / "broken.edge"
    path.write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match=r"broken\.edge: file: 7 bytes are too few"):
        read_artifact(path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_artifact(tmp_path / "absent.edge")
    with pytest.raises(ArtifactError, match="not a regular file"):
        read_artifact(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "2fast"}, "name is not a text of the right form"),
        ({"precision": "fp64"}, "precision must be one of"),
        ({"target": "../x"}, "target is not a text"),
        ({"surprise": 1}, "surprise is not a known key"),
        ({"entries": {"learn": {"inputs": [], "outputs": []}}}, "entries has no 'step'"),
        ({"entries": {"step": {"inputs": ["z"], "outputs": ["y"]}}}, "name different tensors"),
        ({"sizes": {"flash_bytes": -1, "ram_bytes": 1, "state_bytes": 1}}, "sizes.flash_bytes must be an integer"),
        ({"sizes": {"flash_bytes": True, "ram_bytes": 1, "state_bytes": 1}}, "sizes.flash_bytes must be an integer"),
        ({"sizes": {}}, "sizes.ram_bytes is missing"),
        ({"graph_sha256": "abc"}, "graph_sha256 is not a text"),
        ({"kernels": [{"entry": "learn", "op": "a", "kernel": "b"}]}, "is not an entry"),
        ({"provenance": {"x": [1]}}, "provenance.x must be a plain value"),
        ({"program": {**samples.manifest()["program"], "library": "native/other.so"}}, "is not a member"),
    ],
)
def test_manifest_rules(change, message):
    with pytest.raises(ArtifactError, match=message):
        pack_artifact(samples.manifest(**change), samples.members())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["a", "b", "c"]}, "names 3 classes, the output has 2"),
        ({"classes": ["a", "a"]}, "names a class twice"),
        ({"decision": "median"}, "io.decision must be one of"),
        ({"dt": 0}, "io.dt must be a positive number"),
        ({"inputs": []}, "io has no inputs"),
        ({"window": {"length": 4, "stride": 4, "layout": "flattened"}}, "does not divide the flattened input"),
        ({"window": {"length": 0, "stride": 4, "layout": "sequence"}}, "io.window.length must be an integer"),
    ],
)
def test_io_rules(change, message):
    with pytest.raises(ArtifactError, match=message):
        pack_artifact(samples.manifest(io={**samples.manifest()["io"], **change}), samples.members())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": [1.0, 1.0]}, "differ in length"),
        ({"offset": [0.0] * 4, "scale": [1.0] * 4}, "do not divide"),
        ({"offset": [], "scale": []}, "do not divide"),
        ({"scale": [1.0, 0.0, 1.0]}, "must be a positive number"),
        ({"scale": None}, "come together"),
        ({"dtype": "float128"}, "dtype is not a text"),
        ({"shape": [0]}, "must be an integer from 1"),
    ],
)
def test_normalisation_rules(change, message):
    document = samples.manifest()["io"]
    document["inputs"][0] |= change
    with pytest.raises(ArtifactError, match=message):
        pack_artifact(samples.manifest(io=document), samples.members())


def test_every_fault_of_a_manifest_is_listed():
    with pytest.raises(ArtifactError) as caught:
        validate_manifest({"schema_version": 1, "name": "2x", "precision": "none"})
    assert caught.value.cause == "edgekit is missing"
    assert "name is not a text of the right form: '2x'" in caught.value.items
    assert len(caught.value.items) == 9
    with pytest.raises(ArtifactError) as caught:
        validate_manifest({"schema_version": 1} | {f"key{i}": i for i in range(100)})
    assert caught.value.items[-1].startswith("and ")
    assert len(caught.value.items) == 12


_ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__"),
    st.sampled_from([np.float32, np.int8, np.int32, np.bool_, np.float16]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    ),
    max_size=4,
)


@settings(max_examples=50, deadline=None)
@given(_ARRAYS)
def test_tensors_round_trip(arrays):
    back = load_tensors(dump_tensors(arrays))
    assert set(back) == set(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def _safetensors(header: bytes, body: bytes = bytes(8)) -> bytes:
    return len(header).to_bytes(8, "little") + header + body


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        (1 << 60).to_bytes(8, "little") + b"{}",
        _safetensors(b"[]"),
        _safetensors(b'{"a": 1}'),
        _safetensors(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}} trailing'),
        _safetensors(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 16]}}'),
        _safetensors(b'{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}'),
        _safetensors(b'{"a": {"dtype": "Q3", "shape": [2], "data_offsets": [0, 8]}}'),
        _safetensors(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], "x": 1}}'),
        _safetensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'),
        _safetensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}'),
        _safetensors(
            b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},'
            b' "b": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}'
        ),
        _safetensors(
            b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},'
            b' "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
        ),
        _safetensors(b'{"a": {"dtype": "F32", "shape": [4294967296, 4294967296, 2], "data_offsets": [0, 8]}}'),
        _safetensors(b'{"__metadata__": [], "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'),
    ],
)
def test_malformed_tensors_are_refused(data):
    with pytest.raises(ArtifactError):
        load_tensors(data)


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": 1, "a": 2}',
        b"\xff",
        b"[" * 33 + b"]" * 33,
        b"9" * 30,
        b'{"a": 1} x',
        b"",
        b'"' + b"x" * 2000,
    ],
)
def test_json_is_strict(text):
    with pytest.raises(ArtifactError):
        parse_json(text, "text", 1000)


def test_brackets_in_strings_are_not_nesting():
    assert parse_json(b'["' + b"[" * 100 + b'\\"["]', "text", 1000) == ["[" * 100 + '"[']
