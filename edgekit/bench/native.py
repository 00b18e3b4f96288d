"""Small C files of the benchmark, built for this computer like the programs they measure."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit.runtime.streams import ALIGN
from edgekit.target import load_target
from edgekit.toolchain import build_shared

POINTER, COUNT = ctypes.c_void_p, ctypes.c_uint32


def native_function(source: str, name: str, arguments: Sequence[Any]) -> Any:
    """The function `name` of the file `source` beside this one."""
    text = Path(__file__).with_name(source).read_text(encoding="utf-8")
    library = build_shared({source: text}, source, load_target("host"))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        path = Path(folder) / "native.so"
        path.write_bytes(library)
        function = ctypes.CDLL(str(path))[name]
    function.argtypes = list(arguments)
    return function


def aligned_bytes(size: int) -> npt.NDArray[np.uint8]:
    """`size` zero bytes, the first of them at a multiple of ALIGN."""
    room = np.zeros(size + ALIGN, np.uint8)
    return room[-room.ctypes.data % ALIGN :][:size]
