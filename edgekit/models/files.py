"""Model files on disk: edgekit's own format, and the state dicts of others; nothing is ever unpickled into code."""

from __future__ import annotations

import io as streams
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from edgekit.artifact.atomic import write_atomic
from edgekit.errors import ModelError, UsageError
from edgekit.models import FAMILIES
from edgekit.models.checkpoints import as_float32, from_checkpoint, restore

FORMAT, VERSION = "edgekit", 1
MAX_BYTES = 2**30
WRAPPERS = ("state_dict", "model_state_dict")
"""Keys under which training frameworks keep the weights inside a checkpoint."""


def save(model: Any, path: str | os.PathLike[str], io: Mapping[str, Any] | None = None) -> None:
    """Write {format, version, family, config, state_dict} to `path`, atomically, for `load`.

    `io` (normalisation, window, decision, class names; JSON-able) is kept in config["io"]; None keeps the model's own.
    The same model gives the same bytes.
    """
    family = getattr(model, "family", None)
    if family not in FAMILIES:
        raise UsageError(f"{type(model).__name__}", "is not of an edgekit family", "save its state_dict() instead")
    io = model.io if io is None else dict(io)
    try:
        json.dumps(io, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError("io", f"is not plain JSON data ({error})", "use lists, numbers and strings") from error
    content = {
        "format": FORMAT,
        "version": VERSION,
        "family": family,
        "config": {**model.config, **({"io": io} if io is not None else {})},
        "state_dict": {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()},
    }
    buffer = streams.BytesIO()
    torch.save(content, buffer)
    write_atomic(Path(path), buffer.getvalue())


def load(path: str | os.PathLike[str]) -> Any:
    """The eval-mode module that `save` wrote to `path`, with its `io`; any other file is a ModelError."""
    content = read_content(Path(path))
    if not _is_own(content):
        raise ModelError(str(path), "is not a file that edgekit.save wrote", "use read_state_dict and from_checkpoint")
    return _restore(Path(path), content)


def open_model(
    path: str | os.PathLike[str], config: Mapping[str, Any] | None = None, content: dict[str, Any] | None = None
) -> tuple[Any, dict[str, object]]:
    """The eval-mode module of any model file edgekit.models knows, and what was assumed about it.

    A file of `save` carries its own configuration, so that a `config` may only replace its `io`; any other file is a
    state dict for `from_checkpoint`. `content` is what `read_content` gave where the file was read before.
    """
    path = Path(path)
    content = read_content(path) if content is None else content
    if not _is_own(content):
        weights = _unwrap(path, content)
        try:
            return from_checkpoint(weights, config)
        except ModelError as error:
            raise type(error)(f"{path}: {error.thing}", error.cause, error.remedy, error.items) from error
    if extra := set(config or {}) - {"io"}:
        remedy = "only the key io may be given beside it"
        raise UsageError("config", f"{path} carries its own configuration", remedy, items=sorted(extra))
    module = _restore(path, content)
    module.io = (config or {}).get("io", module.io)
    return module, {}


def read_state_dict(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights in a .pt/.pth/.ckpt, .safetensors or .npz file, by name.

    A dict under `state_dict` or `model_state_dict` is unwrapped. Where keys of an .npz carry the prefix `sd.`, only
    those are weights, and the prefix is dropped. Pickles that hold code are refused and never run.
    """
    path = Path(path)
    return _unwrap(path, read_content(path))


def _is_own(content: Mapping[str, Any]) -> bool:
    return content.get("format") == FORMAT


def _restore(path: Path, content: Mapping[str, Any]) -> Any:
    expected = {"format": str, "version": int, "family": str, "config": dict, "state_dict": dict}
    if wrong := [key for key, kind in expected.items() if not isinstance(content.get(key), kind)]:
        raise ModelError(str(path), "is damaged: wrong or missing " + ", ".join(wrong))
    if content["version"] != VERSION:
        raise ModelError(str(path), f"version {content['version']} is unknown", f"this edgekit reads version {VERSION}")
    config = dict(content["config"])
    io = config.pop("io", None)
    weights, _ = as_float32(content["state_dict"])
    module = restore(content["family"], config, weights)
    module.io = io
    return module


def _unwrap(path: Path, content: Mapping[str, Any]) -> dict[str, Tensor]:
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
    if not content:
        raise ModelError(str(path), "holds no weights")
    if not all(isinstance(key, str) for key in content):
        raise ModelError(str(path), "its keys are not names", "save the module's state_dict()")
    return dict(content)


def read_content(path: Path) -> dict[str, Any]:
    """The file's content by the reader of its suffix, every fault as one ModelError."""
    if path.suffix not in READERS:
        raise ModelError(str(path), f"unknown suffix {path.suffix!r}", "known: " + " ".join(READERS))
    if not path.is_file():
        raise ModelError(str(path), "no such file" if not path.exists() else "is no regular file", "check the name")
    size = path.stat().st_size
    if size == 0:
        raise ModelError(str(path), "is empty", "save the model again")
    if size > MAX_BYTES:
        raise ModelError(str(path), f"{size:,} bytes is more than the {MAX_BYTES:,} that a model file may have")
    try:
        content = READERS[path.suffix](path)
    except ModelError:
        raise
    except pickle.UnpicklingError as error:
        raise ModelError(
            str(path),
            "holds something other than plain tensors and containers (perhaps code; it was not run)",
            "save the module's state_dict() with torch.save",
        ) from error
    # A damaged file raises RuntimeError, EOFError, KeyError and others: the parsers share no base class.
    except Exception as error:
        remedy = "save the model again, in the format of the suffix"
        raise ModelError(str(path), f"is damaged or not what its suffix says ({_first_line(error)})", remedy) from error
    if not isinstance(content, Mapping):
        raise ModelError(str(path), f"holds a {type(content).__name__}, not a dict of weights")
    return dict(content)


def _read_torch(path: Path) -> Any:
    _check_inflated(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch thinks of a file that is then refused anyway
        return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> Any:
    return safetensors.torch.load_file(path)


def _read_npz(path: Path) -> dict[str, Tensor]:
    _check_inflated(path)
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        names = [name for name in arrays.files if name.startswith("sd.")] or arrays.files
        return {name.removeprefix("sd."): torch.from_numpy(np.array(arrays[name])) for name in names}


READERS: dict[str, Callable[[Path], Any]] = {
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".ckpt": _read_torch,
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}


def _check_inflated(path: Path) -> None:
    """Refuse a zip whose members would inflate past the cap."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            total = sum(member.file_size for member in archive.infolist())
        if total > MAX_BYTES:
            raise ModelError(str(path), f"inflates to {total:,} bytes, more than {MAX_BYTES:,}")


def _first_line(error: Exception) -> str:
    if isinstance(error, KeyError):  # of a byte that is no instruction of a pickle: its number says nothing
        return "its bytes are not those of a model"
    first = (str(error).splitlines() or [type(error).__name__])[0]
    if "allow_pickle" in first:  # numpy advises to unpickle
        return "no array header, or pickled objects"
    return first.partition(". ")[0][:200]  # torch goes on about its own options
