"""The sources compile alone under every compiler without a warning, and run clean under ASan and UBSan."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from c_nets import block_weights, elm, everything, l2mu, learner, lowered, mlp
from c_runs import compiled
from test_c_ops import compare

from edgekit.backends.c import Program
from edgekit.compress.quantize import quantize_weights_int8
from edgekit.ir import Graph
from edgekit.passes.pipelines import LOWER, OPTIMISE, run_passes
from edgekit.reference import Interpreter

RNG = np.random.default_rng(0)
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O2")
ZIG = (sys.executable, "-m", "ziglang", "cc")
COMPILERS = {
    "gcc": ("gcc",),
    "gcc-avx2": ("gcc", "-march=x86-64-v3"),
    "gcc-avx512": ("gcc", "-march=x86-64-v4"),
    "clang-avx2": ("clang", "-march=x86-64-v3"),
    "clang-avx512": ("clang", "-march=x86-64-v4"),
    "clang-portable": ("clang", "-DEK_FORCE_PORTABLE"),
    "gcc-aarch64": ("aarch64-linux-gnu-gcc",),
    "zig-aarch64": (*ZIG, "-target", "aarch64-linux-gnu.2.31", "-mcpu=cortex_a72"),
    "zig-cortex-a76": (*ZIG, "-target", "aarch64-linux-gnu.2.31", "-mcpu=cortex_a76"),
    "zig-cortex-a7": (*ZIG, "-target", "arm-linux-musleabihf", "-mcpu=cortex_a7"),
    "zig-cortex-m33": (*ZIG, "-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m33+dsp+fp_armv8d16sp"),
}


def written(program: Program, folder: Path) -> Path:
    for name, text in program.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def run(command: tuple[str, ...], folder: Path) -> None:
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[:4000]


@pytest.mark.drawn(4)
@pytest.mark.parametrize("compiler", COMPILERS)
def test_compiles_alone_without_a_warning(compiler: str, tmp_path: Path) -> None:
    if not shutil.which(COMPILERS[compiler][0]):
        pytest.skip(f"{COMPILERS[compiler][0]} is not installed")
    bytes_ = run_passes(quantize_weights_int8(run_passes(elm(block_weights(RNG, 5, 84), 12), OPTIMISE)), LOWER)
    for graph in (lowered(l2mu(hidden=45, channels=21, order=3)), lowered(learner()), bytes_):
        program = compiled(graph, pad=16 if "avx512" in compiler else 8, dot=int(graph is bytes_))
        folder = written(program, tmp_path / graph.name)
        run((*COMPILERS[compiler], *STRICT, "-I", ".", "-c", program.main, "-o", "program.o"), folder)


def test_the_header_can_be_read_by_cpp(tmp_path: Path) -> None:
    program = compiled(lowered(mlp((3, 2))))
    folder = written(program, tmp_path)
    (folder / "user.cpp").write_text('#include "ek_mlp.h"\nint main() { ek_mlp m; return ek_mlp_init(&m); }\n')
    run(("g++", "-Wall", "-Wextra", "-Werror", "-c", "user.cpp"), folder)


def test_emitted_code_has_no_loops() -> None:
    """What is emitted is data, calls and straight-line bodies; loops are in the kernels."""
    text = compiled(lowered(everything()[0])).files["ek_everything.c"]
    assert not any(word in text for word in ("for (", "while (", "do {"))


def driver(graph: Graph, program: Program, rounds: int) -> str:
    """A hosted main that streams inputs from stdin through every entry; each buffer is a heap block of its own."""
    p, calls, blocks = f"ek_{program.name}", [], []
    for entry in graph.entries.values():
        args = []
        for name in (*entry.inputs, *entry.outputs):
            block = f"b{len(blocks)}"
            blocks.append(f"float *{block} = malloc({4 * graph.tensors[name].size});")
            args.append((block, graph.tensors[name].size))
        ins, outs = args[: len(entry.inputs)], args[len(entry.inputs) :]
        calls += [f"if (fread({b}, 4, {n}, stdin) != {n}) return 3;" for b, n in ins]
        calls.append(f"if ({p}_{entry.name}({', '.join(['m', *(b for b, _ in args)])})) return 4;")
        calls += [f"fwrite({b}, 4, {n}, stdout);" for b, n in outs]
    calls += ["if (ek_save(m, blob) || ek_restore(m, blob, size)) return 5;".replace("ek_", f"{p}_")]
    body = "\n        ".join(calls)
    return f"""#include <stdio.h>
#include <stdlib.h>
#include "{p}.h"
int main(void) {{
    {p} *m;
    const uint32_t size = {p}_state_bytes();
    uint8_t *blob = malloc(size);
    int t;
    {" ".join(blocks)}
    if (posix_memalign((void **)&m, 64, sizeof *m) || {p}_init(m)) return 2;
    for (t = 0; t < {rounds}; ++t) {{
        {body}
    }}
    return 0; /* leaks are not looked for */
}}
"""


CASES = {"l2mu": lambda: lowered(l2mu(hidden=45, channels=21, order=3, thr=0.7)), "learner": lambda: lowered(learner())}
CLANG, GCC = ("clang", "-march=native"), ("gcc", "-DEK_FORCE_PORTABLE")


def sanitised(graph: Graph, compiler: tuple[str, str], inputs: list[np.ndarray], folder: Path) -> np.ndarray:
    """Outputs of all rounds under ASan and UBSan; a finding ends the program and fails the test."""
    program = compiled(graph)
    written(program, folder)
    (folder / "main.c").write_text(driver(graph, program, len(inputs)))
    flags = (
        "-std=gnu99",
        "-O1",
        "-g",
        "-ffp-contract=off",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    )
    run((*compiler, *flags, "-I", ".", "main.c", program.main, "-o", "main"), folder)
    data = b"".join(np.asarray(x, np.float32).tobytes() for x in inputs)
    environment = {"ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin:/bin"}
    result = subprocess.run(
        [folder / "main"], input=data, capture_output=True, env=environment, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr.decode()[:4000]
    return np.frombuffer(result.stdout, np.float32)


@pytest.mark.drawn(2)
@pytest.mark.parametrize("compiler", [CLANG, pytest.param(GCC, marks=pytest.mark.slow)], ids=["clang", "gcc"])
@pytest.mark.parametrize("case", CASES)
def test_programs_are_clean_under_sanitizers(case: str, compiler: tuple[str, str], tmp_path: Path) -> None:
    graph, rng = CASES[case](), np.random.default_rng(4)
    reference = Interpreter(graph)
    state, inputs, wanted = reference.initial_state(), [], []
    for _ in range(100):
        inputs.append(np.empty(0))
        for entry in graph.entries.values():
            values = {n: (rng.integers(-8, 9, graph.tensors[n].shape) / 16).astype(np.float32) for n in entry.inputs}
            outputs, state = reference.execute({n: v[None] for n, v in values.items()}, state, entry.name)
            inputs[-1] = np.concatenate([inputs[-1], *(v.reshape(-1) for v in values.values())])
            wanted += [np.asarray(v[0], np.float32).reshape(-1) for v in outputs.values()]
    got = sanitised(graph, compiler, inputs, tmp_path)
    np.testing.assert_allclose(got, np.concatenate(wanted), rtol=1e-3, atol=1e-3)


@pytest.mark.skipif("EDGEKIT_SWEEPS" not in os.environ, reason="a minute of clang: make test-all")
def test_every_op_is_clean_under_sanitizers(tmp_path: Path) -> None:
    graph, slices = everything()
    graph, rng = lowered(graph), np.random.default_rng(6)
    rounds = []
    for activity in (0.0, 0.05, 0.5, 1.0):
        x, s = rng.standard_normal(96).astype(np.float32), (rng.random(77) < activity).astype(np.float32)
        rounds.append(np.concatenate([x, s]))
    got = sanitised(graph, CLANG, rounds, tmp_path).reshape(len(rounds), -1)
    for values, result in zip(rounds, got, strict=True):
        outputs, _ = Interpreter(graph).execute({"x": values[None, :96], "s": values[None, 96:] != 0}, {})
        compare(slices, result, next(iter(outputs.values()))[0])
