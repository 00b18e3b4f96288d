"""What reading a damaged zip raises: zipfile lets through the faults of all that it is made of."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib

ZIP_FAULTS = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)
ARRAY_FAULTS = (*ZIP_FAULTS, KeyError, TypeError)
"""And what numpy adds of arrays in one."""
