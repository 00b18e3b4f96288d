"""Data files of the command line: .npy, and .npz with `x`, perhaps `y`, `scale` and `subject` (CONTRACT)."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.artifact.atomic import write_atomic
from edgekit.errors import DataError

Array = npt.NDArray[Any]
MAX_BYTES = 4 << 30


@dataclass(frozen=True)
class Data:
    """`x` in raw units, float32; `y` the labels when the file has them."""

    x: Array
    y: Array | None = None


def _check_size(path: Path) -> None:
    if not path.is_file():
        raise DataError(str(path), "is not a regular file" if path.exists() else "no such file")
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    if size == 0:
        raise DataError(str(path), "is empty")
    if size > MAX_BYTES:
        raise DataError(str(path), f"holds {size:,} bytes, more than {MAX_BYTES:,}", "split it")


def _raw(path: Path) -> tuple[Array, Array | None]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return loaded, None
    with loaded:
        if "x" not in loaded.files:
            raise DataError(str(path), "has no array 'x'", f"it has {', '.join(loaded.files) or 'none'}")
        x = loaded["x"]
        if "scale" in loaded.files:
            x = (x * loaded["scale"]).astype(np.float32)
        return x, loaded["y"] if "y" in loaded.files else None


def read_data(path: Path) -> Data:
    """Read an array file; DataError for anything that is not numbers, is empty or cannot be read. Never unpickles."""
    _check_size(path)
    try:
        x, y = _raw(path)
    except DataError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError, TypeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        if "allow_pickle" in first:  # numpy's advice to unpickle is none that we would give
            first = "no array header, or pickled objects"
        raise DataError(str(path), f"is not a .npy or .npz file that can be read ({first[:120]})") from error
    except MemoryError as error:
        raise DataError(str(path), "claims more data than this computer has memory for") from error
    if x.dtype.kind not in "fiub":
        raise DataError(str(path), f"holds {x.dtype} values, not numbers")
    if x.size == 0:
        raise DataError(str(path), f"holds no samples (shape {x.shape})")
    if y is not None and (y.ndim != 1 or y.dtype.kind not in "iu" or len(y) != len(x)):
        raise DataError(str(path), f"labels y {y.dtype}{y.shape} do not fit x {x.shape}", "one integer per sample")
    with np.errstate(over="ignore"):  # a number beyond float32 becomes Inf, which the program refuses
        return Data(x.astype(np.float32, copy=False), y)


def check_labels(path: Path, y: Array | None, classes: int) -> None:
    """DataError when a label is not the index of a class."""
    if y is not None and (y.min() < 0 or y.max() >= classes):
        raise DataError(str(path), f"has labels from {y.min()} to {y.max()}, the artifact has {classes} classes")


def check_output(path: Path) -> None:
    """DataError when a file cannot be written there, before the work for it is done."""
    if not path.parent.is_dir():
        raise DataError(str(path), "its folder does not exist")
    if path.is_dir():
        raise DataError(str(path), "is a folder", "name a file in it")
    if path.exists() and not path.is_file():  # a device or a pipe would be replaced, not written to
        raise DataError(str(path), "is no regular file", "name another one")


def write_array(path: Path, array: Array) -> None:
    """Write a .npy file, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_atomic(path, buffer.getvalue())
