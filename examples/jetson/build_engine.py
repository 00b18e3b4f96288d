#!/usr/bin/env python3
"""Build a TensorRT engine of a .onnx file that edgekit wrote, on the Jetson that will run it, and keep it in a cache.

    python3 build_engine.py model.onnx [--cache DIR] [--batch 1] [--max-batch 8] [--fp16] [--int8] [--steps 40]

UNTESTED ON DEVICE: the project's tests run this script against a stand-in that plays trtexec, not against TensorRT.

An engine only fits the GPU and the TensorRT that built it, so that it is kept under a key of the GPU's name and compute
capability, the version of TensorRT, the SHA-256 of the model, and what was asked for (precision, batch, steps). Needs
Python 3.8 and trtexec; nothing else.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

GRADE = "untested on device"
SCHEMA_VERSION = 1
TRTEXEC_HOMES = ("/usr/src/tensorrt/bin", "/usr/local/tensorrt/bin")  # where JetPack puts it, off the PATH
LARGEST_MODEL = 2**31  # bytes; a protobuf ends there
BUILD_SECONDS = 3600
ASK_SECONDS = 60


class EngineError(Exception):
    """What went wrong, and what to do about it."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that an engine is for."""

    name: str
    compute_capability: str


@dataclass(frozen=True)
class Wish:
    """What is asked of an engine: streams at once (usual and most), steps of a sequence, and how it may compute."""

    batch: int = 1
    max_batch: int = 1
    steps: int = 1
    fp16: bool = False
    int8: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.batch <= self.max_batch or self.steps < 1:
            raise EngineError(
                f"batch {self.batch}, at most {self.max_batch}, {self.steps} steps: none of them is below 1, and the "
                "usual batch is not above the largest"
            )


@dataclass(frozen=True)
class Engine:
    """A built engine, its key, and whether it was in the cache already."""

    path: Path
    key: str
    cached: bool


# --- the model: its inputs, read from the protobuf without the onnx package ---


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise EngineError("the model is no ONNX file: a number in it is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """(number, value) of the fields of one protobuf message."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            found.append((tag >> 3, value))
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise EngineError("the model is no ONNX file: it has a field of an unknown kind")
        if size > len(data) - at:
            raise EngineError("the model is no ONNX file: it ends too early")
        found.append((tag >> 3, data[at : at + size]))
        at += size
    return found


def _all(data: bytes, number: int) -> list[bytes]:
    return [value for at, value in _fields(data) if at == number and isinstance(value, bytes)]


def _one(data: bytes, number: int) -> bytes:
    return next(iter(_all(data, number)), b"")


def model_inputs(data: bytes) -> dict[str, list[int | str]]:
    """Inputs of an ONNX file with their axes, a name for each that is only known at run time."""
    inputs: dict[str, list[int | str]] = {}
    for port in _all(_one(data, 7), 11):  # ModelProto.graph, GraphProto.input
        axes: list[int | str] = []
        for axis in _all(_one(_one(_one(port, 2), 1), 2), 1):  # type, tensor_type, shape, dim
            sizes = [value for at, value in _fields(axis) if at == 1 and isinstance(value, int)]
            axes.append(sizes[0] if sizes else _one(axis, 2).decode("utf-8", "replace") or "?")
        inputs[_one(port, 1).decode("utf-8", "replace")] = axes
    if not inputs:
        raise EngineError("the model is no ONNX file, or has no inputs")
    return inputs


def shapes_of(inputs: dict[str, list[int | str]], batch: int, steps: int) -> str:
    """The shapes of all inputs as trtexec takes them: name:1x6,other:1x40x6."""
    sizes = {"N": batch, "T": steps}
    rows = []
    for name, axes in inputs.items():
        unknown = [str(a) for a in axes if isinstance(a, str) and a not in sizes]
        if unknown or re.search(r"[,'\"\s]", name):
            raise EngineError(
                f"input {name!r} has axes {axes}: only N and T may be open, as in files that edgekit writes"
            )
        dims = "x".join(str(sizes[a]) if isinstance(a, str) else str(a) for a in axes)
        rows.append(f"'{name}':{dims}" if ":" in name else f"{name}:{dims}")
    return ",".join(rows)


# --- the device ---


def find_trtexec() -> Path:
    """trtexec on the PATH, or where JetPack puts it."""
    found = shutil.which("trtexec") or next(
        (str(Path(home) / "trtexec") for home in TRTEXEC_HOMES if os.access(Path(home) / "trtexec", os.X_OK)), None
    )
    if found is None:
        raise EngineError(
            f"trtexec is neither on the PATH nor in {' or '.join(TRTEXEC_HOMES)}: "
            "install it with `sudo apt install libnvinfer-bin` (JetPack 5) and try again"
        )
    return Path(found)


def _ask(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=ASK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


def tensorrt_version(trtexec: Path) -> str:
    """The version that trtexec prints of itself, or that of the library it links to."""
    banner = re.search(r"TensorRT[. ]v(\d+)", _ask([str(trtexec), "--help"]))
    if banner:
        return banner.group(1)
    for library in ("libnvinfer.so", *(f"libnvinfer.so.{major}" for major in (10, 9, 8))):
        try:
            return str(ctypes.CDLL(library).getInferLibVersion())
        except (OSError, AttributeError):
            continue
    raise EngineError(f"{trtexec} does not say which TensorRT it is of, and libnvinfer cannot be loaded")


def _gpu_of_driver() -> Gpu | None:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    failed = cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0)
    failed = failed or cuda.cuDeviceGetName(name, len(name), device)
    failed = failed or cuda.cuDeviceGetAttribute(ctypes.byref(major), 75, device)  # COMPUTE_CAPABILITY_MAJOR
    failed = failed or cuda.cuDeviceGetAttribute(ctypes.byref(minor), 76, device)  # COMPUTE_CAPABILITY_MINOR
    if failed:
        return None
    return Gpu(name.value.decode("utf-8", "replace"), f"{major.value}.{minor.value}")


def _gpu_of_tool() -> Gpu | None:
    rows = _ask(["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]).splitlines()
    found = re.fullmatch(r"(.+), (\d+\.\d+)", rows[0].strip()) if rows else None
    return Gpu(found.group(1), found.group(2)) if found else None


def find_gpu() -> Gpu:
    """Name and compute capability of the first GPU, from the CUDA driver or from nvidia-smi."""
    gpu = _gpu_of_driver() or _gpu_of_tool()
    if gpu is None:
        raise EngineError("no GPU: neither libcuda.so.1 nor nvidia-smi tells one; run this on the device itself")
    return gpu


# --- the cache ---


def cache_key(gpu: Gpu, tensorrt: str, model: bytes, wish: Wish) -> str:
    """What an engine depends on, as a file name: readable in front, a hash of all of it behind."""
    whole = {"gpu": asdict(gpu), "tensorrt": tensorrt, "model": hashlib.sha256(model).hexdigest(), "wish": asdict(wish)}
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{gpu.name}-sm{gpu.compute_capability}-trt{tensorrt}") + f"-{digest[:32]}"


def _is_whole(engine: Path, note: Path) -> bool:
    """Whether a cached engine is the one that was written."""
    try:
        said = json.loads(note.read_text())
        return bool(said["engine_sha256"] == hashlib.sha256(engine.read_bytes()).hexdigest())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that no reader ever sees a part of it, also after a power cut."""
    handle, name = tempfile.mkstemp(dir=str(path.parent), prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _build(trtexec: Path, model: Path, inputs: dict[str, list[int | str]], wish: Wish, folder: Path) -> bytes:
    with tempfile.TemporaryDirectory(dir=str(folder), prefix=".building.") as work:
        engine = Path(work) / "model.engine"
        command = [
            str(trtexec),
            f"--onnx={model}",
            f"--saveEngine={engine}",
            f"--minShapes={shapes_of(inputs, 1, 1)}",
            f"--optShapes={shapes_of(inputs, wish.batch, wish.steps)}",
            f"--maxShapes={shapes_of(inputs, wish.max_batch, wish.steps)}",
            *(["--fp16"] if wish.fp16 else []),
            *(["--int8"] if wish.int8 else []),
        ]
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BUILD_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"trtexec was not done after {BUILD_SECONDS} s and was stopped") from None
        except OSError as error:
            raise EngineError(f"{trtexec} cannot be run: {error}") from None
        tail = "\n".join(done.stdout.decode("utf-8", "replace").strip().splitlines()[-20:])
        if done.returncode != 0:
            raise EngineError(f"trtexec failed with {done.returncode}; its last words:\n{tail}")
        if not engine.is_file() or engine.stat().st_size == 0:
            raise EngineError(f"trtexec said that it succeeded, but wrote no engine; its last words:\n{tail}")
        return engine.read_bytes()


def engine_for(model: Path, cache: Path, wish: Wish = Wish(), gpu: Gpu | None = None) -> Engine:
    """The engine of a model on this device: out of the cache, or built by trtexec and put there.

    Raises EngineError that says what is missing or what trtexec said.
    """
    try:
        if not 0 < model.stat().st_size <= LARGEST_MODEL:
            raise EngineError(f"{model} has {model.stat().st_size} bytes; an ONNX file has 1 to {LARGEST_MODEL}")
        data = model.read_bytes()
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(f"{error.filename or model}: {error.strerror}") from None
    inputs, trtexec = model_inputs(data), find_trtexec()
    gpu, version = gpu or find_gpu(), tensorrt_version(trtexec)
    key = cache_key(gpu, version, data, wish)
    engine, note = cache / f"{key}.engine", cache / f"{key}.json"
    if _is_whole(engine, note):
        return Engine(engine, key, cached=True)
    built = _build(trtexec, model.resolve(), inputs, wish, cache)
    said = {
        "schema_version": SCHEMA_VERSION,
        "grade": GRADE,
        "gpu": asdict(gpu),
        "tensorrt": version,
        "model_sha256": hashlib.sha256(data).hexdigest(),
        "wish": asdict(wish),
        "engine_sha256": hashlib.sha256(built).hexdigest(),
    }
    _replace(engine, built)
    _replace(note, (json.dumps(said, indent=2, sort_keys=True) + "\n").encode())  # last: without it the engine is none
    return Engine(engine, key, cached=False)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], epilog=f"Grade: {GRADE}.")
    parser.add_argument("model", type=Path, help=".onnx file that edgekit wrote")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "edgekit" / "tensorrt")
    parser.add_argument("--batch", type=int, default=1, help="streams that the engine is tuned for")
    parser.add_argument("--max-batch", type=int, help="most streams it takes (default: --batch)")
    parser.add_argument("--steps", type=int, default=1, help="steps of a sequence file, at most")
    parser.add_argument("--fp16", action="store_true", help="let TensorRT compute in float16")
    parser.add_argument("--int8", action="store_true", help="for files exported as int8")
    options = parser.parse_args(arguments)
    try:
        wish = Wish(options.batch, options.max_batch or options.batch, options.steps, options.fp16, options.int8)
        engine = engine_for(options.model, options.cache, wish)
    except EngineError as error:
        print(f"build_engine: {error}", file=sys.stderr)
        return 2
    print(f"{engine.path} ({'from the cache' if engine.cached else 'built'}; {GRADE})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
