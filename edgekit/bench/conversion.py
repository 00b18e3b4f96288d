"""Cases on their way through edgekit, and what each precision is compared with."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from edgekit.artifact import Artifact
from edgekit.bench.cases import Case
from edgekit.convert import Conversion, Options, convert_imported
from edgekit.runtime import load

PRECISIONS = ("fp32", "w8")
INT8 = "int8"
HOST = "host"


@dataclass(frozen=True)
class TimedConversion:
    """The fp32 program for this computer, and the seconds that import and conversion took with no build cache."""

    conversion: Conversion
    imported: Any
    seconds: float


def import_case(case: Case) -> Any:
    """The graph of a case, replayed against its module."""
    from edgekit.frontends import import_module

    return import_module(case.module, None, name=case.name.replace("-", "_"))


def convert_case(case: Case, imported: Any, target: str, precision: str) -> Conversion:
    """The program of a case; spike rates and integer scales are measured on what everybody calibrates on."""
    windows = case.calibrated_on
    if not case.module.names:
        windows = windows.reshape(-1, windows.shape[-1])
    return convert_imported(imported, Options(target=target, precision=precision, calib=windows))


def convert_fresh(case: Case) -> TimedConversion:
    """Import and convert a case for this computer as on the first day: nothing comes from the build cache."""
    with _empty_cache():
        start = perf_counter()
        imported = import_case(case)
        conversion = convert_case(case, imported, HOST, "fp32")
        return TimedConversion(conversion, imported, perf_counter() - start)


def with_oracle(case: Case, precision: str, artifact: Artifact) -> Case:
    """The case with the outputs that a precision is compared with: PyTorch's, or where numbers were rounded those of
    the numpy reference, which has the same rounded ones.
    """
    if precision == "fp32":
        return case
    expected = load(artifact, engine="reference").run(case.stimulus)
    what = "program" if precision == INT8 else "rounded weights"
    return replace(case, expected=expected, oracle=f"the numpy reference with the same {what}")


@contextmanager
def _empty_cache() -> Iterator[None]:
    before = os.environ.get("EDGEKIT_CACHE")
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        os.environ["EDGEKIT_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["EDGEKIT_CACHE"]
            else:
                os.environ["EDGEKIT_CACHE"] = before
