"""The streamer: a static program that decides about a stream on a board, and the job that tells it how."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

from edgekit.artifact import Artifact
from edgekit.errors import UsageError
from edgekit.profile.measurer import generic_target, loader_headers
from edgekit.runtime import load
from edgekit.streaming import Options, WindowPlan, window_plan
from edgekit.toolchain import build_executable

STREAMER, STREAM_JOB = "streamer", "stream.job"
SOURCE, HEADER = "streamer.c", "streamer_numbers.h"
DECISIONS = ("sum", "mean", "last")
MOST_CHANNELS, MOST_CLASSES, MOST_PREFIX, ALIGN = 1 << 16, 1 << 12, 256, 64
_JOB = struct.Struct("<8s12Q")


def build_streamer(arch: str, *, compiler: str | None = None, extra_flags: Sequence[str] = ()) -> bytes:
    """The streamer for any processor of an architecture; ToolchainError where no compiler here builds for it."""
    here = Path(__file__).parent
    sources = loader_headers() | {name: (here / name).read_bytes() for name in (SOURCE, HEADER)}
    return build_executable(sources, SOURCE, generic_target(arch), compiler=compiler, extra_flags=extra_flags)


def stream_job(artifact: Artifact, options: Options) -> bytes:
    """The file that tells the streamer how an artifact decides: the struct `job` of streamer.c and what lies behind it.

    Decisions are those of `edgekit run --stream` for samples that come at the program's rate: no resampling, no
    smoothing. UsageError for a program without a decision over windows.
    """
    session = load(artifact, engine="reference")
    plan = window_plan(session, options)
    graph = artifact.graph
    step = graph.entries["step"]
    (shape,) = session.output_shapes
    classes, io = shape[0], artifact.manifest["io"]
    names = [json.dumps(name) for name in io.get("classes") or map(str, range(classes))]
    prefix = f"ek_{graph.name}_".encode()
    for what, count, most in (
        ("channels", plan.channels, MOST_CHANNELS),
        ("classes", classes, MOST_CLASSES),
        ("letters in its prefix", len(prefix), MOST_PREFIX),
    ):
        if count > most:
            raise UsageError(f"program {artifact.name!r}", f"has {count:,} {what}", f"a stream takes at most {most:,}")
    stored = [graph.port_dtype(n).itemsize * graph.tensors[n].size for n in (step.inputs[0], step.outputs[0])]
    decision = "last" if plan.whole else io["decision"]
    figures = [plan.channels, plan.length, plan.stride, _open(plan), int(plan.whole)]
    figures += [classes, DECISIONS.index(decision), int(graph.is_integer), *stored]
    text = b"".join(name.encode() + b"\0" for name in names)
    parts = [_JOB.pack(b"EKSTRM01", *figures, len(prefix), len(text)), prefix, text]
    return b"".join(part + bytes(-len(part) % ALIGN) for part in parts)


def _open(plan: WindowPlan) -> int:
    """How many windows need states of their own."""
    return 1 if plan.whole else plan.overlap
