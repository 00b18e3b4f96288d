"""Valid artifacts for tests, and a forger: the standard library's zipfile writing the same form, or almost."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile
from collections.abc import Iterable
from typing import Any

import numpy as np

from edgekit.artifact import dump_json, dump_tensors, pack_artifact

DIGEST_CHARS = 64


def manifest(**changes: Any) -> dict[str, Any]:
    """A complete manifest without its `members` table."""
    return {
        "schema_version": 1,
        "edgekit": "0.1.0",
        "name": "tiny",
        "target": "raspberrypi4",
        "precision": "fp32",
        "graph_sha256": "0" * 64,
        "entries": {"step": {"inputs": ["x"], "outputs": ["y"]}},
        "io": {
            "inputs": [
                {"name": "x", "shape": [6], "dtype": "float32", "rate_hz": 20, "offset": [0.0] * 3, "scale": [0.5] * 3}
            ],
            "outputs": [{"name": "y", "shape": [2], "dtype": "float32"}],
            "dt": 0.05,
            "window": {"length": 40, "stride": 40, "layout": "sequence"},
            "decision": "sum",
            "classes": ["clapping", "typing"],
        },
        "sizes": {"flash_bytes": 1024, "ram_bytes": 256, "state_bytes": 64},
        "provenance": {"source": "tiny.pt", "torch": "2.13.0"},
        "program": {
            "arch": "aarch64",
            "cpu": "cortex_a72",
            "simd": "neon",
            "compiler": "zig 0.17.1",
            "library": "native/libek_tiny.so",
            "flags": ["-O2"],
        },
        "kernels": [{"entry": "step", "op": "linear0", "kernel": "linear_dense_f32"}],
        **changes,
    }


def members(weights: int = 8) -> dict[str, bytes]:
    """The other members of a small artifact with `weights` float32 weights."""
    rng = np.random.default_rng(0)
    return {
        "graph.json": b'{"schema_version": 1}',
        "weights.safetensors": dump_tensors({"w": rng.normal(size=weights).astype(np.float32)}),
        "selftest.safetensors": dump_tensors({"x": np.zeros((3, 6), np.float32)}),
        "native/libek_tiny.so": b"\x7fELF" + bytes(40),
        "c/ek_tiny.c": b"int ek_tiny_step(void);\n",
        "c/ek_tiny.h": b"#pragma once\n",
        "c/ek/linear.h": b"/* linear */\n",
        "c/ek/simd/neon.h": b"/* neon */\n",
    }


def packed(weights: int = 8, **changes: Any) -> bytes:
    """The bytes of a valid artifact."""
    return pack_artifact(manifest(**changes), members(weights))


def full_manifest(contents: dict[str, bytes], **changes: Any) -> bytes:
    """manifest.json with its `members` table, as text."""
    table = {name: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for name, d in contents.items()}
    return dump_json({**manifest(), "members": table, **changes})


def seal(body: bytes) -> bytes:
    """`body` and its digest: what a forger can always do."""
    return body + hashlib.sha256(body).hexdigest().encode()


def reseal(data: bytes) -> bytes:
    """The same file after its digest was made right again."""
    return seal(data[:-DIGEST_CHARS])


def forge(entries: Iterable[tuple[str, bytes]], *, mode: int = 0o100644, date: int = 1980, extra: bytes = b"") -> bytes:
    """A sealed zip written by the standard library: any names, any order, duplicates allowed."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as file:
        warnings.simplefilter("ignore", UserWarning)  # duplicate names are meant
        for name, data in entries:
            info = zipfile.ZipInfo(name, date_time=(date, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr, info.extra = 3, mode << 16, extra
            file.writestr(info, data, compress_type=zipfile.ZIP_STORED)
        file.comment = b"0" * DIGEST_CHARS
    return reseal(buffer.getvalue())


def canonical() -> list[tuple[str, bytes]]:
    """Every member of a valid artifact, in order."""
    contents = members()
    return [("manifest.json", full_manifest(contents)), *contents.items()]


def rewrite_manifest(change: Any) -> bytes:
    """A well-formed artifact whose manifest went through `change(dict)`."""
    entries = canonical()
    document = json.loads(entries[0][1])
    change(document)
    return forge([("manifest.json", dump_json(document)), *entries[1:]])
