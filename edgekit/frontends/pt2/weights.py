"""Parameters, buffers and constants of a .pt2 file, from raw bytes described in JSON.

Files of torch 2.5 to 2.8 keep them as `torch.save` dicts: those are read by torch's restricted unpickler
(`weights_only=True`), which builds plain tensors and refuses every other global. Nothing else that is pickled is read.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from edgekit.errors import ModelError
from edgekit.frontends.pt2.archive import FAULTS, MAX_BYTES, MAX_JSON_BYTES, Archive, line
from edgekit.frontends.pt2.document import Doc, parse
from edgekit.frontends.pt2.values import MAX_ELEMENTS, Meta, Symbol, read_meta

ZIP_MAGIC = b"PK\x03\x04"


@dataclass(frozen=True, eq=False)
class Payload:
    """Tensors by their fully qualified names, and why others cannot be had."""

    tensors: Mapping[str, Tensor]
    withheld: Mapping[str, str]


def read_payload(opened: Archive, folder: str, config: str, legacy: str) -> Payload:
    """The tensors that `config` describes, or those of a `legacy` torch.save file, all in `folder`.

    Raises ModelError for a tensor that does not lie within its bytes, or does not have them at all.
    """
    if folder + legacy in opened.names:
        return _pickled(opened, folder + legacy)
    document = parse(opened.thing, config, opened.read(folder + config, MAX_JSON_BYTES))
    tensors: dict[str, Tensor] = {}
    withheld: dict[str, str] = {}
    storages: dict[str, bytearray] = {}
    total = 0
    for name, entry in document["config"].items():
        if entry["use_pickle"].boolean() or entry.get("tensor_meta").missing:
            withheld[name] = "is pickled (a custom object or a tensor subclass), and pickles are not run"
            continue
        file = entry["path_name"].text()
        if file not in storages:
            storages[file] = bytearray(opened.read(folder + file))
        meta = read_meta(entry["tensor_meta"])
        total += prod(meta.shape() or (0,))
        if total > MAX_ELEMENTS:
            raise ModelError(opened.thing, f"holds more than {MAX_ELEMENTS:,} weights")
        tensors[name] = _view(entry, meta, storages[file])
    return Payload(tensors, withheld)


def _view(doc: Doc, meta: Meta, storage: bytearray) -> Tensor:
    """A tensor of its own, copied out of a storage after its extent is known to lie within."""
    numbers = [*meta.sizes, *meta.strides, meta.offset]
    known = [n for n in numbers if not isinstance(n, Symbol)]
    if len(known) != len(numbers) or any(n < 0 for n in known):
        raise doc.fault("has open or negative sizes, strides or offset")
    sizes, strides = known[: len(meta.sizes)], known[len(meta.sizes) : -1]
    if 0 in sizes:
        return torch.empty(sizes, dtype=meta.dtype)
    last = known[-1] + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
    width = meta.dtype.itemsize
    if not storage:
        raise ModelError(doc.thing, f"{doc.place} was saved without its values", "export the module with real weights")
    if (last + 1) * width > len(storage) or len(storage) % width:
        raise doc.fault(f"reaches beyond its {len(storage):,} bytes")
    flat = torch.frombuffer(storage, dtype=meta.dtype)
    return flat.as_strided(sizes, strides, known[-1]).clone(memory_format=torch.contiguous_format)


def _pickled(opened: Archive, name: str) -> Payload:
    """The tensors of a dict that torch.save wrote, by the restricted unpickler."""
    data = opened.read(name)
    if not data:
        return Payload({}, {})
    _check_inner(opened.thing, name, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of a file that is then refused anyway
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # a damaged file raises RuntimeError, UnpicklingError, KeyError and others: the parsers share no base class
    except Exception as error:
        cause = "is damaged, or holds something other than plain tensors (perhaps code; it was not run)"
        raise ModelError(
            opened.thing, f"{name} {cause}", "export and save it again with torch 2.9 or later", [line(error)]
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ModelError(opened.thing, f"{name} holds no dict of tensors")
    tensors = {key: item.detach() for key, item in content.items() if isinstance(item, Tensor)}
    odd = [key for key, t in tensors.items() if t.layout is not torch.strided or t.is_quantized]
    if odd:
        raise ModelError(opened.thing, f"{name} holds tensors that are not plain", items=sorted(odd)[:20])
    if sum(t.numel() for t in tensors.values()) > MAX_ELEMENTS:
        raise ModelError(opened.thing, f"holds more than {MAX_ELEMENTS:,} weights")
    plain = {key: t.clone(memory_format=torch.contiguous_format) for key, t in tensors.items()}
    return Payload(plain, {key: "is no tensor" for key in content if key not in tensors})


def _check_inner(thing: str, name: str, data: bytes) -> None:
    """A torch.save file is a zip of stored members; anything else would be read by older, laxer code."""
    try:
        if not data.startswith(ZIP_MAGIC):
            raise ModelError(thing, f"{name} is not a zip of torch.save", "export and save it again")
        with zipfile.ZipFile(io.BytesIO(data)) as inner:
            members = inner.infolist()
    except FAULTS as error:
        raise ModelError(thing, f"{name} is damaged ({line(error)})") from error
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > MAX_BYTES:
        raise ModelError(thing, f"{name} is compressed or too large", "torch.save stores its members as they are")
