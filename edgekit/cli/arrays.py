"""Data files of the command line: .npy, and .npz with `x`, perhaps `y`, `scale` and `subject` (CONTRACT)."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgekit.artifact.atomic import check_room, write_atomic
from edgekit.artifact.damage import ARRAY_FAULTS
from edgekit.errors import DataError
from edgekit.runtime.border import to_float32

Array = npt.NDArray[Any]
T = TypeVar("T")
MAX_BYTES = 4 << 30
NPY, NPZ = ".npy", ".npz"
X = "x"


@dataclass(frozen=True)
class Data:
    """`inputs` in raw units, float32, one for each that was asked for; `y` the labels when the file has them."""

    inputs: tuple[Array, ...]
    y: Array | None = None

    @property
    def x(self) -> Array:
        """The first input, which is the only one nearly everywhere."""
        return self.inputs[0]


def _check_size(path: Path) -> None:
    if not path.is_file():
        if path.exists():
            raise DataError(str(path), "is not a regular file", "give a .npy or .npz file")
        raise DataError(str(path), "no such file", "give a .npy or .npz file that is there")
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    if size == 0:
        raise DataError(str(path), "is empty", "write it again, with numpy.save")
    if size > MAX_BYTES:
        raise DataError(str(path), f"holds {size:,} bytes, more than {MAX_BYTES:,}", "split it")


def _raw(path: Path, loaded: Any, names: Sequence[str]) -> tuple[list[Array], Array | None]:
    several = f"a .npz file with an array for each input: {', '.join(names)}"
    if isinstance(loaded, np.ndarray):
        if len(names) > 1:
            raise DataError(str(path), f"is one array, the program has {len(names)} inputs", f"give {several}")
        return [loaded], None
    has = f"it has {', '.join(loaded.files) or 'none'}"
    if len(names) > 1:
        if missing := [repr(name) for name in names if name not in loaded.files]:
            raise DataError(str(path), f"has no array {', '.join(missing)}; {has}", f"give {several}")
        return [loaded[name] for name in names], loaded["y"] if "y" in set(loaded.files) - set(names) else None
    key = next((name for name in (X, *names) if name in loaded.files), None)
    if key is None:
        also = f" or {names[0]!r}" if names[0] != X else ""
        raise DataError(str(path), f"has no array {X!r}{also}", has)
    x = loaded[key]
    if "scale" in loaded.files:
        x = (x * loaded["scale"]).astype(np.float32)
    return [x], loaded["y"] if "y" in loaded.files and key != "y" else None


def read_data(path: Path, names: Sequence[str] = (X,)) -> Data:
    """Read an array file: the input of a program that has one, or from a .npz one array for each of several `names`.

    DataError for anything that is not numbers, is empty, cannot be read or does not fit float32. Never unpickles.
    """
    arrays, y = _guarded(path, lambda loaded: _raw(path, loaded, names))
    made = tuple(_numbers(path, array) for array in arrays)
    x = made[0]
    if y is not None and (y.ndim != 1 or y.dtype.kind not in "iu" or y.shape != x.shape[:1]):
        raise DataError(str(path), f"labels y {y.dtype}{y.shape} do not fit x {x.shape}", "one integer per sample")
    return Data(made, y)


def read_finite(path: Path) -> Data:
    """The same for windows that a program is made from: DataError also where one holds NaN or Inf."""
    data = read_data(path)
    if not np.isfinite(data.x).all():
        raise DataError(str(path), "holds NaN or Inf", "leave those windows out")
    return data


def read_array(path: Path, name: str) -> Array | None:
    """One array of a file as it is: that of a .npy, or the one of a .npz with a name, None where it has none such.

    DataError for what cannot be read. Never unpickles.
    """

    def read(loaded: Any) -> Array | None:
        if isinstance(loaded, np.ndarray):
            return loaded
        return loaded[name] if name in loaded.files else None

    return _guarded(path, read)


def _guarded(path: Path, read: Callable[[Any], T]) -> T:
    """What is read from what numpy makes of a file; DataError where it is none, holds too much, or cannot be read."""
    try:
        _check_size(path)
        with path.open("rb") as file:  # numpy leaves it open where it is no zip
            return read(np.load(file, allow_pickle=False))
    except DataError:
        raise
    except ARRAY_FAULTS as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        if "allow_pickle" in first:  # numpy's advice to unpickle is none that we would give
            first = "no array header, or pickled objects"
        raise DataError(
            str(path), f"is not a .npy or .npz file that can be read ({first[:120]})", "write one with numpy.save"
        ) from error
    except MemoryError as error:
        raise DataError(str(path), "claims more data than this computer has memory for") from error


def _numbers(path: Path, array: Array) -> Array:
    if array.dtype.kind not in "fiub":
        raise DataError(str(path), f"holds {array.dtype} values, not numbers")
    if array.size == 0:
        raise DataError(str(path), f"holds no samples (shape {array.shape})")
    return to_float32(str(path), array)


def check_labels(path: Path, y: Array | None, shape: tuple[int, ...]) -> None:
    """DataError when a label is not the index of a class, the last axis of an output of this shape."""
    classes = shape[-1] if shape else 1
    if y is not None and (y.min() < 0 or y.max() >= classes):
        raise DataError(str(path), f"has labels from {y.min()} to {y.max()}, the artifact has {classes} classes")


def check_output(path: Path) -> None:
    """DataError when a file cannot be written there, before the work for it is done."""
    check_room(path)
    if path.is_dir():
        raise DataError(str(path), "is a folder", "name a file in it")
    if path.exists() and not path.is_file():  # a device or a pipe would be replaced, not written to
        raise DataError(str(path), "is no regular file", "name another one")


def check_arrays_output(path: Path, several: int = 1) -> None:
    """DataError when so many arrays cannot be written there: one goes to .npy or .npz, several to .npz alone."""
    check_output(path)
    if path.suffix not in (NPY, NPZ):
        remedy = f"name it {path.stem}{NPY}" if path.suffix else f"name it {path.name}{NPY}"
        raise DataError(str(path), f"is not the name of a {NPY} or {NPZ} file, and no other is written", remedy)
    if several > 1 and path.suffix != NPZ:
        cause = f"holds one array, the program has {several} outputs"
        raise DataError(str(path), cause, f"name it {path.stem}{NPZ}: an array for each")


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write one array as .npy, or all by name as .npz; whole or not at all."""
    buffer = io.BytesIO()
    if path.suffix == NPY:
        (array,) = arrays.values()
        np.save(buffer, array, allow_pickle=False)
    else:
        with zipfile.ZipFile(buffer, "w") as archive:  # numpy.savez cannot write an array named file
            for name, array in arrays.items():
                with archive.open(f"{name}{NPY}", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    write_atomic(path, buffer.getvalue())
